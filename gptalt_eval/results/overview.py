"""The report's overview: one row an arm, one column a task or group, and what the arms were run with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

from gptalt_eval.contract.located import SAMPLE
from gptalt_eval.contract.record import Record
from gptalt_eval.results.analyse import Score, list_scores
from gptalt_eval.results.arms import (
    Arm,
    Evaluated,
    TaskRows,
    find_versions,
    gather_rows,
    merge_arms,
    name_models,
    walk_arms,
)
from gptalt_eval.results.columns import (
    Column,
    Entry,
    Heading,
    describe_column,
    rank_column,
)
from gptalt_eval.results.facts import Facts, gather_facts
from gptalt_eval.results.groups import list_hidden, list_tasks
from gptalt_eval.results.packages import tell_differences
from gptalt_eval.results.ranking import SIGNIFICANT, Standing, rank_arms
from gptalt_eval.results.rows import Logged

Versions = tuple[tuple[str, str], ...]
Edition = tuple[Versions, bool]
Scores = Mapping[Column, Mapping[Arm, Sequence[Score]]]


@dataclass(frozen=True)
class Overview:
    """The runs of a report.

    Attributes:
        arms: the rows, the best mean first.
        headings: the columns.
        entries: by arm, then by column; None: not evaluated.
        scores: by column and arm, the main metric first.
        all_scores: those of the members of groups too.
        rows: by task or group.
        evaluated: every task and group with its place in the runs, and its arm.
        standings: each arm's mean over the columns that all arms have; empty: they have none in common.
        averaged: the numbers of these columns.
        facts: of the arms.
        failed: what could not be evaluated, and why.
        packages: the packages and plugins in which the runs differ, in sentences.
        left_out: by task: how many rows some arm has no score for; tasks without such rows are left out.
    """

    arms: Sequence[Arm]
    headings: Sequence[Heading]
    entries: Sequence[Sequence[Entry | None]]
    scores: Scores
    all_scores: Scores
    rows: Mapping[str, TaskRows]
    evaluated: Sequence[Evaluated]
    standings: Mapping[Arm, Standing]
    averaged: Sequence[int]
    facts: Sequence[Facts]
    failed: Mapping[str, str]
    packages: Sequence[str]
    left_out: Mapping[str, int]

    @property
    def factors(self) -> list[str]:
        """In which of model, prompt style and shots the arms differ; the model always counts."""
        return [
            "model",
            *(
                name
                for name in ("prompt_style", "shots")
                if len({getattr(arm, name) for arm in self.arms}) > 1
            ),
        ]

    @property
    def others(self) -> list[tuple[str, list[Score | None]]]:
        """The other metrics of the columns, by title, with each arm's score."""
        found: dict[str, dict[int, Score]] = {}
        for place, entries in enumerate(self.entries):
            for heading, entry in zip(self.headings, entries, strict=True):
                for score in entry.others if entry else ():
                    found.setdefault(f"{heading.title} {score.title}", {})[place] = score
        return [
            (title, [each.get(place) for place in range(len(self.arms))]) for title, each in found.items()
        ]

    def is_best(self, arm: Arm) -> bool:
        """Whether its mean is the highest, and not that of all arms."""
        standing = self.standings.get(arm)
        return (
            standing is not None
            and standing.rank == 1
            and any(each.rank > 1 for each in self.standings.values())
        )

    def is_tied(self, arm: Arm) -> bool:
        """Whether its mean is not significantly different from the best."""
        standing = self.standings.get(arm)
        if standing is None or standing.rank == 1:
            return False
        return standing.lowest == 1 if standing.p_value is None else standing.p_value >= SIGNIFICANT

    def name(self, arm: Arm) -> str:
        """The arm's name, without what all arms have in common."""
        return " · ".join(filter(None, (arm.model, self.describe(arm))))

    def describe(self, arm: Arm) -> str:
        """Its prompt style and shots, as far as arms differ in them."""
        return " · ".join(str(getattr(arm, factor)) for factor in self.factors[1:])


def make_overview(records: Sequence[Record], logged: Sequence[Logged]) -> Overview:
    """The overview of some runs and their rows."""
    evaluated = merge_arms(walk_arms(records))
    scores = gather_scores(records, logged, evaluated)
    rows = gather_rows(records, logged, evaluated)
    arms = list(dict.fromkeys(arm for by_arm in scores.values() for arm in by_arm))
    hidden = find_hidden(records)
    shown = {column: by_arm for column, by_arm in scores.items() if column.task not in hidden}
    columns = [rank_column(by_arm, rows.get(column.task)) for column, by_arm in shown.items()]
    firsts = [
        ({arm: found[0] for arm, found in by_arm.items()}, rows.get(column.task))
        for column, by_arm in shown.items()
    ]
    standings, averaged = rank_arms(firsts)
    arms.sort(key=lambda arm: standings[arm].rank if arm in standings else inf)
    names = name_models(records)
    failed = {
        f"{model}: {name}" if len(records) > 1 else name: reason
        for model, record in zip(names, records, strict=True)
        for name, reason in record.failed.items()
    }
    gaps = {
        task: count_gaps(rows[task])
        for task in dict.fromkeys(column.task for column in shown)
        if task in rows
    }
    return Overview(
        arms=arms,
        headings=[describe_column(column, by_arm) for column, by_arm in shown.items()],
        entries=[[column.get(arm) for column in columns] for arm in arms],
        scores=shown,
        all_scores=scores,
        rows=rows,
        evaluated=evaluated,
        standings=standings,
        averaged=averaged,
        facts=gather_facts(records, evaluated, arms),
        failed=failed,
        packages=tell_differences(records, names),
        left_out={task: count for task, count in gaps.items() if count},
    )


