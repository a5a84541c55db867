"""The report's overview of an experiment: arms by tasks, curves, subjects, rows on which arms disagree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isnan

from gptalt_eval.contract.record import Record
from gptalt_eval.results.analyse import Score, list_headlines, list_scores
from gptalt_eval.results.arms import (
    Arm,
    TaskRows,
    find_versions,
    gather_rows,
    name_models,
    pair_rows,
    walk_arms,
)
from gptalt_eval.results.contrasts import Contrast, find_contrasts
from gptalt_eval.results.packages import tell_differences
from gptalt_eval.results.pictures import Album
from gptalt_eval.results.rows import Logged
from gptalt_eval.results.stats import adjust_holm, flip_clusters

SIGNIFICANT = 0.05
SHOWN_SUBJECTS = 20


@dataclass(frozen=True)
class Column:
    """A task or group, in arms that evaluated the same version of it.

    Attributes:
        task: its name.
        versions: which version, where arms have several; empty: all have the same.
    """

    task: str
    versions: str = ""

    @property
    def title(self) -> str:
        return f"{self.task} ({self.versions})" if self.versions else self.task


Versions = tuple[tuple[str, str], ...]
Scores = Mapping[Column, Mapping[Arm, Sequence[Score]]]


@dataclass(frozen=True)
class Entry:
    """One cell of the table.

    Attributes:
        score: the score, its interval, its items.
        is_best: whether it is the best of its column.
        is_tied: whether it is not significantly different from the best.
        no_answer: share of replies from which no answer could be extracted; None: not counted.
    """

    score: Score
    is_best: bool = False
    is_tied: bool = False
    no_answer: float | None = None


@dataclass(frozen=True)
class Overview:
    """An experiment, ready for the page.

    Attributes:
        tasks: the columns.
        metrics: the metric of each column.
        arms: the rows.
        entries: by arm, then by task; None: not evaluated.
        scores: by column and arm, the main metric first.
        subjects: by task: subjects with their number of rows and each arm's mean score.
        contrasts: by task.
        failed: what could not be evaluated, and why.
        packages: the packages and plugins in which the runs differ, in sentences.
        left_out: by task: how many rows some arm has no score for; tasks without such rows are left out.
    """

    tasks: Sequence[str]
    metrics: Mapping[str, str]
    arms: Sequence[Arm]
    entries: Sequence[Sequence[Entry | None]]
    scores: Scores
    subjects: Mapping[str, Sequence[tuple[str, int, Sequence[float | None]]]]
    contrasts: Mapping[str, Sequence[Contrast]]
    failed: Mapping[str, str]
    packages: Sequence[str]
    left_out: Mapping[str, int]


def make_overview(records: Sequence[Record], logged: Sequence[Logged], album: Album) -> Overview | None:
    """The overview of some runs and their rows; None if they have only one arm."""
    scores = gather_scores(records, logged)
    arms = list(dict.fromkeys(arm for by_arm in scores.values() for arm in by_arm))
    failed = {
        f"{model}: {name}": reason
        for model, record in zip(name_models(records), records, strict=True)
        for name, reason in record.failed.items()
    }
    # tasks that differ only in their default shots have nothing to compare
    is_single = len(records) == 1 and all(len(by_arm) == 1 for by_arm in scores.values())
    if len(arms) < 2 or is_single:
        return None
    rows = gather_rows(records, logged)
    tasks = {column.task for column in scores}
    metrics = {column.title: next(iter(by_arm.values()))[0].metric for column, by_arm in scores.items()}
    columns = [rank_column(by_arm, rows.get(column.task)) for column, by_arm in scores.items()]
    return Overview(
        tasks=[column.title for column in scores],
        metrics=metrics,
        arms=arms,
        entries=[[column.get(arm) for column in columns] for arm in arms],
        scores=scores,
        subjects={task: count_subjects(rows[task], arms) for task in rows if task in tasks},
        contrasts={task: find_contrasts(rows[task], records, arms, album) for task in rows},
        failed=failed,
        packages=tell_differences(records, name_models(records)),
        left_out={task: count for task in rows if task in tasks and (count := count_gaps(rows[task]))},
    )


def gather_scores(records: Sequence[Record], logged: Sequence[Logged]) -> Scores:
    """By task (without the members of aggregated groups) and arm: its scores, the main metric first.

    Other versions of a task are other columns: their scores cannot be compared.
    """
    arms = {(each.record, each.result, each.name): each.arm for each in walk_arms(records)}
    found: dict[str, dict[Versions, dict[Arm, list[Score]]]] = {}
    for place, (record, read) in enumerate(zip(records, logged, strict=True)):
        for score in list_headlines(record, list_scores(record, read)):
            arm = arms[place, score.result, score.task]
            versions = tuple(find_versions(record.results[score.result], score.task).items())
            found.setdefault(score.task, {}).setdefault(versions, {}).setdefault(arm, []).append(score)
    for by_versions in found.values():
        unstated = by_versions.pop((), {})  # may be the same as any
        by_versions.setdefault(next(iter(by_versions), ()), {}).update(unstated)
    return {
        column: by_arm
        for task, by_versions in found.items()
        for column, by_arm in zip(name_columns(task, list(by_versions)), by_versions.values(), strict=True)
    }


def name_columns(task: str, versions: Sequence[Versions]) -> list[Column]:
    """A column for each version of a task; those of a group's members are too many to be named."""
    if len(versions) == 1:
        return [Column(task)]
    named = [dict(each).get(task) for each in versions]
    return [
        Column(task, f"version {name}" if name else f"versions, set {number}")
        for number, name in enumerate(named, 1)
    ]


