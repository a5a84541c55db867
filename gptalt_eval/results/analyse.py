"""Turns the results of a run into table rows. Needs neither torch nor lm-eval."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isclose, isfinite
from typing import Any

from gptalt_eval.contract.record import Record
from gptalt_eval.results.clusters import find_mean
from gptalt_eval.results.groups import (
    Results,
    find_shots,
    is_group,
    list_hidden,
    list_tasks,
    walk,
)
from gptalt_eval.results.rows import (
    MEANS,
    Logged,
    Rows,
    find_kind,
    is_usable,
    label_clusters,
    list_metrics,
    read_logged,
    say_clusters,
)
from gptalt_eval.results.sampling import Design, estimate_mean
from gptalt_eval.results.stats import estimate_interval, mean_interval, normal_interval, wilson_interval

LONGEST_ALIAS = 60
CHOICES = ("acc", "acc_norm", "acc_bytes", "acc_mutual_info")  # which of the options is right


@dataclass(frozen=True)
class Score:
    """One metric of one task or group.

    Attributes:
        task: its name.
        alias: its name, with what its YAML wants it to be called.
        depth: how many groups it is nested in.
        shots: examples in the prompt; None if the members of a group differ.
        metric: the metric's name.
        filter: lm-eval's filter for the answers (usually ``none``).
        value: the score.
        interval: its 95 % confidence interval: Wilson's for a share of correct items; cluster-robust if items
            share a passage or the like; of a group stratified by member; otherwise from lm-eval's standard
            error. None if none of them can be computed.
        items: how many items were scored.
        available: how many there are in the split.
        higher_is_better: the metric's direction; None if unknown.
        is_group: whether the score is aggregated from the members of a group.
        result: the index of the results file in the record.
        clusters: how many passages or the like the items share; None: they share none.
        cluster: the column that names them.
        chance: the score of one who guesses; None: unknown, or nothing is to be chosen.
    """

    task: str
    alias: str
    depth: int
    shots: int | None
    metric: str
    filter: str
    value: float
    interval: tuple[float, float] | None
    items: int
    available: int | None
    higher_is_better: bool | None
    is_group: bool
    result: int
    clusters: int | None = None
    cluster: str = ""
    chance: float | None = None

    @property
    def title(self) -> str:
        """The metric, with the filter if it has one."""
        return self.metric if self.filter == "none" else f"{self.metric} ({self.filter})"

    @property
    def counted(self) -> str:
        """``20 of 2,376``, or ``2,376`` if that is all, and the passages that they share; empty: unknown."""
        if not self.items:  # lm-eval counts them since 0.4.3
            return ""
        is_whole = self.available is None or self.items >= self.available
        whole = "" if is_whole else f" of {self.available:,}"
        return f"{self.items:,}{whole}{say_clusters(self.clusters, self.cluster)}"


def list_scores(record: Record, logged: Logged | None = None) -> list[Score]:
    """Every score of a run; members follow their groups.

    Args:
        record: the run.
        logged: its rows, if they have been read.
    """
    logged = logged or read_logged(record)
    return [
        score
        for result, results in enumerate(record.results)
        for name, depth in walk(results)
        for score in read_scores(results, result, name, depth, logged)
    ]


def read_scores(results: Results, result: int, name: str, depth: int, logged: Logged) -> Iterator[Score]:
    values: Mapping[str, Any] = results["results"][name]
    tasks = list_tasks(results, name)
    columns = {logged.clusters.get((result, task), "") for task in tasks}
    keys = [key for each in list_metrics(results, name) for key in values if key.partition(",")[0] == each]
    for key in keys:
        value, (metric, _, filter_name) = values[key], key.partition(",")
        if not isinstance(value, (int, float)):
            continue
        found = [logged.rows.get((result, task), {}).get(filter_name, {}) for task in tasks]
        if not all(found):  # those of some members only do not make up a group's score
            found = []
        rows = {key: row for each in found for key, row in each.items() if metric in row.scores}
        mean = find_mean(results, name, key)
        clusters = mean.clusters if mean and not rows else len(set(label_clusters(rows)))
        items = len(rows) or (mean.rows if mean else 0) or count_items(results, name)
        yield Score(
            task=name,
            alias=show_name(name, str(values.get("alias") or name)),
            depth=depth,
            shots=find_shots(results, name),
            metric=metric,
            filter=filter_name,
            value=float(value),
            interval=find_interval(results, name, key, rows, columns),
            items=items,
            available=count_available(results, tasks),
            higher_is_better=find_direction(results, name, metric),
            is_group=is_group(results, name),
            result=result,
            clusters=clusters if 0 < clusters < items else None,
            cluster=next(iter(columns)) if len(columns) == 1 else "cluster",
            chance=find_chance(results, name, float(value), metric, rows),
        )


def find_chance(results: Results, name: str, value: float, metric: str, rows: Rows) -> float | None:
    """The expected score of one who guesses among the options of each row; None: some row has no options."""
    if metric not in CHOICES or not all(
        row.options > 1 and row.scores[metric] in (0, 1) for row in rows.values()
    ):
        return None
    design = find_design(results, name, value, metric, rows)
    return estimate_mean([1 / row.options for row in rows.values()], design).value if design else None


def show_name(name: str, alias: str) -> str:
    """A task's name and its alias, unless that is part of the name.

    Anybody's YAML can have the alias ``arc_easy``: alone, it would stand for a task that was not run.
    """
    shown = alias.lstrip(" -")
    return name if shown.replace(" ", "_") in name else f"{name} ({shown[:LONGEST_ALIAS]})"


def count_items(results: Results, name: str) -> int:
    """How many items were scored; of a group's members, unless the results file counts them for the group."""
    counts = results.get("n-samples", {}).get(name, {})
    own = int(counts.get("effective") or results["results"][name].get("sample_len") or 0)
    if own or not is_group(results, name):
        return own
    return sum(count_items(results, task) for task in list_tasks(results, name))


