"""In which type this computer multiplies fastest."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

ROWS, INNER, COLUMNS = 512, 576, 1536  # of a product in a small model's feed-forward layer
TURNS = 12  # the best counts: other programs take processor time now and then
GAIN = 1.2  # bfloat16 must be this much faster: it is also less exact


@dataclass(frozen=True)
class Dtype:
    """The type of the weights of a model for which the user names none.

    Attributes:
        name: as torch calls it, such as ``float32``.
        reason: why it is chosen.
    """

    name: str
    reason: str


@cache
def choose_dtype() -> Dtype:
    """The faster type; float32, which is also the exact one, unless the other is clearly faster."""
    import torch

    if torch.cuda.is_available():
        if torch.cuda.is_bf16_supported():
            return Dtype("bfloat16", "the GPU computes with it at full speed")
        return Dtype("float16", "the GPU does not know bfloat16")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return Dtype("float32", "several processes could measure differently")
    return compare(*measure_rates([torch.float32, torch.bfloat16]))


def compare(exact: float, short: float) -> Dtype:
    """Choose by the rates of products in float32 and in bfloat16, in 10^9 operations per second."""
    rates = f"{exact:,.0f} GFLOP/s in float32, {short:,.0f} in bfloat16"
    return Dtype("bfloat16" if short > GAIN * exact else "float32", f"products run at {rates}")


def measure_rates(dtypes: Sequence[Any]) -> list[float]:
    """Floating-point operations of products in each type, in 10^9 per second.

    The types take turns, since the machine's speed changes.
    """
    import torch

    sides = [tuple(torch.ones(rows, INNER, dtype=dtype) for rows in (ROWS, COLUMNS)) for dtype in dtypes]
    best = [float("inf")] * len(dtypes)
    for _ in range(TURNS):
        for place, (states, weights) in enumerate(sides):
            began = time.perf_counter()
            torch.nn.functional.linear(states, weights)
            best[place] = min(best[place], time.perf_counter() - began)
    return [2 * ROWS * INNER * COLUMNS / seconds / 1e9 for seconds in best]
