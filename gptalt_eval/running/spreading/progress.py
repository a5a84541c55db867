"""Shows how far workers are: one bar for all, and a line for what they do."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from rich.console import Console

from gptalt_eval.machine.bar import Bar, Step
from gptalt_eval.machine.consoles import print_wrapped
from gptalt_eval.machine.words import count_things, say_seconds
from gptalt_eval.spread.progress import Snapshot
from gptalt_eval.spread.work import Unit

REPORTED = 60.0  # seconds between two lines in a log, which has no bar


class Progress:
    """Shows snapshots of the work on a rich console.

    Args:
        console: the console.
        titles: what each model is called, by its key.
        clock: counts seconds.
    """

    def __init__(
        self, console: Console, titles: Mapping[str, str], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.console = console
        self.titles = titles
        self.clock = clock
        self.bar = Bar(console, clock)
        self.began = clock()
        self.told = self.began
        self.last: Snapshot | None = None

    def begin(self, units: Sequence[Unit], places: int) -> None:
        """Say what is to be done, and by how many at most."""
        requests = sum(unit.requests for unit in units)
        asked = f"{count_things(requests, 'request')} in {count_things(len(units), 'unit')}"
        models = f" for {len(self.titles)} models" if len(self.titles) > 1 else ""
        workers = min(places, len(units))  # 0: a cluster that has none yet
        begun = f", {count_things(workers, 'worker')}" if workers else ""
        print_wrapped(self.console, f"{asked}{models}{begun}")

    def note(self, text: str) -> None:
        keys = "|".join(map(re.escape, self.titles))
        pattern = rf"\b[Mm]odel ({keys})(?= (?:was|took) )"  # not what a reason says of models
        text = re.sub(pattern, lambda found: self.titles[found[1]], text, count=1)
        print_wrapped(self.console, text, "Note:", "yellow")

    def show(self, now: Snapshot) -> None:
        self.last = now
        if not self.console.is_terminal:
            if self.clock() - self.told >= REPORTED:
                self.told = self.clock()
                left = f", {say_seconds(now.seconds_left)} left" if now.seconds_left is not None else ""
                text = f"  {now.units:,} of {now.all_units:,} units, {now.rate:,.0f} tokens/s{left}"
                print_wrapped(self.console, f"{text}; {self.say_workers(now)}")
            return
        count = f"{now.units:,}/{now.all_units:,} units"
        rate = f", {now.rate:,.0f} tokens/s" if now.rate else ""
        workers = self.say_workers(now)
        figures = (f"{count}{rate}, {workers}", f"{count}{rate}", count)
        share = now.tokens / now.all_tokens if now.all_tokens else 0.0
        # so that the bar, which knows only what is done, says the time that the loop expects
        spent = None
        if now.seconds_left is not None and 0 < share < 1:
            spent = now.seconds_left * share / (1 - share)
        name = count_things(len(now.workers), "worker")
        self.bar.show(Step(name, self.began, now.all_tokens, now.tokens, spent, figures))

    def say_workers(self, now: Snapshot) -> str:
        """What the workers do, in words."""
        done = Counter(f"{one.state} {self.titles.get(one.model or '', '')}".strip() for one in now.workers)
        several = len(self.titles) > 1
        if not several:
            done = Counter(one.state for one in now.workers)
        return ", ".join(f"{count} {state}" for state, count in done.most_common(3))

    def end(self) -> None:
        """Remove the bar, and say what was done."""
        self.bar.stop()
        if self.last is not None and self.last.units:
            seconds = self.clock() - self.began
            text = (
                f"  {self.last.units:,} of {self.last.all_units:,} units answered in {say_seconds(seconds)}"
            )
            print_wrapped(self.console, text)
            self.last = None
