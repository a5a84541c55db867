"""Scores a prefix tree as one packed row, chunk by chunk."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch
from transformers import Cache, DynamicLayer

from gptalt_eval.scoring import attention
from gptalt_eval.scoring.chunks import Chunk, cut_chunk, find_kept, find_needed, find_scored
from gptalt_eval.scoring.crossing import filling
from gptalt_eval.scoring.engine import Answer, Engine, Progress, Tally, return_memory, unwrap
from gptalt_eval.scoring.flex import FlexAttention, compile_flex
from gptalt_eval.scoring.pictures import Pictures
from gptalt_eval.scoring.pieces import PieceAttention
from gptalt_eval.scoring.tree import Ints, PrefixTree, Query, lay_out, share
from gptalt_eval.scoring.views import View, make_view

Way = Literal["pieces", "flex", "mask"]
States = tuple[torch.Tensor, torch.Tensor]  # keys and values


class TreeCache(Cache):  # type: ignore[misc]
    """A KV cache of the next token's ancestors only.

    Each layer's cache is reduced to what the next chunk needs as soon as that layer is done. It is written to
    a second buffer, so that a failed chunk leaves the cache unchanged; both buffers are kept, since small
    long-lived tensors among large short-lived ones would fragment the memory.
    """

    def __init__(self) -> None:
        super().__init__(layer_class_to_replicate=DynamicLayer)
        # by layer: keys and values [1, groups, room, D], the first of them in use
        self.kept: dict[int, States] = {}
        self.coming: dict[int, States] = {}
        self.length = 0
        self.keep: torch.Tensor | None = None
        self.places = np.zeros(0, dtype=np.int64)  # of the tokens whose keys and values are kept
        self.chosen: torch.Tensor | None = None  # those that this chunk needs; None: all

    def begin(self, chunk: Chunk) -> None:
        self.length = len(chunk.kept)
        self.keep = torch.from_numpy(chunk.keep)
        self.chosen = None
        if self.length < len(self.places):  # chunks in between were skipped
            self.chosen = torch.from_numpy(np.searchsorted(self.places, chunk.kept))

    def commit(self, places: Ints) -> None:
        self.kept, self.coming = self.coming, self.kept
        self.places = places

    def update(
        self, key_states: Any, value_states: Any, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[Any, Any]:
        """Append a chunk's keys and values ([1, groups, T, D]); returns all that it can attend to."""
        # in mixed precision the rotated keys have the type of their angles; attention rounds them anyway
        states = (key_states.to(value_states.dtype), value_states)
        if self.length:
            before = [each[:, :, : len(self.places)] for each in self.kept[layer_idx]]
            if self.chosen is not None:
                chosen = self.chosen.to(key_states.device)
                before = [each.index_select(2, chosen) for each in before]
            states = tuple(torch.cat(pair, dim=2) for pair in zip(before, states, strict=True))
        assert self.keep is not None
        keep = self.keep.to(key_states.device)
        if layer_idx not in self.coming or self.coming[layer_idx][0].shape[2] < len(keep):
            self.coming[layer_idx] = (make_room(states[0], len(keep)), make_room(states[1], len(keep)))
        for room, each in zip(self.coming[layer_idx], states, strict=True):
            room[:, :, : len(keep)] = each.index_select(2, keep)
        return states

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self.length

    def get_query_offset(self, layer_idx: int | None = None) -> int:
        return self.length

    def get_mask_sizes(self, query_length: int, layer_idx: int | None = None) -> tuple[int, int]:
        return self.length + query_length, 0


def make_room(states: torch.Tensor, length: int) -> torch.Tensor:
    _, groups, _, size = states.shape
    return states.new_empty(1, groups, max(256, 2 * length), size)


