"""Compares arms of an experiment on the rows that both scored. Needs neither torch nor lm-eval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.record import Record
from gptalt_eval.results.arms import FACTORS, Arm, Factor, Rows, choose_metric, gather_rows, list_common
from gptalt_eval.results.stats import Difference, adjust_holm, compare_pairs


@dataclass(frozen=True)
class Comparison:
    """Two arms that differ in one factor.

    Attributes:
        task, metric: the score that is compared.
        factor: the factor in which they differ.
        first, second: the arms.
        difference: the result on the common rows; None: they cannot be compared.
        adjusted: the p-value after Holm's correction for all comparisons of the call.
        refused: why they cannot be compared.
    """

    task: str
    metric: str
    factor: Factor
    first: Arm
    second: Arm
    difference: Difference | None
    adjusted: float | None = None
    refused: str = ""


def compare_runs(
    records: Sequence[Record], factor: Factor | None = None, metric: str | None = None, seed: int = 0
) -> list[Comparison]:
    """Compare every two arms that differ in exactly one factor, task by task.

    Args:
        records: runs.
        factor: compare only arms that differ in this factor; None: any factor.
        metric: the metric to compare; None: the first one of each task.
        seed: of the bootstrap.

    Raises:
        GptaltError: no samples were logged, the metric is unknown, or no two arms are comparable.
    """
    tasks = gather_rows(records)
    if not tasks:
        raise GptaltError(
            "These runs have no logged samples to compare.",
            "Run again with --log_samples, or without --output_path.",
        )
    found = [
        comparison
        for task, arms in tasks.items()
        for comparison in compare_arms(task, arms, FACTORS if factor is None else (factor,), metric, seed)
    ]
    if not found:
        raise GptaltError(
            f"No two arms differ {f'only in {factor}' if factor else 'in exactly one factor'}.",
            "Evaluate another arm: --num_fewshot 0,3 or --prompt_style standard,system or --model A,B",
        )
    tested = [
        place for place, each in enumerate(found) if each.difference and each.difference.p_value is not None
    ]
    adjusted = adjust_holm([found[place].difference.p_value for place in tested])  # type: ignore[union-attr, misc]
    for place, value in zip(tested, adjusted, strict=True):
        found[place] = replace(found[place], adjusted=value)
    return found


def compare_arms(
    task: str, arms: Mapping[Arm, Rows], factors: Sequence[Factor], metric: str | None, seed: int
) -> Iterator[Comparison]:
    for first, second in combinations(arms, 2):
        differing = [name for name in FACTORS if getattr(first, name) != getattr(second, name)]
        if len(differing) != 1 or differing[0] not in factors:
            continue
        chosen = choose_metric(task, arms[first], metric)
        comparison = Comparison(task, chosen, differing[0], first, second, None)
        yield compare_rows(comparison, arms[first], arms[second], seed)


def compare_rows(comparison: Comparison, one: Rows, other: Rows, seed: int) -> Comparison:
    common = list_common(one, other)
    if not common:
        return replace(comparison, refused="they have no rows in common")
    same_prompts = all(one[number].prompt == other[number].prompt for number in common)
    if same_prompts and comparison.factor != "model":
        return replace(comparison, refused="both produce the same prompts")
    first, second = ([rows[number].scores[comparison.metric] for number in common] for rows in (one, other))
    return replace(comparison, difference=compare_pairs(first, second, seed))
