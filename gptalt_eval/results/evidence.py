"""What a user's runs say about which model is best at a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gptalt_eval.contract.located import SAMPLE
from gptalt_eval.contract.record import Record
from gptalt_eval.results.analyse import Score
from gptalt_eval.results.arms import Arm, gather_rows, walk_arms
from gptalt_eval.results.columns import Entry, rank_column, rank_value
from gptalt_eval.results.groups import list_tasks
from gptalt_eval.results.overview import gather_scores
from gptalt_eval.results.rows import read_logged


@dataclass(frozen=True)
class Place:
    """A run's place in a ranking.

    Attributes:
        record: the run.
        score: its score with its interval.
        is_best: whether it is the best, or as good.
        is_tied: whether it is not significantly different from the best on the rows that both scored.
    """

    record: Record
    score: Score
    is_best: bool
    is_tied: bool


@dataclass(frozen=True)
class Ranking:
    """Runs of one task under the same conditions, the best first.

    Attributes:
        task: its name, with its version where runs have several.
        prompt_style: the style's name.
        num_fewshot: examples in the prompt; None: the members of a group differ.
        places: the runs.
    """

    task: str
    prompt_style: str
    num_fewshot: int | None
    places: Sequence[Place]


def rank_runs(records: Sequence[Record], task: str) -> list[Ranking]:
    """A ranking for each version of a task, prompt style and number of shots; the largest first.

    Scores under other conditions are not comparable, and never ranked together.
    """
    logged = [read_logged(record) for record in records]
    evaluated = walk_arms(records)
    rows = gather_rows(records, logged, evaluated).get(task)
    owners = {each.arm: records[each.record] for each in evaluated if each.name == task}
    rankings = []
    for column, by_arm in gather_scores(records, logged, evaluated).items():
        if column.task != task:
            continue
        conditions: dict[tuple[str, int | None], dict[Arm, Sequence[Score]]] = {}
        for arm, scores in by_arm.items():
            conditions.setdefault((arm.prompt_style, arm.num_fewshot), {})[arm] = scores
        for (style, shots), alike in conditions.items():
            places = sort_entries(rank_column(alike, rows), owners)
            rankings.append(Ranking(column.title, style, shots, places))
    return sorted(rankings, key=lambda each: -len(each.places))


def sort_entries(entries: Mapping[Arm, Entry], owners: Mapping[Arm, Record]) -> list[Place]:
    sign = -1 if next(iter(entries.values())).score.higher_is_better is False else 1
    ordered = sorted(entries, key=lambda arm: -rank_value(sign * entries[arm].score.value))
    is_alone = len(entries) == 1
    return [
        Place(owners[arm], entries[arm].score, entries[arm].is_best or is_alone, entries[arm].is_tied)
        for arm in ordered
    ]


def divide_runs(
    records: Sequence[Record], task: str, explain: Callable[[Record], str]
) -> tuple[list[Record], list[tuple[Record, str]]]:
    """The runs of a task that say something about its models, and the others with the reason.

    Args:
        records: the runs.
        task: a task or group.
        explain: why a run does not count for other reasons; empty: it counts.
    """
    counted: list[Record] = []
    left_out: list[tuple[Record, str]] = []
    for record in records:
        if not any(task in results["results"] for results in record.results):
            continue
        reason = find_flaw(record, task) or explain(record)
        if reason:
            left_out.append((record, reason))
        else:
            counted.append(record)
    return counted, left_out


def find_flaw(record: Record, task: str) -> str:
    """Why a run's score of a task says little about its model; empty: it does say something."""
    members = {
        name
        for results in record.results
        if task in results["results"]
        for name in (task, *list_tasks(results, task))
    }
    data = [record.run.data[name] for name in members if name in record.run.data]
    if any(each.origin == SAMPLE for each in data):
        return "on the embedded sample, which is not the benchmark"
    if any(label.partition(" ")[0] in members for label in record.failed):
        return "a part of it failed"
    return ""


def find_remark(record: Record, task: str) -> str:
    """What must be known about a run's data; empty: nothing."""
    data = record.run.data.get(task)
    return data.reason if data and data.partial else ""
