"""Cuts a prefix tree into chunks of tokens for the model.

This is integer arithmetic only, without models or devices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gptalt_eval.scoring.tree import Ints, PrefixTree


@dataclass(frozen=True)
class Chunk:
    """Tokens ``start:end`` of a tree, which go through the model together.

    Attributes:
        start, end: its tokens.
        kept: [A] ancestors of token ``start``, by depth: their keys and values are in the cache.
        keep: the ancestors of token ``end``, as indices into ``kept`` followed by the chunk's own tokens.
    """

    start: int
    end: int
    kept: Ints
    keep: Ints

    def __len__(self) -> int:
        return self.end - self.start


def cut_chunk(tree: PrefixTree, start: int, kept: Ints, budget: int) -> Chunk:
    """The next chunk: at most ``budget`` tokens, cut where only few ancestors must be kept.

    Args:
        tree: the tree.
        start: the chunk's first token.
        kept: ancestors of that token.
        budget: maximum number of tokens.
    """
    end = min(len(tree), start + budget)
    if end < len(tree):
        nearest = start + max(1, budget * 3 // 4)
        depths = tree.depth[nearest : end + 1][::-1]
        end = keep_together(tree, start, end - int(depths.argmin()))
    seen = np.concatenate([kept, np.arange(start, end)])
    return Chunk(start, end, kept, np.flatnonzero(tree.subtree_end[seen] > end))


def keep_together(tree: PrefixTree, start: int, end: int) -> int:
    """The nearest place to cut where no token before it sees one after it; before ``end`` if there is one."""
    if tree.first is None or end >= len(tree) or tree.first[end] == end:
        return end
    if tree.first[end] > start:
        return int(tree.first[end])
    later = np.flatnonzero(tree.first[end:] == np.arange(end, len(tree)))
    return end + int(later[0]) if len(later) else len(tree)


def find_kept(tree: PrefixTree, chunk: Chunk) -> Ints:
    """The ancestors that are in the cache for the next chunk."""
    seen: Ints = np.concatenate([chunk.kept, np.arange(chunk.start, chunk.end)])[chunk.keep]
    return seen


def find_needed(chunks: Sequence[Chunk], places: Ints) -> list[Chunk]:
    """The chunks that contain one of the places, and those that contain ancestors of these chunks."""
    starts = np.array([chunk.start for chunk in chunks])
    needed = set((np.searchsorted(starts, places, side="right") - 1).tolist())
    for number in range(len(chunks) - 1, -1, -1):
        if number in needed:
            needed.update((np.searchsorted(starts, chunks[number].kept, side="right") - 1).tolist())
    return [chunk for number, chunk in enumerate(chunks) if number in needed]


def find_scored(tree: PrefixTree, chunk: Chunk) -> tuple[Ints, Ints, Ints, Ints]:
    """A chunk's predicting positions [U]; and for each target its index among them, its id, its query [S]."""
    low, high = np.searchsorted(tree.positions, (chunk.start, chunk.end))
    places, rows = np.unique(tree.positions[low:high] - chunk.start, return_inverse=True)
    return places, rows, tree.targets[low:high], tree.owners[low:high]


def find_visible(tree: PrefixTree, queries: Ints, keys: Ints) -> np.ndarray:
    """Which keys each query attends to: [Q, K] booleans."""
    first = keys if tree.first is None else tree.first[keys]
    visible: np.ndarray = (first <= queries[:, None]) & (queries[:, None] < tree.subtree_end[keys])
    return visible
