"""Runs a prefix tree through a model, chunk by chunk, and reads the answers off."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from transformers import Cache, DynamicLayer

from gptalt_eval.scoring import attention
from gptalt_eval.scoring.batches import Chunk, cut_chunk, follow
from gptalt_eval.scoring.logits import read_logits, watch_head
from gptalt_eval.scoring.tree import Ints, PrefixTree, Query, build_tree

Way = Literal["pieces", "flex", "mask"]


@dataclass(frozen=True)
class Answer:
    """One query's answer.

    Attributes:
        query: its index.
        logprob: log-probability of its targets, in nats.
        greedy: whether each target is the model's most likely token.
    """

    query: int
    logprob: float
    greedy: bool


@dataclass(frozen=True)
class Progress:
    """How far a tree is.

    Attributes:
        computed: tokens that went through the model.
        total: tokens that will.
        asked: tokens of all queries, as a row each.
        seconds: spent on those computed.
    """

    computed: int
    total: int
    asked: int
    seconds: float


class TreeCache(Cache):  # type: ignore[misc]
    """Keys and values of the ancestors of the next token, and of nothing else.

    Each layer's are cut down to what the next chunk needs as soon as it has been attended to; a chunk that
    failed leaves what was there before.
    """

    def __init__(self) -> None:
        super().__init__(layer_class_to_replicate=DynamicLayer)
        self.kept: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self.coming: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self.length = 0
        self.keep: torch.Tensor | None = None

    def begin(self, chunk: Chunk) -> None:
        self.coming = {}
        self.length = len(chunk.kept)
        self.keep = torch.from_numpy(chunk.keep)

    def commit(self) -> None:
        self.kept, self.coming = self.coming, {}

    def update(
        self, key_states: Any, value_states: Any, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[Any, Any]:
        """Append a chunk's keys and values ([1, groups, T, D]); all that it may attend to."""
        states = (key_states, value_states)
        if self.length:
            before = self.kept[layer_idx]
            states = tuple(torch.cat(pair, dim=2) for pair in zip(before, states, strict=True))
        assert self.keep is not None
        keep = self.keep.to(key_states.device)
        self.coming[layer_idx] = (states[0].index_select(2, keep), states[1].index_select(2, keep))
        return states

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self.length

    def get_query_offset(self, layer_idx: int | None = None) -> int:
        return self.length

    def get_mask_sizes(self, query_length: int, layer_idx: int | None = None) -> tuple[int, int]:
        return self.length + query_length, 0


