"""What the arms of a report were run with: the model, the time and the tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gptalt_eval.contract.record import Record
from gptalt_eval.contract.run import Run
from gptalt_eval.results.arms import Arm, Evaluated
from gptalt_eval.results.groups import list_tasks


@dataclass(frozen=True)
class Facts:
    """What an arm was run with. The arms of one model are computed together and have its time in common.

    Attributes:
        parameters: of the model; None: unknown.
        dtype, device: of the weights.
        licence: of the model.
        seconds: the time of the whole run, with all its arms, or of its workers together; None: unknown, or
            the run was resumed.
        tokens: computed for log-likelihoods in the whole run; 0: unknown.
        saved: the share of tokens that shared prefixes saved; None: unknown.
        truncated: requests of the arm that lost the beginning of their prompt; None: unknown.
        run: the number of its run; None: several.
    """

    parameters: int | None = None
    dtype: str = ""
    device: str = ""
    licence: str = ""
    seconds: float | None = None
    tokens: int = 0
    saved: float | None = None
    truncated: int | None = None
    run: int | None = None


def gather_facts(
    records: Sequence[Record], evaluated: Sequence[Evaluated], arms: Sequence[Arm]
) -> list[Facts]:
    """The facts of each arm."""
    places: dict[Arm, set[tuple[int, int]]] = {arm: set() for arm in arms}
    for each in evaluated:
        if each.arm in places:
            places[each.arm].add((each.record, each.result))
    return [describe_arm(records, found) for found in places.values()]


def describe_arm(records: Sequence[Record], places: set[tuple[int, int]]) -> Facts:
    counts = [count_truncated(records[record], result) for record, result in places]
    truncated = None if None in counts else sum(filter(None, counts))
    if len({record for record, _ in places}) != 1:
        return Facts(truncated=truncated)
    place = next(iter(places))[0]
    run = records[place].run
    work = run.scoring if run.scoring and run.scoring.asked and not run.resumed else None
    return Facts(
        parameters=run.model.parameters,
        dtype=(run.model.dtype or "").removeprefix("torch."),
        device=run.model.device or "",
        licence=run.model.licence,
        seconds=measure_time(run),
        tokens=work.tokens if work else 0,
        saved=1 - work.tokens / work.asked if work else None,
        truncated=truncated,
        run=place,
    )


def measure_time(run: Run) -> float | None:
    """Seconds in which a model was computed with; those of workers add up, since all models are one queue."""
    if run.resumed:
        return None
    return sum(worker.seconds for worker in run.workers) if run.workers else run.seconds


def count_truncated(record: Record, result: int) -> int | None:
    """How many requests of a results file lost the beginning of their prompt; None: lm-eval does not say."""
    cell = next((cell for cell in record.run.cells if cell.results == record.files[result].name), None)
    if cell is None:
        return None
    names = {
        task
        for name in record.results[result].get("results", {})
        for task in list_tasks(record.results[result], name)
    }
    return sum(record.run.cut[label].lost for name in names if (label := cell.label(name)) in record.run.cut)
