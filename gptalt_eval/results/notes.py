"""What must be shown with the scores of some runs: of which data they are, what is missing or failed."""

from __future__ import annotations

from collections.abc import Sequence

from gptalt_eval.contract.located import SAMPLE
from gptalt_eval.contract.plan import OF_SAMPLE
from gptalt_eval.contract.record import Record
from gptalt_eval.results.groups import list_tasks
from gptalt_eval.results.overview import Overview
from gptalt_eval.results.rows import Logged, list_faults, list_gaps

NOT_SAVED = (
    "The items were not saved: they are not shown here, and cannot be compared. To save them: --log_samples."
)


def list_marks(records: Sequence[Record], names: Sequence[str], overview: Overview) -> list[str]:
    """What makes the scores those of a part of the data, or of a part of the tasks."""
    marks = []
    sampled = list_sampled(records, names, overview)
    if sampled:
        marks.append(f"Scored on a small embedded sample, not on the benchmark: {join_some(sampled)}.")
    parts = [f"{heading.title} {heading.items}" for heading in overview.headings if heading.is_partial]
    if parts:
        marks.append(f"Not all items were scored: {join_some(parts)}.")
    unfinished: dict[str, list[str]] = {}
    for record, name in zip(records, names, strict=True):
        if not record.is_complete:
            missing = f": {join_some(record.run.missing)} not evaluated yet" if record.run.missing else ""
            unfinished.setdefault(f"{record.run.status}{missing}", []).append(name)
    for status, found in unfinished.items():
        marks.append(
            f"{join_some(found)}: {'this run is' if len(found) == 1 else 'these runs are'} {status}."
        )
    return marks


def list_sampled(records: Sequence[Record], names: Sequence[str], overview: Overview) -> list[str]:
    """The tasks and groups scored on the embedded sample; with the models, if others used other data."""
    found = []
    for task in dict.fromkeys(column.task for column in overview.scores):
        used: dict[bool, dict[str, None]] = {True: {}, False: {}}
        for record, name in zip(records, names, strict=True):
            for results in record.results:
                data = [record.run.data.get(task) for task in list_tasks(results, task)]
                if data:
                    used[any(each is not None and each.origin == SAMPLE for each in data)][name] = None
        if used[True]:
            found.append(f"{task} ({', '.join(used[True])})" if used[False] else task)
    return found


def list_notes(
    records: Sequence[Record], names: Sequence[str], logged: Sequence[Logged], overview: Overview
) -> list[str]:
    """What must be shown with the results, each sentence once, with the models that it is about."""
    found: dict[str, list[str]] = {}
    for record, name, each in zip(records, names, logged, strict=True):
        lost = [NOT_SAVED] if record.results and not any(each.rows.values()) else []
        for note in dict.fromkeys((*record.notes, *lost, *list_faults([each]), *list_gaps(each))):
            found.setdefault(note, []).append(name)
    found.pop(OF_SAMPLE, None)  # it is among the marks
    notes = [
        note if len(about) == len(records) else f"{join_some(about)}: {note}" for note, about in found.items()
    ]
    gaps = [
        f"{task}: {count:,} {'item is' if count == 1 else 'items are'} not compared: some arm has no score."
        for task, count in overview.left_out.items()
    ]
    reasons: dict[str, list[str]] = {}
    for name, reason in overview.failed.items():
        reasons.setdefault(reason, []).append(name)
    failed = [f"Not evaluated: {join_some(about)}: {reason}" for reason, about in reasons.items()]
    return [*failed, *overview.packages, *gaps, *notes]


def join_some(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
