"""``gptalt-eval compare``: the differences between arms, as a table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from gptalt_eval.contract.plan import OF_SAMPLE
from gptalt_eval.contract.record import find_runs, load_record
from gptalt_eval.machine.plain import print_plain as print
from gptalt_eval.machine.waiting import waiting
from gptalt_eval.machine.words import list_names
from gptalt_eval.machine.wrapping import find_width, measure
from gptalt_eval.results.arms import FACTORS
from gptalt_eval.results.compare import Comparison, compare_runs
from gptalt_eval.results.ranking import SIGNIFICANT
from gptalt_eval.results.rows import list_faults, name_cluster, read_logged, say_clusters


def run_compare(arguments: argparse.Namespace) -> int:
    """``gptalt-eval compare``."""
    with waiting("Reading the answers"):
        records = [load_record(folder) for run in arguments.runs for folder in find_runs(run)]
        logged = [read_logged(record) for record in records]
    faults = list_faults(logged)
    try:
        with waiting("Comparing the arms"):
            found = compare_runs(records, arguments.by, arguments.metric, arguments.members, logged=logged)
    finally:
        for fault in faults:
            print(f"Not compared: {fault}", file=sys.stderr)
    if arguments.json:
        from gptalt_eval.commands.printing import print_json

        print_json([asdict(comparison) for comparison in found])
        return 0
    for line in format_table(found, find_width(sys.stdout) or NARROWEST):
        print(line)
    print(f"\n{explain(found)}")
    for sentence in dict.fromkeys(each.packages for each in found if each.packages):
        print(f"Note: {sentence}")
    if any(OF_SAMPLE in record.notes for record in records):
        print(f"Note: {OF_SAMPLE}")
    return 0


def explain(comparisons: Sequence[Comparison]) -> str:
    """What the columns mean."""
    tested = [(each.difference, each.cluster) for each in comparisons if each.difference]
    columns = dict.fromkeys(column for found, column in tested if found.clusters)
    adjusted = [each.adjusted for each in comparisons if each.adjusted is not None]
    metrics: dict[str, dict[str, None]] = {}
    for each in comparisons:
        if each.difference:
            metrics.setdefault(each.metric, {})[each.task] = None
    lines = [
        "Diff.: second minus first, with its 95 % interval (paired bootstrap).",
        "p: McNemar's exact test; Holm: corrected for all tests in this table.",
        "MDE: the minimum detectable difference, with 80 % power.",
    ]
    if columns or any(found.only_first is None for found, _ in tested):
        lines[1] = "p: McNemar's exact test or, where it does not apply, a paired permutation test."
        lines.insert(2, "Holm: corrected for all tests in this table.")
    if columns:
        named = " or ".join(map(name_cluster, columns))
        lines.append(f"Rows of one {named} are resampled and permuted together.")
    significant = sum(p_value < SIGNIFICANT for p_value in adjusted)
    lines.append(
        f"*: significant at 5 % after Holm's correction, {significant:,} of {len(adjusted):,} differences."
    )
    named_tasks = {metric: f" of {list_names(list(tasks))}" for metric, tasks in metrics.items()}
    scores = [
        f"Scores{named if len(metrics) > 1 else ''}: {metric}." for metric, named in named_tasks.items()
    ]
    return "\n".join([*scores, *lines])


COLUMNS = ("Scores", "Diff.", "95 % interval", "p", "Holm", "MDE")
FIGURES = " {:>11} {:>6} {:>16} {:>6} {:>6} {:>7}"
MARK = " *"  # of a significant difference
NARROWEST = 80  # columns that the table needs
LEAST = 18  # columns for the names of arms


def format_table(comparisons: Sequence[Comparison], width: int = NARROWEST) -> Iterator[str]:
    """Lines: a task with what its arms have in common, then each pair of arms.

    Args:
        comparisons: what was compared.
        width: of the terminal: the names of arms stand beside their figures if there is room.
    """
    longest = max((measure(name_arms(each)) for each in comparisons), default=0)
    room = max(width, NARROWEST) - len(FIGURES.format(*[""] * 6)) - 4
    column = longest if LEAST < longest <= room else LEAST
    yield (" " * (column + 2) + FIGURES.format(*COLUMNS)).rstrip()
    previous = ""
    for each in comparisons:
        found = each.difference
        fixed = [each.first.name(factor) for factor in FACTORS if factor != each.factor]
        heading = f"{each.task} ({', '.join(fixed)}){count_rows(each)}"
        if heading != previous:
            yield heading
        previous = heading
        arms = name_arms(each)
        if found is None:
            yield f"  {arms}: not compared, {each.refused}"
            continue
        if measure(arms) > column:
            yield f"  {arms}"
            arms = ""
        low, high = (f"{bound:+.3f}" for bound in found.interval)
        figures = FIGURES.format(
            f"{found.first:.3f} {found.second:.3f}",
            f"{found.value:+.3f}",
            f"{low} to {high}" if low != high else "",
            format_p(found.p_value),
            format_p(each.adjusted),
            "" if found.detectable is None else f"{found.detectable:.3f}",
        )
        mark = MARK if each.adjusted is not None and each.adjusted < SIGNIFICANT else ""
        yield (f"  {arms}{' ' * (column - measure(arms))}" + figures + mark).rstrip()


def name_arms(comparison: Comparison) -> str:
    first, second = (arm.name(comparison.factor) for arm in (comparison.first, comparison.second))
    return f"{first}, {second}"


def count_rows(comparison: Comparison) -> str:
    """How many rows were compared, and how many could not be."""
    found, left_out = comparison.difference, comparison.left_out
    if found is None:
        return ""
    rows = f"{found.rows:,} rows" + say_clusters(found.clusters, comparison.cluster)
    notes = [f"{left_out:,} not compared"] * bool(left_out)
    notes += [f"other prompts in {comparison.other_prompts:,}"] * bool(comparison.other_prompts)
    return ", ".join(["", rows, *notes])


def format_p(value: float | None) -> str:
    return "" if value is None else "<0.001" if value < 0.001 else f"{value:.3f}"
