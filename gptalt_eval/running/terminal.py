"""Shows a run's progress: a live bar on a terminal, plain lines in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from gptalt_eval.contract.plan import Plan
from gptalt_eval.machine.bar import Bar, Step
from gptalt_eval.machine.consoles import print_wrapped
from gptalt_eval.machine.words import count_things, list_names
from gptalt_eval.machine.wrapping import GLUE, measure

WIDEST = 28  # of the names of tasks, in columns


@dataclass
class Folded:
    """Tasks that are shown as their group.

    Attributes:
        name: the group's label.
        total: its tasks.
        open: those that are still to do, by label.
        items: how many were scored.
        seconds: what the tasks took, without what is computed together.
        scores: the group's.
    """

    name: str
    total: int
    open: set[str]
    items: int = 0
    seconds: float = 0.0
    scores: Mapping[str, Any] = field(default_factory=dict)


class Terminal:
    """Shows a run on a rich console.

    Args:
        console: the console.
        clock: counts seconds.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.perf_counter) -> None:
        self.console = console
        self.clock = clock
        self.bar = Bar(console, clock)
        self.groups: dict[str, Folded] = {}
        self.said: set[str] = set()
        self.labels: tuple[str, ...] = ()
        self.items = 0
        self.done = 0
        self.started: float | None = None  # when the first task began
        self.name, self.current, self.began = "", 0, 0.0
        self.requests, self.answers, self.shared = 0, 0, 0
        self.together = 0  # tasks whose requests are computed together
        self.computing = ""  # whose tokens are computed: a task, or tasks together

    def begin(self, plan: Plan) -> None:
        counts = [task.count_items(plan.spec) for cell in plan.cells for task in cell.tasks]
        self.labels = tuple(cell.label(task.name) for cell in plan.cells for task in cell.tasks)
        self.items = sum(count or 0 for count in counts)
        items = count_things(self.items, "item") if None not in counts else "items are counted when loaded"
        tasks = {task.name for cell in plan.cells for task in cell.tasks}
        arms = f" in {len(plan.cells)} arms" if len(plan.cells) > 1 else ""
        text = f"on {count_things(len(tasks), 'task')}{arms}, {items}"
        print_wrapped(self.console, text, plan.title, "bold")
        for note in plan.surprises:
            self.note(note)
        self.refuse(plan.lacking)

    def say(self, text: str) -> None:
        before = self.bar.step
        goes_on = before is not None and before.name.partition(",")[0] == text.partition(",")[0]
        self.bar.show(Step(text, before.since if before and goes_on else self.clock()))

    def note(self, text: str) -> None:
        if text not in self.said:
            self.said.add(text)
            print_wrapped(self.console, text, "Note:", "yellow")

    def refuse(self, reasons: Mapping[str, str]) -> None:
        for reason in dict.fromkeys(reasons.values()):
            names = [name for name, other in reasons.items() if other == reason]
            self.note(f"{list_names(names)} {'is' if len(names) == 1 else 'are'} not evaluated: {reason}")

    def fold(self, group: str, members: Mapping[str, bool]) -> None:
        folded = Folded(group, len(members), {name for name, is_open in members.items() if is_open})
        self.groups |= dict.fromkeys(members, folded)

    def share(self, tasks: int) -> None:
        self.together = tasks

    def begin_task(self, name: str, items: int) -> None:
        self.name, self.current, self.began = name, items, self.clock()
        self.requests, self.answers, self.shared = 0, 0, 0
        self.started = self.began if self.started is None else self.started
        # rows from the hub are counted only after they are loaded
        self.items = max(self.items, self.done + items)
        if not self.computing:
            self.show_items()

    @property
    def computes(self) -> str:
        """What the current task waits for: its own requests, or those of several tasks."""
        return f"{self.together:,} tasks together" if self.together > 1 and self.shared else self.name

    def asked(self, requests: int, shared: int) -> None:
        self.requests += requests
        self.shared += shared
        self.answered(0)

    def answered(self, requests: int) -> None:
        self.answers += requests
        if self.computing != self.computes:  # otherwise the bar counts tokens, which take the time
            self.show_items()

    def show_items(self) -> None:
        """How far the run is; if tasks share what is computed, how far this task is, which says no more."""
        group = self.groups.get(self.name)
        name = f"{group.name} {group.total - len(group.open) + 1}/{group.total}" if group else self.name
        part = self.current * min(self.answers / self.requests, 1.0) if self.requests else 0.0
        since, done, total = self.started or 0.0, self.done + part, self.items
        if self.together > 1:
            since, done, total = self.began, part, self.current
        self.bar.show(Step(name, since, total or None, done, figures=(f"{done:,.0f}/{total:,} items",)))

    def computed(self, tokens: int, total: int, asked: int, seconds: float) -> None:
        rate = f", {tokens / seconds:,.0f} tokens/s" if tokens and seconds else ""
        # a resumed run computes parts again, so that it rounds as before: there may be nothing to save
        saved = f"{1 - total / asked:.0%} of {asked:,} saved" if total < asked else "none saved"
        self.computing = self.computes if tokens < total else ""
        if self.computing:
            count = f"{tokens:,}/{total:,} tokens"
            figures = (f"{count}{rate}, {saved}", f"{count}{rate}", count)
            self.bar.show(Step(self.computing, self.clock() - seconds, total, tokens, seconds, figures))
            return
        whose = "" if self.computes == self.name else f"{self.computes}: "
        text = f"  {whose}{total:,} tokens computed in {seconds:.1f}{GLUE}s{rate}, {saved}"
        print_wrapped(self.console, text)
        self.show_items()

    def end_task(self, name: str, result: Mapping[str, Any], group: Mapping[str, Any]) -> None:
        self.done += self.current
        seconds = self.clock() - self.began if self.computes == self.name else 0.0
        folded = self.groups.get(name)
        if folded is None:
            if result:
                self.show_scores(name, self.current, seconds, result)
            return
        folded.open.discard(name)
        folded.scores = group
        if result:
            folded.items += self.current
            folded.seconds += seconds
        if not folded.open and folded.items:
            self.show_scores(folded.name, folded.items, folded.seconds, folded.scores)

    def show_scores(self, name: str, items: int, seconds: float, scores: Mapping[str, Any]) -> None:
        """One line; without seconds if all was computed together with other tasks."""
        took = f"{seconds:,.1f}{GLUE}s" if seconds else ""
        shown = {self.groups[label].name if label in self.groups else label for label in self.labels}
        padded = name + " " * (min(WIDEST, max(map(measure, shown), default=0)) - measure(name))
        counted = f"{items:,}{GLUE}{'item' if items == 1 else 'items'}"
        line = f"  {padded} {counted:>13} {took:>9}  {'  '.join(list_scores(scores))}".rstrip()
        print_wrapped(self.console, line)

    def end(self) -> None:
        self.bar.stop()


def list_scores(scores: Mapping[str, Any]) -> Iterator[str]:
    for key, value in scores.items():
        metric, _, filter_name = key.partition(",")
        if not filter_name or "_stderr" in key or not isinstance(value, (int, float)):
            continue
        if metric != "bypass":  # lm-eval's name for: answers only, no scores
            named = metric if filter_name == "none" else f"{metric} {filter_name}"
            yield f"{named} {value:.3f}".replace(" ", GLUE)
