"""What lm-eval's own backend refuses and warns of, noted request by request however they are scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from accelerate.utils import gather_object
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from gptalt_eval.scoring.fitting import Fit, Watched

Asked = tuple[Any, ...]  # context, continuation, and the pictures of some backends
Encoded = tuple[Asked | None, list[int], list[int]]  # what is asked, and its two parts in tokens
Scored = tuple[float, bool]
TRIED = 32  # tokens of a prompt
BITS = ("load_in_4bit", "load_in_8bit", "bnb_4bit_", "llm_int8_")  # settings of bitsandbytes


def add_guard(backend: type[Any]) -> type[Any]:
    """The backend with notes of what it refuses and cuts; unchanged if it has them or is not an ``HFLM``."""
    if not issubclass(backend, HFLM) or issubclass(backend, GuardedLM):
        return backend
    return type(f"Guarded{backend.__name__}", (GuardedLM, backend), {})


class GuardedLM(HFLM):  # type: ignore[misc]
    """Notes which requests do not fit into the model's context, and which cannot be scored.

    Attributes:
        fits: what did not fit when its weights were loaded.
        AUTO_MODEL_CLASS: loads the model, as in lm-eval.
        lost: how many tokens were cut, by (context, continuation), or by prompt of a generated text.
        unscorable: why a request cannot be answered, by (context, continuation), or by prompt of a text.
    """

    AUTO_MODEL_CLASS: Any

    def __init__(self, *args: Any, **settings: Any) -> None:
        self.fits: list[Fit] = []
        super().__init__(*args, **settings)
        self.lost: dict[Asked | str, int] = {}
        self.unscorable: dict[Asked | str, str] = {}

    def _create_model(self, pretrained: str, **settings: Any) -> None:
        loads = self.AUTO_MODEL_CLASS
        watched = Watched(loads)
        self.AUTO_MODEL_CLASS = watched
        try:
            super()._create_model(pretrained, **gather_bits(settings))
        finally:
            self.AUTO_MODEL_CLASS = loads
        self.fits = watched.fits

    def check(self, requests: Sequence[Encoded]) -> list[int]:
        """Note what is cut and what cannot be scored; returns the indices of the latter.

        lm-eval stops at an assertion, in the middle of a batch with requests of other tasks.
        """
        room = self.max_length + (self.backend == "causal")
        faulty = []
        for place, (arguments, context, continuation) in enumerate(requests):
            if arguments is None:  # a window of a longer text, made to fit
                continue
            excess = len(context) + len(continuation) * (self.backend == "causal") - room
            if excess > 0:
                self.lost[arguments] = excess
            if reason := explain_unscorable(context, continuation, self.max_length):
                self.unscorable[arguments] = reason
                faulty.append(place)
        return faulty

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[Scored]:
        bare = (
            []
            if getattr(self, "enable_thinking", None)
            else [request.args for request in requests if not request.args[0]]
        )
        self.refuse(
            [
                (arguments, [self.prefix_token_id], [])
                for arguments in bare
                if not self.tok_encode(arguments[1], add_special_tokens=False)
            ]
        )
        answers: list[Scored] = super().loglikelihood(requests, disable_tqdm=disable_tqdm)
        return answers

    def _loglikelihood_tokens(
        self, requests: Sequence[Encoded], disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[Scored]:
        self.refuse(requests)
        begun = [self.begin(request) for request in requests]
        answers: list[Scored] = super()._loglikelihood_tokens(begun, disable_tqdm, override_bs)
        return answers

    def begin(self, request: Encoded) -> Encoded:
        """A request whose context is empty, with the tokens that come before any text.

        lm-eval puts one token there. A backend whose model was trained with several has an attribute
        ``beginning``, a list of them.
        """
        arguments, context, continuation = request
        beginning: list[int] | None = getattr(self, "beginning", None)
        is_empty = arguments is not None and not arguments[0] and context == [self.prefix_token_id]
        return (arguments, beginning, continuation) if beginning and is_empty else request

    def refuse(self, requests: Sequence[Encoded]) -> None:
        """Note what is cut; refuse what cannot be scored.

        Raises:
            ValueError: one of the requests cannot be scored.
        """
        faulty = self.check(requests)
        if faulty:
            arguments = requests[faulty[0]][0]
            assert arguments is not None
            raise ValueError(self.unscorable[arguments])

    def tok_batch_encode(
        self,
        strings: list[str],
        padding_side: str = "left",
        left_truncate_len: int | None = None,
        truncation: bool = False,
    ) -> tuple[Any, Any]:
        ids, mask = super().tok_batch_encode(strings, padding_side, left_truncate_len, truncation)
        for string, kept in zip(strings, mask.sum(dim=1).tolist(), strict=True):
            if not kept:
                self.unscorable[string] = "its prompt is empty"
                raise ValueError(self.unscorable[string])
        if truncation or (left_truncate_len and ids.shape[1] >= left_truncate_len):
            for string, kept in zip(strings, mask.sum(dim=1).tolist(), strict=True):
                whole, _ = super().tok_batch_encode([string], padding_side)
                if whole.shape[1] > kept:
                    self.lost[string] = whole.shape[1] - kept
        return ids, mask

    def finds_nan(self, prompt: str) -> bool:
        """Whether the model computes no numbers after a prompt, of which the end is tried."""
        if self.backend != "causal":
            return False
        ids, _ = super().tok_batch_encode([prompt])
        if not ids.shape[1]:
            return False  # it is refused when it is to be answered
        with torch.no_grad():
            logits = self._model_call(ids[:, -TRIED:].to(self.device))
        return bool(logits[:, -1].isnan().any())

    def add_up(self, number: int) -> int:
        """The sum of a number over all processes, which must call this at the same time."""
        return number if self.world_size == 1 else sum(gather_object([number]))


def gather_bits(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments for loading with ``load_in_4bit`` and the like in the one object that transformers 5 takes.

    lm-eval 0.4.13 passes them on as they are, and transformers 5 takes them for settings of the model.
    """
    if not any(settings.get(name) for name in ("load_in_4bit", "load_in_8bit")):
        return dict(settings)
    from transformers import BitsAndBytesConfig

    named = {name: value for name, value in settings.items() if name.startswith(BITS)}
    rest = {name: value for name, value in settings.items() if name not in named}
    return {**rest, "quantization_config": BitsAndBytesConfig(**named)}


def explain_unscorable(context: Sequence[int], continuation: Sequence[int], room: int) -> str:
    """Why a request cannot be scored; empty: it can be."""
    if not continuation:
        return "nothing is left to score after its prompt"
    if not context:
        return "nothing is before what is to be scored"
    if len(continuation) > room:
        return f"what is to be scored has {len(continuation):,} tokens, and the model's context only {room:,}"
    return ""
