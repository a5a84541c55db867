"""Greedy generation that computes the common prefix of all prompts once.

A row leaves the batch as soon as it is finished, and another takes its place. transformers' continuous
batching gathers the keys of all rows again at every step and scores each row's query against those of all
other rows; on a CPU this costs more than lm-eval's padding.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from lm_eval.models.huggingface import HFLM
from transformers import PreTrainedModel

from gptalt_eval.scoring import stock
from gptalt_eval.scoring.attention import Unsupported
from gptalt_eval.scoring.batch import Batch, Row, find_fault
from gptalt_eval.scoring.engine import unwrap
from gptalt_eval.scoring.lengths import Lengths, find_window
from gptalt_eval.scoring.picture_trial import AlonePictures
from gptalt_eval.scoring.row_views import make_row_view
from gptalt_eval.scoring.trial import describe, find_tolerance

__all__ = ["TooLong", "Unsupported", "explain_unsupported", "generate_until"]
# settings that do not change a greedy answer if they have this value; None: whatever their value
NEUTRAL = {
    "do_sample": False, "num_beams": 1, "num_return_sequences": 1, "repetition_penalty": 1.0,
    "length_penalty": None, "temperature": None, "top_k": None, "top_p": None, "min_p": None,
    "typical_p": None, "use_cache": True,
}  # fmt: skip
# keys of a generation config that lm-eval overrides, that are read here, or that are not settings
OVERRIDDEN = {
    "do_sample", "max_length", "bos_token_id", "eos_token_id", "pad_token_id", "transformers_version",
    "_from_model_config",
}  # fmt: skip


class TooLong(Unsupported):
    """Some rows are longer than those that we generate as the model alone does."""


def generate_until(
    lm: HFLM, requests: Sequence[tuple[Any, ...]], answered: Callable[[int, str], None]
) -> None:
    """Answer requests as lm-eval does with a batch size of 1.

    Args:
        lm: the model.
        requests: contexts and their generation settings; those with pictures have more arguments, and are
            given to ``encode_prompt`` of the backend.
        answered: called with each request's index and text, as soon as it is finished.

    Raises:
        Unsupported: lm-eval's own loop must answer the remaining requests, which are all of them unless
            something failed halfway; the message says why.
    """
    groups: dict[str, list[int]] = {}
    for index, (_, gen_kwargs, *_) in enumerate(requests):
        groups.setdefault(repr(sorted(gen_kwargs.items())), []).append(index)
    for indices in groups.values():
        if reason := explain_unsupported(lm, requests[indices[0]][1]):
            raise Unsupported(reason)
    too_long: TooLong | None = None
    for indices in groups.values():
        asked = [(index, requests[index]) for index in indices]
        with contextlib.closing(answer_group(lm, asked, requests[indices[0]][1])) as answers:
            try:
                for index, text in answers:
                    answered(index, text)
            except TooLong as reason:
                too_long = reason
    if too_long:
        raise too_long


def explain_unsupported(lm: HFLM, gen_kwargs: Mapping[str, Any]) -> str | None:
    """Why lm-eval's own loop must answer requests with these settings; None: no reason is known yet."""
    model, alone = unwrap(lm.model), getattr(lm, "alone", None)
    if lm.backend != "causal":
        return "an encoder-decoder model"
    if isinstance(alone, AlonePictures):
        choice = getattr(lm, "choice", None)
        # rows are read as texts are, each token after those before it
        if choice and (not choice.engine or getattr(choice.engine, "both_ways", False)):
            return str(choice.reason)
    if not stock.generates_like_stock(type(lm)):
        return "the backend overrides how it generates"
    if getattr(getattr(lm.model, "active_peft_config", None), "is_prompt_learning", False):
        return "its adapter adds tokens before the prompt"
    if not isinstance(model, PreTrainedModel) or not model.is_backend_compatible():
        return "its attention cannot be replaced"
    if model.tp_size or len({parameter.device for parameter in model.parameters()}) > 1:
        return "the model is spread over several devices"
    if lm.mixed_precision_dtype is not None:
        return "it computes in mixed precision"
    return explain_settings(lm, gen_kwargs)


def explain_settings(lm: HFLM, gen_kwargs: Mapping[str, Any]) -> str | None:
    settings = stock.read_settings(gen_kwargs, lm.max_gen_toks)
    max_new_tokens = settings.pop("max_gen_toks")
    settings.pop("until")
    settings.pop("eos_token_id", None)
    if not 0 < max_new_tokens < lm.max_length:
        return f"{max_new_tokens} tokens to generate do not fit into a context of {lm.max_length}"
    config = unwrap(lm.model).generation_config.to_diff_dict()
    own = [(name, value) for name, value in config.items() if value and name not in OVERRIDDEN]
    for name, value in [*settings.items(), *own]:
        if name not in NEUTRAL or NEUTRAL[name] not in (None, value):
            return f"{name}={value} is set"
    return None