class Engine:
    """Scores trees with one model.

    Args:
        model: a causal transformers model, in evaluation mode.
        way: how its attention gets the tree's pattern.
        budget: tokens of a chunk at most.
        logits_budget: positions of a chunk at most whose logits are computed.
        autocast: makes the context the model is called in.
        softmax_dtype: of the log-softmax.
    """

    def __init__(
        self,
        model: Any,
        way: Way,
        budget: int,
        logits_budget: int,
        autocast: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext,
        softmax_dtype: torch.dtype = torch.float32,
    ) -> None:
        self.model = model
        self.base = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.way = way
        self.budget = budget
        self.logits_budget = logits_budget
        self.autocast = autocast
        self.softmax_dtype = softmax_dtype
        self.device = model.get_input_embeddings().weight.device
        self.compiled = compile_flex(self.device) if way == "flex" else None
        self.computed = 0

    def score(
        self, queries: Sequence[Query], progress: Callable[[Progress], None] = lambda _: None
    ) -> Iterator[list[Answer]]:
        """Answer queries; each chunk's answers as soon as it is computed.

        Raises:
            torch.OutOfMemoryError: for a chunk of a single token.
        """
        tree = build_tree(queries)
        sums = Sums(tree, len(queries))
        cache = TreeCache()
        kept = np.zeros(0, dtype=np.int64)
        start = 0
        progress(Progress(0, len(tree), tree.asked, 0.0))
        seconds = 0.0
        while start < len(tree):
            chunk = cut_chunk(tree, start, kept, self.limit(sums, start))
            began = time.perf_counter()
            try:
                with torch.no_grad(), self.attending():
                    values, greedy = self.compute(tree, chunk, cache, sums)
            except RuntimeError as error:
                if not is_out_of_memory(error) or len(chunk) == 1:
                    raise
                self.shrink(len(chunk))
                continue
            cache.commit()
            kept, start = follow(tree, chunk), chunk.end
            self.computed += len(chunk)
            seconds += time.perf_counter() - began
            progress(Progress(start, len(tree), tree.asked, seconds))
            yield sums.add(chunk, values, greedy)

    def limit(self, sums: Sums, start: int) -> int:
        """Tokens of the next chunk at most."""
        first = np.searchsorted(sums.distinct, start)
        beyond = first + self.logits_budget
        if beyond >= len(sums.distinct):
            return self.budget
        return min(self.budget, max(1, int(sums.distinct[beyond]) - start))

    def shrink(self, length: int) -> None:
        self.budget = max(1, min(self.budget, length) // 2)
        self.logits_budget = max(1, self.logits_budget // 2)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def attending(self) -> contextlib.AbstractContextManager[Any]:
        if self.way == "mask":
            return contextlib.nullcontext()
        return attention.use_attention(self.base, attention.NAME)

    def compute(self, tree: PrefixTree, chunk: Chunk, cache: TreeCache, sums: Sums) -> tuple[Any, Any]:
        """The log-probabilities of a chunk's targets, and whether each is the most likely token: [S], [S]."""
        cache.begin(chunk)
        positions, rows, targets = sums.find(chunk)
        keep = torch.from_numpy(positions if len(positions) else np.zeros(1, np.int64)).to(self.device)
        pattern = self.make_pattern(tree, chunk)
        mask = None
        if self.way == "mask":
            mask = attention.make_dense_mask(tree, chunk, self.model.dtype, self.device)
        patterned = attention.computing(pattern) if pattern else contextlib.nullcontext()
        with self.autocast(), patterned, watch_head(self.model) as head:
            output = self.model(
                input_ids=self.place(tree.tokens[chunk.start : chunk.end]),
                position_ids=self.place(tree.depth[chunk.start : chunk.end]),
                attention_mask=mask, past_key_values=cache, use_cache=True, logits_to_keep=keep,
            )  # fmt: skip
        return read_logits(output.logits, rows, targets, self.softmax_dtype, head)

    def make_pattern(self, tree: PrefixTree, chunk: Chunk) -> attention.ChunkAttention | None:
        if self.way == "pieces":
            return attention.PieceAttention(tree, chunk)
        if self.way == "flex":
            return attention.FlexAttention(tree, chunk, self.device, self.compiled)
        return None

    def place(self, values: Ints) -> torch.Tensor:
        return torch.from_numpy(values)[None].to(self.device)


class Sums:
    """Collects the answers of queries whose targets may lie in several chunks."""

    def __init__(self, tree: PrefixTree, queries: int) -> None:
        self.tree = tree
        self.distinct = np.unique(tree.positions)
        self.logprob = np.zeros(queries)
        self.greedy = np.ones(queries, dtype=bool)
        self.open = np.bincount(tree.owners, minlength=queries)

    def span(self, chunk: Chunk) -> slice:
        low, high = np.searchsorted(self.tree.positions, (chunk.start, chunk.end))
        return slice(int(low), int(high))

    def find(self, chunk: Chunk) -> tuple[Ints, Ints, Ints]:
        """Of a chunk: positions whose logits are wanted [U], each target's row among them [S], targets."""
        span = self.span(chunk)
        positions, rows = np.unique(self.tree.positions[span] - chunk.start, return_inverse=True)
        return positions, rows, self.tree.targets[span]

    def add(self, chunk: Chunk, values: Any, greedy: Any) -> list[Answer]:
        """Add a chunk's figures; the queries that are answered with them."""
        owners = self.tree.owners[self.span(chunk)]
        np.add.at(self.logprob, owners, values)
        np.logical_and.at(self.greedy, owners, greedy)
        np.subtract.at(self.open, owners, 1)
        done = np.unique(owners[self.open[owners] == 0])
        return [Answer(int(i), float(self.logprob[i]), bool(self.greedy[i])) for i in done]


def compile_flex(device: torch.device) -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    # uncompiled it writes out all scores: right on any device, for tests, but slow
    return torch.compile(flex_attention, dynamic=False) if device.type == "cuda" else flex_attention


def is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "not enough memory" in str(error)
