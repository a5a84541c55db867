"""A progress bar for reading big files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
BIG = 20 << 20  # bytes: reading a file of this size takes long enough for a progress bar


def is_big(files: Iterable[Path]) -> bool:
    return sum(file.stat().st_size for file in files) >= BIG


def show_progress(rows: Iterable[T], text: str, total: int | None) -> Iterator[T]:
    """Yield the same rows, and count them in a progress bar on stderr if that is a terminal.

    Args:
        rows: the rows.
        text: the bar's label.
        total: how many rows are expected; None: unknown.
    """
    from gptalt_eval.machine.bar import Bar, Step
    from gptalt_eval.machine.consoles import make_console

    bar = Bar(make_console(stderr=True))
    began = bar.clock()
    try:
        for count, row in enumerate(rows):
            bar.show(Step(text, began, total, count, figures=(f"{count:,} rows",)))
            yield row
    finally:
        bar.stop()
