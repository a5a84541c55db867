"""Intervals for scores, and paired comparisons of them. Pure functions of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

#: the 97.5 % point of the normal distribution: half of a 95 % interval
Z95 = 1.959963984540054
#: its 80 % point, for a power of 80 %
Z80 = 0.8416212335729143


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


def is_share(score: float, items: int) -> bool:
    """Whether a mean over ``items`` can be a share of correct ones (a whole number of them)."""
    return items > 0 and 0 <= score <= 1 and abs(score * items - round(score * items)) < 1e-6


@dataclass(frozen=True)
class Difference:
    """The difference between two arms on the same rows.

    Attributes:
        rows: their number.
        first, second: mean of each arm.
        interval: 95 % interval of ``second - first``.
        only_first, only_second: rows that only one arm answers correctly; None if scores are not 0 or 1.
        p_value: of McNemar's exact test; None if scores are not 0 or 1.
        detectable: the minimum detectable difference (MDE) at 80 % power; None if scores are not 0 or 1.
    """

    rows: int
    first: float
    second: float
    interval: tuple[float, float]
    only_first: int | None
    only_second: int | None
    p_value: float | None
    detectable: float | None

    @property
    def value(self) -> float:
        return self.second - self.first


def compare_pairs(first: Sequence[float], second: Sequence[float], seed: int = 0) -> Difference:
    """Compare two arms that scored the same rows.

    Args:
        first, second: each row's score, in the same order.
        seed: of the bootstrap.

    Raises:
        ValueError: no rows, or different numbers of rows.
    """
    if not first or len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} rows cannot be paired")
    rows = len(first)
    differences = [other - one for one, other in zip(first, second, strict=True)]
    interval = bootstrap_mean(differences, seed)
    means = sum(first) / rows, sum(second) / rows
    if not {*first, *second} <= {0, 1}:
        return Difference(rows, *means, interval, None, None, None, None)
    only_first, only_second = differences.count(-1), differences.count(1)
    p_value = mcnemar_exact(only_first, only_second)
    detectable = find_detectable(rows, only_first + only_second)
    return Difference(rows, *means, interval, only_first, only_second, p_value, detectable)


def bootstrap_mean(values: Sequence[float], seed: int = 0, resamples: int = 10_000) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of a mean.

    B. Efron (1979), Bootstrap methods: another look at the jackknife, Ann. Stat. 7, 1-26. Drawing rows with
    replacement is drawing how often each distinct value comes up, so that many rows cost no more than few.
    """
    import numpy as np

    distinct, counts = np.unique(np.asarray(values, dtype=float), return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(values), counts / len(values), size=resamples)
    low, high = np.quantile(drawn @ distinct / len(values), (0.025, 0.975))
    return float(low), float(high)


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
    rows * difference^2 = (z95 * sqrt(d) + z80 * sqrt(d - difference^2))^2.

    Args:
        rows: their number.
        disagreeing: rows on which the arms disagree; 0 counts as 1, so that there is a bound.
        power_z: normal quantile of the power.

    Returns:
        None if so few rows disagree that the test would miss even a difference in all of them.
    """
    share = max(disagreeing, 1) / rows
    low, high = 0.0, share
    if sqrt(rows) * share < Z95 * sqrt(share) + power_z * sqrt(share - share * share):
        return None
    for _ in range(60):
        middle = (low + high) / 2
        needed = Z95 * sqrt(share) + power_z * sqrt(max(0.0, share - middle * middle))
        low, high = (low, middle) if sqrt(rows) * middle >= needed else (middle, high)
    return high
