"""The rows of a task on which arms disagree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gptalt_eval.contract.record import Record
from gptalt_eval.results.arms import Arm, TaskRows, walk_arms
from gptalt_eval.results.items import illustrate
from gptalt_eval.results.pictures import Album, Part
from gptalt_eval.results.rows import Key
from gptalt_eval.results.samples import ShownItem, view_item

SHOWN_ROWS = 40  # per task
Source = tuple[int, int]  # the numbers of a run and of its results file


@dataclass(frozen=True)
class Contrast:
    """A row on which arms disagree.

    Attributes:
        number: of the row.
        prompt: the pieces of the prompt of the first arm that scored the row.
        is_cut: whether it is without the beginning, which all prompts of that arm have.
        gold: the target.
        verdicts: by arm: whether its answer is correct; None if it has not scored the row.
        answers: by arm: the option that it chose or the text that it generated.
    """

    number: int
    prompt: Sequence[Part]
    is_cut: bool
    gold: str
    verdicts: Sequence[bool | None]
    answers: Sequence[str]


def find_contrasts(
    rows: TaskRows, records: Sequence[Record], arms: Sequence[Arm], album: Album
) -> list[Contrast]:
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
    firsts: dict[Source, list[ShownItem]] = {}
    for task, number in chosen:
        shown = [view_item(found[number][1]) if number in found else None for found in lines]
        source, first = next(
            (found[number][0], sample) for found, sample in zip(lines, shown, strict=True) if sample
        )
        firsts.setdefault(source, []).append(first)
        answers = [describe_answer(sample) if sample else "" for sample in shown]
        contrasts.append(Contrast(number, (), False, first.gold, verdicts[task, number], answers))
    prompts: dict[int, tuple[Sequence[Part], bool]] = {}
    for (record, result), items in firsts.items():
        shown_task = illustrate(items, records[record], result, rows.name, album)
        prompts |= {item.number: (parts, bool(shown_task.start)) for item, parts in shown_task.items}
    return [
        replace(each, prompt=prompts[each.number][0], is_cut=prompts[each.number][1]) for each in contrasts
    ]


def gather_lines(
    task: str, records: Sequence[Record], arms: Sequence[Arm], numbers: set[int]
) -> list[dict[int, tuple[Source, Mapping[str, Any]]]]:
    """By arm, the logged samples of some rows, and where each is from."""
    found: list[dict[int, tuple[Source, Mapping[str, Any]]]] = [{} for _ in arms]
    for each in walk_arms(records):
        if each.name == task and each.arm in arms:
            for line in records[each.record].read_samples(each.result, task):
                if line["doc_id"] in numbers:
                    source = (each.record, each.result)
                    found[arms.index(each.arm)].setdefault(line["doc_id"], (source, line))
    return found


def describe_answer(sample: ShownItem) -> str:
    """The option that an arm chose, or the text that it generated."""
    if not sample.options:
        return sample.answer
    return sample.options[sample.chosen].strip() if sample.chosen >= 0 else ""
