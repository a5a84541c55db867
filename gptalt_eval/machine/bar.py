"""A bar of progress: one line, whatever the terminal's width. When room is short, the time left stays."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from rich.cells import chop_cells
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from gptalt_eval.machine.plain import show_plain
from gptalt_eval.machine.words import say_seconds
from gptalt_eval.machine.wrapping import measure

LONGEST, SHORTEST = 40, 10  # of the bar itself, in columns
PER_SECOND = 8  # how often it is drawn
PATIENCE = 5.0  # seconds without an answer after which one wants to see that something is still computed
FOREVER = 100 * 24 * 3600.0  # seconds left that say only that too little is done to tell


class Step(NamedTuple):
    """What is being done.

    Attributes:
        name: the step or task.
        since: when it began, on the bar's clock.
        total: how much there is to do; None: unknown.
        done: how much of it is done.
        spent: the seconds that took; None: all since it began.
        figures: how much is done, in words, the longest first.
    """

    name: str
    since: float
    total: float | None = None
    done: float = 0
    spent: float | None = None
    figures: Sequence[str] = ()


class Line(NamedTuple):
    """What is shown, so that the line has at most a number of columns.

    Attributes:
        name: the step or task, perhaps shortened.
        bar: the columns of the bar; 0: there is none.
        tail: the percentage and the time left, never shortened.
        figures: how much is done, perhaps in short, perhaps not at all.
    """

    name: str
    bar: int
    tail: str
    figures: str


class Bar:
    """Shows the current step below what is printed; nothing on a console that is not a terminal."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self.step: Step | None = None
        self.spinner = Spinner("dots")
        self.live = Live(
            console=console, transient=True, refresh_per_second=PER_SECOND, get_renderable=lambda: self
        )

    def show(self, step: Step) -> None:
        starts = self.step is None or self.step.name != step.name
        self.step = step
        if not self.live.is_started:
            self.live.start()
        if starts:
            self.live.refresh()

    def stop(self) -> None:
        self.live.stop()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.step is None:
            return
        now = self.clock()
        turning = str(self.spinner.render(now))
        line = fit(
            show_plain(self.step.name), self.step.figures, say_times(self.step, now),
            options.max_width - measure(turning) - 2,
        )  # fmt: skip
        full = round(line.bar * (self.step.done / self.step.total)) if self.step.total else 0
        mark, rest = ("#", "-") if options.ascii_only or options.legacy_windows else ("━", "─")
        parts = (
            Text(turning), Text(line.name), Text(mark * full + rest * (line.bar - full), "bar.complete"),
            Text(line.tail, "bold"), Text(line.figures),
        )  # fmt: skip
        yield Text(" ", no_wrap=True, overflow="crop").join(part for part in parts if part)


def say_times(step: Step, now: float) -> str:
    """The percentage and the time left; of a step without a known end, for how long it has been going on."""
    if not step.total:
        return say_seconds(now - step.since)
    share = min(step.done / step.total, 1.0)
    spent = now - step.since if step.spent is None else step.spent
    left = spent * (1 - share) / share if share and spent > 0 else math.inf
    said = f"{say_seconds(left)} left" if left < FOREVER else "estimating"
    if left >= FOREVER and now - step.since > PATIENCE:
        said += f", {say_seconds(now - step.since)} so far"
    return f"{math.floor(100 * share)}% {said}"


def fit(name: str, figures: Sequence[str], tail: str, width: int) -> Line:
    """What of a line has room: first the figures are shortened or left out, then the bar, then the name.

    Args:
        name: the step or task.
        figures: how much is done; the longest first.
        tail: what is always shown.
        width: the columns there are.
    """
    has_bar = "%" in tail
    for each in (*figures, ""):
        room = width - measure(tail) - 1 - (measure(each) + 1 if each else 0)
        spare = room - measure(name) - 1
        if spare >= (SHORTEST if has_bar else -1):
            return Line(name, min(LONGEST, spare) if has_bar else 0, tail, each)
    return Line(shorten(name, width - measure(tail) - 1), 0, tail, "")


def shorten(text: str, width: int) -> str:
    """A text with its middle left out, so that it has at most a number of columns."""
    if measure(text) <= width:
        return text
    if width < 3:
        return ""
    begin = take(text, (width - 1) // 2)
    return f"{begin}…{take(text[::-1], width - 1 - measure(begin))[::-1]}"


def take(text: str, width: int) -> str:
    """The beginning of a text, of at most a number of columns."""
    begin = chop_cells(text, width)[0] if width > 0 and text else ""
    return begin if measure(begin) <= width else ""
