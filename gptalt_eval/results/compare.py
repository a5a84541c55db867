"""Compares arms of an experiment on the rows that both scored. Needs neither torch nor lm-eval."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from gptalt_eval.contract.errors import GptaltError, did_you_mean
from gptalt_eval.contract.record import Record
from gptalt_eval.results.arms import FACTORS, Arm, Factor, TaskRows, gather_rows, pair_rows
from gptalt_eval.results.packages import Packages, tell_packages
from gptalt_eval.results.rows import Logged, name_cluster, read_logged
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
        left_out: rows that cannot be compared: only one arm has them, or has a score for them.
        cluster: the column that rows share which are not independent; empty: none.
        other_prompts: rows whose prompts differ although only the model should (another seed, say);
            0 with chat templates, which are the models' own.
        packages: the packages and plugins in which the runs of the arms differ, in a sentence; empty: none.
    """

    task: str
    metric: str
    factor: Factor
    first: Arm
    second: Arm
    difference: Difference | None
    adjusted: float | None = None
    refused: str = ""
    left_out: int = 0
    cluster: str = ""
    other_prompts: int = 0
    packages: str = ""


def compare_runs(
    records: Sequence[Record],
    factor: Factor | None = None,
    metric: str | None = None,
    members: bool = False,
    seed: int = 0,
    logged: Sequence[Logged] | None = None,
) -> list[Comparison]:
    """Compare every two arms that differ in exactly one factor, task by task.

    A group that has a score is compared as one, over the rows of its members.

    Args:
        records: runs.
        factor: compare only arms that differ in this factor; None: any factor.
        metric: the metric to compare; None: the first one of each task.
        members: compare the members of such groups too.
        seed: of the bootstrap and of the permutations.
        logged: the rows of the runs, if they have been read.

    Raises:
        GptaltError: no samples were logged, the metric is unknown, or no two arms are comparable.
    """
    tasks = gather_rows(records, logged or [read_logged(record) for record in records])
    if not tasks:
        raise GptaltError(
            "These runs have no logged samples to compare.",
            "Run again with --log_samples, or without --output_path.",
        )
    check_metric(list(tasks.values()), metric)
    found = [
        comparison
        for task in tasks.values()
        if members or not task.is_member
        for comparison in compare_arms(task, FACTORS if factor is None else (factor,), metric, seed)
    ]
    if not found:
        raise GptaltError(
            f"No two arms differ {f'only in {factor}' if factor else 'in exactly one factor'}.",
            "Evaluate another arm: --num_fewshot 0,3 or --prompt_style standard,system or --model A,B",
        )
    return adjust_all(found)


def adjust_all(found: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons with their p-values after Holm's correction for all of them."""
    adjusted = iter(adjust_holm([each.difference.p_value for each in found if each.difference]))
    return [replace(each, adjusted=next(adjusted)) if each.difference else each for each in found]


def check_metric(tasks: Sequence[TaskRows], metric: str | None) -> None:
    known = list(dict.fromkeys(name for task in tasks for name in task.metrics))
    if metric is not None and metric not in known:
        hint = did_you_mean(metric, known) or f"Available: {', '.join(known) or 'none'}."
        raise GptaltError(f"No task has a metric '{metric}' with a score for each row.", hint)


def compare_arms(
    task: TaskRows, factors: Sequence[Factor], metric: str | None, seed: int
) -> Iterator[Comparison]:
    chosen = metric or next(iter(task.metrics), "")
    for first, second in combinations(task.arms, 2):
        differing = [name for name in FACTORS if getattr(first, name) != getattr(second, name)]
        if len(differing) == 1 and differing[0] in factors:
            comparison = Comparison(task.name, chosen, differing[0], first, second, None)
            yield compare_rows(replace(comparison, cluster=task.cluster), task, seed)


def compare_rows(comparison: Comparison, task: TaskRows, seed: int) -> Comparison:
    if comparison.metric not in task.metrics:
        named = f"no '{comparison.metric}'" if comparison.metric else "no score"
        return replace(comparison, refused=f"its rows have {named} of their own")
    if changed := list_changed(task, comparison.first, comparison.second):
        return replace(comparison, refused=f"it has other versions: {changed}")
    pairs = pair_rows(task, comparison.metric, comparison.first, comparison.second)
    is_plain = comparison.factor == "model" and not {comparison.first, comparison.second} & task.templated
    other_prompts = pairs.other_prompts if is_plain else 0
    comparison = replace(
        comparison,
        left_out=pairs.left_out,
        other_prompts=other_prompts,
        packages=tell_packages(*name_packages(comparison, task)),
    )
    if not pairs.first:
        return replace(comparison, refused="they have no rows in common")
    if not pairs.other_prompts and comparison.factor != "model":
        return replace(comparison, refused="both produce the same prompts")
    if len(pairs.first) > 1 and len(set(pairs.design.clusters)) == 1:
        return replace(comparison, refused=f"all rows are of one {name_cluster(task.cluster)}")
    found = compare_pairs(pairs.first, pairs.second, seed, pairs.design)
    return replace(comparison, difference=found)


def name_packages(comparison: Comparison, task: TaskRows) -> list[tuple[str, Packages]]:
    """The packages of both arms, with the arms' names."""
    arms = (comparison.first, comparison.second)
    return [(arm.name(comparison.factor), task.packages.get(arm, {})) for arm in arms]


def list_changed(task: TaskRows, first: Arm, second: Arm) -> str:
    """What has another version in a second arm, such as ``arc_easy 1.0 and 2.0``; empty: nothing has."""
    one, other = (task.versions.get(arm, {}) for arm in (first, second))
    found = [
        f"{name} {one[name]} and {other[name]}" for name in one if one[name] != other.get(name, one[name])
    ]
    return ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
