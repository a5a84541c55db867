"""The scores of all arms, task by task: groups with their members, tasks with their subjects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isclose

from gptalt_eval.contract.record import Record
from gptalt_eval.results.analyse import Score
from gptalt_eval.results.arms import Arm, TaskRows
from gptalt_eval.results.columns import Column, Entry, Heading, describe_column, rank_column
from gptalt_eval.results.overview import Overview
from gptalt_eval.results.rows import Row, label_clusters
from gptalt_eval.results.sampling import Design
from gptalt_eval.results.stats import mean_interval

MOST_SUBJECTS = 60  # of a task, that are shown


@dataclass(frozen=True)
class Branch:
    """A line of the tree.

    Attributes:
        heading: the task, group or subject.
        depth: in how many others it is.
        entries: by arm; None: not evaluated.
        branches: how many lines belong to it, at any depth.
        is_subject: whether it is a subject of the task above.
    """

    heading: Heading
    depth: int
    entries: Sequence[Entry | None]
    branches: int = 0
    is_subject: bool = False


def make_tree(records: Sequence[Record], overview: Overview) -> list[Branch]:
    """The lines in order, each group and task before what belongs to it."""
    members = gather_members(records)
    inside = {member for each in members.values() for member in each}
    columns: dict[str, list[Column]] = {}
    for column in overview.all_scores:
        columns.setdefault(column.task, []).append(column)
    # those of the overview are described and tested already
    shown = dict(zip(overview.scores, overview.headings, strict=True))
    ranked = dict(zip(overview.scores, zip(*overview.entries, strict=True), strict=False))
    seen: set[str] = set()

    def grow(task: str, depth: int) -> Iterator[Branch]:
        if task in seen:
            return
        seen.add(task)
        found = columns.get(task, [])
        below = [line for member in members.get(task, ()) for line in grow(member, depth + bool(found))]
        if not found:  # a group without a score
            yield from below
            return
        rows = overview.rows.get(task)
        if not below and rows and len(found) == 1:
            scores = overview.all_scores[found[0]]
            below = list(list_subjects(keep_shown(rows, scores), overview.arms, depth + 1))
            below = [name_metric(line, next(iter(scores.values()))[0].metric) for line in below]
        for place, column in enumerate(found):
            scores = overview.all_scores[column]
            heading = shown.get(column) or describe_column(column, scores)
            entries: Sequence[Entry | None] = ranked.get(column, ())
            if not entries:
                by_arm = rank_column(scores, rows)
                entries = [by_arm.get(arm) for arm in overview.arms]
            is_last = place == len(found) - 1
            yield Branch(heading, depth, entries, len(below) if is_last else 0)
        yield from below

    roots = [name for name in members if name not in inside]
    return [line for task in (*roots, *columns) for line in grow(task, 0)]


def name_metric(line: Branch, above: str) -> Branch:
    """A subject's line; its metric is named only if it is not that of the line above."""
    return replace(
        line,
        heading=replace(line.heading, metric="" if line.heading.metric == above else line.heading.metric),
    )


def gather_members(records: Sequence[Record]) -> dict[str, list[str]]:
    """The groups of all runs in their order, and the members of each."""
    found: dict[str, dict[str, None]] = {}
    for results in (results for record in records for results in record.results):
        groups: Mapping[str, Sequence[str]] = results.get("group_subtasks", {})
        for name, members in groups.items():
            found.setdefault(name, {}).update(dict.fromkeys(members))
    return {name: list(members) for name, members in found.items()}


def keep_shown(rows: TaskRows, scores: Mapping[Arm, Sequence[Score]]) -> TaskRows:
    """The rows of those arms whose score they make up, the main metric first if it is the mean of rows."""
    main = next(iter(scores.values()))[0].metric
    metrics = sorted(rows.metrics, key=lambda metric: metric != main)
    if not metrics:
        return rows

    def is_shown(arm: Arm) -> bool:
        values = [row.scores[metrics[0]] for row in rows.arms[arm].values() if metrics[0] in row.scores]
        mean = sum(values) / max(1, len(values))
        return any(
            score.metric == metrics[0] and isclose(score.value, mean, rel_tol=1e-9, abs_tol=1e-9)
            for score in scores.get(arm, ())
        )

    return replace(
        rows, arms={arm: each for arm, each in rows.arms.items() if is_shown(arm)}, metrics=metrics
    )


def list_subjects(rows: TaskRows, arms: Sequence[Arm], depth: int) -> Iterator[Branch]:
    """The most frequent subjects of a task's rows, by name, with each arm's mean."""
    every = {key: row for each in rows.arms.values() for key, row in each.items()}
    counts = Counter(row.subject for row in every.values() if row.subject)
    if len(counts) < 2 or not rows.metrics:
        return
    averages = [average_subjects(rows, arm) for arm in arms]
    for subject in sorted(name for name, _ in counts.most_common(MOST_SUBJECTS)):
        entries = [Entry(score) if (score := each.get(subject)) else None for each in averages]
        firsts = {arm: [entry.score] for arm, entry in zip(arms, entries, strict=True) if entry}
        if firsts:
            heading = replace(describe_column(Column(subject), firsts), arrow="")
            yield Branch(heading, depth, entries, is_subject=True)


def average_subjects(rows: TaskRows, arm: Arm) -> dict[str, Score]:
    """The mean score of each subject; rows without a score do not count."""
    metric = rows.metrics[0]
    parts: dict[str, dict[tuple[str, int], Row]] = {}
    for key, row in rows.arms.get(arm, {}).items():
        if metric in row.scores:
            parts.setdefault(row.subject, {})[key] = row
    return {subject: average(rows, subject, part) for subject, part in parts.items()}


def average(rows: TaskRows, subject: str, part: Mapping[tuple[str, int], Row]) -> Score:
    metric = rows.metrics[0]
    values = [row.scores[metric] for row in part.values()]
    interval = mean_interval(values, Design(label_clusters(part)))
    return Score(
        task=subject, alias=subject, depth=0, shots=None, metric=metric, filter="none",
        value=sum(values) / len(values), interval=interval, items=len(values), available=None,
        higher_is_better=None, is_group=False, result=0,
    )  # fmt: skip
