"""How a prefix tree is cut for the model: into chunks of tokens, and each chunk's attention into pieces.

All of it is integers: nothing here knows of a model or a device.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from gptalt_eval.scoring.tree import Ints, PrefixTree


@dataclass(frozen=True)
class Chunk:
    """Tokens ``start:end`` of a tree, which go through the model at once.

    Attributes:
        start, end: its tokens.
        kept: [A] ancestors of token ``start``, by depth: their keys and values are in the cache.
        keep: indices into ``kept`` followed by the chunk's own tokens, of the ancestors of token ``end``.
    """

    start: int
    end: int
    kept: Ints
    keep: Ints

    def __len__(self) -> int:
        return self.end - self.start


def cut_chunk(tree: PrefixTree, start: int, kept: Ints, budget: int) -> Chunk:
    """The next chunk: at most ``budget`` tokens, cut where few ancestors must be kept.

    Args:
        tree: the tree.
        start: its first token.
        kept: ancestors of that token.
        budget: tokens.
    """
    end = min(len(tree), start + budget)
    if end < len(tree):
        nearest = start + max(1, budget * 3 // 4)
        depths = tree.depth[nearest : end + 1][::-1]
        end = end - int(depths.argmin())
    seen = np.concatenate([kept, np.arange(start, end)])
    return Chunk(start, end, kept, np.flatnonzero(tree.subtree_end[seen] > end))


def follow(tree: PrefixTree, chunk: Chunk) -> Ints:
    """The ancestors that the chunk after this one finds in the cache."""
    seen: Ints = np.concatenate([chunk.kept, np.arange(chunk.start, chunk.end)])[chunk.keep]
    return seen


def see(tree: PrefixTree, queries: Ints, keys: Ints) -> np.ndarray:
    """Which keys each query attends to: [Q, K] booleans."""
    visible: np.ndarray = (keys <= queries[:, None]) & (queries[:, None] < tree.subtree_end[keys])
    return visible


@dataclass(frozen=True)
class Piece:
    """A rectangle of a chunk's attention. Every pair that is seen lies in exactly one piece.

    Attributes:
        rows: queries ``rows[0]:rows[1]``, counted from the chunk's first token.
        columns: keys, counted from the first one kept in the cache.
        kind: ``full`` (all pairs are seen), ``causal`` (a square, the lower triangle is seen) or ``masked``
            (a square, seen as the tree says).
    """

    rows: tuple[int, int]
    columns: tuple[int, int]
    kind: Literal["full", "causal", "masked"]


# Costs in units of one score (one query and one key, all heads), measured on a CPU, bf16. They are constants,
# not timed at start-up: cut by timings, no two runs would round alike.
PIECE = 6000  # a call of the attention kernel and what is around it
MERGE = 60  # a query whose answer is put together from one more piece
CAUSAL = 0.6  # of a square whose upper triangle the kernel skips
MASKED = 1.4  # a pair in a square with a mask


def cut_pieces(tree: PrefixTree, chunk: Chunk) -> list[Piece]:
    """The pieces of a chunk, squares first: together they hold every query once."""
    cached = len(chunk.kept)
    own = PieceCutter(
        tree.depth[chunk.start : chunk.end], tree.subtree_end[chunk.start : chunk.end] - chunk.start
    )
    pieces = [
        Piece(piece.rows, (piece.columns[0] + cached, piece.columns[1] + cached), piece.kind)
        for piece in own.cut()
    ]
    return pieces + list(cut_cached(tree.depth[chunk.start : chunk.end], cached))


def cut_cached(depth: Ints, cached: int) -> Iterator[Piece]:
    """Cached key ``p`` has depth ``p``: a token sees it until the order has come up to that depth again."""
    seen = np.minimum(np.minimum.accumulate(depth), cached)
    steps = [0, *(np.flatnonzero(np.diff(seen)) + 1).tolist(), len(depth)]
    for begin, end in pairwise(steps):
        if seen[begin]:
            yield Piece((begin, end), (0, int(seen[begin])), "full")


class PieceCutter:
    """Cuts the attention among a chunk's own tokens, by dynamic programming over its segments.

    A segment is a run of tokens without a branch. Its subtree is either one square with a mask, or a causal
    square of the segment, a full rectangle of what is below against it, and what is below cut by itself.

    Args:
        depth: [T] of the chunk's tokens.
        end: [T] of their subtrees, counted from the chunk's first token; may lie beyond the chunk.
    """

    def __init__(self, depth: Ints, end: Ints) -> None:
        length = len(depth)
        end = np.minimum(end, length)
        begins = np.ones(length, dtype=bool)
        begins[1:] = (np.diff(depth) != 1) | (np.diff(end) != 0)
        self.begin = np.flatnonzero(begins).tolist()
        self.stop = [*self.begin[1:], length]  # where the segment's own tokens end
        self.end = end[self.begin].tolist()  # where its subtree ends
        self.segment_at = {begin: index for index, begin in enumerate(self.begin)}
        self.cost = [0.0] * len(self.begin)
        self.groups: list[list[tuple[int, int, bool]]] = [
            [] for _ in self.begin
        ]  # of what is below a segment
        self.length = length

    def cut(self) -> list[Piece]:
        for index in reversed(range(len(self.begin))):  # children stand behind their parents
            groups, below = self.group(self.stop[index], self.end[index])
            own = self.stop[index] - self.begin[index]
            rest = self.end[index] - self.stop[index]
            self.groups[index] = groups
            self.cost[index] = PIECE + CAUSAL * own * own + below
            if rest:
                self.cost[index] += PIECE + rest * (own + MERGE)
        pieces: list[Piece] = []
        waiting = list(reversed(self.group(0, self.length)[0]))
        while waiting:
            begin, end, whole = waiting.pop()
            index = self.segment_at[begin]
            if whole:
                kind: Literal["causal", "masked"] = "causal" if self.stop[index] == end else "masked"
                pieces.append(Piece((begin, end), (begin, end), kind))
                continue
            stop = self.stop[index]
            pieces.append(Piece((begin, stop), (begin, stop), "causal"))
            if stop < end:
                pieces.append(Piece((stop, end), (begin, stop), "full"))
            waiting.extend(reversed(self.groups[index]))
        return order_pieces(pieces)

    def group(self, begin: int, end: int) -> tuple[list[tuple[int, int, bool]], float]:
        """Siblings from ``begin`` to ``end`` in runs: each one square together, or a single one cut further.

        Returns:
            (begin, end, whether it is one square) of each run, and the cost of all.
        """
        runs: list[tuple[int, int, bool]] = []
        costs: list[float] = []
        while begin < end:
            index = self.segment_at[begin]
            stop = self.end[index]
            is_chain = self.stop[index] == stop
            square = price_square(stop - begin, is_chain)
            alone = min(self.cost[index], square)
            joined = price_square(stop - runs[-1][0], False) if runs else 0.0
            if runs and joined <= costs[-1] + alone:
                runs[-1], costs[-1] = (runs[-1][0], stop, True), joined
            else:
                runs.append((begin, stop, square <= self.cost[index]))
                costs.append(alone)
            begin = stop
        return runs, sum(costs)


def price_square(length: int, causal: bool) -> float:
    return PIECE + (CAUSAL if causal else MASKED) * length * length


def order_pieces(pieces: Sequence[Piece]) -> list[Piece]:
    """Squares first: together they hold every query once."""
    return sorted(pieces, key=lambda piece: piece.kind == "full")
