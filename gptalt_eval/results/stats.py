"""Intervals for scores, and paired comparisons of them. Pure functions of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, sqrt
from typing import TYPE_CHECKING

from gptalt_eval.results.sampling import (
    INDEPENDENT,
    RESAMPLES,
    Design,
    Mean,
    bootstrap_mean,
    estimate_mean,
    split,
    total_clusters,
)

if TYPE_CHECKING:
    from gptalt_eval.results.sampling import Floats

#: the 97.5 % point of the normal distribution: half of a 95 % interval
Z95 = 1.959963984540054
#: its 80 % point, for a power of 80 %
Z80 = 0.8416212335729143
TINY = 1e-12
FEWEST = 6  # rows that all disagree in one direction are significant from here: 2 / 2^6 < 0.05


def wilson_interval(right: int, items: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a share of right answers.

    E. B. Wilson (1927), Probable inference, the law of succession, and statistical inference,
    J. Am. Stat. Assoc. 22, 209-212.

    Args:
        right: how many are.
        items: how many there were; at least 1.

    Raises:
        ValueError: no items, or more right ones than items.
    """
    from scipy.stats import binomtest

    found = binomtest(right, items).proportion_ci(0.95, method="wilson")
    return float(found.low), float(found.high)


def normal_interval(score: float, stderr: float, z: float = Z95) -> tuple[float, float]:
    """Score plus and minus z standard errors."""
    return score - z * stderr, score + z * stderr


def mean_interval(values: Sequence[float], design: Design = INDEPENDENT) -> tuple[float, float] | None:
    """The 95 % interval of the mean of some rows.

    Of independent rows that are 0 or 1: Wilson's. Otherwise from the cluster-robust standard error and
    Student's t with as many degrees of freedom as clusters less strata; within 0 and 1 if all rows are.

    Args:
        values: of the rows; at least one.
        design: which of them belong together.

    Returns:
        None if they cannot tell: one cluster, or equal values that are not 0 or 1.
    """
    found = estimate_mean(values, design)
    return estimate_interval(found, found.are_shares, bool(design.strata))


def estimate_interval(found: Mean, are_shares: bool, in_strata: bool = False) -> tuple[float, float] | None:
    """As :func:`mean_interval`, of rows of which only the mean is known."""
    from scipy.stats import t

    if are_shares and found.clusters == found.rows and not in_strata:
        return wilson_interval(round(found.value * found.rows), found.rows)

    if found.freedom < 1:
        return None
    if found.stderr < TINY:  # nothing varies: the clusters say as much as that many rows
        count = floor(found.effective + TINY)
        return wilson_interval(round(found.value * count), count) if are_shares else None
    low, high = normal_interval(found.value, found.stderr, float(t.ppf(0.975, found.freedom)))
    return (max(0.0, low), min(1.0, high)) if are_shares else (low, high)


@dataclass(frozen=True)
class Difference:
    """The difference between two arms on the same rows.

    Attributes:
        rows: their number.
        clusters: the number of independent clusters of rows; None if each row is one.
        first, second: mean of each arm.
        interval: 95 % interval of ``second - first``.
        only_first, only_second: rows that only one arm answers correctly; None if scores are not 0 or 1.
        p_value: of McNemar's exact test, or of the permutation test that it is a case of.
        detectable: the minimum detectable difference (MDE) at 80 % power; None if the rows cannot tell.
    """

    rows: int
    clusters: int | None
    first: float
    second: float
    interval: tuple[float, float]
    only_first: int | None
    only_second: int | None
    p_value: float
    detectable: float | None

    @property
    def value(self) -> float:
        return self.second - self.first


