"""The rows of a task or group in many arms at once, as matrices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isclose, isfinite
from typing import TYPE_CHECKING, Any

from gptalt_eval.results.analyse import Score
from gptalt_eval.results.arms import Arm, TaskRows
from gptalt_eval.results.rows import Key, Row, Rows, label_clusters
from gptalt_eval.results.sampling import Design, lay_out, number_labels

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gptalt_eval.results.sampling import Floats

#: metrics that are not shares, though the score of a weak model may be between 0 and 1
OTHER_SCALES = frozenset(("bleu", "chrf", "chrf++", "mcc", "ter"))
SLACK = 1e-9


@dataclass(frozen=True)
class Sheet:
    """The rows of those arms that have exactly the same ones.

    Attributes:
        arms: their places.
        values: the scores, rows by arms.
        design: which rows belong together.
        documents: the hash of each row's document.
        weights: of each row; all weigh as much as there are rows.
    """

    arms: Sequence[int]
    values: Floats
    design: Design
    documents: Sequence[str]
    weights: Floats

    @property
    def means(self) -> Floats:
        return self.weights @ self.values / len(self.weights)

    def choose(self, arms: Sequence[int]) -> Floats:
        return self.values[:, [self.arms.index(arm) for arm in arms]]


@dataclass(frozen=True)
class Column:
    """The scores of all arms in a task or group.

    Attributes:
        values: the scores.
        below, above: how far their 95 % intervals reach; NaN: unknown.
        clusters: how many clusters of rows, or rows without one, they are the mean of.
        sheets: the rows; arms whose score is not their mean are left out.
    """

    values: Floats
    below: Floats
    above: Floats
    clusters: Floats
    sheets: Sequence[Sheet]


def make_column(scores: Mapping[Arm, Score], task: TaskRows | None, arms: Sequence[Arm]) -> Column | None:
    """The scores of all arms; None unless all have one that is a share, and higher is better."""
    import numpy as np

    found = [scores[arm] for arm in arms if arm in scores]
    if not found or len(found) < len(arms) or len({score.metric for score in found}) > 1:
        return None
    if not all(score.higher_is_better and 0 <= score.value <= 1 for score in found):
        return None
    sheets = read_sheets(task, found[0].metric, arms) if task else []
    checked = [keep_scored(sheet, found) for sheet in sheets]
    if any(sheet.values.min() < -SLACK or sheet.values.max() > 1 + SLACK for sheet in sheets):
        return None
    if found[0].metric in OTHER_SCALES and sum(len(sheet.arms) for sheet in checked) < len(arms):
        return None
    reaches = [find_reach(score) for score in found]
    return Column(
        values=np.array([score.value for score in found]),
        below=np.array([below for below, _ in reaches]),
        above=np.array([above for _, above in reaches]),
        clusters=np.array([max(1.0, score.clusters or score.items) for score in found]),
        sheets=[sheet for sheet in checked if sheet.arms],
    )


def find_reach(score: Score) -> tuple[float, float]:
    """How far the interval reaches below and above the score; NaN: unknown."""
    low, high = score.interval or (float("nan"), float("nan"))
    if not isfinite(low) or not isfinite(high) or low >= high:
        return float("nan"), float("nan")
    below, above = score.value - low, high - score.value
    return min(max(0.0, below), 1.0), min(max(0.0, above), 1.0)


def keep_scored(sheet: Sheet, scores: Sequence[Score]) -> Sheet:
    """The sheet with those arms whose score is the mean of the rows (not of another filter's, say)."""
    kept = [
        arm
        for arm, mean in zip(sheet.arms, sheet.means, strict=True)
        if isclose(mean, scores[arm].value, rel_tol=SLACK, abs_tol=SLACK)
    ]
    return replace(sheet, arms=kept, values=sheet.choose(kept))


def read_sheets(task: TaskRows, metric: str, arms: Sequence[Arm]) -> list[Sheet]:
    """The rows that have a metric, one sheet for the arms with the same ones."""
    found: list[tuple[dict[Key, Row], dict[int, list[float]]]] = []
    for place, arm in enumerate(arms):
        rows = task.arms.get(arm, {})
        if None in [row.scores.get(metric) for row in rows.values()]:
            rows = {key: row for key, row in rows.items() if metric in row.scores}
        if not rows:
            continue
        for first, values in found:
            if (same := put_in_order(rows, first)) is not None:
                values[place] = [row.scores[metric] for row in same.values()]
                if task.cluster:  # lm-eval's folders name none
                    first.update({key: row for key, row in same.items() if not first[key].cluster})
                break
        else:
            found.append((dict(rows), {place: [row.scores[metric] for row in rows.values()]}))
    return [make_sheet(task, rows, values) for rows, values in found]


def put_in_order(rows: Rows, first: Rows) -> Rows | None:
    """Rows in the order of other rows; None unless they are of the same documents."""
    if list(rows) != list(first):
        if rows.keys() != first.keys():
            return None
        rows = {key: rows[key] for key in first}
    documents = [row.document for row in rows.values()]
    return rows if documents == [row.document for row in first.values()] else None


def make_sheet(task: TaskRows, rows: Rows, values: Mapping[int, Sequence[float]]) -> Sheet:
    import numpy as np

    strata = [name for name, _ in rows] if task.is_group else []
    design = Design(label_clusters(rows), strata, task.equal)
    return Sheet(
        arms=list(values),
        values=np.array(list(values.values()), dtype=float).T,
        design=design,
        documents=[row.document for row in rows.values()],
        weights=lay_out(design, len(rows)).weights,
    )


def add_up(labels: NDArray[np.int64], values: Floats, count: int) -> Floats:
    """The sum of the rows of each label, arm by arm."""
    import numpy as np
    from scipy.sparse import csr_matrix

    rows = len(labels)
    chosen: Any = csr_matrix((np.ones(rows), (labels, np.arange(rows))), shape=(count, rows))
    return np.asarray(chosen @ values)


def number_clusters(sheets: Sequence[Sheet]) -> list[NDArray[np.int64]]:
    """The cluster of each row of each sheet; clusters of two sheets with the same document are one."""
    import numpy as np
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    ends = np.cumsum([len(sheet.documents) for sheet in sheets])[:-1]
    labels = number_labels(
        [(place, label) for place, sheet in enumerate(sheets) for label in sheet.design.clusters]
    )
    if len(sheets) > 1:
        counts = Counter(document for sheet in sheets for document in set(sheet.documents))
        documents = [document for sheet in sheets for document in sheet.documents]
        rows = [row for row, document in enumerate(documents) if counts[document] > 1]
        clusters = int(labels.max()) + 1
        shared = number_labels([documents[row] for row in rows]) + clusters
        size = clusters + len(rows)
        edges = csr_matrix((np.ones(len(rows)), (labels[rows], shared)), shape=(size, size))
        labels = connected_components(edges, directed=False)[1][:clusters][labels]
        labels = np.unique(labels, return_inverse=True)[1]
    return np.split(labels, ends)


def find_errors(sheet: Sheet, arms: Sequence[int], clusters: NDArray[np.int64]) -> tuple[Floats, int]:
    """What each cluster adds to the error of each arm's mean, and the degrees of freedom.

    The sum of the squares is the variance as :func:`gptalt_eval.results.sampling.estimate_mean` has it.
    """
    import numpy as np

    rows = len(clusters)
    layout = lay_out(replace(sheet.design, clusters=clusters.tolist()), rows)
    inner = len(layout.strata)
    values = layout.weights[:, None] * sheet.choose(arms) / rows
    sums = add_up(layout.clusters, values, inner)
    weights = np.bincount(layout.clusters, layout.weights)
    strata = np.unique(layout.strata, return_inverse=True)[1]
    number = int(strata.max()) + 1
    means = add_up(strata, sums, number) / np.bincount(strata, weights)[:, None]
    sizes = np.bincount(strata)[strata]
    factors = np.sqrt(sizes / np.maximum(sizes - 1, 1))
    outer = np.empty(inner, dtype=np.int64)
    outer[layout.clusters] = clusters
    errors = factors[:, None] * (sums - weights[:, None] * means[strata])
    return add_up(outer, errors, int(outer.max()) + 1), inner - number
