"""Counts, lists and times in sentences."""

from __future__ import annotations

from collections.abc import Sequence

NAMED = 3  # how many are named where there are many


def list_names(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``, ``a, b, c and 54 more``."""
    shown, more = names[:NAMED], len(names) - NAMED
    if more > 0:
        return f"{', '.join(shown)} and {more:,} more"
    return " and ".join(filter(None, (", ".join(shown[:-1]), *shown[-1:])))


def count_things(count: int, noun: str) -> str:
    """``1 task``, ``1,200 tasks``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def say_seconds(seconds: float) -> str:
    """``1:05``, ``2:00:05``, ``3 d 02:00:05``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days:,} d {hours:02}:{minutes:02}:{rest:02}"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
