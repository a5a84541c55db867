"""``gptalt-eval compare``: the differences between arms, as a table."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from gptalt_eval.contract.record import find_runs, load_record
from gptalt_eval.results.arms import FACTORS
from gptalt_eval.results.compare import Comparison, compare_runs


def run_compare(arguments: argparse.Namespace) -> int:
    """``gptalt-eval compare``."""
    records = [load_record(folder) for run in arguments.runs for folder in find_runs(run)]
    found = compare_runs(records, arguments.by, arguments.metric)
    if arguments.json:
        from gptalt_eval.commands.printing import print_json

        print_json([asdict(comparison) for comparison in found])
        return 0
    for line in format_table(found):
        print(line)
    print(
        "\nDiff.: second minus first, with its 95 % interval (paired bootstrap)."
        "\np: McNemar's exact test; Holm: corrected for all tests in this table."
        "\nMDE: the minimum detectable difference, with 80 % power."
    )
    return 0


LINE = "  {:<18} {:>11} {:>6} {:>16} {:>6} {:>6} {:>7}"  # fits 80 columns


def format_table(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """Lines: a task with what its arms have in common, then each pair of arms."""
    yield LINE.format("", "Scores", "Diff.", "95 % interval", "p", "Holm", "MDE").rstrip()
    previous = ""
    for each in comparisons:
        found = each.difference
        fixed = [each.first.name(factor) for factor in FACTORS if factor != each.factor]
        heading = f"{each.task} ({', '.join(fixed)})" + (f", {found.rows:,} rows" if found else "")
        if heading != previous:
            yield heading
        previous = heading
        arms = f"{each.first.name(each.factor)}, {each.second.name(each.factor)}"
        if found is None:
            yield f"  {arms}: not compared, {each.refused}"
            continue
        if len(arms) > 18:
            yield f"  {arms}"
            arms = ""
        yield LINE.format(
            arms,
            f"{found.first:.3f} {found.second:.3f}",
            f"{found.value:+.3f}",
            f"{found.interval[0]:+.3f} to {found.interval[1]:+.3f}",
            format_p(found.p_value),
            format_p(each.adjusted),
            "" if found.detectable is None else f"{found.detectable:.3f}",
        ).rstrip()


def format_p(value: float | None) -> str:
    return "" if value is None else "<0.001" if value < 0.001 else f"{value:.3f}"
