"""The tasks and groups of a site: what each of them is, its data, its first prompt, and who is best at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from math import inf, isnan

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.located import SAMPLE
from gptalt_eval.contract.record import Record
from gptalt_eval.contract.run import RunData
from gptalt_eval.results.arms import Arm, Evaluated
from gptalt_eval.results.columns import RIGHT, Entry, Heading
from gptalt_eval.results.groups import list_tasks
from gptalt_eval.results.items.samples import LoggedItem, read_item
from gptalt_eval.results.overview import Overview
from gptalt_eval.results.site.publishing import name_page
from gptalt_eval.results.stats import TINY
from gptalt_eval.results.tree import Branch, gather_members


@dataclass(frozen=True)
class Ranked:
    """An arm in the ranking of a task.

    Attributes:
        rank: 1 + how many are better; 0: the metric's direction is unknown.
        run: the number of its run.
    """

    rank: int
    arm: Arm
    entry: Entry
    run: int


@dataclass(frozen=True)
class Ranking:
    """The arms that evaluated the same version of a task, the best first."""

    heading: Heading
    arms: Sequence[Ranked]


@dataclass(frozen=True)
class TaskView:
    """A task or group of a site.

    Attributes:
        name: of it.
        path: of its page.
        depth: in how many groups it is.
        rankings: one for each version of it.
        members: of a group.
        groups: those that it is in, the outermost first.
        data: of the task, or of the tasks of the group; several where runs differ.
        first: its first item; None: not saved.
    """

    name: str
    path: str
    depth: int
    rankings: Sequence[Ranking]
    members: Sequence[str]
    groups: Sequence[str]
    data: Mapping[str, Sequence[RunData]]
    first: LoggedItem | None

    @property
    def title(self) -> str:
        return self.name

    @property
    def sampled(self) -> str:
        """``in some runs`` if only those were on the embedded sample; ``in all``; empty: none was."""
        found = {data.origin == SAMPLE for each in self.data.values() for data in each}
        return "" if True not in found else "in some runs" if False in found else "in all"

    @property
    def address(self) -> dict[str, str]:
        """What shows its items in a report."""
        return {"task": self.groups[0], "part": self.name} if self.groups else {"task": self.name}


def view_tasks(records: Sequence[Record], overview: Overview, tree: Sequence[Branch]) -> list[TaskView]:
    """The tasks and groups, in the order of the tree; after them groups without a score of their own."""
    members = gather_members(records)
    lines = {line.heading.title: line for line in tree}
    places: dict[str, list[Evaluated]] = {}
    for each in overview.evaluated:
        places.setdefault(each.name, []).append(each)
    columns: dict[str, list[str]] = {}
    order = {title: number for number, title in enumerate(lines)}
    for column in sorted(overview.all_scores, key=lambda column: order[column.title]):
        columns.setdefault(column.task, []).append(column.title)
    for name in places:
        if any(member in columns for member in members.get(name, ())):
            columns.setdefault(name, [])
    return [
        TaskView(
            name=task,
            path=f"tasks/{name_page(task)}.html",
            depth=lines[titles[0]].depth if titles else len(find_groups(task, members)),
            rankings=[rank_arms(lines[title], overview, places[task]) for title in titles],
            members=[name for name in members.get(task, ()) if name in columns],
            groups=find_groups(task, members),
            data=gather_data(records, places[task]),
            first=find_first(records, places[task]),
        )
        for task, titles in columns.items()
    ]


def rank_arms(line: Branch, overview: Overview, places: Sequence[Evaluated]) -> Ranking:
    """The arms by score; those without one are left out."""
    runs = {each.arm: each.record for each in places}
    scored = [
        (arm, entry) for arm, entry in zip(overview.arms, line.entries, strict=True) if entry is not None
    ]
    sign = 1 if line.heading.arrow == "↓" else -1
    values = [inf if isnan(entry.score.value) else sign * entry.score.value for _, entry in scored]
    is_known = bool(line.heading.arrow) or scored[0][1].score.metric in RIGHT
    ranked = [
        Ranked(1 + sum(other < value - TINY for other in values) if is_known else 0, arm, entry, runs[arm])
        for (arm, entry), value in zip(scored, values, strict=True)
    ]
    return Ranking(line.heading, sorted(ranked, key=lambda each: each.rank))


def find_groups(task: str, members: Mapping[str, Sequence[str]]) -> list[str]:
    """The groups that a task is in, the outermost first; of several in which it is directly, the first."""
    found: list[str] = []
    while True:
        above = next((name for name, inside in members.items() if task in inside), None)
        if above is None or above in found:
            return found[::-1]
        found.append(above)
        task = above


def gather_data(records: Sequence[Record], places: Sequence[Evaluated]) -> dict[str, list[RunData]]:
    """By task: its data in these runs, each once."""
    found: dict[str, list[RunData]] = {}
    for each in places:
        record = records[each.record]
        for task in list_tasks(record.results[each.result], each.name):
            data = record.run.data.get(task)
            if data is not None and data not in found.setdefault(task, []):
                found[task].append(data)
    return found


def find_first(records: Sequence[Record], places: Sequence[Evaluated]) -> LoggedItem | None:
    """The first item that was saved of a task, or of the first task of a group."""
    for each in places:
        record = records[each.record]
        for task in list_tasks(record.results[each.result], each.name)[:1]:
            try:
                for line in islice(record.read_samples(each.result, task), 1):
                    return read_item(line)
            except (GptaltError, KeyError):  # the report says what is damaged
                continue
    return None