def compare_pairs(
    first: Sequence[float], second: Sequence[float], seed: int = 0, design: Design = INDEPENDENT
) -> Difference:
    """Compare two arms that scored the same rows.

    Args:
        first, second: each row's score, in the same order.
        seed: of the bootstrap and of the permutations.
        design: which rows belong together.

    Raises:
        ValueError: no rows, or different numbers of rows.
    """
    if not first or len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} rows cannot be paired")
    rows = len(first)
    differences = [other - one for one, other in zip(first, second, strict=True)]
    found = estimate_mean(differences, design)
    are_shares = {*first, *second} <= {0, 1}
    only_first, only_second = (differences.count(sign) if are_shares else None for sign in (-1, 1))
    is_plain = found.clusters == rows and not design.equal
    if are_shares and (is_plain or found.stderr < TINY):
        disagreeing = sum(map(bool, differences))
        detectable = find_detectable(found.clusters, min(disagreeing, found.clusters))
    else:
        detectable = (Z95 + Z80) * found.stderr if found.stderr > TINY else None
    return Difference(
        rows=rows,
        clusters=None if found.clusters == rows else found.clusters,
        first=estimate_mean(first, design).value,
        second=estimate_mean(second, design).value,
        interval=bootstrap_mean(differences, seed, design),
        only_first=only_first,
        only_second=only_second,
        p_value=flip_clusters(differences, seed, design),
        detectable=detectable,
    )


def flip_clusters(differences: Sequence[float], seed: int = 0, design: Design = INDEPENDENT) -> float:
    """Two-sided p-value of a permutation test: under the null, the arms of each cluster may be swapped.

    If all clusters that differ do so by as much, this is McNemar's exact test. Otherwise 10,000 random swaps.
    """
    import numpy as np

    return flip_sums(np.concatenate([stratum.sums for stratum in total_clusters(differences, design)]), seed)


def flip_sums(sums: Floats, seed: int = 0) -> float:
    """As :func:`flip_clusters`, of the sum of each cluster."""
    import numpy as np

    sums = sums[abs(sums) > TINY]
    sizes, counts = np.unique(abs(sums).round(12), return_counts=True)
    if len(sizes) < 2:
        return mcnemar_exact(int(np.sum(sums < 0)), int(np.sum(sums > 0)))
    source = np.random.default_rng(seed)
    reached = 0
    for part in split(RESAMPLES, len(sizes)):
        flipped = source.binomial(counts, 0.5, size=(part.stop - part.start, len(sizes)))
        reached += int(np.sum(abs((counts - 2 * flipped) @ sizes) >= abs(sums.sum()) - 1e-9))
    return (reached + 1) / (RESAMPLES + 1)


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Two-sided p-value for the rows on which two arms disagree; under the null each is a fair coin toss.

    Q. McNemar (1947), Note on the sampling error of the difference between correlated proportions or
    percentages, Psychometrika 12, 153-157; in its exact form.
    """
    disagreeing = only_first + only_second
    if disagreeing == 0:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(only_first, disagreeing, 0.5).pvalue)


def adjust_holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction of p-values; the order is kept.

    S. Holm (1979), A simple sequentially rejective multiple test procedure, Scand. J. Stat. 6, 65-70.
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def find_detectable(rows: int, disagreeing: int, power_z: float = Z80) -> float | None:
    """The minimum detectable difference of two shares: McNemar's test at 5 %, with a power of 80 %.

    R. J. Connor (1987), Sample size for testing differences in proportions for the paired-sample design,
    Biometrics 43, 207-211, solved for the difference: with d the share of rows on which the arms disagree,
    rows * difference^2 = (z95 * sqrt(d) + z80 * sqrt(d - difference^2))^2. A difference takes as many rows
    that disagree: where fewer do, d is the difference itself, so that none or one of them gives a bound too.

    Args:
        rows: their number.
        disagreeing: rows on which the arms disagree.
        power_z: normal quantile of the power.

    Returns:
        None if there are so few rows (under 6) that the test can find nothing.
    """
    if rows < FEWEST:
        return None
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        share = max(disagreeing / rows, middle)
        needed = Z95 * sqrt(share) + power_z * sqrt(share - middle * middle)
        low, high = (low, middle) if sqrt(rows) * middle >= needed else (middle, high)
    return high