def rank_column(by_arm: Mapping[Arm, Sequence[Score]], rows: TaskRows | None) -> dict[Arm, Entry]:
    """A column's entries; the best and those not significantly different from it are marked."""
    firsts = {arm: scores[0] for arm, scores in by_arm.items()}
    sign = -1 if next(iter(firsts.values())).higher_is_better is False else 1
    best = max(firsts, key=lambda arm: rank_value(sign * firsts[arm].value))
    others = [arm for arm in firsts if arm != best]
    p_values = [compare_with_best(firsts[best].metric, rows, best, arm) for arm in others]
    tested = [place for place, p_value in enumerate(p_values) if p_value is not None]
    adjusted = adjust_holm([p for p in p_values if p is not None])
    tied = {others[place] for place, p in zip(tested, adjusted, strict=True) if p >= SIGNIFICANT}
    tied |= {
        arm
        for arm, p in zip(others, p_values, strict=True)
        if p is None and overlap(firsts[arm], firsts[best])
    }
    answers = {
        arm: next((score.value for score in scores if score.metric == "no_answer"), None)
        for arm, scores in by_arm.items()
    }
    equal = {arm for arm in firsts if firsts[arm].value == firsts[best].value}
    marks = len(equal) < len(firsts) or len(firsts) == 1  # where all are equal, none is the best
    return {
        arm: Entry(firsts[arm], marks and arm in equal, marks and arm in tied - equal, answers[arm])
        for arm in firsts
    }


def rank_value(value: float) -> float:
    """The value, or the lowest one if it is not a number."""
    return -inf if isnan(value) else value


def compare_with_best(metric: str, rows: TaskRows | None, best: Arm, arm: Arm) -> float | None:
    """The p-value of an arm against the best on their common rows; None if they have none."""
    if rows is None or best not in rows.arms or arm not in rows.arms:
        return None
    pairs = pair_rows(rows, metric, best, arm)
    return flip_clusters(pairs.differences, design=pairs.design) if pairs.first else None


def count_gaps(rows: TaskRows) -> int:
    """How many rows some arm has no score for."""
    if not rows.metrics:
        return 0
    every = {key for each in rows.arms.values() for key in each}
    scored = [
        {key for key, row in each.items() if rows.metrics[0] in row.scores} for each in rows.arms.values()
    ]
    return sum(not all(key in each for each in scored) for key in every)


def overlap(one: Score, other: Score) -> bool:
    if one.interval is None or other.interval is None:
        return one.value == other.value
    return one.interval[0] <= other.interval[1] and other.interval[0] <= one.interval[1]


def count_subjects(rows: TaskRows, arms: Sequence[Arm]) -> list[tuple[str, int, list[float | None]]]:
    """The most frequent subjects of a task's rows, with each arm's mean."""
    first = next(iter(rows.arms.values()))
    counts = Counter(row.subject for row in first.values() if row.subject)
    if len(counts) < 2 or not rows.metrics:
        return []
    shown = counts.most_common(SHOWN_SUBJECTS)
    averages = [average_subjects(rows, arm) for arm in arms]
    return [(subject, count, [each.get(subject) for each in averages]) for subject, count in shown]


def average_subjects(rows: TaskRows, arm: Arm) -> dict[str, float]:
    """The mean score of each subject; rows without a score do not count."""
    values: dict[str, list[float]] = {}
    for row in rows.arms.get(arm, {}).values():
        if rows.metrics[0] in row.scores:
            values.setdefault(row.subject, []).append(row.scores[rows.metrics[0]])
    return {subject: sum(each) / len(each) for subject, each in values.items()}
