"""Scores rows that stand far behind the beginning they share in a packed row, at the cost of a short one.

A model may count places in the packed row where it should count depths: in a window, in a table of positions
or in a causal mask of fixed size. This shows only where the two are far apart. The places between are filled
with keys and values that no token sees, so that nothing is computed for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from gptalt_eval.scoring.chunks import Chunk, find_kept
from gptalt_eval.scoring.engine import Tally
from gptalt_eval.scoring.packed import PackedEngine, TreeCache
from gptalt_eval.scoring.tree import PrefixTree, Queries, Query, lay_out

FILLER = 3  # a token with which no row of a trial goes on


class ApartCache(TreeCache):
    """A cache whose kept keys and values are followed by copies of the last one."""

    copies = 0

    def update(
        self, key_states: Any, value_states: Any, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[Any, Any]:
        if not self.copies:
            return super().update(key_states, value_states, layer_idx)
        states = (key_states.to(value_states.dtype), value_states)
        kept = [each[:, :, : len(self.places)] for each in self.kept[layer_idx]]
        filler = [each[:, :, -1:].expand(-1, -1, self.copies, -1) for each in kept]
        key, value = (torch.cat(parts, dim=2) for parts in zip(kept, filler, states, strict=True))
        return key, value


def answer_apart(
    engine: PackedEngine, queries: Sequence[Query], shared: int, places: int, room: int
) -> list[float]:
    """An engine's answers if the second half of the queries stands ``places`` further back in the row.

    Args:
        engine: the engine.
        queries: the queries; all their rows begin alike, and the second half has a row of its own.
        shared: how many tokens all rows share.
        places: number of places between the halves.
        room: the largest such number that is tried: some kernels are compiled again for another one.
    """
    half = len(queries) // 2
    filler = Query([*queries[0].inputs[:shared], *[FILLER] * (room + 1)], [FILLER])
    asked = Queries([*queries[:half], filler, *queries[half:]])
    tree = lay_out(asked)
    begin, end = np.flatnonzero(tree.tokens == FILLER)[[0, -1]] + (0, 1)
    cache, tally, view = ApartCache(), Tally(asked.count_targets()), engine.view(tree)
    kept = np.zeros(0, dtype=np.int64)
    answers: dict[int, float] = {}
    for start, stop in ((0, begin * 5 // 8), (begin * 5 // 8, begin), (end, len(tree))):
        if start == end:
            cache.copies = places
            kept = np.concatenate([kept, np.arange(begin, begin + places)])
        chunk = make_chunk(tree, int(start), int(stop), kept)
        with torch.no_grad(), engine.attending():
            figures = engine.compute(view, chunk, cache)
        kept = find_kept(tree, chunk)
        cache.commit(kept)
        answers |= {answer.query: answer.logprob for answer in tally.add(*figures)}
    return [answers[number + (number >= half)] for number in range(len(queries))]


def make_chunk(tree: PrefixTree, start: int, end: int, kept: Any) -> Chunk:
    seen = np.concatenate([kept, np.arange(start, end)])
    return Chunk(start, end, kept, np.flatnonzero(tree.subtree_end[seen] > end))
