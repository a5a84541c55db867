"""Estimates with intervals from votes that come in clusters: those on one question are not independent."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gptalt_eval_plugin_elo.agreement import Estimate

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Numbers = npt.NDArray[Any]
STEPS = 100  # of Newton's method
LARGEST = 20.0  # a difference of log-odds that no finite number of votes supports


@dataclass(frozen=True)
class Fit:
    """The solution of an estimating equation.

    Attributes:
        values: [P].
        influence: [G, P] how far each cluster moves them; its cross product is their sandwich covariance
            (Liang and Zeger 1986, Longitudinal data analysis using generalized linear models).
        inverse: [P, P] the pseudo-inverse of the equation's derivative.
    """

    values: Floats
    influence: Floats
    inverse: Floats


def find_quantile(clusters: int) -> float:
    """Student's t at 97.5 % for so many clusters; nan for fewer than two."""
    from scipy.stats import t

    return float(t.ppf(0.975, clusters - 1)) if clusters > 1 else math.nan


def make_estimate(value: float, influence: Floats) -> Estimate:
    """A value with its 95 % interval from the influence [G] of the clusters; nan where nothing varies."""
    used = int(np.count_nonzero(influence))
    error = math.sqrt(float((influence**2).sum()) * used / (used - 1)) if used > 1 else math.nan
    reach = find_quantile(used) * error
    return Estimate(float(value), float(value - reach), float(value + reach))


def jackknife(parts: Numbers, measure: Callable[[Floats], Floats], most: float = math.inf) -> Estimate | None:
    """A measure of sums over clusters, with its 95 % interval by leaving out one cluster after another.

    Args:
        parts: [G, ...] each cluster's part of the sums.
        measure: the measure of [N, ...] sums, as [N].
        most: what it cannot exceed.

    Returns:
        None: it is undefined; an interval of nan: nothing varies, so that it is unknown.
    """
    found = leave_one_out(parts, measure)
    if found is None:
        return None
    value, spread, clusters = found
    reach = find_quantile(clusters) * (spread or math.nan)
    return Estimate(value, value - reach, min(value + reach, most))


def jackknife_share(
    parts: Numbers, measure: Callable[[Floats], Floats], least: float = 0.0, most: float = 1.0
) -> Estimate | None:
    """As ``jackknife``, for what is between two limits: the interval stays between them.

    Wilson's interval (1927, Probable inference, the law of succession, and statistical inference), with as
    many observations as independent ones would have this variance; what does not vary has one per cluster.
    """
    found = leave_one_out(parts, measure)
    if found is None:
        return None
    value, spread, clusters = found
    share = (value - least) / (most - least)
    variance = (spread / (most - least)) ** 2
    count = share * (1 - share) / variance if variance > 0 and 0 < share < 1 else float(clusters)
    weight = find_quantile(clusters) ** 2 / count
    middle = (share + weight / 2) / (1 + weight)
    reach = math.sqrt(weight * share * (1 - share) + weight**2 / 4) / (1 + weight)
    ends = (max(0.0, middle - reach), min(1.0, middle + reach))
    low, high = (least + (most - least) * end for end in ends)
    return Estimate(value, low if clusters > 1 else math.nan, high if clusters > 1 else math.nan)


def leave_one_out(parts: Numbers, measure: Callable[[Floats], Floats]) -> tuple[float, float, int] | None:
    """A measure, its standard error, and the number of clusters; None: it is undefined."""
    parts = parts[parts.any(tuple(range(1, parts.ndim)))]
    if not len(parts):
        return None
    total = parts.sum(0, keepdims=True)
    value = float(measure(total)[0])
    if math.isnan(value):
        return None
    left = measure(total - parts) if len(parts) > 1 else np.zeros(1)
    spread = math.sqrt((len(parts) - 1) / len(parts) * float(((left - left.mean()) ** 2).sum()))
    return value, spread, len(parts)


def fit_slope(difference: Floats, score: Floats, cluster: Indices, clusters: int) -> Fit | None:
    """The coefficient of one variable in a logistic regression without a constant.

    Args:
        difference: [N] the variable.
        score: [N] from 0 to 1.
        cluster: [N] the cluster of each row.
        clusters: their number.

    Returns:
        None: there is no finite solution.
    """
    slope = 0.0
    for _ in range(STEPS):
        expected = 1 / (1 + np.exp(-slope * difference))
        curvature = float((difference**2 * expected * (1 - expected)).sum())
        if curvature < 1e-9:
            return None
        change = float((difference * (score - expected)).sum()) / curvature
        slope += max(-2.0, min(2.0, change))
        if abs(change) < 1e-10:
            break
    else:
        return None
    if abs(slope) * np.abs(difference).max() > LARGEST:
        return None
    pull = np.bincount(cluster, difference * (score - expected), clusters) / curvature
    return Fit(np.array([slope]), pull[:, None], np.array([[1 / curvature]]))


def fit_strengths(
    first: Indices, second: Indices, score: Floats, cluster: Indices, models: int, clusters: int
) -> Fit | None:
    """Bradley-Terry strengths, in log-odds with mean zero.

    Args:
        first, second: [N] models.
        score: [N] of the first; it may be outside 0 to 1 where something is subtracted from it.
        cluster: [N] the cluster of each row.
        models, clusters: their numbers.

    Returns:
        None: there is no finite solution, as when a model only wins.
    """
    pairs = first * models + second
    counts = np.bincount(pairs, minlength=models**2).astype(float).reshape(models, models)
    won = np.bincount(pairs, score, models**2).reshape(models, models)
    strengths = np.zeros(models)
    for _ in range(STEPS):
        expected = 1 / (1 + np.exp(strengths[None, :] - strengths[:, None]))
        surplus = won - counts * expected
        curvature = find_curvature(counts * expected * (1 - expected))
        inverse = np.asarray(np.linalg.pinv(curvature, hermitian=True), np.float64)
        change = inverse @ (surplus.sum(1) - surplus.sum(0))
        strengths = strengths + change * min(1.0, 2 / max(1e-9, float(np.abs(change).max())))
        if np.abs(change).max() < 1e-10:
            break
        if np.ptp(strengths) > LARGEST:
            return None
    else:
        return None
    residual = score - expected[first, second]
    pull = spread_over_models(first, second, residual, cluster, models, clusters)
    return Fit(strengths, pull @ inverse, inverse)


def find_curvature(weights: Floats) -> Floats:
    """The Laplacian of a graph whose edges, between models, have weights [models, models]."""
    both = weights + weights.T
    return np.asarray(np.diag(both.sum(1)) - both)


def spread_over_models(
    first: Indices, second: Indices, value: Floats, cluster: Indices, models: int, clusters: int
) -> Floats:
    """[clusters, models] sums of values that count for the first model and against the second."""
    size = clusters * models
    up = np.bincount(cluster * models + first, value, size)
    return np.asarray((up - np.bincount(cluster * models + second, value, size)).reshape(clusters, models))
