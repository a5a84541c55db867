"""The arms of an experiment, and the rows that each arm scored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gptalt_eval.contract.errors import GptaltError, did_you_mean
from gptalt_eval.contract.record import Record

Factor = Literal["model", "prompt_style", "num_fewshot"]
SUBJECTS = ("subject", "subject_name", "meta_info", "category", "topic")  # the column's usual names
FACTORS: tuple[Factor, ...] = ("model", "prompt_style", "num_fewshot")


@dataclass(frozen=True)
class Arm:
    """One combination of model, prompt style and shot count."""

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


def gather_rows(records: Sequence[Record]) -> dict[str, dict[Arm, Rows]]:
    """By task and arm, the scored rows (with the task's first filter)."""
    tasks: dict[str, dict[Arm, Rows]] = {}
    for record, index, task, arm in walk_arms(records):
        rows = read_rows(record.read_samples(index, task))
        if rows:
            tasks.setdefault(task, {})[arm] = rows
    return tasks


def walk_arms(records: Sequence[Record]) -> Iterator[tuple[Record, int, str, Arm]]:
    """Each (record, index of its results, task, arm)."""
    for record, model in zip(records, name_models(records), strict=True):
        for index, results in enumerate(record.results):
            for task, shots in results.get("n-shot", {}).items():
                yield record, index, task, Arm(model, find_style(results), int(shots or 0))


def name_models(records: Sequence[Record]) -> list[str]:
    """A name for each record: its model, or the end of its folder's path if several have the same model."""
    folders = [record.folder.absolute().parts for record in records]
    names = [record.model for record in records]
    for length in range(1, max(map(len, folders), default=0) + 1):
        repeated = {name for name, count in Counter(names).items() if count > 1}
        for place, folder in enumerate(folders):
            if names[place] in repeated:
                names[place] = "/".join(folder[-length:])
    return names


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


def choose_metric(task: str, rows: Rows, metric: str | None) -> str:
    metrics = list(next(iter(rows.values())).scores)
    if not metrics:
        raise GptaltError(f"{task}: its rows have no numeric metric.")
    if metric is not None and metric not in metrics:
        hint = did_you_mean(metric, metrics) or f"Available: {', '.join(metrics)}."
        raise GptaltError(f"{task} has no metric '{metric}'.", hint)
    return metric or metrics[0]


def list_common(one: Rows, other: Rows) -> list[int]:
    """The rows that both arms have scored."""
    return [number for number in one if number in other and one[number].document == other[number].document]
