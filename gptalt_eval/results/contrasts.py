"""The rows of a task on which arms disagree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gptalt_eval.contract.record import Record
from gptalt_eval.results.arms import Arm, TaskRows, walk_arms
from gptalt_eval.results.rows import Key
from gptalt_eval.results.samples import ShownItem, view_item

SHOWN_ROWS = 40  # per task


@dataclass(frozen=True)
class Contrast:
    """A row on which arms disagree.

    Attributes:
        number: of the row.
        prompt: the prompt of the first arm that scored the row.
        gold: the target.
        verdicts: by arm: whether its answer is correct; None if it has not scored the row.
        answers: by arm: the option that it chose or the text that it generated.
    """

    number: int
    prompt: str
    gold: str
    verdicts: Sequence[bool | None]
    answers: Sequence[str]


def find_contrasts(rows: TaskRows, records: Sequence[Record], arms: Sequence[Arm]) -> list[Contrast]:
    """Rows that some arms answer correctly and others do not, evenly spread over the task."""
    if rows.is_group or not rows.judged:
        return []
    verdicts: dict[Key, list[bool | None]] = {}
    for place, arm in enumerate(arms):
        for key, row in rows.arms.get(arm, {}).items():
            if rows.judged in row.scores:
                verdicts.setdefault(key, [None] * len(arms))[place] = bool(row.scores[rows.judged])
    split = [key for key, each in sorted(verdicts.items()) if {True, False} <= set(each)]
    chosen = split[:: max(1, len(split) // SHOWN_ROWS)][:SHOWN_ROWS]
    lines = gather_lines(rows.name, records, arms, {number for _, number in chosen}) if chosen else []
    contrasts = []
    for task, number in chosen:
        shown = [view_item(found[number]) if number in found else None for found in lines]
        first = next(sample for sample in shown if sample)
        answers = [describe_answer(sample) if sample else "" for sample in shown]
        contrasts.append(Contrast(number, first.prompt, first.gold, verdicts[task, number], answers))
    return contrasts


def gather_lines(
    task: str, records: Sequence[Record], arms: Sequence[Arm], numbers: set[int]
) -> list[dict[int, Mapping[str, Any]]]:
    """By arm, the logged samples of some rows."""
    found: list[dict[int, Mapping[str, Any]]] = [{} for _ in arms]
    for each in walk_arms(records):
        if each.name == task and each.arm in arms:
            for line in records[each.record].read_samples(each.result, task):
                if line["doc_id"] in numbers:
                    found[arms.index(each.arm)].setdefault(line["doc_id"], line)
    return found


def describe_answer(sample: ShownItem) -> str:
    """The option that an arm chose, or the text that it generated."""
    if not sample.options:
        return sample.answer
    return sample.options[sample.chosen].strip() if sample.chosen >= 0 else ""