class PackedEngine(Engine):
    """Scores trees with one model, whose attention follows the tree.

    Args:
        model: a causal transformers model, in evaluation mode.
        way: how the tree's pattern is passed to its attention.
        budget: maximum number of tokens in a chunk.
        pictures: those of the queries; the model is the one that reads their features.
        both_ways: whether the features of a picture see each other, later ones too; with ``mask`` only.
        settings: see ``Engine``.
    """

    def __init__(
        self,
        model: Any,
        way: Way,
        budget: int,
        *settings: Any,
        pictures: Pictures | None = None,
        both_ways: bool = False,
        **named: Any,
    ) -> None:
        with filling(unwrap(model), pictures.crossing if pictures else None):
            super().__init__(model, budget, *settings, **named)
        self.way = way
        self.pictures = pictures
        self.both_ways = both_ways
        # a vision tower keeps its own attention
        self.base = unwrap(model).get_decoder() if pictures else unwrap(model)
        self.compiled = compile_flex(self.device) if way == "flex" else None

    def score(
        self,
        queries: Sequence[Query],
        progress: Callable[[Progress], None] = lambda _: None,
        known: Collection[int] = (),
    ) -> Iterator[list[Answer]]:
        """Answer queries; yields each chunk's answers as soon as it is computed."""
        shared = share(queries)
        view = self.view(lay_out(shared))
        tree = view.tree
        tally = Tally(shared.count_targets())
        read = np.unique(tree.positions)
        cache = TreeCache()
        open_places = np.unique(tree.positions[~np.isin(tree.owners, list(known))])
        waiting = self.plan(tree, read, open_places, 0, cache.places)
        total = sum(map(len, waiting))
        asked = int(np.delete(shared.count_inputs(), list(known)).sum())
        done, seconds = 0, 0.0
        progress(Progress(done, total, asked, seconds))
        while waiting:
            chunk = waiting[0]
            began = time.perf_counter()
            try:
                with torch.no_grad(), self.autocast():
                    view.prepare(chunk)
                with torch.no_grad(), self.attending():
                    figures = self.compute(view, chunk, cache)
            except Exception as error:  # the model's own code can raise anything
                self.recover(error, len(chunk), parts=len(chunk))
                waiting = self.plan(tree, read, open_places, chunk.start, chunk.kept)
                total = done + sum(map(len, waiting))
                continue
            cache.commit(find_kept(tree, chunk))
            view.finish(chunk)
            if self.device.type == "cpu":
                return_memory()
            waiting = waiting[1:]
            self.computed += len(chunk)
            self.largest = max(self.largest, len(chunk))
            done += len(chunk)
            seconds += time.perf_counter() - began
            progress(Progress(done, total, asked, seconds))
            yield [answer for answer in tally.add(*figures) if answer.query not in known]

    def plan(self, tree: PrefixTree, read: Ints, open_places: Ints, start: int, kept: Ints) -> list[Chunk]:
        """The chunks to compute.

        The cuts do not depend on which queries are open, so that a query that is answered after an
        interruption goes through the model in the same batch and is rounded in the same way.

        Args:
            tree: the tree of all queries.
            read: positions in it whose logits are needed.
            open_places: those of them that queries still wait for.
            start: the first token to compute.
            kept: its ancestors, whose keys and values are in the cache.
        """
        chunks = []
        while start < len(tree):
            chunk = cut_chunk(tree, start, kept, self.limit(read, start))
            chunks.append(chunk)
            kept, start = find_kept(tree, chunk), chunk.end
        return find_needed(chunks, open_places)

    def limit(self, read: Ints, start: int) -> int:
        """Maximum length of the next chunk; ``read`` are the positions whose logits are needed."""
        beyond = np.searchsorted(read, start) + self.rows
        if self.head.plain or beyond >= len(read):
            return self.budget
        return min(self.budget, max(1, int(read[beyond]) - start))

    def attending(self) -> contextlib.AbstractContextManager[Any]:
        if self.way == "mask":
            return contextlib.nullcontext()
        return attention.use_attention(self.base, attention.NAME)

    def view(self, tree: PrefixTree) -> View:
        return make_view(tree, self.pictures, self.both_ways)

    def compute(self, view: View, chunk: Chunk, cache: TreeCache) -> tuple[Ints, Any, Any]:
        """For a chunk's targets: query, log-probability, whether it is the most likely token; [S] each."""
        tree = view.tree
        cache.begin(chunk)
        positions, rows, targets, owners = find_scored(tree, chunk)
        keep = torch.from_numpy(positions if len(positions) else np.zeros(1, np.int64)).to(self.device)
        pattern = self.make_pattern(tree, chunk)
        mask = None
        if self.way == "mask":
            mask = self.make_mask(tree, chunk)
        patterned = attention.computing(pattern) if pattern else contextlib.nullcontext()
        positions_of = torch.from_numpy(view.positions[..., chunk.start : chunk.end]).to(self.device)
        with self.calling(), patterned, view.given(chunk) as given:
            output = self.model(
                **{name: value.to(self.device) for name, value in given.items()}, position_ids=positions_of,
                attention_mask=mask, past_key_values=cache, use_cache=True, logits_to_keep=keep,
            )  # fmt: skip
        return owners, *self.head.read(output.logits, rows, targets, self.rows)

    def make_mask(self, tree: PrefixTree, chunk: Chunk) -> Any:
        """The pattern for the model's own attention. A model that makes its own for pictures takes one a kind
        of layer instead.
        """
        mask = attention.make_dense_mask(tree, chunk, self.model.dtype, self.device)
        kinds = getattr(self.model.config.get_text_config(), "layer_types", None)
        return dict.fromkeys(kinds, mask) if self.both_ways and kinds else mask

    def make_pattern(self, tree: PrefixTree, chunk: Chunk) -> attention.ChunkAttention | None:
        if self.way == "pieces":
            return PieceAttention(tree, chunk)
        if self.way == "flex":
            return FlexAttention(tree, chunk, self.budget, self.device, self.compiled)
        return None
