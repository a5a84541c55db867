"""What differs between arms of an experiment that scored the same rows. Needs neither torch nor lm-eval."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any, Literal

from gptalt_eval.errors import GptaltError, did_you_mean
from gptalt_eval.record import Record, find_runs, load_record
from gptalt_eval.stats import Difference, adjust_holm, compare_pairs

Factor = Literal["model", "prompt_style", "num_fewshot"]
SUBJECTS = ("subject", "subject_name", "meta_info", "category", "topic")  # what datasets call it
FACTORS: tuple[Factor, ...] = ("model", "prompt_style", "num_fewshot")


@dataclass(frozen=True)
class Arm:
    """One way in which a task was evaluated."""

    model: str
    prompt_style: str
    num_fewshot: int

    def name(self, factor: Factor) -> str:
        return f"{self.num_fewshot}-shot" if factor == "num_fewshot" else str(getattr(self, factor))


@dataclass(frozen=True)
class Row:
    """One scored row: hashes of its document and prompt, its scores by metric, its subject if it has one."""

    document: str
    prompt: str
    scores: Mapping[str, float]
    subject: str = ""


Rows = Mapping[int, Row]


@dataclass(frozen=True)
class Comparison:
    """Two arms that differ in one factor.

    Attributes:
        task, metric: what was scored.
        factor: in which they differ.
        first, second: the arms.
        difference: what the common rows say; None: they cannot be compared.
        adjusted: the p-value after Holm's correction over all comparisons made at once.
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
    """Every two arms that differ in one factor and nothing else, task by task.

    Args:
        records: runs.
        factor: in which they differ; None: any.
        metric: None: the first of each task.
        seed: of the bootstrap.

    Raises:
        GptaltError: no samples were saved, no such metric, or nothing to compare.
    """
    tasks = gather_rows(records)
    if not tasks:
        raise GptaltError(
            "These runs hold no samples to compare.", "Run with --log_samples, or without --output_path."
        )
    found = [
        comparison
        for task, arms in tasks.items()
        for comparison in compare_arms(task, arms, FACTORS if factor is None else (factor,), metric, seed)
    ]
    if not found:
        by = f" in {factor}" if factor else ""
        raise GptaltError(
            f"No two arms differ{by} and in nothing else.",
            "Evaluate a second one: --num_fewshot 0,3 or --prompt_style standard,system or --model A,B",
        )
    tested = [
        place for place, each in enumerate(found) if each.difference and each.difference.p_value is not None
    ]
    adjusted = adjust_holm([found[place].difference.p_value for place in tested])  # type: ignore[union-attr, misc]
    for place, value in zip(tested, adjusted, strict=True):
        found[place] = replace(found[place], adjusted=value)
    return found


def gather_rows(records: Sequence[Record]) -> dict[str, dict[Arm, Rows]]:
    """By task and arm, the rows that were scored (of a task's first filter)."""
    tasks: dict[str, dict[Arm, Rows]] = {}
    for record, index, task, arm in walk_arms(records):
        rows = read_rows(record.read_samples(index, task))
        if rows:
            tasks.setdefault(task, {})[arm] = rows
    return tasks


def walk_arms(records: Sequence[Record]) -> Iterator[tuple[Record, int, str, Arm]]:
    """Each record, each of its results, each task in it, and the arm that this is."""
    for record, model in zip(records, name_models(records), strict=True):
        for index, results in enumerate(record.results):
            for task, shots in results.get("n-shot", {}).items():
                yield record, index, task, Arm(model, find_style(results), int(shots or 0))


def name_models(records: Sequence[Record]) -> list[str]:
    """The records' models; of those that share a name, the folders."""
    names = [record.model for record in records]
    return [
        name if names.count(name) == 1 else record.folder.name
        for name, record in zip(names, records, strict=True)
    ]


def read_rows(samples: Iterable[Mapping[str, Any]]) -> Rows:
    rows: dict[int, Row] = {}
    first = None
    for sample in samples:
        first = sample["filter"] if first is None else first
        if sample["filter"] == first:
            scores = {name: sample.get(name) for name in sample["metrics"]}
            kept = {name: float(score) for name, score in scores.items() if isinstance(score, (int, float))}
            subject = find_subject(sample.get("doc", {}))
            rows[sample["doc_id"]] = Row(sample["doc_hash"], sample["prompt_hash"], kept, subject)
    return rows


def find_subject(document: Mapping[str, Any]) -> str:
    return next((str(document[name]) for name in SUBJECTS if document.get(name)), "")


def find_style(results: Mapping[str, Any]) -> str:
    named = results.get("config", {}).get("prompt_style")
    return str(named or ("chat template" if results.get("chat_template") else "standard"))


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


def choose_metric(task: str, rows: Rows, metric: str | None) -> str:
    metrics = list(next(iter(rows.values())).scores)
    if not metrics:
        raise GptaltError(f"{task}: no metric of its rows is a number.")
    if metric is not None and metric not in metrics:
        hint = did_you_mean(metric, metrics) or f"There are: {', '.join(metrics)}."
        raise GptaltError(f"{task} has no metric '{metric}'.", hint)
    return metric or metrics[0]


def list_common(one: Rows, other: Rows) -> list[int]:
    """The rows that both arms have scored."""
    return [number for number in one if number in other and one[number].document == other[number].document]


def compare_rows(comparison: Comparison, one: Rows, other: Rows, seed: int) -> Comparison:
    common = list_common(one, other)
    if not common:
        return replace(comparison, refused="they have no row in common")
    same_prompts = all(one[number].prompt == other[number].prompt for number in common)
    if same_prompts and comparison.factor != "model":
        return replace(comparison, refused="both gave the model the same prompts")
    first, second = ([rows[number].scores[comparison.metric] for number in common] for rows in (one, other))
    return replace(comparison, difference=compare_pairs(first, second, seed))


def run_compare(arguments: argparse.Namespace) -> int:
    """``gptalt-eval compare``."""
    records = [load_record(folder) for run in arguments.runs for folder in find_runs(run)]
    found = compare_runs(records, arguments.by, arguments.metric)
    if arguments.json:
        from gptalt_eval.cli import print_json

        print_json([asdict(comparison) for comparison in found])
        return 0
    for line in format_table(found):
        print(line)
    print(
        "\nDiff.: second minus first, with its 95 % interval (rows resampled 10,000 times)."
        "\np: McNemar's exact test; Holm: corrected for all tests of this table."
        "\nDetect.: the difference that this many rows show four times in five."
    )
    return 0


LINE = "  {:<18} {:>11} {:>6} {:>16} {:>6} {:>6} {:>7}"  # fits 80 columns


def format_table(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """Lines: a task with what its arms have in common, below it each pair of arms."""
    yield LINE.format("", "Scores", "Diff.", "95 % interval", "p", "Holm", "Detect.").rstrip()
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
