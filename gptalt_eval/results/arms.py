"""The arms of an experiment, and the rows that each arm scored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from gptalt_eval.contract.record import Record
from gptalt_eval.results.analyse import find_design
from gptalt_eval.results.groups import (
    Results,
    find_shots,
    find_style,
    is_group,
    list_hidden,
    list_tasks,
    walk,
)
from gptalt_eval.results.packages import Packages, list_packages
from gptalt_eval.results.rows import Key, Logged, Rows, find_judged, label_clusters, list_metrics
from gptalt_eval.results.sampling import Design

Factor = Literal["model", "prompt_style", "num_fewshot"]
FACTORS: tuple[Factor, ...] = ("model", "prompt_style", "num_fewshot")


@dataclass(frozen=True)
class Arm:
    """One combination of model, prompt style and shot count (None: the members of a group differ)."""

    model: str
    prompt_style: str
    num_fewshot: int | None

    @property
    def shots(self) -> str:
        return "default shots" if self.num_fewshot is None else f"{self.num_fewshot}-shot"

    def name(self, factor: Factor) -> str:
        return self.shots if factor == "num_fewshot" else str(getattr(self, factor))


@dataclass(frozen=True)
class Evaluated:
    """A task or group that was evaluated: its place in some records, and its arm."""

    record: int
    result: int
    name: str
    arm: Arm


@dataclass(frozen=True)
class TaskRows:
    """The rows of one task or group by arm.

    Attributes:
        name: of the task or group.
        arms: the rows of each arm.
        metrics: those whose score is the mean of the rows, the main one first.
        cluster: the column that its rows share; empty: none.
        is_group: whether it is a group.
        equal: whether its score weighs the members of the group alike, rather than their rows.
        is_member: whether it is part of a group that has a score of its own, in every arm.
        judged: the metric that tells whether a row is correct; empty: none does.
        versions: by arm, of the task or of each member.
        packages: by arm, with what it was run.
        templated: arms whose prompts are in a chat template, which is their model's own.
    """

    name: str
    arms: Mapping[Arm, Rows]
    metrics: Sequence[str]
    cluster: str = ""
    is_group: bool = False
    equal: bool = False
    is_member: bool = False
    judged: str = ""
    versions: Mapping[Arm, Mapping[str, str]] = field(default_factory=dict)
    packages: Mapping[Arm, Packages] = field(default_factory=dict)
    templated: frozenset[Arm] = frozenset()


@dataclass(frozen=True)
class Pairs:
    """The rows that two arms scored.

    Attributes:
        first, second: the score of each row.
        design: which of them belong together.
        left_out: how many rows only one arm has, or has a score for.
        other_prompts: how many of the rows that both arms have had different prompts.
    """

    first: Sequence[float]
    second: Sequence[float]
    design: Design
    left_out: int
    other_prompts: int

    @property
    def differences(self) -> list[float]:
        return [other - one for one, other in zip(self.first, self.second, strict=True)]


def walk_arms(records: Sequence[Record]) -> list[Evaluated]:
    """Every task and group of some runs with its arm.

    Results of one run with the same arm (a folder of lm-eval's in which a task was run again) are named
    by the times of their files as well.
    """
    models = name_models(records)
    found = [
        Evaluated(place, result, name, Arm(models[place], find_style(results), find_shots(results, name)))
        for place, record in enumerate(records)
        for result, results in enumerate(record.results)
        for name, _ in walk(results)
    ]
    counts = Counter((each.name, each.arm) for each in found)
    repeated = {(each.record, each.result) for each in found if counts[each.name, each.arm] > 1}
    for place, each in enumerate(found):
        if (each.record, each.result) in repeated:
            time = records[each.record].files[each.result].stem.rpartition("results_")[2]
            found[place] = replace(each, arm=replace(each.arm, model=f"{each.arm.model} {time}"))
    return found


def merge_arms(evaluated: Sequence[Evaluated]) -> list[Evaluated]:
    """The tasks and groups with arms for a table of one row an arm.

    Without ``--num_fewshot``, tasks have their own shots. Arms that differ only in these and have no task in
    common are one, with the shots None.
    """
    tasks: dict[tuple[str, str], dict[Arm, set[str]]] = {}
    for each in evaluated:
        arms = tasks.setdefault((each.arm.model, each.arm.prompt_style), {})
        arms.setdefault(each.arm, set()).add(each.name)
    merged = {
        key
        for key, arms in tasks.items()
        if len(arms) > 1 and sum(map(len, arms.values())) == len(set().union(*arms.values()))
    }
    return [
        replace(each, arm=replace(each.arm, num_fewshot=None))
        if (each.arm.model, each.arm.prompt_style) in merged
        else each
        for each in evaluated
    ]


def name_models(records: Sequence[Record]) -> list[str]:
    """A name for each record: its model, or the end of its folder's path if several have the same model."""
    return lengthen([record.model for record in records], [record.folder for record in records])


def lengthen(names: Sequence[str], folders: Sequence[Path]) -> list[str]:
    """Names of folders; those that are repeated are replaced by as much of the paths' ends as it takes."""
    names, parts = list(names), [folder.absolute().parts for folder in folders]
    for length in range(1, max(map(len, parts), default=0) + 1):
        repeated = {name for name, count in Counter(names).items() if count > 1}
        for place, folder in enumerate(parts):
            if names[place] in repeated:
                names[place] = "/".join(folder[-length:])
    return names


def gather_rows(
    records: Sequence[Record], logged: Sequence[Logged], evaluated: Sequence[Evaluated] | None = None
) -> dict[str, TaskRows]:
    """The rows (with the first filter) of each task, and of each group that has a score.

    Args:
        records: the runs.
        logged: the rows of each run.
        evaluated: the tasks and groups with their arms; None: as :func:`walk_arms` names them.
    """
    found: dict[str, list[tuple[Evaluated, Rows]]] = {}
    for each in walk_arms(records) if evaluated is None else evaluated:
        tasks = list_tasks(records[each.record].results[each.result], each.name)
        parts = [logged[each.record].first(each.result, task) for task in tasks]
        if all(parts):
            rows = {key: row for part in parts for key, row in part.items()}
            found.setdefault(each.name, []).append((each, rows))
    gathered = [join_arms(records, logged, entries) for entries in found.values()]
    return {task.name: task for task in gathered if task is not None}


def join_arms(
    records: Sequence[Record], logged: Sequence[Logged], entries: Sequence[tuple[Evaluated, Rows]]
) -> TaskRows | None:
    """The rows of one task or group in all its arms; None if it is a group without a score."""
    first, rows = entries[0]
    name, results = first.name, records[first.record].results[first.result]
    metrics = list_metrics(results, name)
    if not metrics:
        return None
    columns = {find_shared(logged, entries, task) for task in list_tasks(results, name)}
    files = [(each, records[each.record].results[each.result]) for each, _ in entries]
    return TaskRows(
        name=name,
        arms={each.arm: rows for each, rows in entries},
        metrics=[metric for metric in metrics if any(has_score(rows, metric) for _, rows in entries)],
        cluster=next(iter(columns)) if len(columns) == 1 else "cluster",
        is_group=is_group(results, name),
        equal=is_group(results, name) and weighs_equally(results, name, rows),
        is_member=all(name in list_hidden(records[each.record].results[each.result]) for each, _ in entries),
        judged=find_judged(results, name, [rows for _, rows in entries]),
        versions={each.arm: find_versions(found, name) for each, found in files},
        packages={each.arm: list_packages(records[each.record].run) for each, _ in entries},
        templated=frozenset(each.arm for each, found in files if found.get("chat_template")),
    )


def find_shared(logged: Sequence[Logged], entries: Sequence[tuple[Evaluated, Rows]], task: str) -> str:
    """The column that a task's rows share, from the first arm that knows it; empty: none does."""
    found = (logged[each.record].clusters.get((each.result, task), "") for each, _ in entries)
    return next(filter(None, found), "")


def find_versions(results: Results, name: str) -> dict[str, str]:
    """The versions of a task, or of each task of a group, where they are stated."""
    stated = results.get("versions", {})
    return {task: str(stated[task]) for task in list_tasks(results, name) if task in stated}


def has_score(rows: Rows, metric: str) -> bool:
    return any(metric in row.scores for row in rows.values())


def weighs_equally(results: Results, group: str, rows: Rows) -> bool:
    """Whether a group's score weighs its members alike, rather than their rows."""
    for key, value in results["results"][group].items():
        metric = key.partition(",")[0]
        scored = {place: row for place, row in rows.items() if metric in row.scores}
        design = find_design(results, group, value, metric, scored) if "," in key and scored else None
        if design is not None and design.equal:  # of some metrics, both means may be the same
            return True
    return False


def pair_rows(task: TaskRows, metric: str, first: Arm, second: Arm) -> Pairs:
    """The rows of a task that two arms scored by a metric, in the order of the first."""
    one, other = task.arms[first], task.arms[second]
    common = list_common(one, other)
    scored = {
        key: replace(one[key], cluster=one[key].cluster or other[key].cluster)  # lm-eval's folders name none
        for key in common
        if metric in one[key].scores and metric in other[key].scores
    }
    strata = [name for name, _ in scored] if task.is_group else []
    return Pairs(
        first=[row.scores[metric] for row in scored.values()],
        second=[other[key].scores[metric] for key in scored],
        design=Design(label_clusters(scored), strata, task.equal),
        left_out=len({*one, *other}) - len(scored),
        other_prompts=sum(one[key].prompt != other[key].prompt for key in common),
    )


def list_common(one: Rows, other: Rows) -> list[Key]:
    """The rows that both arms have scored."""
    return [key for key in one if key in other and one[key].document == other[key].document]
