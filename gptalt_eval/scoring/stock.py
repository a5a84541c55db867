"""What scoring takes from lm-eval beside ``HFLM`` itself, which ``backend`` extends.

``tests/running/test_seams.py`` lists each name that lm-eval does not document, says what stands on it and
holds it against the installed release.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs, postprocess_generated_text
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

# a backend that brings one of these of its own scores in a way that is not HFLM's
OWN_SCORING = (
    "_loglikelihood_tokens", "_model_call", "_select_cont_toks", "loglikelihood", "loglikelihood_rolling",
)  # fmt: skip


def scores_like_stock(backend: type[Any]) -> bool:
    return all(getattr(backend, name, None) is getattr(HFLM, name) for name in OWN_SCORING)


def generates_like_stock(backend: type[Any]) -> bool:
    return getattr(backend, "_model_generate", None) is HFLM._model_generate


def roll_windows(tokens: Sequence[int], prefix: int, length: int) -> list[tuple[list[int], list[int]]]:
    """A text's tokens in windows of (context, continuation) that a model of that context length can score."""
    windows = get_rolling_token_windows(tokens, prefix, length, context_len=1)
    return [make_disjoint_window(window) for window in windows]


def read_settings(gen_kwargs: Mapping[str, Any], most: int) -> dict[str, Any]:
    """Generation settings under lm-eval's own names, ``max_gen_toks`` (``most`` by default) among them."""
    return dict(normalize_gen_kwargs(dict(gen_kwargs), most))


def list_stops(until: Any, eos: str) -> list[str]:
    """Where an answer ends: the task's stop strings and the text of the model's end token."""
    return list(handle_stop_sequences(until, eos=eos))


def cut_answer(text: str, until: list[str], think_end: str | None) -> str:
    """A generated text up to its first stop string, without what was thought before it."""
    return str(postprocess_generated_text(text, until, think_end))


def read_rolling(request: Instance) -> str:
    """The text of a rolling request."""
    return str(request.args[-1])


def answer_rolling(request: Instance, total: float) -> Any:
    """The answer to a rolling request as its lm-eval takes it: 0.5 asks with pairs and wants pairs."""
    return total if len(request.args) == 1 else (total, False)
