"""What of the rows that are generated a model is given: with pictures, more than tokens and their places."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from gptalt_eval.scoring.engine import unwrap
from gptalt_eval.scoring.picture_trial import AlonePictures
from gptalt_eval.scoring.tree import Ints, PrefixTree


class RowView:
    """Rows of text.

    Attributes:
        base: the part of the model whose attention is replaced.
    """

    def __init__(self, model: Any) -> None:
        self.base = model

    def prepare(self, ids: Ints) -> None:
        """Make what tokens [N, T] need before the model is called."""

    def keep(self, prompts: Iterable[Sequence[int]]) -> None:
        """Drop what was made and is not needed for these prompts, which are still to come."""

    def embedded(self, ids: Ints) -> contextlib.AbstractContextManager[torch.Tensor]:
        """The ids with which the model is called while this lasts, for those of tokens [N, T]."""
        return contextlib.nullcontext(torch.from_numpy(ids))

    def place(self, prompts: Sequence[Sequence[int]], places: Ints) -> Ints:
        """Position ids [..., N, T] of tokens at places [N, T] of rows that begin with these prompts."""
        return places

    def tell(self, prompt: Sequence[int]) -> dict[str, torch.Tensor]:
        """What the model must be told about a prompt that is read alone, besides its ids."""
        return {}

    def expect(self, prompt: Sequence[int], logits: torch.Tensor) -> torch.Tensor:
        """What the logits [vocabulary] after a prompt should be, if they were computed as these."""
        return logits


class PictureRowView(RowView):
    """Rows of text and pictures.

    Args:
        alone: the model.
    """

    def __init__(self, alone: AlonePictures) -> None:
        super().__init__(unwrap(alone.model).get_decoder())
        self.alone = alone
        self.pictures = alone.pictures
        self.positions: dict[int, Ints] = {}  # by the identity of a prompt: [3, L]

    def prepare(self, ids: Ints) -> None:
        with self.alone.autocast():
            self.pictures.encode(self.pictures.list_numbers(ids))

    def keep(self, prompts: Iterable[Sequence[int]]) -> None:
        needed = {number for prompt in prompts for number in self.pictures.list_numbers(prompt)}
        self.pictures.drop(self.pictures.features.keys() - needed)

    def embedded(self, ids: Ints) -> contextlib.AbstractContextManager[torch.Tensor]:
        return self.pictures.embedded(ids)

    def place(self, prompts: Sequence[Sequence[int]], places: Ints) -> Ints:
        """Beyond a prompt, tokens are counted from its highest position on."""
        if not self.pictures.has_grid:
            return places
        found = []
        for prompt, row in zip(prompts, places, strict=True):
            positions = self.find_positions(prompt)
            beyond = positions.max() + 1 + row - len(prompt)
            within = positions[:, np.minimum(row, len(prompt) - 1)]
            found.append(np.where(row < len(prompt), within, beyond))
        return np.stack(found, axis=1)

    def find_positions(self, prompt: Sequence[int]) -> Ints:
        if id(prompt) not in self.positions:
            size, none = len(prompt), np.zeros(0, np.int64)
            tokens, counted = np.asarray(prompt, np.int64), np.arange(size)
            tree = PrefixTree(tokens, counted, np.full(size, size), none, none, none)
            positions = self.pictures.place(tree)
            assert positions is not None
            self.positions[id(prompt)] = positions
        return self.positions[id(prompt)]

    def tell(self, prompt: Sequence[int]) -> dict[str, torch.Tensor]:
        if not self.pictures.has_grid:
            return {}
        return {"position_ids": torch.from_numpy(self.find_positions(prompt)[:, None])}

    def expect(self, prompt: Sequence[int], logits: torch.Tensor) -> torch.Tensor:
        """As the whole model answers with all pictures: what is wrong here can be wrong in ``logits`` too."""
        return self.alone.read([np.asarray(prompt)], 1)[0, -1].to(logits)
