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
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from gptalt_eval.machine.consoles import make_console

    console = make_console(stderr=True)
    named = TextColumn("{task.description}", markup=False)
    columns = (named, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(text, total=total)
        for row in rows:
            yield row
            progress.advance(task)