def count_available(results: Results, tasks: Sequence[str]) -> int | None:
    """How many items some tasks have in their splits; None: unknown."""
    counts = [results.get("n-samples", {}).get(task, {}).get("original") for task in tasks]
    return sum(counts) if counts and all(isinstance(count, int) for count in counts) else None


def find_interval(
    results: Results, name: str, key: str, rows: Rows, columns: Collection[str]
) -> tuple[float, float] | None:
    """The 95 % interval of a score, from its rows if they give it.

    Args:
        results: the results file.
        name: the task or group.
        key: the metric and filter, as in the file.
        rows: those that have the metric.
        columns: what rows share; an empty name: nothing.
    """
    values: Mapping[str, Any] = results["results"][name]
    value, (metric, _, filter_name) = values[key], key.partition(",")
    design = find_design(results, name, value, metric, rows)
    if design is not None:
        return mean_interval([row.scores[metric] for row in rows.values()], design)
    if not is_usable(value):
        return None
    items, mean = count_items(results, name), find_mean(results, name, key)
    is_one = is_share(results, name, metric, value)
    if mean is not None and (mean.rows or mean.clusters < items):
        return estimate_interval(mean, mean.are_shares or is_one)
    if mean is None and any(columns):
        return None  # lm-eval's standard error takes rows for independent
    if is_one:
        return wilson_interval(round(value * items), items)
    stderr = values.get(f"{metric}_stderr,{filter_name}")
    if isinstance(stderr, (int, float)) and isfinite(stderr) and stderr > 0:
        low, high = normal_interval(value, stderr)
        return (max(0.0, low), min(1.0, high)) if is_mean(results, name, metric, value) else (low, high)
    return None


def is_share(results: Results, name: str, metric: str, value: float) -> bool:
    """Whether a score is a share of right answers, by its definition, where its rows do not tell."""
    count = value * count_items(results, name)
    is_task = count_items(results, name) > 0 and not is_group(results, name)
    return is_task and is_mean(results, name, metric, value) and isclose(round(count), count, abs_tol=1e-6)


def is_mean(results: Results, name: str, metric: str, value: float) -> bool:
    """Whether a score is a mean of numbers between 0 and 1, by its definition."""
    return metric in MEANS and find_kind(results, name, metric) is not False and 0 <= value <= 1


def find_design(results: Results, name: str, value: float, metric: str, rows: Rows) -> Design | None:
    """How the rows make up a score; None if they do not.

    lm-eval does not save whether a group weighs its rows or its members alike: the score tells.
    """
    if not rows:
        return None
    scores = [row.scores[metric] for row in rows.values()]
    clusters = label_clusters(rows)
    members = [task for task, _ in rows] if is_group(results, name) else []
    for equal in (False, True) if members else (False,):
        design = Design(clusters, members, equal)
        if isclose(estimate_mean(scores, design).value, value, rel_tol=1e-9, abs_tol=1e-12):
            return design
    return None


def find_direction(results: Results, name: str, metric: str) -> bool | None:
    """Whether higher is better; None if that is unknown or the members of a group differ."""
    directions = results.get("higher_is_better", {})
    found = {directions.get(task, {}).get(metric) for task in list_tasks(results, name)}
    found.discard(None)
    return found.pop() if len(found) == 1 else None


def list_headlines(record: Record, scores: Sequence[Score]) -> list[Score]:
    """The scores without the members of groups that have a score of their own."""
    hidden = [list_hidden(results) for results in record.results]
    return [score for score in scores if score.task not in hidden[score.result]]