def answer_group(
    lm: HFLM, requests: Sequence[tuple[int, tuple[Any, ...]]], gen_kwargs: Mapping[str, Any]
) -> Generator[tuple[int, str], None, None]:
    """Answer requests with the same settings; yields (index, text) of each as soon as it is finished.

    Raises:
        TooLong: the rows that are missing are longer than those that we generate as the model alone does.
        Unsupported: for a reason that appears only when the model runs, or because something failed.
    """
    try:
        style, model, view = Style(lm, gen_kwargs), unwrap(lm.model), None
        alone = getattr(lm, "alone", None)
        if isinstance(alone, AlonePictures):
            model, view = unwrap(alone.model), make_row_view(alone)
        tolerance = alone.tolerance if alone else find_tolerance(model.dtype)
        rows = make_rows(lm, requests, lm.max_length - style.max_new_tokens)
        config = model.config.get_text_config()
        lengths = Lengths(config, partial(find_fault, model, tolerance), find_window(config))
        limit = lengths.reach(len(rows[0]) + style.max_new_tokens, len(rows), lm.max_length)
        fitting = [row for row in rows if limit is None or len(row) + style.max_new_tokens <= limit]
        if fitting:
            yield from generate_rows(Batch(model, fitting, style.max_new_tokens, tolerance, view), style)
        if len(fitting) < len(rows):
            raise TooLong(f"a row may have more than {limit} tokens, and {lengths.reason}")
    except Unsupported:
        raise
    except Exception as error:  # remote code can raise anything; lm-eval will show it if it matters
        raise Unsupported(f"generation failed ({describe(error)})") from error


def generate_rows(batch: Batch, style: Style) -> Iterator[tuple[int, str]]:
    while batch.active or batch.waiting:
        batch.step()
        for row in batch.dismiss(style.find_finished(batch.active)):
            text = style.decode(row.generated)
            yield from ((index, text) for index in row.indices)


def make_rows(lm: HFLM, requests: Sequence[tuple[int, tuple[Any, ...]]], room: int) -> list[Row]:
    """A row for each distinct context, the longest prompt first."""
    rows: dict[object, Row] = {}
    for index, (context, gen_kwargs, *shown) in requests:
        ids = lm.encode_prompt((context, gen_kwargs, *shown), room) if shown else None
        name = context if ids is None else tuple(ids)
        if name not in rows:
            if ids is None:
                tokens, _ = lm.tok_batch_encode([context], left_truncate_len=room, truncation=lm.truncation)
                ids = tokens[0].tolist()
            rows[name] = Row([], ids)
        rows[name].indices.append(index)
    if not all(row.prompt for row in rows.values()):
        raise Unsupported("a prompt has no tokens")
    return sorted(rows.values(), key=len, reverse=True)


class Style:
    """When an answer ends and what its text is, exactly as in lm-eval.

    Args:
        lm: the model.
        gen_kwargs: generation settings.

    Attributes:
        max_new_tokens: maximum number of tokens to generate.
    """

    def __init__(self, lm: HFLM, gen_kwargs: Mapping[str, Any]) -> None:
        settings = stock.read_settings(gen_kwargs, lm.max_gen_toks)
        self.lm = lm
        self.max_new_tokens: int = settings["max_gen_toks"]
        eos = lm.tok_decode(lm.eot_token_id, skip_special_tokens=False)
        self.until = stock.list_stops(settings["until"], eos)
        ids = settings.get("eos_token_id", unwrap(lm.model).generation_config.eos_token_id)
        self.eos = set(ids if isinstance(ids, list) else [ids])
        # lm-eval looks back two tokens further than a stop string is long: it may be tokenized differently
        self.window = 2 + max(len(lm.tokenizer.encode(stop, add_special_tokens=False)) for stop in self.until)

    def find_finished(self, rows: Sequence[Row]) -> list[int]:
        """Indices of the rows whose answer is finished."""
        tails = self.lm.tokenizer.batch_decode([row.generated[-self.window :] for row in rows])
        stopped = [any(stop in tail for stop in self.until) for tail in tails]
        return [
            place
            for place, row in enumerate(rows)
            if stopped[place] or row.generated[-1] in self.eos or len(row.generated) == self.max_new_tokens
        ]

    def decode(self, tokens: list[int]) -> str:
        end = self.lm.think_end_token
        if isinstance(end, int):
            while end in tokens:
                tokens = tokens[tokens.index(end) + 1 :]
            return stock.cut_answer(self.lm.tok_decode(tokens).lstrip(), self.until, None)
        return stock.cut_answer(self.lm.tok_decode(tokens), self.until, end)
