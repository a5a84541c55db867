"""Rows that are generated together: their common prefix is computed once, the rest per row."""

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
from gptalt_eval.scoring.lengths import list_shorter
from gptalt_eval.scoring.memory import Memory
from gptalt_eval.scoring.row_views import RowView
from gptalt_eval.scoring.tree import measure_common
from gptalt_eval.scoring.trial import make_rows

ROWS = 40  # in a batch: with 48, GSM8K took more memory than stock at its best batch size
GPU_ROWS = 256  # on a GPU, on which a step of few rows takes as long
KEPT = 2**31  # maximum bytes of the rows' keys and values, without those of the common prefix
GPU_KEPT = 0.25  # the same on a GPU, as a share of its free memory
TOKENS = 1024  # of prompts that go through the model in one call


@dataclass
class Row:
    """One prompt and its generated tokens.

    Attributes:
        indices: the requests with this prompt.
        prompt: its tokens.
        generated: tokens generated so far.
    """

    indices: list[int]
    prompt: list[int]
    generated: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.prompt) + len(self.generated)


class Batch:
    """The rows that are being generated, and those that wait for a place.

    Args:
        model: a causal transformers model, in evaluation mode.
        rows: the longest prompt first.
        max_new_tokens: maximum number of tokens to generate.
        view: what the model is given of the rows; by default, they are texts.

    Raises:
        Unsupported: a layer sees or caches something other than the keys and values of all tokens.
    """

    def __init__(
        self,
        model: Any,
        rows: list[Row],
        max_new_tokens: int,
        tolerance: float,
        view: RowView | None = None,
    ) -> None:
        self.model = model
        self.tolerance = tolerance
        self.view = view or RowView(model)
        self.device = model.get_input_embeddings().weight.device
        self.active: list[Row] = []
        self.waiting = rows
        prompts = [row.prompt for row in rows]
        common = min(measure_common(np.array(min(prompts)), np.array(max(prompts))), len(prompts[-1]) - 1)
        logits, past = read_prompt(model, rows[0].prompt, self.view)
        self.expected: torch.Tensor | None = self.view.expect(rows[0].prompt, logits)
        room = fill_lanes(len(rows[0]) - common + max_new_tokens)
        size = sum(states[0, :, 0].nbytes for pair in past for states in pair)
        most, kept = find_limits(self.device)
        self.limit = max(1, min(most, len(rows), kept // (size * room)))
        self.cache = RowCache(past, common, self.limit, room)

    def step(self) -> None:
        """Generate one token in every row, after free places are filled with waiting rows."""
        logits = self.predict()
        if self.expected is not None:
            verify(logits[0], self.expected, self.tolerance)
            self.expected = None
        for row, token in zip(self.active, logits.argmax(-1).tolist(), strict=True):
            row.generated.append(token)

    def predict(self) -> torch.Tensor:
        """The logits [N, vocabulary] of every row's next token, after free places are filled."""
        if len(self.active) <= self.limit * 3 // 4:  # several at once: a call of the model has a fixed cost
            self.admit()
        newest = [[(row.generated or row.prompt)[-1]] for row in self.active]
        return self.run(newest, [len(row) - 1 for row in self.active])

    def admit(self) -> None:
        while self.waiting and len(self.active) < self.limit:
            start, end = self.cache.common, len(self.waiting[0])
            count = min(self.limit - len(self.active), max(1, TOKENS // (end - start)))
            rows, self.waiting = self.waiting[:count], self.waiting[count:]
            self.active += rows
            # rows that are shorter than the first are padded; their own tokens overwrite the padding later
            for begin in range(start, end, TOKENS):
                stop = min(end, begin + TOKENS)
                tokens = [(row.prompt[begin:stop] + [0] * (stop - begin))[: stop - begin] for row in rows]
                self.run(tokens, [begin] * len(rows))
            self.view.keep([row.prompt for row in self.active], [row.prompt for row in self.waiting])

    def run(self, tokens: list[list[int]], places: list[int]) -> Any:
        """Run tokens of the last rows, each row's from its place on; returns the logits after them."""
        slots, given = np.array(places)[:, None] + np.arange(len(tokens[0])), np.array(tokens)
        first = len(self.active) - len(tokens)
        self.cache.expect(first, torch.from_numpy(slots).to(self.device))
        prompts = [row.prompt for row in self.active[first:]]
        positions = self.view.place(prompts, slots)
        self.view.prepare(prompts, slots, given)
        attending, shown = use_attention(self.view.base, NAME), self.view.given(prompts, slots, given)
        with torch.no_grad(), attending, computing(self.cache), shown as named:
            output = self.model(
                **{name: value.to(self.device) for name, value in named.items()},
                position_ids=torch.from_numpy(positions).to(self.device),
                past_key_values=self.cache, use_cache=True, logits_to_keep=1,
            )  # fmt: skip
        return output.logits[:, -1].float()

    def dismiss(self, places: Sequence[int]) -> list[Row]:
        """Remove rows; the last ones move into their places."""
        dismissed = []
        for place in sorted(places, reverse=True):
            dismissed.append(self.active[place])
            last = self.active.pop()
            if place < len(self.active):
                self.active[place] = last
                self.cache.move(len(self.active), place)
        if not self.active and not self.waiting:
            self.view.keep((), ())
        return dismissed


class RowCache(Cache):  # type: ignore[misc]
    """A KV cache with the common prefix stored once and the rest by row; computes attention to both.

    Args:
        past: for each layer, keys and values of one prompt: [1, groups, L, D].
        common: length of the common prefix.
        rows: number of rows in a batch.
        room: maximum number of a row's tokens after the common prefix.
    """

    def __init__(self, past: list[tuple[Any, Any]], common: int, rows: int, room: int) -> None:
        super().__init__(layer_class_to_replicate=DynamicLayer)
        self.common = common
        self.dtype = past[0][0].dtype
        kept = fill_lanes(common)
        self.past = [(keys[:, :, :kept], values[:, :, :kept]) for keys, values in past]
        # zeros: unwritten entries are masked, but a NaN among them would still spoil the sum
        self.own = [
            [states.new_zeros(rows, states.shape[1], room, states.shape[3]) for states in pair]
            for pair in past
        ]
        self.layer = 0

    def expect(self, first: int, positions: torch.Tensor) -> None:
        """Prepare for tokens at positions [N, Q] of the N rows from ``first`` on."""
        self.slots = positions - self.common
        self.rows = slice(first, first + len(positions))
        reach = fill_lanes(int(self.slots.max()) + 1)
        hidden = torch.arange(reach, device=positions.device) > self.slots[:, None, :, None]
        self.mask = torch.zeros(hidden.shape, dtype=self.dtype, device=positions.device)
        self.mask.masked_fill_(hidden, torch.finfo(self.dtype).min)

    def update(
        self, key_states: Any, value_states: Any, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[Any, Any]:
        """Store the tokens' keys and values; returns all those of their rows after the common prefix."""
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
        """Copy the row ``source`` to the place ``target``."""
        for states in (states for pair in self.own for states in pair):
            states[target] = states[source]

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        count, heads, length, size = query.shape
        groups = key.shape[1]
        # heads that share keys become rows of one head, so that no key is copied
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


def find_limits(device: torch.device) -> tuple[int, int]:
    """Rows in a batch, and bytes of their keys and values."""
    if device.type != "cuda":
        return ROWS, KEPT
    free, _ = torch.cuda.mem_get_info(device)
    return GPU_ROWS, int(free * GPU_KEPT)


def find_fault(model: Any, tolerance: float, length: int) -> str:
    """What is wrong with the tokens after a row of a length and shorter ones that are generated together.

    Raises:
        Unsupported: a layer caches something other than the keys and values of all tokens.
    """
    lengths = [length, *list_shorter(length)]
    rows = [row.tolist() for row in make_rows(model, lengths)]
    view = RowView(model)
    expected = [read_prompt(model, row, view)[0] for row in rows]
    batch = Batch(model, [Row([], row) for row in rows], 1, tolerance)
    with Memory(model).kept_fresh():
        found = batch.predict()
    try:
        for one, other in zip(found, expected, strict=False):  # memory may not hold both
            verify(one, other, tolerance)
    except Unsupported as fault:
        return str(fault)
    return ""


def read_prompt(
    model: Any, prompt: Sequence[int], view: RowView
) -> tuple[torch.Tensor, list[tuple[Any, Any]]]:
    """The logits after a prompt, and each layer's keys and values.

    Raises:
        Unsupported: a layer caches something other than those of all tokens.
    """
    tokens, device = np.array([prompt]), model.get_input_embeddings().weight.device
    settings: dict[str, Any] = {"use_cache": True, "logits_to_keep": 1}
    settings |= {name: value.to(device) for name, value in view.tell(prompt).items()}
    given = [prompt], np.arange(len(prompt))[None], tokens
    view.prepare(*given)
    with torch.no_grad(), Memory(model).kept_fresh(), view.given(*given) as named:
        output = model(**{name: value.to(device) for name, value in named.items()}, **settings)
    layers = output.past_key_values.layers
    if not all(isinstance(layer, DynamicLayer) and layer.get_seq_length() == len(prompt) for layer in layers):
        raise Unsupported("its layers cache something other than keys and values")
    return output.logits[0, -1].float(), [(layer.keys, layer.values) for layer in layers]


def verify(found: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    """Compare the logits of one token that were computed in two ways.

    Raises:
        Unsupported: rounding does not explain the difference.
    """
    difference = float((found - expected).std() / expected.std())
    if not difference <= tolerance:
        raise Unsupported(f"its logits differ by {difference:.1%} if the common prefix is computed once")
