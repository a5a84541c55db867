"""Ranks arms by their mean over tasks and groups, and says which ranks are sure.

The interval of a mean is Wilson's, of as many independent rows as it is sure of (C. Franco, R. J. A. Little,
T. A. Louis and E. V. Slud (2019), Comparative study of confidence intervals for proportions in complex sample
surveys, J. Surv. Stat. Methodol. 7, 334-364); of one column, it is that column's own. Two arms are compared
as in :func:`flip_clusters`, over the rows of all columns: under the null, the arms may be swapped in each
cluster of rows. There may be thousands of pairs of arms, so the distribution of these swaps is taken as
normal, with a correction for continuity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import TYPE_CHECKING

from gptalt_eval.results.analyse import Score
from gptalt_eval.results.arms import Arm, TaskRows, pair_rows
from gptalt_eval.results.sampling import lay_out
from gptalt_eval.results.sheets import add_up, keep_scored, make_column, read_sheets
from gptalt_eval.results.spread import HUGE, Spread, join_columns, measure_spread
from gptalt_eval.results.stats import TINY, Z95, adjust_holm, flip_clusters, flip_sums

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gptalt_eval.results.sampling import Floats

SIGNIFICANT = 0.05


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
    ranks = 1 + (leads < 0).sum(axis=1)
    best = int(np.argmin(ranks))
    raw = p_values[best].copy()
    if number == 1:
        found = compare_with(arms[best], *columns[places[0]])
        raw = np.array([found.get(arm, np.nan) for arm in arms])
        p_values[best] = p_values[:, best] = np.fmax(p_values[best], raw)  # neither contradicts the other
    better = find_better(leads, p_values)
    adjusted = adjust_known([p for place, p in enumerate(raw.tolist()) if place != best])
    adjusted.insert(best, None)
    intervals = find_intervals(means, spreads, number)
    if number == 1:
        intervals = [columns[places[0]][0][arm].interval for arm in arms]
    return {
        arm: Standing(
            mean=means[place],
            interval=intervals[place],
            rank=int(ranks[place]),
            lowest=1 + int(better[:, place].sum()),
            highest=len(arms) - int(better[place].sum()),
            p_value=adjusted[place] if ranks[place] > 1 else None,
        )
        for place, arm in enumerate(arms)
    }, places


def find_intervals(
    means: Sequence[float], spreads: Sequence[Spread], number: int
) -> list[tuple[float, float] | None]:
    """Wilson's interval of each arm's mean over a number of columns, with Student's t; None: unknown."""
    import numpy as np
    from scipy.special import stdtrit

    value = np.clip(means, 0, 1)
    errors = np.array([each.errors for each in spreads]) / number**2
    error, bound = errors.sum(axis=0), value * (1 - value)
    freedoms = np.array([each.freedoms for each in spreads])
    varies = (error > TINY**2) & (bound > TINY)
    freedom = np.where(varies, error**2 / np.where(varies, (errors**2 / freedoms).sum(axis=0), 1), np.inf)
    # where nothing varies, the clusters say as much as that many rows
    shares = np.sum([each.shares for each in spreads], axis=0) / number**2
    rows = np.where(varies, bound / np.where(varies, error, 1), 1 / shares)
    t = np.where(freedom < HUGE, stdtrit(np.minimum(freedom, HUGE), 0.975), Z95)
    middle = (value + t**2 / (2 * rows)) / (1 + t**2 / rows)
    half = t / (1 + t**2 / rows) * np.sqrt(bound / rows + (t / (2 * rows)) ** 2)
    low, high = np.minimum(middle - half, value), np.maximum(middle + half, value)
    known = np.isfinite(error)
    return [
        (max(0.0, float(one)), min(1.0, float(other))) if sure else None
        for one, other, sure in zip(low, high, known, strict=True)
    ]


def adjust_known(p_values: Sequence[float]) -> list[float | None]:
    """Holm's correction of those p-values that are known; None: it is not (NaN)."""
    adjusted = iter(adjust_holm([float(p) for p in p_values if p == p]))
    return [next(adjusted) if p == p else None for p in p_values]


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

    Arms that have none in common with it are left out, and those whose score is not the mean of their rows
    (but of another filter's, say): they would be marked by other numbers than are shown.
    """
    others = [arm for arm in scores if arm != best]
    metric = scores[best].metric
    if task is None or best not in task.arms:
        return {}
    arms = [best, *others]
    found = {}
    sheets = [keep_scored(sheet, [scores[arm] for arm in arms]) for sheet in read_sheets(task, metric, arms)]
    if not any(0 in sheet.arms for sheet in sheets):
        return {}
    for sheet in sheets:
        if 0 in sheet.arms:
            layout = lay_out(sheet.design, len(sheet.weights))
            sums = add_up(layout.clusters, layout.weights[:, None] * sheet.values, len(layout.strata))
            for column, place in enumerate(sheet.arms[1:], 1):
                found[arms[place]] = flip_sums(sums[:, column] - sums[:, 0])
    tested = {arms[place] for sheet in sheets for place in sheet.arms}
    for arm in others:
        if arm not in found and arm in tested:
            pairs = pair_rows(task, metric, best, arm)
            if pairs.first:
                found[arm] = flip_clusters(pairs.differences, design=pairs.design)
    return found
