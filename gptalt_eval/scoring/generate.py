"""Greedy generation, in which the tokens that all prompts begin with are computed once.

A row leaves as soon as it is finished and another takes its place. transformers' continuous batching gathers
the keys of all rows anew at every step and scores each row's query against those of all the others; on a CPU
that costs more than lm-eval's padding.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs, postprocess_generated_text
from transformers import Cache, DynamicLayer, PreTrainedModel

from gptalt_eval.scoring.attention import NAME, Unsupported, attend, computing, use_attention
from gptalt_eval.scoring.probe import allow, describe, find_window
from gptalt_eval.scoring.tree import measure_common

__all__ = ["Unsupported", "explain_unsupported", "generate_until"]

ROWS = 64  # that are generated at once
KEPT = 2**31  # bytes of their keys and values at most, those of the common beginning not counted
TOKENS = 1024  # of prompts that go through the model at once
# settings that leave a greedy answer as it is, with the value they must have; None: with any
NEUTRAL = {
    "do_sample": False, "num_beams": 1, "num_return_sequences": 1, "repetition_penalty": 1.0,
    "length_penalty": None, "temperature": None, "top_k": None, "top_p": None, "min_p": None,
    "typical_p": None, "use_cache": True,
}  # fmt: skip
# in a model's generation config: what lm-eval overrules, what is read here, and what is no setting
OVERRULED = {
    "do_sample", "max_length", "bos_token_id", "eos_token_id", "pad_token_id", "transformers_version",
    "_from_model_config",
}  # fmt: skip


def generate_until(
    lm: HFLM, requests: Sequence[tuple[str, dict[str, Any]]], answered: Callable[[int, str], None]
) -> None:
    """Answer requests as lm-eval does with a batch size of 1.

    Args:
        lm: the model.
        requests: contexts and their generation settings.
        answered: gets a request's index and its text, as soon as it is finished.

    Raises:
        Unsupported: lm-eval's own way is needed for the requests that are not answered yet, which are all of
            them unless something failed in the middle; the text says why.
    """
    groups: dict[str, list[int]] = {}
    for index, (_, gen_kwargs) in enumerate(requests):
        groups.setdefault(repr(sorted(gen_kwargs.items())), []).append(index)
    for indices in groups.values():
        if reason := explain_unsupported(lm, requests[indices[0]][1]):
            raise Unsupported(reason)
    for indices in groups.values():
        contexts = [(index, requests[index][0]) for index in indices]
        with contextlib.closing(answer_group(lm, contexts, requests[indices[0]][1])) as answers:
            for index, text in answers:
                answered(index, text)


def explain_unsupported(lm: HFLM, gen_kwargs: Mapping[str, Any]) -> str | None:
    """Why lm-eval's own way is needed for requests with these settings; None: none is known yet."""
    model = unwrap(lm)
    if lm.backend != "causal":
        return "an encoder-decoder model"
    if type(lm)._model_generate is not HFLM._model_generate:
        return "a backend that generates in a way of its own"
    if getattr(getattr(lm.model, "active_peft_config", None), "is_prompt_learning", False):
        return "its adapter puts tokens before the prompt"
    if not isinstance(model, PreTrainedModel) or not model.is_backend_compatible():
        return "its attention cannot be replaced"
    if model.tp_size or any(parameter.device.type != "cpu" for parameter in model.parameters()):
        return "the model is not on one CPU"
    if lm.mixed_precision_dtype is not None:
        return "it computes in mixed precision"
    return explain_settings(lm, gen_kwargs)


def explain_settings(lm: HFLM, gen_kwargs: Mapping[str, Any]) -> str | None:
    settings = normalize_gen_kwargs(dict(gen_kwargs), lm.max_gen_toks)
    most = settings.pop("max_gen_toks")
    settings.pop("until")
    if not 0 < most < lm.max_length:
        return f"{most} tokens to generate where the context holds {lm.max_length}"
    config = unwrap(lm).generation_config.to_diff_dict()
    own = [(name, value) for name, value in config.items() if value and name not in OVERRULED]
    for name, value in [*settings.items(), *own]:
        if name not in NEUTRAL or NEUTRAL[name] not in (None, value):
            return f"{name}={value} is set"
    return None


def unwrap(lm: HFLM) -> Any:
    """The model without PEFT's wrapper: a LoRA is in its layers."""
    return lm.model.get_base_model() if hasattr(lm.model, "get_base_model") else lm.model


@dataclass
class Row:
    """One prompt and what follows it.

    Attributes:
        indices: the requests that ask for it.
        prompt: tokens.
        said: tokens of the answer.
    """

    indices: list[int]
    prompt: list[int]
    said: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.prompt) + len(self.said)


