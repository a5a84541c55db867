"""Ranks arms by their mean over tasks and groups, and says which ranks are sure.

The interval of a mean is made of those of its columns (G. Y. Zou and A. Donner (2008), Construction of
confidence limits about effect measures: a general approach, Stat. Med. 27, 1693-1702); if there is only one,
it is that column's own. Two arms are compared as in :func:`flip_clusters`, over the rows of all columns:
under the null, the arms may be swapped in each cluster of rows. There may be thousands of pairs of arms, so
the distribution of these swaps is taken as normal, with a correction for continuity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import TYPE_CHECKING

from gptalt_eval.results.analyse import Score
from gptalt_eval.results.arms import Arm, TaskRows, pair_rows
from gptalt_eval.results.sampling import lay_out
from gptalt_eval.results.sheets import (
    Column,
    Sheet,
    add_up,
    find_errors,
    make_column,
    number_clusters,
    read_sheets,
)
from gptalt_eval.results.stats import Z95, adjust_holm, flip_clusters, flip_sums

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gptalt_eval.results.sampling import Floats

SIGNIFICANT = 0.05
TINY = 1e-12  # means that differ by less are equal


@dataclass(frozen=True)
class Standing:
    """The place of an arm among all.

    Attributes:
        mean: of its scores; each column, a task or a group, weighs alike.
        interval: its 95 % interval; None if one of a column's scores has none.
        rank: by mean, 1 is the best; equal means share a rank.
        lowest, highest: the ranks that it may have: all arms' true ranks are within these, with 95 %
            confidence. Holm's correction is for all pairs of arms.
        p_value: against the best, after Holm's correction for all arms that are compared with it; None for
            the best itself, and where it cannot be tested.
    """

    mean: float
    interval: tuple[float, float] | None
    rank: int
    lowest: int
    highest: int
    p_value: float | None


@dataclass(frozen=True)
class Spread:
    """How far the arms' sums over some columns may be from the truth.

    Attributes:
        below, above: the squares of how far the arms' 95 % intervals reach.
        variances: of the difference of each two arms, if the first is better than the second.
        fourths: the clusters' differences to the power of four, added up; 0 where rows are not compared.
    """

    below: Floats
    above: Floats
    variances: Floats
    fourths: Floats


def rank_arms(
    columns: Sequence[tuple[Mapping[Arm, Score], TaskRows | None]],
) -> tuple[dict[Arm, Standing], list[int]]:
    """The standing of each arm, and which columns the means are over.

    A column counts if every arm has a score there, a share of which higher is better. Columns are
    independent, but for those with the same documents: rows of the same document are one cluster. Columns in
    which two arms do not have exactly the same rows, or whose rows are not saved, are compared by the scores'
    intervals, which must not overlap: nothing is assumed of how the arms' errors go together. (Other rows may
    also be harder ones: that no interval shows.)

    Args:
        columns: of each task or group, the score of each arm and the rows.
    """
    import numpy as np

    arms = list(dict.fromkeys(arm for scores, _ in columns for arm in scores))
    made = [make_column(scores, task, arms) for scores, task in columns]
    counted = [column for column in made if column is not None]
    places = [place for place, column in enumerate(made) if column is not None]
    if not counted or not arms:
        return {}, []
    number = len(counted)
    means = [fsum(values) / number for values in zip(*(column.values for column in counted), strict=True)]
    spreads = [measure_spread(block, len(arms)) for block in join_columns(counted)]
    leads = np.subtract.outer(means, means)
    leads[abs(leads) < TINY] = 0
    p_values = find_p_values(number * leads, spreads)
    better = find_better(leads, p_values)
    ranks = 1 + (leads < 0).sum(axis=1)
    best = int(np.argmin(ranks))
    raw = list(p_values[best])
    if number == 1:
        found = compare_with(arms[best], *columns[places[0]])
        raw = [found.get(arm, np.nan) for arm in arms]
    adjusted = adjust_known([p for place, p in enumerate(raw) if place != best])
    adjusted.insert(best, None)
    low, high = (
        np.sqrt(sum(each)) / number for each in zip(*((s.below, s.above) for s in spreads), strict=True)
    )
    return {
        arm: Standing(
            mean=means[place],
            interval=make_interval(means[place], float(low[place]), float(high[place])),
            rank=int(ranks[place]),
            lowest=1 + int(better[:, place].sum()),
            highest=len(arms) - int(better[place].sum()),
            p_value=adjusted[place] if ranks[place] > 1 else None,
        )
        for place, arm in enumerate(arms)
    }, places


def make_interval(mean: float, below: float, above: float) -> tuple[float, float] | None:
    return None if below != below or above != above else (mean - below, mean + above)


def adjust_known(p_values: Sequence[float]) -> list[float | None]:
    """Holm's correction of those p-values that are known; None: it is not (NaN)."""
    adjusted = iter(adjust_holm([float(p) for p in p_values if p == p]))
    return [next(adjusted) if p == p else None for p in p_values]


def join_columns(columns: Sequence[Column]) -> list[list[Column]]:
    """The columns, those with the same documents together."""
    blocks: list[tuple[list[Column], set[str]]] = []
    for column in columns:
        documents = {document for sheet in column.sheets for document in sheet.documents}
        met = [block for block in blocks if not block[1].isdisjoint(documents)]
        blocks = [block for block in blocks if block[1].isdisjoint(documents)]
        together = [each for block in met for each in block[0]]
        blocks.append(([*together, column], documents.union(*(block[1] for block in met))))
    return [block for block, _ in blocks]


