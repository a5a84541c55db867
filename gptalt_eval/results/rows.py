"""The rows that a run scored, read from its saved samples."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum, isclose, isfinite
from typing import Any

from gptalt_eval.contract.errors import GptaltError, did_you_mean
from gptalt_eval.contract.record import Record
from gptalt_eval.contract.run import RunData
from gptalt_eval.results.groups import Results, list_tasks, walk

SUBJECTS = ("subject", "subject_name", "meta_info", "category", "topic")  # the column's usual names
#: metrics that are the mean of their rows unless a task's YAML says otherwise
MEANS = frozenset(("acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match", "em", "no_answer"))
#: where a results file has the means of clustered rows that are not saved
CLUSTERS = "gptalt_clusters"
LARGEST = 1e100  # a score; nothing that is measured comes near it
Key = tuple[str, int]  # task, row


@dataclass(frozen=True)
class Row:
    """One scored row.

    Attributes:
        document, prompt: hashes of them.
        scores: by metric, of those whose score is the mean of the rows; without what is not a finite number.
        subject: what it is about; empty: not stated.
        cluster: rows of the same task with the same one are not independent; empty: the row is on its own.
        options: how many there are to choose from; 0: it is not a choice.
    """

    document: str
    prompt: str
    scores: Mapping[str, float]
    subject: str = ""
    cluster: str = ""
    options: int = 0


Rows = Mapping[Key, Row]


@dataclass(frozen=True)
class Logged:
    """What a run saved of its rows.

    Attributes:
        rows: by results file and task, then by filter, the task's first one first; without what is in faults.
        clusters: the column that the rows of a task share, if they share one.
        faults: why the rows of a task cannot be used, in a sentence.
    """

    rows: Mapping[tuple[int, str], Mapping[str, Rows]]
    clusters: Mapping[tuple[int, str], str]
    faults: Mapping[tuple[int, str], str]

    def first(self, result: int, task: str) -> Rows:
        """The rows of a task with its first filter; none if they were not saved."""
        return next(iter(self.rows.get((result, task), {}).values()), {})


def read_logged(record: Record) -> Logged:
    """Read the saved rows of all tasks of a run; what is damaged is kept as a sentence, not raised."""
    rows: dict[tuple[int, str], Mapping[str, Rows]] = {}
    clusters: dict[tuple[int, str], str] = {}
    faults: dict[tuple[int, str], str] = {}
    for result, results in enumerate(record.results):
        for task in dict.fromkeys(task for name, _ in walk(results) for task in list_tasks(results, name)):
            column = find_column(results, task, record.run.data.get(task))
            try:
                found = read_task(record, result, task, column)
            except GptaltError as error:
                faults[result, task] = " ".join(filter(None, (f"{task}: {error.what}", error.hint)))
            else:
                rows[result, task] = found
                if column and not found and task not in results.get(CLUSTERS, {}):
                    reason = f"no interval, because the rows with their {column} are not saved."
                    faults[result, task] = f"{task}: {reason}"
            if column:
                clusters[result, task] = column
    return Logged(rows, clusters, faults)


def find_column(results: Results, task: str, data: RunData | None) -> str:
    """The column that a task's rows share (``metadata: cluster:``, or its dataset's); empty: none."""
    metadata = results.get("configs", {}).get(task, {}).get("metadata")
    named = metadata.get("cluster") if isinstance(metadata, Mapping) else None
    return str(named or (data.cluster if data else ""))


def read_task(record: Record, result: int, task: str, column: str = "") -> dict[str, Rows]:
    """The saved rows of a task by filter; none if they were not saved.

    Raises:
        GptaltError: they are damaged or incomplete, or have no column of that name.
    """
    return read_lines(record.results[result], task, record.read_samples(result, task), column)


def read_lines(
    results: Results, task: str, lines: Iterable[Mapping[str, Any]], column: str
) -> dict[str, Rows]:
    """The rows of a task by filter, from its samples as they are saved; see :func:`read_task`."""
    metrics = list_metrics(results, task)
    is_choice = results.get("configs", {}).get(task, {}).get("output_type") == "multiple_choice"
    found: dict[str, dict[Key, Row]] = {}
    columns: dict[str, None] = {}
    for line in lines:
        document = line["doc"] if isinstance(line.get("doc"), Mapping) else {}
        columns.update(dict.fromkeys(document))
        try:
            row = read_row(line, document, metrics, column)
            row = replace(row, options=count_options(line, metrics)) if is_choice else row
            found.setdefault(line.get("filter", "none"), {})[task, line["doc_id"]] = row
        except KeyError as error:
            raise GptaltError(f"its saved rows have no {error}.", "lm-eval writes it since 0.4.3.") from error
    if not found:
        return {}
    saved = len(next(iter(found.values())))
    scored = results.get("n-samples", {}).get(task, {}).get("effective", 0)
    if saved < scored:
        raise GptaltError(f"only {saved:,} of its {scored:,} rows are saved.")
    if column and column not in columns:
        hint = did_you_mean(column, columns) or "They share it: keep it in process_docs."
        raise GptaltError(f"its rows have no column '{column}'.", hint)
    return {name: keep_means(results, task, name, rows) for name, rows in found.items()}


def list_metrics(results: Results, name: str) -> list[str]:
    """The metrics of a task or group, the main one first.

    That is the one that the task's YAML names (``metadata: headline:``), or else the first.
    """
    keys = [key.partition(",")[0] for key in results["results"][name] if "," in key]
    metrics = dict.fromkeys(key for key in keys if not key.endswith("_stderr"))
    metadata = results.get("configs", {}).get(name, {}).get("metadata")
    named = metadata.get("headline") if isinstance(metadata, Mapping) else None
    return list(dict.fromkeys([named, *metrics]) if named in metrics else metrics)


def count_options(line: Mapping[str, Any], metrics: Sequence[str]) -> int:
    """From how many options a model chose, one of which is right; 0: several may be.

    acc_mutual_info asks for each of them again.
    """
    if str(line.get("target")).startswith("[") and str(line.get("target")).endswith("]"):
        return 0
    asked = len(line.get("arguments") or ())
    return asked // 2 if "acc_mutual_info" in metrics else asked


def read_row(
    line: Mapping[str, Any], document: Mapping[str, Any], metrics: Sequence[str], column: str
) -> Row:
    values = {name: line.get(name) for name in metrics}
    scores = {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, (int, float)) and is_usable(value)
    }
    cluster = hash_value(document[column]) if column and is_given(document.get(column)) else ""
    return Row(line["doc_hash"], line["prompt_hash"], scores, find_subject(document), cluster)


def is_usable(value: float) -> bool:
    """Whether a number is finite and small enough to be added up and squared."""
    return isfinite(value) and abs(value) <= LARGEST


def find_judged(results: Results, task: str, arms: Sequence[Rows]) -> str:
    """The first metric that tells whether a row is correct: always 1 or 0, and higher is better; empty: none.

    Args:
        results: a results file with the task.
        task: its name.
        arms: its rows, once or more often.
    """
    directions = results.get("higher_is_better", {}).get(task, {})
    for metric in list_metrics(results, task):
        found = {row.scores[metric] for rows in arms for row in rows.values() if metric in row.scores}
        if found and found <= {0, 1} and directions.get(metric) is not False:
            return metric
    return ""


def label_clusters(rows: Rows) -> list[tuple[str, str | int]]:
    """The cluster of each row; a row without one is on its own."""
    return [(task, row.cluster or number) for (task, number), row in rows.items()]


def name_cluster(column: str) -> str:
    return column.removesuffix("_id")


def say_clusters(clusters: int | None, column: str) -> str:
    """`` in 582 passages``; empty if rows share nothing."""
    if clusters is None:
        return ""
    name = name_cluster(column)
    plural = f"{name[:-1]}ies" if name.endswith("y") else f"{name}s"
    return f" in {clusters:,} {name if clusters == 1 else plural}"


def list_faults(logged: Sequence[Logged]) -> list[str]:
    """Why the rows of some tasks cannot be used, each reason once."""
    return list(dict.fromkeys(fault for each in logged for fault in each.faults.values()))


def list_gaps(logged: Logged) -> list[str]:
    """The tasks some of whose rows lack the main metric, or have NaN."""
    gaps = []
    for (_, task), by_filter in logged.rows.items():
        rows = next(iter(by_filter.values()), {})
        fullest = max(rows.values(), key=lambda row: len(row.scores), default=None)
        metric = next(iter(fullest.scores), "") if fullest else ""
        lacking = sum(metric not in row.scores for row in rows.values())
        if metric and lacking:
            gaps.append(f"{task}: no number for {metric} in {lacking:,} of {len(rows):,} rows.")
    return list(dict.fromkeys(gaps))


def hash_value(value: object) -> str:
    """A passage is long, and all that matters is whether two of them are equal."""
    return hashlib.sha256(str(value).encode()).hexdigest()[:16]


def find_subject(document: Mapping[str, Any]) -> str:
    return next((str(document[name]) for name in SUBJECTS if is_given(document.get(name))), "")


def is_given(value: object) -> bool:
    """Whether a row has something in a column: 0 is the number of a passage like any other, NaN is a gap."""
    return value == value if isinstance(value, (int, float)) else bool(value)


def keep_means(results: Results, task: str, filter_name: str, rows: Rows) -> Rows:
    """The rows with those of their scores whose mean is the task's score."""
    kept = [
        metric for metric in list_metrics(results, task) if is_mean(results, task, metric, filter_name, rows)
    ]
    if len(kept) == len(list_metrics(results, task)):
        return rows
    return {
        key: replace(row, scores={name: row.scores[name] for name in kept if name in row.scores})
        for key, row in rows.items()
    }


def is_mean(results: Results, task: str, metric: str, filter_name: str, rows: Rows) -> bool:
    """Whether a score is the mean of its rows: by its definition, or else by computing it."""
    known = find_kind(results, task, metric)
    if known is not None:
        return known
    value = results["results"][task].get(f"{metric},{filter_name}")
    values = [row.scores[metric] for row in rows.values() if metric in row.scores]
    if not values or not isinstance(value, (int, float)):
        return False
    return isclose(fsum(values) / len(values), value, rel_tol=1e-9, abs_tol=1e-12)


def find_kind(results: Results, task: str, metric: str) -> bool | None:
    """Whether a metric is defined as the mean of its rows; None: its definition does not say."""
    for entry in results.get("configs", {}).get(task, {}).get("metric_list") or ():
        how = entry.get("aggregation") if entry.get("metric") == metric else None
        if how in ("mean", "nanmean"):
            return True
        if isinstance(how, str):  # a name; or the source of a function, which may compute a mean
            return False if how.isidentifier() else None
    return True if metric in MEANS else None
