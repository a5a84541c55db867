"""How far sums over several tasks and groups, and the differences of arms, may be from the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gptalt_eval.results.sheets import Column, Sheet, add_up, find_errors, number_clusters
from gptalt_eval.results.stats import TINY, Z95

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gptalt_eval.results.sampling import Floats

HUGE = 1e9  # degrees of freedom


@dataclass(frozen=True)
class Spread:
    """How far the arms' sums over some columns may be from the truth.

    Attributes:
        errors: the variance of each arm's sum; NaN: unknown.
        freedoms: its degrees of freedom.
        shares: the squares of how much of the sum each independent cluster is, added up.
        variances: of the difference of each two arms, if the first is better than the second.
        fourths: the clusters' differences to the power of four, added up; 0 where rows are not compared.
    """

    errors: Floats
    freedoms: Floats
    shares: Floats
    variances: Floats
    fourths: Floats


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

    # of rows that are unknown or not the same, errors may go in the same direction in all columns, and in
    # opposite ones in two arms
    below = np.sum([column.below for column in block], axis=0)
    above = np.sum([column.above for column in block], axis=0)
    errors = ((below + above) / (2 * Z95)) ** 2
    variances = ((below[:, None] + above) / Z95) ** 2
    fourths = np.zeros((count, count))
    freedoms = np.full(count, HUGE)
    shares = np.sum([1 / column.clusters for column in block], axis=0)
    for sheets, arms in group_arms(block, count):
        clusters = number_clusters(sheets)
        errors[arms], freedoms[arms] = estimate_errors(sheets, clusters, arms)
        shares[arms] = find_share(sheets, clusters)
        pairs = np.ix_(arms, arms)
        variances[pairs], fourths[pairs] = compare_sheets(sheets, clusters, arms)
    errors[np.isnan(below + above)] = np.nan
    return Spread(errors, freedoms, shares, variances, fourths)


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


def estimate_errors(
    sheets: Sequence[Sheet], clusters: Sequence[NDArray[np.int64]], arms: Sequence[int]
) -> tuple[Floats, Floats]:
    """The variance of each arm's sum over the columns, and its degrees of freedom.

    A column in which nothing varies counts as if half a cluster more were right, and half a one wrong.
    """
    import numpy as np

    count = 1 + max(int(each.max()) for each in clusters)
    errors, smoothed, freedoms = np.zeros((count, len(arms))), np.zeros(len(arms)), []
    for sheet, each in zip(sheets, clusters, strict=True):
        found, freedom = find_errors(sheet, arms, each)
        errors[: len(found)] += found
        freedoms.append(freedom)
        share = find_share([sheet], [each])
        means = (sheet.weights @ sheet.choose(arms) / len(each) / share + 0.5) / (1 / share + 1)
        smoothed += np.where((found**2).sum(axis=0) < TINY**2, share * means * (1 - means), 0)
    varying = (errors**2).sum(axis=0)
    known = varying > TINY**2
    factors = np.where(
        known, 1 + smoothed / np.where(known, varying, 1), HUGE
    )  # what is smoothed is not estimated
    fewest = min((float(each) for each in freedoms if each > 0), default=HUGE)
    return varying + smoothed, np.minimum(fewest * factors**2, HUGE)


def find_share(sheets: Sequence[Sheet], clusters: Sequence[NDArray[np.int64]]) -> float:
    """The squares of how much of the columns' sum each cluster is, added up."""
    import numpy as np

    count = 1 + max(int(each.max()) for each in clusters)
    shares = np.zeros(count)
    for sheet, each in zip(sheets, clusters, strict=True):
        shares += np.bincount(each, sheet.weights, count) / len(each)
    return float(np.sum(shares**2))


def compare_sheets(
    sheets: Sequence[Sheet], clusters: Sequence[NDArray[np.int64]], arms: Sequence[int]
) -> tuple[Floats, Floats]:
    """The clusters' differences of each two arms, squared and to the power of four, added up."""
    import numpy as np

    count = 1 + max(int(each.max()) for each in clusters)
    sums = np.zeros((count, len(arms)))
    for sheet, each in zip(sheets, clusters, strict=True):
        sums += add_up(each, sheet.weights[:, None] * sheet.choose(arms) / len(each), count)
    squares = sums**2
    second, fourth = squares.sum(axis=0), (squares**2).sum(axis=0)
    third = (squares * sums).T @ sums
    seconds = second[:, None] + second - 2 * (sums.T @ sums)
    fourths = fourth[:, None] + fourth - 4 * (third + third.T) + 6 * (squares.T @ squares)
    return np.maximum(seconds, 0), np.maximum(fourths, 0)
