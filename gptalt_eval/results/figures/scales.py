"""Scales of axes: where a value is in a figure, and which values are written at the axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from math import ceil, floor, inf, log10


@dataclass(frozen=True)
class Scale:
    """Values on an axis, as a place in the figure.

    Attributes:
        low, high: the values at its ends.
        start, end: their places.
        ticks: values and their labels.
        is_log: whether it is logarithmic.
    """

    low: float
    high: float
    start: float
    end: float
    ticks: Sequence[tuple[float, str]]
    is_log: bool = False

    def place(self, value: float) -> float:
        low, high = (log10(self.low), log10(self.high)) if self.is_log else (self.low, self.high)
        share = ((log10(value) if self.is_log else value) - low) / (high - low)
        return self.start + share * (self.end - self.start)


def make_scale(
    values: Sequence[float],
    start: float,
    end: float,
    most: int = 6,
    within: tuple[float, float] | None = None,
) -> Scale:
    """An axis that contains all values with a margin, and at most ``most`` + 1 ticks at round numbers.

    Args:
        values: finite ones, at least one.
        start, end: the places of its ends.
        most: intervals between ticks.
        within: the range of possible values, for which no margin is needed beyond it.
    """
    low, high = min(values), max(values)
    spread = max(high - low, 1e-6 * max(abs(low), abs(high)), 1e-9) * 0.04
    if high - low < spread:
        spread = abs(low) * 0.1 or 0.1
    within = within if within and within[0] <= low and high <= within[1] else (-inf, inf)
    low, high = max(low - spread, within[0]), min(high + spread, within[1])
    steps = (
        digit * 10.0**power for power in count(floor(log10((high - low) / most)) - 1) for digit in (1, 2, 5)
    )
    step, numbers = next(
        (step, numbers) for step in steps if len(numbers := list_multiples(step, low, high)) <= most + 1
    )
    decimals = max(0, -floor(log10(step) + 1e-9))
    return Scale(
        low, high, start, end, [(number * step, f"{number * step:,.{decimals}f}") for number in numbers]
    )


def list_multiples(step: float, low: float, high: float) -> range:
    """Which multiples of a step are between two values."""
    return range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)


def make_log_scale(
    values: Sequence[float], start: float, end: float, marked: Sequence[tuple[float, str]] = ()
) -> Scale:
    """A logarithmic axis with a margin.

    Args:
        values: above 0.
        start, end: the places of its ends.
        marked: its possible ticks; empty: powers of ten, and these times 2 and 5 if there is room.
    """
    low, high = min(values) / 1.4, max(values) * 1.4
    steps = (1, 2, 5) if high / low < 300 else (1,)
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    possible = marked or [
        (step * 10.0**power, show_quantity(step * 10.0**power)) for power in powers for step in steps
    ]
    ticks = [tick for tick in possible if low <= tick[0] <= high]
    ends = sorted({min(values), max(values)})
    return Scale(
        low, high, start, end, ticks or [(value, show_quantity(value)) for value in ends], is_log=True
    )


def show_quantity(value: float) -> str:
    """``1.5B``, ``135M``, ``20k`` or ``0.05``."""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def list_times() -> list[tuple[float, str]]:
    """Seconds, and how one says them: ``30 s``, ``5 min``, ``2 h``, ``1 d``."""
    parts = (2, 3, 4, 5, 7, 10, 15, 20, 30, 45, 60, 75, 90)
    units = (("s", 1, (1, *parts)), ("min", 60, parts), ("h", 3600, parts[:8]), ("d", 86400, (1, *parts)))
    return [(float(size * number), f"{number} {unit}") for unit, size, numbers in units for number in numbers]
