"""Rows that are generated together: what their prompts begin with once, the rest of each in its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers import Cache, DynamicLayer

from gptalt_eval.scoring.attention import (
    NAME,
    Unsupported,
    attend,
    attend_first,
    computing,
    fill_lanes,
    use_attention,
)
from gptalt_eval.scoring.probe import allow, find_window
from gptalt_eval.scoring.tree import measure_common

ROWS = 40  # that are generated at once: with 48, GSM8K took more memory than stock at its best batch size
KEPT = 2**31  # bytes of their keys and values at most, those of the common beginning not counted
TOKENS = 1024  # of prompts that go through the model at once


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
        self.device = model.get_input_embeddings().weight.device
        self.active: list[Row] = []
        self.waiting = rows
        prompts = [row.prompt for row in rows]
        common = min(measure_common(np.array(min(prompts)), np.array(max(prompts))), len(prompts[-1]) - 1)
        self.expected, past = read_prompt(model, rows[0].prompt, most)
        room = fill_lanes(len(rows[0]) - common + most)
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
        positions = torch.tensor(places, device=self.device)[:, None]
        positions = positions + torch.arange(len(tokens[0]), device=self.device)
        self.cache.expect(len(self.active) - len(tokens), positions)
        with torch.no_grad(), use_attention(self.model, NAME), computing(self.cache):
            output = self.model(
                input_ids=torch.tensor(tokens, device=self.device), position_ids=positions,
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
        kept = fill_lanes(common)
        self.past = [(keys[:, :, :kept], values[:, :, :kept]) for keys, values in past]
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
        reach = fill_lanes(int(self.slots.max()) + 1)
        hidden = torch.arange(reach, device=positions.device) > self.slots[:, None, :, None]
        self.mask = torch.zeros(hidden.shape, dtype=self.dtype, device=positions.device)
        self.mask.masked_fill_(hidden, torch.finfo(self.dtype).min)

    def update(
        self, key_states: Any, value_states: Any, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[Any, Any]:
        """Keep the keys and values of the tokens; those of their rows so far, without the common ones."""
        self.layer = layer_idx
        own = [states[self.rows] for states in self.own[layer_idx]]
        for states, new in zip(own, (key_states, value_states), strict=True):
            rows = torch.arange(len(new), device=new.device)[:, None]
            states[rows, :, self.slots] = new.transpose(1, 2)
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
            part, part_weight = attend_first(together, *self.past[self.layer], self.common, scale)
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
        device = model.get_input_embeddings().weight.device
        output = model(input_ids=torch.tensor([prompt], device=device), use_cache=True, logits_to_keep=1)
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
