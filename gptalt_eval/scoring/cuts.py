"""Divides a chunk's attention into rows and blocks at the lowest estimated cost."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from gptalt_eval.scoring.chunks import Chunk
from gptalt_eval.scoring.tree import Ints, PrefixTree


@dataclass(frozen=True)
class Row:
    """Tokens of a chunk on one path of the tree: each sees itself and those before it.

    Attributes:
        tokens: [L] places in the chunk.
        first: this row answers ``tokens[first:]``; another row answers those before.
    """

    tokens: Ints
    first: int

    @property
    def is_long(self) -> bool:
        """Whether it is cheaper on its own, with a causal mask, than in a masked batch."""
        length = len(self.tokens)
        return self.first == 0 and estimate_causal_cost(length) < estimate_masked_cost(length)


@dataclass(frozen=True)
class Block:
    """Queries that all see the same keys, and all of these.

    Attributes:
        rows: the queries ``rows[0]:rows[1]``, places in the chunk.
        columns: the keys, counted from the first one kept in the cache.
    """

    rows: tuple[int, int]
    columns: tuple[int, int]


# Costs in units of one score (one query and one key, all heads), measured on a CPU in bf16.
ROW = 500  # one more row of a batch
MERGE = 60  # merging one more part into a query's answer
CAUSAL = 0.45  # one score of a square whose upper triangle the kernel skips
EDGE = 330  # one token of such a square: what the kernel computes above the diagonal
MASKED = 1.15  # one score under a mask
COPY = 12  # copying one key and its value into a row


def estimate_causal_cost(length: int) -> float:
    return (CAUSAL * length + EDGE) * length


def estimate_masked_cost(length: int) -> float:
    return (MASKED * length + COPY) * length


def cut_pieces(tree: PrefixTree, chunk: Chunk, call: float) -> tuple[list[Row], list[Block]]:
    """Rows and blocks that cover every pair of a chunk's attention pattern exactly once, and no other pair.

    Each query is answered by one row; the other keys that it sees are in blocks.

    Args:
        tree, chunk: the tree and the chunk.
        call: cost of a call of the attention kernel, in scores.
    """
    depth = tree.depth[chunk.start : chunk.end]
    cached = len(chunk.kept)
    end = tree.subtree_end[chunk.start : chunk.end] - chunk.start
    rows, blocks = PieceCutter(depth, end, cached, call).cut()
    return rows, [*blocks, *cut_cached(depth, cached)]


def cut_cached(depth: Ints, cached: int) -> Iterator[Block]:
    """Cached key ``p`` has depth ``p``: tokens see it until the order returns to that depth."""
    seen = np.minimum(np.minimum.accumulate(depth), cached)
    steps = [0, *(np.flatnonzero(np.diff(seen)) + 1).tolist(), len(depth)]
    for begin, end in pairwise(steps):
        if seen[begin]:
            yield Block((begin, end), (0, int(seen[begin])))


class PieceCutter:
    """Cuts the attention among a chunk's own tokens, by dynamic programming over its segments.

    A segment is a run of tokens without a branch. Its subtree is either unrolled into one row per leaf, so
    that shared tokens are computed several times; or the segment becomes a row of its own and a block that
    all tokens below it see, and the subtrees below it are cut separately.

    Args:
        depth: [T] of the chunk's tokens.
        end: [T] ends of their subtrees, counted from the chunk's first token; can be beyond the chunk.
        cached: number of keys before the chunk's own.
        call: cost of a call of the attention kernel.
    """

    def __init__(self, depth: Ints, end: Ints, cached: int, call: float) -> None:
        length = len(depth)
        end = np.minimum(end, length)
        begins = np.ones(length, dtype=bool)
        begins[1:] = (np.diff(depth) != 1) | (np.diff(end) != 0)
        self.length, self.cached, self.call = length, cached, call
        self.begin: list[int] = np.flatnonzero(begins).tolist()
        self.stop = [*self.begin[1:], length]  # where the segment's own tokens end
        self.end: list[int] = end[self.begin].tolist()  # where its subtree ends
        self.segment_at = {begin: index for index, begin in enumerate(self.begin)}
        self.unrolled = [True] * len(self.begin)

    def cut(self) -> tuple[list[Row], list[Block]]:
        self.choose()
        rows: list[Row] = []
        blocks: list[Block] = []
        waiting = self.list_children(0, self.length)[::-1]
        while waiting:
            index = waiting.pop()
            begin, stop, end = self.begin[index], self.stop[index], self.end[index]
            if self.unrolled[index]:
                rows += self.unroll(index)
                continue
            rows.append(Row(np.arange(begin, stop), 0))
            blocks.append(Block((stop, end), (begin + self.cached, stop + self.cached)))
            waiting += self.list_children(stop, end)[::-1]
        return rows, blocks

    def list_children(self, begin: int, end: int) -> list[int]:
        """The sibling segments from ``begin`` to ``end``."""
        children = []
        while begin < end:
            children.append(self.segment_at[begin])
            begin = self.end[children[-1]]
        return children

    def choose(self) -> None:
        """Decide for each segment, from last to first, because children come after their parents."""
        cost = [0.0] * len(self.begin)
        # of a subtree's rows: their number, the first one's length, the total length, and the scores
        unrolled = [(0, 0, 0, 0)] * len(self.begin)
        for index in reversed(range(len(self.begin))):
            own = self.stop[index] - self.begin[index]
            rest = self.end[index] - self.stop[index]
            children = self.list_children(self.stop[index], self.end[index])
            count = sum(unrolled[child][0] for child in children) or 1
            first = own + (unrolled[children[0]][1] if children else 0)
            length = own * count + sum(unrolled[child][2] for child in children)
            scores = sum(unrolled[child][3] for child in children) + own * rest + own * first
            unrolled[index] = (count, first, length, scores)
            whole = (
                ROW * count
                + min(estimate_causal_cost(first), estimate_masked_cost(first))
                + MASKED * (scores - first**2)
                + COPY * (length - first)
            )
            below = sum(cost[child] for child in children)
            alone = ROW + min(estimate_causal_cost(own), estimate_masked_cost(own))
            split = alone + self.call + rest * (own + MERGE) + below
            self.unrolled[index] = not children or whole <= split
            cost[index] = min(whole, split) if children else whole

    def unroll(self, top: int) -> list[Row]:
        """One row for each leaf below a segment; a token is answered by the first row that contains it."""
        rows: list[Row] = []
        path: list[int] = []  # segments from the top to the current one
        answered = 0  # how many of them an earlier row answers
        for index in range(top, bisect_left(self.begin, self.end[top])):
            while path and self.end[path[-1]] <= self.begin[index]:
                path.pop()
            answered = min(answered, len(path))
            path.append(index)
            if self.stop[index] == self.end[index]:
                parts = [np.arange(self.begin[step], self.stop[step]) for step in path]
                rows.append(Row(np.concatenate(parts), sum(map(len, parts[:answered]))))
                answered = len(path)
        return rows


def group_rows(rows: Sequence[Row], call: float) -> list[list[Row]]:
    """Batches of rows: padding each batch to its longest row costs less than another call."""
    groups: list[list[Row]] = []
    wasted, answered = 0, 0
    for row in sorted(rows, key=lambda row: -len(row.tokens)):
        own = len(row.tokens) - row.first
        if groups:
            length = len(groups[-1][0].tokens)
            # a row that answers more tokens than those before it lengthens these too
            grown = max(0, own - answered) * length * len(groups[-1])
            wasted += grown + length * max(own, answered) - len(row.tokens) * own
        if not groups or wasted > call:
            groups.append([])
            wasted, answered = 0, 0
        groups[-1].append(row)
        answered = max(answered, own)
    return groups
