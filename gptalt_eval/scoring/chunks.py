"""How a prefix tree is cut for the model: into chunks of tokens, and each chunk's attention into pieces.

All of it is integers: nothing here knows of a model or a device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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


def find_needed(chunks: Sequence[Chunk], places: Ints) -> list[Chunk]:
    """Of the chunks, those with one of the places in them, and those with ancestors of what these compute."""
    starts = np.array([chunk.start for chunk in chunks])
    needed = set((np.searchsorted(starts, places, side="right") - 1).tolist())
    for number in range(len(chunks) - 1, -1, -1):
        if number in needed:
            needed.update((np.searchsorted(starts, chunks[number].kept, side="right") - 1).tolist())
    return [chunk for number, chunk in enumerate(chunks) if number in needed]


def find_scored(tree: PrefixTree, chunk: Chunk) -> tuple[Ints, Ints, Ints, Ints]:
    """Of a chunk: places that predict something [U]; of each target, its row among them, id, query [S]."""
    low, high = np.searchsorted(tree.positions, (chunk.start, chunk.end))
    places, rows = np.unique(tree.positions[low:high] - chunk.start, return_inverse=True)
    return places, rows, tree.targets[low:high], tree.owners[low:high]


def see(tree: PrefixTree, queries: Ints, keys: Ints) -> np.ndarray:
    """Which keys each query attends to: [Q, K] booleans."""
    visible: np.ndarray = (keys <= queries[:, None]) & (queries[:, None] < tree.subtree_end[keys])
    return visible
