"""What a model returns for its next call, whatever it consists of: copied, and divided and joined by row.

A tensor of at least two dimensions whose first is the number of rows has a row for each of them. Everything
else belongs to all rows.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedConfig

Combine = Callable[[Sequence[torch.Tensor]], torch.Tensor]


@dataclass(frozen=True)
class Carried:
    """What a model is given to go on.

    Attributes:
        values: by the name of the argument.
        rows: number of rows.
    """

    values: dict[str, Any]
    rows: int

    def select(self, rows: Sequence[int]) -> Carried:
        """A copy of some rows, in this order; a row can be in it several times."""
        chosen = torch.tensor(rows)

        def take(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
            return tensors[0].index_select(0, chosen.to(tensors[0].device))

        return Carried(rebuild([self.values], take, self.rows), len(rows))

    def count_bytes(self) -> int:
        """The size of one row."""
        total = 0

        def add(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
            nonlocal total
            total += tensors[0].nbytes
            return tensors[0]

        rebuild([self.values], add, self.rows)
        return total // self.rows


def join(parts: Sequence[Carried]) -> Carried | None:
    """All rows of several; None: their shapes differ, as those of keys of a short and a long prefix do."""
    if len(parts) == 1:
        return parts[0]
    rows = sum(part.rows for part in parts)
    try:
        # of one row each, so that all have the same number
        single = [part.select([row]).values for part in parts for row in range(part.rows)]
        return Carried(rebuild(single, lambda tensors: torch.cat(list(tensors)), 1), rows)
    except ValueError:
        return None


def rebuild(values: Sequence[Any], combine: Combine, rows: int) -> Any:
    """Values of the same structure made into one; ``combine`` makes one tensor of those at the same place.

    Raises:
        ValueError: they differ in something other than the contents of rows.
    """
    first = values[0]
    if isinstance(first, torch.Tensor):
        if first.ndim >= 2 and len(first) == rows:
            if len({(each.shape, each.dtype) for each in values}) > 1:
                raise ValueError("the shapes differ")
            return combine(values)
        if not all(torch.equal(first, each) for each in values[1:]):
            raise ValueError("a number differs")
        return first.clone()
    if isinstance(first, (list, tuple)):
        if len({len(each) for each in values}) > 1:
            raise ValueError("the lengths differ")
        built = [rebuild(each, combine, rows) for each in zip(*values, strict=True)]
        return built if isinstance(first, list) else type(first)(built)
    if isinstance(first, dict):
        made = copy.copy(first)
        for key in first:
            made[key] = rebuild([each[key] for each in values], combine, rows)
        return made
    if hasattr(first, "__dict__") and not callable(first) and not isinstance(first, PreTrainedConfig):
        made = copy.copy(first)
        for key in vars(first):
            setattr(made, key, rebuild([vars(each)[key] for each in values], combine, rows))
        return made
    if any(first != each for each in values[1:]):
        raise ValueError("something differs")
    return first
