"""Turns the results of a run into table rows. Needs neither torch nor lm-eval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gptalt_eval.contract.record import Record
from gptalt_eval.results.stats import is_share, normal_interval, wilson_interval

NO_METRICS = ("alias", "name", "sample_len", "sample_count", " ")


@dataclass(frozen=True)
class Score:
    """One metric of one task or group.

    Attributes:
        task: its name.
        alias: its display name.
        depth: how many groups it is nested in.
        shots: examples in the prompt; None if the members of a group differ.
        metric: the metric's name.
        filter: lm-eval's filter for the answers (usually ``none``).
        value: the score.
        interval: its 95 % confidence interval: Wilson's for a share of correct items, otherwise from
            lm-eval's standard error; None if neither is available.
        items: how many items were scored.
        available: how many there are in the split.
        higher_is_better: the metric's direction; None if unknown.
        is_group: whether the score is aggregated from the members of a group.
        result: the index of the results file in the record.
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


def list_scores(record: Record) -> list[Score]:
    """Every score of a run; members follow their groups."""
    scores: list[Score] = []
    for index, results in enumerate(record.results):
        for name, depth in walk(results):
            scores.extend(read_scores(results, index, name, depth))
    return scores


def walk(results: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Task and group names with their depth, each group before its members, each name once.

    A group without a score of its own is not shown, and so adds no depth.
    """
    members: Mapping[str, list[str]] = results.get("group_subtasks", {})
    inside = {child for children in members.values() for child in children}
    seen: set[str] = set()

    def descend(name: str, depth: int) -> Iterator[tuple[str, int]]:
        if name in seen or name not in results["results"]:
            return
        seen.add(name)
        yield name, depth
        inner = depth + any("," in key for key in results["results"][name])
        for child in members.get(name, ()):
            yield from descend(child, inner)

    for name in [*members, *results.get("results", {})]:
        if name not in inside:
            yield from descend(name, 0)


def read_scores(results: Mapping[str, Any], index: int, name: str, depth: int) -> Iterator[Score]:
    values: Mapping[str, Any] = results["results"][name]
    is_group = name in results.get("group_subtasks", {})
    counts = results.get("n-samples", {}).get(name, {})
    items = int(counts.get("effective") or values.get("sample_len") or 0)
    directions = results.get("higher_is_better", {}).get(name, {})
    for key, value in values.items():
        if key in NO_METRICS or "," not in key or not isinstance(value, (int, float)):
            continue
        metric, _, filter_name = key.partition(",")
        if metric.endswith("_stderr"):
            continue
        stderr = values.get(f"{metric}_stderr,{filter_name}")
        yield Score(
            task=name,
            alias=str(values.get("alias", name)),
            depth=depth,
            shots=results.get("n-shot", {}).get(name),
            metric=metric,
            filter=filter_name,
            value=float(value),
            interval=find_interval(float(value), stderr, items, is_group),
            items=items,
            available=counts.get("original"),
            higher_is_better=directions.get(metric),
            is_group=is_group,
            result=index,
        )


def find_interval(value: float, stderr: Any, items: int, is_group: bool) -> tuple[float, float] | None:
    # a group's score can be a weighted mean of different tasks, so its item count says less than its stderr
    if not is_group and is_share(value, items):
        return wilson_interval(round(value * items), items)
    return normal_interval(value, stderr) if isinstance(stderr, (int, float)) else None


def list_headlines(scores: list[Score]) -> list[Score]:
    """The scores without the members of aggregated groups."""
    kept: list[Score] = []
    inside: tuple[int, int] | None = None  # (result, depth) of the aggregated group we are in
    for score in scores:
        if inside and score.result == inside[0] and score.depth > inside[1]:
            continue
        inside = (score.result, score.depth) if score.is_group else None
        kept.append(score)
    return kept