def find_hidden(records: Sequence[Record]) -> set[str]:
    """The members of groups that have a score of their own, in every run that has them."""
    shown, hidden = set(), set()
    for results in (results for record in records for results in record.results):
        inside = list_hidden(results)
        hidden |= inside
        shown |= results.get("results", {}).keys() - inside
    return hidden - shown


def gather_scores(
    records: Sequence[Record], logged: Sequence[Logged], evaluated: Sequence[Evaluated]
) -> Scores:
    """By task or group and arm: its scores, the main metric first.

    Other versions of a task are other columns, and so is its embedded sample: they cannot be compared.
    """
    arms = {(each.record, each.result, each.name): each.arm for each in evaluated}
    found: dict[str, dict[Edition, dict[Arm, list[Score]]]] = {}
    for place, (record, read) in enumerate(zip(records, logged, strict=True)):
        for score in list_scores(record, read):
            arm = arms[place, score.result, score.task]
            edition = find_edition(record, score.result, score.task)
            found.setdefault(score.task, {}).setdefault(edition, {}).setdefault(arm, []).append(score)
    for by_edition in found.values():
        for is_sample in (False, True):
            unstated = by_edition.pop(((), is_sample), {})  # may be the same as the one
            stated = [edition for edition in by_edition if edition[1] == is_sample]
            if unstated:
                edition = stated[0] if len(stated) == 1 else ((), is_sample)
                by_edition.setdefault(edition, {}).update(unstated)
    return {
        part: scores
        for task, by_edition in found.items()
        for column, by_arm in zip(name_columns(task, list(by_edition)), by_edition.values(), strict=True)
        for part, scores in name_parts(column, list(divide(by_arm)))
    }


def divide(by_arm: Mapping[Arm, Sequence[Score]]) -> Iterator[dict[Arm, Sequence[Score]]]:
    """The scores of a column with the same metric and filter first in every arm; several columns if need be.

    The main one is an arm's own: a folder of lm-eval's does not say which a task's YAML names. The first main
    one that all arms have counts, or else any that they all have.
    """
    left = dict(by_arm)
    while left:
        owned = {arm: {(score.metric, score.filter) for score in scores} for arm, scores in left.items()}
        mains = [scores[0] for scores in left.values()]
        keys = [(score.metric, score.filter) for score in (*mains, *next(iter(left.values())))]
        chosen = max(keys, key=lambda key: sum(key in each for each in owned.values()))
        yield {
            arm: sorted(left.pop(arm), key=lambda score: (score.metric, score.filter) != chosen)
            for arm, found in owned.items()
            if chosen in found
        }


def name_parts(
    column: Column, parts: Sequence[Mapping[Arm, Sequence[Score]]]
) -> Iterator[tuple[Column, Mapping[Arm, Sequence[Score]]]]:
    """A column for each part; if there are several, with the metric in its title."""
    for scores in parts:
        metric = next(iter(scores.values()))[0].title if len(parts) > 1 else ""
        yield replace(column, versions=", ".join(filter(None, (column.versions, metric)))), scores


def find_edition(record: Record, result: int, name: str) -> Edition:
    """The version of a task, or of each task of a group, and whether its rows are the embedded sample."""
    results = record.results[result]
    data = [record.run.data[task] for task in list_tasks(results, name) if task in record.run.data]
    return tuple(sorted(find_versions(results, name).items())), any(each.origin == SAMPLE for each in data)


def name_columns(task: str, editions: Sequence[Edition]) -> list[Column]:
    """A column for each version of a task; those of a group's members are too many to be named."""
    several = list(dict.fromkeys(versions for versions, _ in editions))
    mixed = len({is_sample for _, is_sample in editions}) > 1

    def name(versions: Versions, is_sample: bool) -> Column:
        stated = dict(versions).get(task)
        version = f"version {stated}" if stated else f"versions, set {several.index(versions) + 1}"
        version = version if versions else "version not stated"
        parts = [version if len(several) > 1 else "", "sample" if mixed and is_sample else ""]
        return Column(task, ", ".join(filter(None, parts)))

    return [name(*edition) for edition in editions]


def count_gaps(rows: TaskRows) -> int:
    """How many rows some arm has no score for."""
    if not rows.metrics:
        return 0
    every = {key for each in rows.arms.values() for key in each}
    scored = [
        {key for key, row in each.items() if rows.metrics[0] in row.scores} for each in rows.arms.values()
    ]
    return sum(not all(key in each for each in scored) for key in every)