def answer_group(
    lm: HFLM, requests: Sequence[tuple[int, str]], gen_kwargs: Mapping[str, Any]
) -> Generator[tuple[int, str], None, None]:
    """Index and text of each request of a group with the same settings, as soon as it is finished.

    Raises:
        Unsupported: for a reason that shows only when the model runs, or because something failed.
    """
    try:
        style = Style(lm, gen_kwargs)
        rows = make_rows(lm, requests, lm.max_length - style.most)
        batch = Batch(unwrap(lm), rows, style.most)
        while batch.active or batch.waiting:
            batch.step()
            for row in batch.dismiss(style.find_finished(batch.active)):
                text = style.decode(row.said)
                yield from ((index, text) for index in row.indices)
    except Unsupported:
        raise
    except Exception as error:  # remote code raises what it likes; lm-eval will show it where it matters
        raise Unsupported(f"generation failed ({describe(error)})") from error


def make_rows(lm: HFLM, requests: Sequence[tuple[int, str]], room: int) -> list[Row]:
    """A row for each distinct context, the longest prompt first."""
    rows: dict[str, Row] = {}
    for index, context in requests:
        if context not in rows:
            tokens, _ = lm.tok_batch_encode([context], left_truncate_len=room, truncation=lm.truncation)
            rows[context] = Row([], tokens[0].tolist())
        rows[context].indices.append(index)
    if not all(row.prompt for row in rows.values()):
        raise Unsupported("a prompt has no tokens")
    return sorted(rows.values(), key=len, reverse=True)


class Style:
    """When an answer ends and what its text is, as lm-eval has it.

    Args:
        lm: the model.
        gen_kwargs: generation settings.

    Attributes:
        most: tokens of an answer.
    """

    def __init__(self, lm: HFLM, gen_kwargs: Mapping[str, Any]) -> None:
        settings = normalize_gen_kwargs(dict(gen_kwargs), lm.max_gen_toks)
        self.lm = lm
        self.most: int = settings["max_gen_toks"]
        eos = lm.tok_decode(lm.eot_token_id, skip_special_tokens=False)
        self.until: list[str] = handle_stop_sequences(settings["until"], eos=eos)
        ids = unwrap(lm).generation_config.eos_token_id
        self.eos = set(ids if isinstance(ids, list) else [ids])
        # lm-eval looks back two tokens more than a stop string has: a model may write it in other tokens
        self.window = 2 + max(len(lm.tokenizer.encode(stop, add_special_tokens=False)) for stop in self.until)

    def find_finished(self, rows: Sequence[Row]) -> list[int]:
        """Places of the rows whose answer has ended."""
        tails = self.lm.tokenizer.batch_decode([row.said[-self.window :] for row in rows])
        stopped = [any(stop in tail for stop in self.until) for tail in tails]
        return [
            place
            for place, row in enumerate(rows)
            if stopped[place] or row.said[-1] in self.eos or len(row.said) == self.most
        ]

    def decode(self, said: list[int]) -> str:
        end = self.lm.think_end_token
        if isinstance(end, int):
            while end in said:
                said = said[said.index(end) + 1 :]
            return str(postprocess_generated_text(self.lm.tok_decode(said).lstrip(), self.until, None))
        return str(postprocess_generated_text(self.lm.tok_decode(said), self.until, end))


