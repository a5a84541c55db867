"""What of a tree's tokens and positions a model is given: with pictures, more than the tree says."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from gptalt_eval.scoring.chunks import Chunk
from gptalt_eval.scoring.pictures import Pictures
from gptalt_eval.scoring.tree import Ints, PrefixTree


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

    @contextlib.contextmanager
    def given(self, chunk: Chunk) -> Iterator[dict[str, torch.Tensor]]:
        """What the model is called with while this lasts: input_ids [1, T], and more with some pictures."""
        yield {"input_ids": torch.from_numpy(self.tree.tokens[None, chunk.start : chunk.end])}


class PictureView(View):
    """A tree of text and pictures, whose features the model reads among its tokens.

    Attributes:
        shown: [N] the number of the picture that each token needs; -1: none.
    """

    def __init__(self, tree: PrefixTree, pictures: Pictures) -> None:
        super().__init__(tree)
        self.pictures = pictures
        positions = pictures.place(tree)
        if positions is not None:
            self.positions = positions[:, None]
        self.shown = self.find_shown()
        order = np.flatnonzero(self.shown >= 0)
        self.last = dict(zip(self.shown[order].tolist(), order.tolist(), strict=True))
        # the groups do not depend on which chunks are computed: rounding is the same after an interruption
        groups = pictures.group(list(dict.fromkeys(self.shown[order].tolist())))
        self.groups = {number: group for group in groups for number in group}

    def find_shown(self) -> Ints:
        number, _ = self.pictures.find(self.tree.tokens)
        return number

    def list_shown(self, chunk: Chunk) -> list[int]:
        numbers: list[int] = np.unique(self.shown[chunk.start : chunk.end]).tolist()
        return [number for number in numbers if number >= 0]

    def prepare(self, chunk: Chunk) -> None:
        features = self.pictures.features
        for number in self.list_shown(chunk):
            if number not in features:
                group = [each for each in self.groups[number] if each not in features]
                self.pictures.encode_together(group)

    def finish(self, chunk: Chunk) -> None:
        features = self.pictures.features
        self.pictures.drop([number for number in features if self.last.get(number, -1) < chunk.end])

    @contextlib.contextmanager
    def given(self, chunk: Chunk) -> Iterator[dict[str, torch.Tensor]]:
        with self.pictures.embedded(self.tree.tokens[None, chunk.start : chunk.end]) as ids:
            yield {"input_ids": ids}


class BothWaysView(PictureView):
    """A tree of text and pictures whose features see each other, later ones too."""

    def __init__(self, tree: PrefixTree, pictures: Pictures) -> None:
        super().__init__(tree, pictures)
        number, place = pictures.find(tree.tokens)
        self.tree = replace(tree, first=np.arange(len(tree)) - np.where(number >= 0, place, 0))


class CrossView(PictureView):
    """A tree of text and places of pictures, which tokens see by cross-attention."""

    def find_shown(self) -> Ints:
        """The nearest picture above each token, or at it."""
        number, _ = self.pictures.find(self.tree.tokens)
        shown = np.full(len(self.tree), -1)
        for place in np.flatnonzero(number >= 0):  # later ones are deeper, or elsewhere
            shown[place : self.tree.subtree_end[place]] = number[place]
        return shown

    @contextlib.contextmanager
    def given(self, chunk: Chunk) -> Iterator[dict[str, torch.Tensor]]:
        own = slice(chunk.start, chunk.end)
        yield self.pictures.show(self.tree.tokens[None, own], self.shown[None, own])


def make_view(tree: PrefixTree, pictures: Pictures | None, both_ways: bool) -> View:
    if pictures is None:
        return View(tree)
    if both_ways:
        return BothWaysView(tree, pictures)
    return CrossView(tree, pictures) if pictures.crossing else PictureView(tree, pictures)
