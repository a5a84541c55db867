"""Which picture each token sees, and a cache that keeps the last one for the tokens to come."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

NONE, ALONE = -1, -2  # in place of the index of a picture: no picture is seen; the row has no picture


class PictureCache(DynamicCache):
    """Keys and values, and the last picture of each row.

    Attributes:
        picture: [batch, vectors, size] what the tokens to come see, and [batch] whether the row has a
            picture; None: no row has.
        missing: what the tokens of a row without a picture see.
        end: tokens up to the last picture.
    """

    missing = NONE

    def __init__(self, *given: Any, **settings: Any) -> None:
        super().__init__(*given, **settings)
        self.picture: tuple[Tensor, Tensor] | None = None
        self.end = 0

    def keep(self, pictures: Tensor | None, seen: Tensor | None) -> None:
        """Keep what the last tokens of each row see: the arguments are those that ``find_seen`` returned."""
        if seen is None:
            return
        last = seen[:, -1]
        rows = torch.arange(len(last), device=last.device)
        pictures = last.new_zeros(len(last), 1, 0, 1) if pictures is None else pictures
        self.picture = pictures[rows, last.clamp(min=0)], last != self.missing
        if not torch.equal(last, seen[:, 0]):
            self.end = self.get_seq_length() + int((seen != last[:, None]).nonzero()[:, 1].max()) + 1

    def select(self, rows: Tensor) -> None:
        if self.picture is not None:
            pictures, there = self.picture
            rows = rows.to(there.device)
            self.picture = pictures[rows], there[rows]

    def reorder_cache(self, beam_idx: Tensor) -> None:
        super().reorder_cache(beam_idx)
        self.select(beam_idx)

    def batch_select_indices(self, indices: Tensor) -> None:
        super().batch_select_indices(indices)
        self.select(indices)

    def batch_repeat_interleave(self, repeats: int) -> None:
        super().batch_repeat_interleave(repeats)
        if self.picture is not None:
            self.select(torch.arange(len(self.picture[1])).repeat_interleave(repeats))

    def crop(self, tokens_to_remove: int) -> None:
        """Raises: ValueError: the last picture would be removed, and the one before it is not kept."""
        super().crop(tokens_to_remove)
        if self.picture is not None and self.get_seq_length() <= self.end:
            raise ValueError("a cache cannot be cut before its last picture")

    def reset(self) -> None:
        super().reset()
        self.picture, self.end = None, 0


def find_seen(
    places: Tensor, features: Tensor | None, kept: tuple[Tensor, Tensor] | None, previous: bool
) -> tuple[Tensor | None, Tensor | None]:
    """The pictures of each row, and which of them each token sees.

    Args:
        places: [batch, length] where a picture stands.
        features: [pictures, vectors, size] those pictures, row by row.
        kept: the last pictures before these tokens: see ``PictureCache``.
        previous: whether a token sees the last picture up to it; else the first one from it on.

    Returns:
        [batch, pictures, vectors, size], padded; and [batch, length] the index of the one that is seen, or
        ``NONE``. (None, None): there are no pictures.
    """
    if features is None:
        if kept is None:
            return None, None
        pictures, there = kept
        return pictures[:, None], (there.long() - 1)[:, None].expand_as(places)
    counts = places.sum(-1)
    first = 0 if kept is None else 1
    rows = features.new_zeros(len(places), first + int(counts.max()), *features.shape[1:])
    numbers = places.cumsum(-1) - 1 + first  # of the last picture up to each token
    row, column = places.nonzero(as_tuple=True)
    rows[row, numbers[row, column]] = features
    if previous:
        none = numbers < first
        if kept is None:
            return rows, numbers.masked_fill(none, NONE)
        rows[:, 0] = kept[0]
        return rows, torch.where(none, (kept[1].long() - 1)[:, None], numbers)
    following = numbers + (~places).long()
    return rows, following.masked_fill(following >= (counts + first)[:, None], NONE)


def mark_alone(
    places: Tensor, found: tuple[Tensor | None, Tensor | None], kept: tuple[Tensor, Tensor] | None
) -> tuple[Tensor | None, Tensor]:
    """What ``find_seen`` found, with ``ALONE`` for the tokens of rows without pictures."""
    pictures, seen = found
    has = places.any(-1) if kept is None else places.any(-1) | kept[1]
    seen = torch.full_like(places, NONE, dtype=torch.long) if seen is None else seen
    return pictures, seen.masked_fill(~has[:, None], ALONE)
