"""What of a tree's tokens and positions a model is given: with pictures, more than the tree says."""

from __future__ import annotations

import contextlib

import numpy as np
import torch

from gptalt_eval.scoring.chunks import Chunk
from gptalt_eval.scoring.pictures import Pictures
from gptalt_eval.scoring.tree import PrefixTree


class View:
    """A tree of text.

    Attributes:
        positions: [..., 1, N] position ids.
    """

    def __init__(self, tree: PrefixTree) -> None:
        self.tree = tree
        self.positions = tree.depth[None]

    def prepare(self, chunk: Chunk) -> None:
        """Make what a chunk's tokens need before the model is called."""

    def finish(self, chunk: Chunk) -> None:
        """Drop what no token after a chunk needs."""

    def embedded(self, chunk: Chunk) -> contextlib.AbstractContextManager[torch.Tensor]:
        """The ids [1, T] with which the model is called while this lasts."""
        return contextlib.nullcontext(torch.from_numpy(self.tree.tokens[None, chunk.start : chunk.end]))


class PictureView(View):
    """A tree of text and pictures."""

    def __init__(self, tree: PrefixTree, pictures: Pictures) -> None:
        super().__init__(tree)
        self.pictures = pictures
        numbers, _ = pictures.find(tree.tokens)
        positions = pictures.place(tree)
        if positions is not None:
            self.positions = positions[:, None]
        order = np.flatnonzero(numbers >= 0)
        self.last = dict(zip(numbers[order].tolist(), order.tolist(), strict=True))
        # the groups do not depend on which chunks are computed: rounding is the same after an interruption
        shown = list(dict.fromkeys(numbers[order].tolist()))
        self.groups = {number: group for group in pictures.group(shown) for number in group}

    def prepare(self, chunk: Chunk) -> None:
        features = self.pictures.features
        for number in self.pictures.list_numbers(self.tree.tokens[chunk.start : chunk.end]):
            if number not in features:
                group = [each for each in self.groups[number] if each not in features]
                self.pictures.encode_together(group)

    def finish(self, chunk: Chunk) -> None:
        features = self.pictures.features
        self.pictures.drop([number for number in features if self.last.get(number, -1) < chunk.end])

    def embedded(self, chunk: Chunk) -> contextlib.AbstractContextManager[torch.Tensor]:
        return self.pictures.embedded(self.tree.tokens[None, chunk.start : chunk.end])
