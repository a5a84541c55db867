"""Means of rows in clusters (the questions on one passage) and strata (the members of a group).

What is drawn at random is a cluster; a row without one is a cluster of its own. Members are not drawn: a
group has the same ones each time. E. Miller (2024), Adding error bars to evals, arXiv 2411.00640;
W. G. Cochran (1977), Sampling techniques, chapters 5 and 9A.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from math import nan, sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

RESAMPLES = 10_000
AT_ONCE = 4_000_000  # random numbers in memory


@dataclass(frozen=True)
class Design:
    """Which rows belong together; all fields are in the order of the rows.

    Attributes:
        clusters: the cluster of each row; empty: each row is one.
        strata: the stratum (member of a group) of each row; empty: there is only one.
        equal: whether strata weigh the same, rather than rows.
    """

    clusters: Sequence[Hashable] = ()
    strata: Sequence[Hashable] = ()
    equal: bool = False


INDEPENDENT = Design()


@dataclass(frozen=True)
class Mean:
    """A mean and how sure it is.

    Attributes:
        value: the mean.
        stderr: its standard error; NaN if there are too few clusters to know.
        freedom: degrees of freedom of the standard error: clusters minus strata.
        clusters: how many there are.
        effective: of how many independent rows of equal weight the mean would be as sure, if all clusters
            varied alike.
        rows: how many rows there are; 0: unknown, in results files of earlier versions.
        are_shares: whether each of them is 0 or 1.
    """

    value: float
    stderr: float
    freedom: int
    clusters: int
    effective: float
    rows: int = 0
    are_shares: bool = False


@dataclass(frozen=True)
class Totals:
    """The clusters of one stratum: the weighted sum of each, and its weight (in all: the number of rows)."""

    sums: Floats
    weights: Floats


@dataclass(frozen=True)
class Layout:
    """Where the rows of a design belong.

    Attributes:
        clusters: the number of each row's cluster.
        weights: of each row; all weigh as much as there are rows.
        strata: the stratum of each cluster; -1: those that are taken together.
    """

    clusters: NDArray[np.int64]
    weights: Floats
    strata: NDArray[np.int64]


def lay_out(design: Design, number: int) -> Layout:
    """Number the clusters of some rows; strata of one cluster are taken together, to see how much they vary.

    If there is only one of them, it is taken together with the smallest other stratum.
    """
    import numpy as np

    strata = number_labels(design.strata or [0] * number)
    weights = np.ones(number)
    if design.equal:
        sizes = np.bincount(strata)
        weights = number / (len(sizes) * sizes[strata])
    clusters = number_labels(list(zip(strata, design.clusters or range(number), strict=True)))
    home = np.empty(clusters.max() + 1, dtype=np.int64)
    home[clusters] = strata
    counts = np.bincount(home)
    alone = counts[home] == 1
    if alone.sum() == 1 < len(counts):
        alone |= home == np.argmin(np.where(counts == 1, len(home), counts))
    home[alone] = -1
    return Layout(clusters, weights, home)


def total_clusters(values: Sequence[float], design: Design) -> list[Totals]:
    """The clusters of each stratum, as :func:`lay_out` takes strata together."""
    import numpy as np

    layout = lay_out(design, len(values))
    sums = np.bincount(layout.clusters, layout.weights * np.asarray(values, dtype=float))
    shares = np.bincount(layout.clusters, layout.weights)
    homes = [layout.strata == each for each in np.unique(layout.strata)]
    return [Totals(sums[home], shares[home]) for home in homes]


def number_labels(labels: Sequence[Hashable]) -> NDArray[np.int64]:
    """Equal labels as equal numbers from 0."""
    import numpy as np

    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(label, len(numbers)) for label in labels], dtype=np.int64)


def estimate_mean(values: Sequence[float], design: Design = INDEPENDENT) -> Mean:
    """The mean of some rows and its cluster-robust standard error.

    Args:
        values: of the rows; at least one.
        design: which of them belong together.
    """
    import numpy as np

    strata = total_clusters(values, design)
    variance, clusters = 0.0, 0
    for stratum in strata:
        count = len(stratum.sums)
        clusters += count
        left = stratum.sums - stratum.weights * stratum.sums.sum() / stratum.weights.sum()
        variance += count / (count - 1) * float(np.sum(left**2)) if count > 1 else nan
    number = len(values)
    value = float(sum(stratum.sums.sum() for stratum in strata)) / number
    squares = sum(float(np.sum(stratum.weights**2)) for stratum in strata)
    stderr, freedom = sqrt(variance) / number, clusters - len(strata)
    return Mean(value, stderr, freedom, clusters, number**2 / squares, number, set(values) <= {0, 1})


def bootstrap_mean(
    values: Sequence[float], seed: int = 0, design: Design = INDEPENDENT, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of a mean: clusters are resampled within their stratum.

    B. Efron (1979), Bootstrap methods: another look at the jackknife, Ann. Stat. 7, 1-26. Drawing clusters
    with replacement is drawing how often each distinct one comes up, so that many cost no more than few. Of
    several strata each gives one less than it has, or small ones would vary too little (J. N. K. Rao and
    C. F. J. Wu (1988), Resampling inference with complex survey data, J. Am. Stat. Assoc. 83, 231-241).
    """
    import numpy as np

    source = np.random.default_rng(seed)
    means = np.zeros(resamples)
    strata = total_clusters(values, design)
    for stratum in strata:
        taken = max(1, len(stratum.sums) - (len(strata) > 1))
        kinds, counts = np.unique(
            np.stack([stratum.sums, stratum.weights]).round(12), axis=1, return_counts=True
        )
        share = stratum.weights.sum() / len(values)
        for part in split(resamples, len(counts)):
            drawn = source.multinomial(taken, counts / counts.sum(), size=part.stop - part.start)
            means[part] += share * (drawn @ kinds[0]) / (drawn @ kinds[1])
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def split(count: int, width: int) -> Iterator[slice]:
    """Parts of ``count`` draws of ``width`` numbers each that fit into memory."""
    step = max(1, AT_ONCE // width)
    return (slice(start, min(start + step, count)) for start in range(0, count, step))
