"""What scoring uses of lm-eval in addition to ``HFLM``, which ``backend`` extends.

``tests/running/test_seams.py`` lists each undocumented name, says what depends on it, and checks it against
the installed release.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs, postprocess_generated_text
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

# a backend that overrides one of these does not score like HFLM
OWN_SCORING = (
    "_loglikelihood_tokens", "_model_call", "_select_cont_toks", "loglikelihood", "loglikelihood_rolling",
)  # fmt: skip


def scores_like_stock(backend: type[Any]) -> bool:
    return all(getattr(backend, name, None) is getattr(HFLM, name) for name in OWN_SCORING)


def generates_like_stock(backend: type[Any]) -> bool:
    return getattr(backend, "_model_generate", None) is HFLM._model_generate


@contextlib.contextmanager
def using_batch_size(lm: Any, size: int) -> Iterator[None]:
    """While the block lasts, lm-eval's own code has this batch size."""
    before = lm.batch_size_per_gpu
    lm.batch_size_per_gpu = size
    try:
        yield
    finally:
        lm.batch_size_per_gpu = before


def make_model(loader: Any, config: Any, **settings: Any) -> Any:
    """A model of transformers' ``Auto`` classes with a configuration, whose weights are not read."""
    return loader.from_config(config, **settings)


def roll_windows(tokens: Sequence[int], prefix: int, length: int) -> list[tuple[list[int], list[int]]]:
    """A text's tokens in windows of (context, continuation) that fit into a context of that length."""
    windows = get_rolling_token_windows(tokens, prefix, length, context_len=1)
    return [make_disjoint_window(window) for window in windows]


def read_settings(gen_kwargs: Mapping[str, Any], default: int) -> dict[str, Any]:
    """Generation settings with lm-eval's own names; ``default`` is the default of ``max_gen_toks``."""
    return dict(normalize_gen_kwargs(dict(gen_kwargs), default))


def list_stops(until: Any, eos: str) -> list[str]:
    """The strings that end an answer: the task's stop strings and the model's end token."""
    return list(handle_stop_sequences(until, eos=eos))


def cut_answer(text: str, until: list[str], think_end: str | None) -> str:
    """A generated text up to its first stop string, without the reasoning before it."""
    return str(postprocess_generated_text(text, until, think_end))


def read_rolling(request: Instance) -> str:
    """The text of a rolling request."""
    return str(request.args[-1])


def answer_rolling(request: Instance, total: float) -> Any:
    """The answer to a rolling request in the form lm-eval expects: release 0.5 uses pairs."""
    return total if len(request.args) == 1 else (total, False)
