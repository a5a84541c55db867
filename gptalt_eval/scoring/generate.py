"""Greedy generation, in which the tokens that all prompts begin with are computed once.

A row leaves as soon as it is finished and another takes its place. transformers' continuous batching gathers
the keys of all rows anew at every step and scores every row's query against all of them; on a CPU that costs
more than lm-eval's padding.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs, postprocess_generated_text
from transformers import Cache, DynamicLayer, PreTrainedModel

from gptalt_eval.scoring.attention import NAME, Unsupported, attend_full, computing, use_attention
from gptalt_eval.scoring.probe import allow, describe, find_window

__all__ = ["Unsupported", "explain_unsupported", "generate_until"]

ROWS = 64  # that are generated at once: more gain little
KEPT = 2**31  # bytes of the rows' own keys and values at most
TOKENS = 1024  # of prompts that go through the model at once
# what changes nothing about a greedy answer, with the value that it must have; None: with any
NEUTRAL = {
    "do_sample": False, "num_beams": 1, "num_return_sequences": 1, "repetition_penalty": 1.0, "length_penalty": None,
    "temperature": None, "top_k": None, "top_p": None, "min_p": None, "typical_p": None,
}  # fmt: skip
# of the model's generation config: what lm-eval overrules, and what is no setting
OVERRULED = {
    "do_sample",
    "max_length",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "transformers_version",
}


def generate_until(
    lm: HFLM, requests: Sequence[tuple[str, dict[str, Any]]], answered: Callable[[int, str], None]
) -> None:
    """Answer requests as lm-eval does with a batch size of 1.

    Args:
        lm: the model.
        requests: contexts and their generation settings.
        answered: gets a request's index and its text, as soon as it is finished.

    Raises:
        Unsupported: lm-eval's own way is needed; the text says why. Nothing has been answered then, unless
            the library broke off in the middle: what has been answered by that time is right.
    """
    groups: dict[str, list[int]] = {}
    for index, (_, gen_kwargs) in enumerate(requests):
        groups.setdefault(repr(sorted(gen_kwargs.items())), []).append(index)
    for indices in groups.values():
        if reason := explain_unsupported(lm, requests[indices[0]][1]):
            raise Unsupported(reason)
    tasks = [
        Task(lm, {index: requests[index][0] for index in indices}, requests[indices[0]][1])
        for indices in groups.values()
    ]
    with contextlib.closing(answer(tasks)) as answers:
        for index, text in answers:
            answered(index, text)


def explain_unsupported(lm: HFLM, gen_kwargs: Mapping[str, Any]) -> str | None:
    """Why lm-eval's own way is needed for requests with these settings; None: it is not."""
    model = unwrap(lm)
    if lm.backend != "causal":
        return "an encoder-decoder model"
    if type(lm)._model_generate is not HFLM._model_generate:
        return "a backend that generates in a way of its own"
    if getattr(getattr(lm.model, "active_peft_config", None), "is_prompt_learning", False):
        return "its adapter puts tokens before the prompt"
    if not isinstance(model, PreTrainedModel) or not model.is_backend_compatible():
        return "its attention cannot be replaced"
    if any(parameter.device.type != "cpu" for parameter in model.parameters()) or model.tp_size:
        return "it is not on the CPU alone"
    if lm.mixed_precision_dtype is not None:
        return "it computes in mixed precision"
    return explain_settings(lm, gen_kwargs)


def explain_settings(lm: HFLM, gen_kwargs: Mapping[str, Any]) -> str | None:
    settings = normalize_gen_kwargs(dict(gen_kwargs), lm.max_gen_toks)
    most = settings.pop("max_gen_toks")
    settings.pop("until")
    if not 0 < most < lm.max_length:
        return f"{most} tokens to generate in a context of {lm.max_length}"
    config = unwrap(lm).generation_config.to_diff_dict()
    own = {
        name: value for name, value in config.items() if name not in OVERRULED and not name.startswith("_")
    }
    for name, value in [*settings.items(), *own.items()]:
        if name not in NEUTRAL or NEUTRAL[name] not in (None, value):
            return f"{name}={value} is set"
    return None


def unwrap(lm: HFLM) -> Any:
    """The model without PEFT's wrapper; a LoRA is in its layers."""
    return lm.model.get_base_model() if hasattr(lm.model, "get_base_model") else lm.model
