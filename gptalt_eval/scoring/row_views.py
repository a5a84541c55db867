"""What of the rows that are generated a model is given: with pictures, more than tokens and their places."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
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

    def prepare(self, prompts: Sequence[Sequence[int]], places: Ints, ids: Ints) -> None:
        """Make what tokens need before the model is called; for the arguments see ``given``."""

    def keep(self, running: Iterable[Sequence[int]], waiting: Iterable[Sequence[int]]) -> None:
        """Drop what was made and is not needed for rows with these prompts, or for those still to come."""

    @contextlib.contextmanager
    def given(
        self, prompts: Sequence[Sequence[int]], places: Ints, ids: Ints
    ) -> Iterator[dict[str, torch.Tensor]]:
        """What the model is called with while this lasts.

        Args:
            prompts: those of the rows.
            places: [N, T] places of tokens in the rows.
            ids: [N, T] those tokens.
        """
        yield {"input_ids": torch.from_numpy(ids)}

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

    def prepare(self, prompts: Sequence[Sequence[int]], places: Ints, ids: Ints) -> None:
        with self.alone.autocast():
            self.pictures.encode(self.pictures.list_numbers(ids))

    def keep(self, running: Iterable[Sequence[int]], waiting: Iterable[Sequence[int]]) -> None:
        """What rows have read is in their keys and values."""
        needed = {number for prompt in waiting for number in self.pictures.list_numbers(prompt)}
        self.pictures.drop(self.pictures.features.keys() - needed)

    @contextlib.contextmanager
    def given(
        self, prompts: Sequence[Sequence[int]], places: Ints, ids: Ints
    ) -> Iterator[dict[str, torch.Tensor]]:
        with self.pictures.embedded(ids) as found:
            yield {"input_ids": found}

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


class CrossRowView(PictureRowView):
    """Rows of text and places of pictures, seen by cross-attention; an answer sees the last one."""

    def find_shown(self, prompts: Sequence[Sequence[int]], places: Ints) -> Ints:
        """[N, T] the number of the nearest picture up to each token."""
        found = []
        for prompt, row in zip(prompts, places, strict=True):
            number, _ = self.pictures.find(prompt)
            last = np.maximum.accumulate(np.where(number >= 0, np.arange(len(prompt)), -1))
            nearest = last[np.minimum(row, len(prompt) - 1)]
            found.append(np.where(nearest < 0, -1, number[nearest]))
        return np.stack(found)

    def prepare(self, prompts: Sequence[Sequence[int]], places: Ints, ids: Ints) -> None:
        shown = self.find_shown(prompts, places)
        with self.alone.autocast():
            self.pictures.encode(np.unique(shown[shown >= 0]).tolist())

    def keep(self, running: Iterable[Sequence[int]], waiting: Iterable[Sequence[int]]) -> None:
        super().keep((), [*running, *waiting])

    @contextlib.contextmanager
    def given(
        self, prompts: Sequence[Sequence[int]], places: Ints, ids: Ints
    ) -> Iterator[dict[str, torch.Tensor]]:
        yield self.pictures.show(ids, self.find_shown(prompts, places))


def make_row_view(alone: AlonePictures) -> PictureRowView:
    return CrossRowView(alone) if alone.pictures.crossing else PictureRowView(alone)
