"""Means of rows in the results file, so that their intervals are known when rows are not saved.

Of rows in clusters, of metrics that only some rows have, and of those that need not be 0 or 1 in a row: of
others the score and the count say enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gptalt_eval.contract.typed import build
from gptalt_eval.results.groups import Results
from gptalt_eval.results.rows import CLUSTERS, MEANS, label_clusters, list_metrics, read_lines
from gptalt_eval.results.sampling import Design, Mean, estimate_mean


@dataclass(frozen=True)
class Clusters:
    """The means of one task.

    Attributes:
        column: what its rows share; empty: nothing.
        means: by metric and filter, as in the results file.
    """

    column: str
    means: Mapping[str, Mean]


def sum_up_clusters(results: Results, task: str, lines: Iterable[Mapping[str, Any]], column: str) -> Clusters:
    """The means of a task's rows.

    Args:
        results: lm-eval's results with the task.
        task: its name.
        lines: its samples, as they would be saved.
        column: what the rows share; empty: nothing.

    Raises:
        GptaltError: the rows have no such column.
    """
    means = {}
    for filter_name, rows in read_lines(results, task, lines, column).items():
        for metric in list_metrics(results, task):
            scored = {key: row for key, row in rows.items() if metric in row.scores}
            if scored and (column or len(scored) < len(rows) or metric not in MEANS):
                values = [row.scores[metric] for row in scored.values()]
                means[f"{metric},{filter_name}"] = estimate_mean(values, Design(label_clusters(scored)))
    return Clusters(column, means)


def find_mean(results: Results, task: str, key: str) -> Mean | None:
    """The mean that :func:`sum_up_clusters` wrote for a metric and filter."""
    saved = results.get(CLUSTERS, {}).get(task)
    return build(Clusters, saved).means.get(key) if saved else None