def measure_spread(block: Sequence[Column], count: int) -> Spread:
    """How sure the sums over some columns are, which are not independent of each other.

    Args:
        block: the columns.
        count: the number of arms.
    """
    import numpy as np

    below, above = (np.array([getattr(each, side) for each in block]) for side in ("below", "above"))
    correlations = np.ones((len(block), len(block), count))
    groups = group_arms(block, count)
    if len(block) > 1:
        for sheets, arms in groups:
            correlations[:, :, arms] = correlate(sheets, arms)
    lows, highs = (
        np.maximum(np.einsum("ca,cda,da->a", each, correlations, each), 0) for each in (below, above)
    )
    variances = (np.sqrt(lows)[:, None] + np.sqrt(highs)) ** 2 / Z95**2
    fourths = np.zeros((count, count))
    for sheets, arms in groups:
        if len(arms) > 1:
            pairs = np.ix_(arms, arms)
            variances[pairs], fourths[pairs] = compare_sheets(sheets, arms)
    return Spread(lows, highs, variances, fourths)


def group_arms(block: Sequence[Column], count: int) -> list[tuple[list[Sheet], list[int]]]:
    """The arms that have the same rows in all columns, and these rows."""
    groups: dict[tuple[int, ...], list[int]] = {}
    homes = [
        {arm: number for number, sheet in enumerate(column.sheets) for arm in sheet.arms} for column in block
    ]
    for arm in range(count):
        if all(arm in home for home in homes):
            groups.setdefault(tuple(home[arm] for home in homes), []).append(arm)
    return [
        ([column.sheets[number] for column, number in zip(block, numbers, strict=True)], arms)
        for numbers, arms in groups.items()
    ]


def correlate(sheets: Sequence[Sheet], arms: Sequence[int]) -> Floats:
    """The correlations of the columns' errors, of each arm; 1 where one of them has none."""
    import numpy as np

    clusters = number_clusters(sheets)
    count = 1 + max(int(each.max()) for each in clusters)
    errors = np.array(
        [find_errors(sheet, arms, each, count) for sheet, each in zip(sheets, clusters, strict=True)]
    )
    covariances = np.einsum("cga,dga->cda", errors, errors)
    deviations = np.sqrt(np.einsum("cca->ca", covariances))
    products = deviations[:, None] * deviations
    return np.where(products > 0, covariances / np.where(products > 0, products, 1), 1.0)


def compare_sheets(sheets: Sequence[Sheet], arms: Sequence[int]) -> tuple[Floats, Floats]:
    """The clusters' differences of each two arms, squared and to the power of four, added up."""
    import numpy as np

    clusters = number_clusters(sheets)
    count = 1 + max(int(each.max()) for each in clusters)
    sums = np.zeros((count, len(arms)))
    for sheet, each in zip(sheets, clusters, strict=True):
        sums += add_up(each, sheet.weights[:, None] * sheet.choose(arms) / len(each), count)
    sums -= sums.mean(axis=1, keepdims=True)  # no difference changes, and fewer digits cancel out
    squares = sums**2
    second, fourth = squares.sum(axis=0), (squares**2).sum(axis=0)
    third = (squares * sums).T @ sums
    seconds = second[:, None] + second - 2 * (sums.T @ sums)
    fourths = fourth[:, None] + fourth - 4 * (third + third.T) + 6 * (squares.T @ squares)
    return np.maximum(seconds, 0), np.maximum(fourths, 0)


def find_p_values(leads: Floats, spreads: Sequence[Spread]) -> Floats:
    """The two-sided p-value of each two arms; NaN: unknown.

    Args:
        leads: by how much each arm's sum over the columns is above each other's.
        spreads: of the columns.
    """
    import numpy as np
    from scipy.special import erfc

    variances = np.sum([each.variances for each in spreads], axis=0)
    variances = np.where(leads > 0, variances, variances.T)
    known = np.where(variances > 0, variances, np.nan)
    # half a step from one difference to the next, which is twice a cluster's; larger clusters weigh more
    steps = np.sqrt(np.sum([each.fourths for each in spreads], axis=0) / known)
    left = np.maximum(abs(leads) - steps, 0)
    equal = np.where(np.isnan(variances), np.nan, 1.0)
    return np.asarray(np.where(leads == 0, equal, erfc(left / np.sqrt(2 * known))))


def find_better(leads: Floats, p_values: Floats) -> NDArray[np.bool_]:
    """Whether each arm is significantly better than each other."""
    import numpy as np

    pairs = np.triu_indices(len(leads), 1)
    adjusted = adjust_known(p_values[pairs].tolist())
    sure = np.zeros(leads.shape, dtype=bool)
    sure[pairs] = [p is not None and p < SIGNIFICANT for p in adjusted]
    return np.asarray((sure | sure.T) & (leads > 0))


def compare_with(best: Arm, scores: Mapping[Arm, Score], task: TaskRows | None) -> dict[Arm, float]:
    """The p-value of each other arm against the best of a column, over the rows that both have.

    Arms that have none in common with it are left out.
    """
    others = [arm for arm in scores if arm != best]
    metric = scores[best].metric
    if task is None or best not in task.arms:
        return {}
    arms = [best, *others]
    found = {}
    for sheet in read_sheets(task, metric, arms):
        if 0 in sheet.arms:
            layout = lay_out(sheet.design, len(sheet.weights))
            sums = add_up(layout.clusters, layout.weights[:, None] * sheet.values, len(layout.strata))
            for column, place in enumerate(sheet.arms[1:], 1):
                found[arms[place]] = flip_sums(sums[:, column] - sums[:, 0])
    for arm in others:
        if arm not in found and arm in task.arms:
            pairs = pair_rows(task, metric, best, arm)
            if pairs.first:
                found[arm] = flip_clusters(pairs.differences, design=pairs.design)
    return found
