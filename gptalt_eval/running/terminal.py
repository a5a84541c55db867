"""Shows a run's progress: a live bar on a terminal, plain lines in a log."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from gptalt_eval.contract.plan import Plan


class Terminal:
    """Shows a run on a rich console."""

    def __init__(self, console: Console) -> None:
        self.console = console
        step, figures = (
            TextColumn(text, markup=False) for text in ("{task.description}", "{task.fields[figures]}")
        )
        columns = (SpinnerColumn(), step, BarColumn(), figures)
        times = (TimeElapsedColumn(), TimeRemainingColumn())
        self.progress = Progress(*columns, *times, console=console, transient=True)
        self.total = self.progress.add_task("", total=None, figures="")
        self.items = 0
        self.done = 0
        self.current = 0
        self.requests = 0
        self.answers = 0
        self.began = 0.0
        self.computing = False

    def begin(self, plan: Plan) -> None:
        counts = [task.count_items(plan.spec) for cell in plan.cells for task in cell.tasks]
        self.items = sum(count or 0 for count in counts)
        items = f"{self.items:,} items" if None not in counts else "items are counted when they are loaded"
        line = Text.assemble((plan.title, "bold"), f" on {len(counts)} tasks, {items}")
        self.console.print(line, soft_wrap=True)
        for note in plan.notes:
            self.note(note)
        for name, reason in plan.lacking.items():
            self.note(f"{name} is not evaluated: {reason}")
        self.progress.update(self.total, total=self.items or None)

    def say(self, text: str) -> None:
        self.progress.start()
        self.progress.update(self.total, description=text, figures="", refresh=True)

    def note(self, text: str) -> None:
        self.console.print(Text.assemble(("Note:", "yellow"), f" {text}"), soft_wrap=True)

    def begin_task(self, name: str, items: int) -> None:
        self.current, self.requests, self.answers = items, 0, 0
        # rows from the hub are counted only after they are loaded
        self.items = max(self.items, self.done + items)
        self.began = time.perf_counter()
        self.progress.update(self.total, description=name)
        if not self.computing:
            self.progress.update(self.total, total=self.items)

    def asked(self, requests: int) -> None:
        self.requests += requests

    def computed(self, tokens: int, total: int, asked: int, seconds: float) -> None:
        if tokens == 0:
            self.progress.reset(self.total, total=total)
        rate = f"{tokens / seconds:,.0f} tokens/s, " if tokens else ""
        # a resumed run computes parts again, so that it rounds as before: there may be nothing to save
        saved = f"{1 - total / asked:.0%} of {asked:,} saved" if total < asked else "none saved"
        self.computing = tokens < total
        if self.computing:
            figures = f"{tokens:,}/{total:,} tokens, {rate}{saved}"
            self.progress.update(self.total, completed=tokens, figures=figures)
            return
        self.progress.reset(self.total, total=self.items or None)
        line = f"  {total:,} tokens computed in {seconds:.1f} s: {rate}{saved}"
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def answered(self, requests: int) -> None:
        self.answers += requests
        if self.computing:  # the bar counts tokens, which take the time and are not in the tasks' order
            return
        share = self.answers / self.requests if self.requests else 0
        figures = f"{self.done + self.current * share:,.0f}/{self.items:,} items"
        self.progress.update(self.total, completed=self.done + self.current * share, figures=figures)

    def end_task(self, name: str, result: Mapping[str, Any]) -> None:
        self.done += self.current
        if not self.computing:
            self.progress.update(self.total, completed=self.done)
        shown = [
            f"{key.removesuffix(',none').replace(',', ' ')} {value:.3f}"
            for key, value in result.items()
            if "," in key and "_stderr" not in key and isinstance(value, (int, float))
            and not key.startswith("bypass,")  # lm-eval's name for: answers only, no scores
        ]  # fmt: skip
        seconds = time.perf_counter() - self.began
        line = f"  {name:<36} {self.current:>6,} items {seconds:>7.1f} s  {'  '.join(shown)}"
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def end(self) -> None:
        self.progress.stop()