class Batch:
    """The rows that are being generated, and those that wait.

    Args:
        model: a causal transformers model, in evaluation mode.
        rows: the longest prompt first.
        most: tokens of an answer.

    Raises:
        Unsupported: the model's layers see or keep something else than the keys and values of all tokens.
    """

    def __init__(self, model: Any, rows: list[Row], most: int) -> None:
        self.model = model
        self.active: list[Row] = []
        self.waiting = rows
        prompts = [row.prompt for row in rows]
        common = min(measure_common(np.array(min(prompts)), np.array(max(prompts))), len(prompts[-1]) - 1)
        self.expected, past = read_prompt(model, rows[0].prompt, most)
        room = len(rows[0]) - common + most
        size = sum(states[0, :, 0].nbytes for pair in past for states in pair)
        self.limit = max(1, min(ROWS, len(rows), KEPT // (size * room)))
        self.cache = RowCache(past, common, self.limit, room)

    def step(self) -> None:
        """Let every row say a token, after others have taken the places of those that left."""
        if len(self.active) <= self.limit * 3 // 4:  # several at once: each call of the model has its price
            self.admit()
        newest = [[(row.said or row.prompt)[-1]] for row in self.active]
        logits = self.run(newest, [len(row) - 1 for row in self.active])
        if self.expected is not None:
            verify(logits[0], self.expected, self.cache.dtype)
            self.expected = None
        for row, token in zip(self.active, logits.argmax(-1).tolist(), strict=True):
            row.said.append(token)

    def admit(self) -> None:
        while self.waiting and len(self.active) < self.limit:
            start, end = self.cache.common, len(self.waiting[0])
            count = min(self.limit - len(self.active), max(1, TOKENS // (end - start)))
            rows, self.waiting = self.waiting[:count], self.waiting[count:]
            self.active += rows
            # rows that are shorter than the first are padded; their own tokens overwrite that later
            for begin in range(start, end, TOKENS):
                stop = min(end, begin + TOKENS)
                tokens = [(row.prompt[begin:stop] + [0] * (stop - begin))[: stop - begin] for row in rows]
                self.run(tokens, [begin] * len(rows))

    def run(self, tokens: list[list[int]], places: list[int]) -> Any:
        """The logits after tokens of the last rows; each row's stand from its place on."""
        positions = torch.tensor(places)[:, None] + torch.arange(len(tokens[0]))
        self.cache.expect(len(self.active) - len(tokens), positions)
        with torch.no_grad(), use_attention(self.model, NAME), computing(self.cache):
            output = self.model(
                input_ids=torch.tensor(tokens), position_ids=positions,
                past_key_values=self.cache, use_cache=True, logits_to_keep=1,
            )  # fmt: skip
        return output.logits[:, -1].float()

    def dismiss(self, places: Sequence[int]) -> list[Row]:
        """Take out rows; the last ones move up into their places."""
        dismissed = []
        for place in sorted(places, reverse=True):
            dismissed.append(self.active[place])
            last = self.active.pop()
            if place < len(self.active):
                self.active[place] = last
                self.cache.move(len(self.active), place)
        return dismissed


class RowCache(Cache):  # type: ignore[misc]
    """Keys and values: those of the common beginning once, what follows it by row. Attends to both.

    Args:
        past: by layer, keys and values of one prompt: [1, groups, L, D].
        common: tokens that all prompts begin with.
        rows: that are generated at once.
        room: tokens of a row after the common ones.
    """

    def __init__(self, past: list[tuple[Any, Any]], common: int, rows: int, room: int) -> None:
        super().__init__(layer_class_to_replicate=DynamicLayer)
        self.common = common
        self.dtype = past[0][0].dtype
        self.past = [(keys[:, :, :common], values[:, :, :common]) for keys, values in past]
        # zeros: what is not written yet is masked, but would spoil the sum if it were no number
        self.own = [
            [states.new_zeros(rows, states.shape[1], room, states.shape[3]) for states in pair]
            for pair in past
        ]
        self.layer = 0

    def expect(self, first: int, positions: torch.Tensor) -> None:
        """Tokens at positions [N, Q] come next, of N rows from ``first`` on."""
        self.slots = positions - self.common
        self.rows = slice(first, first + len(positions))
        reach = int(self.slots.max()) + 1
        hidden = torch.arange(reach) > self.slots[:, None, :, None]
        self.mask = torch.zeros(hidden.shape, dtype=self.dtype)
        self.mask.masked_fill_(hidden, torch.finfo(self.dtype).min)

    def update(
        self, key_states: Any, value_states: Any, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[Any, Any]:
        """Keep the keys and values of the tokens; those of their rows so far, without the common ones."""
        self.layer = layer_idx
        own = [states[self.rows] for states in self.own[layer_idx]]
        for states, new in zip(own, (key_states, value_states), strict=True):
            states[torch.arange(len(new))[:, None], :, self.slots] = new.transpose(1, 2)
        keys, values = (states[:, :, : self.mask.shape[-1]] for states in own)
        return keys, values

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self.common

    def move(self, source: int, target: int) -> None:
        """Give the place of one row to another."""
        for states in (states for pair in self.own for states in pair):
            states[target] = states[source]

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        count, heads, length, size = query.shape
        groups = key.shape[1]
        # the heads that share keys become rows of one head: no key is copied
        folded = query.reshape(count, groups, -1, size)
        mask = self.mask.repeat(1, 1, heads // groups, 1)
        answer, weight = attend(folded, key, value, scale, mask=mask)
        if self.common:
            together = folded.transpose(0, 1).reshape(1, groups, -1, size)
            part, part_weight = attend(together, *self.past[self.layer], scale)
            part = part.reshape(groups, count, -1, part.shape[-1]).transpose(0, 1)
            part_weight = part_weight.reshape(groups, count, -1).transpose(0, 1)
            answer = answer.lerp(part, torch.sigmoid(part_weight - weight)[..., None].to(part.dtype))
        return answer.reshape(count, heads, length, -1).transpose(1, 2)


def read_prompt(model: Any, prompt: Sequence[int], most: int) -> tuple[torch.Tensor, list[tuple[Any, Any]]]:
    """The logits after a prompt, and by layer its keys and values.

    Raises:
        Unsupported: a layer keeps or sees something else than those of all tokens.
    """
    window = find_window(model.config.get_text_config())
    if window is not None and window < len(prompt) + most:
        raise Unsupported(f"its attention window is shorter than the {len(prompt) + most} tokens of a row")
    with torch.no_grad():
        output = model(input_ids=torch.tensor([prompt]), use_cache=True, logits_to_keep=1)
    layers = output.past_key_values.layers
    if not all(isinstance(layer, DynamicLayer) and layer.get_seq_length() == len(prompt) for layer in layers):
        raise Unsupported("its layers keep something else than keys and values")
    return output.logits[0, -1].float(), [(layer.keys, layer.values) for layer in layers]


def verify(found: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype) -> None:
    """Compare the logits of one token, computed in two ways.

    Raises:
        Unsupported: rounding does not explain the difference.
    """
    difference = float((found - expected).std() / expected.std())
    if not difference <= allow(dtype):
        raise Unsupported(f"its logits differ by {difference:.1%} if a common beginning is computed once")
