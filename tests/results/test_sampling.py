"""Means of rows in clusters and strata: against statsmodels, scipy, and numpy by brute force."""

from itertools import product

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from gptalt_eval.results import sampling
from gptalt_eval.results.sampling import Design, bootstrap_mean, estimate_mean
from gptalt_eval.results.stats import (
    Z80,
    Z95,
    compare_pairs,
    find_detectable,
    flip_clusters,
    mcnemar_exact,
    mean_interval,
    wilson_interval,
)


def draw_rows(seed=0, clusters=30, largest=8, shares=True):
    """Rows of passages that are easy or hard, and the passage of each row."""
    source = np.random.default_rng(seed)
    sizes = source.integers(1, largest + 1, clusters)
    labels = np.repeat(np.arange(clusters), sizes)
    levels = source.beta(0.8, 0.8, clusters)[labels]
    values = source.binomial(1, levels) if shares else source.normal(levels, 0.1)
    return values.astype(float).tolist(), [f"passage {label}" for label in labels]


def fit(values, labels):
    """The mean as a regression on nothing, with statsmodels' cluster-robust errors and Student's t."""
    groups = np.unique(labels, return_inverse=True)[1]
    model = sm.OLS(np.array(values), np.ones(len(values)))
    return model.fit(cov_type="cluster", cov_kwds={"groups": groups}, use_t=True)


@pytest.mark.parametrize("shares", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_clusters_are_those_of_statsmodels(seed, shares):
    values, labels = draw_rows(seed, shares=shares)
    expected = fit(values, labels)
    found = estimate_mean(values, Design(labels))
    assert found.value == pytest.approx(expected.params[0])
    assert found.stderr == pytest.approx(expected.bse[0])
    assert (found.clusters, found.freedom) == (30, 29)
    assert mean_interval(values, Design(labels)) == pytest.approx(tuple(expected.conf_int()[0]))


def test_the_error_is_that_of_miller():
    """Equation 4 of arXiv 2411.00640, times G / (G - 1) for a finite number of clusters."""
    values, labels = draw_rows(5)
    mean, number = np.mean(values), len(values)
    pairs = product(range(number), repeat=2)
    together = sum((values[i] - mean) * (values[j] - mean) for i, j in pairs if labels[i] == labels[j])
    expected = together / number**2 * 30 / 29
    assert estimate_mean(values, Design(labels)).stderr ** 2 == pytest.approx(expected)


def test_clusters_of_equal_rows_count_once():
    """Five times the same row says as much as the row: Wilson's interval would be 2.2 times too narrow."""
    once = [0.0, 1, 1, 0, 1, 1, 1, 0, 1, 1, 0, 1]
    values = np.repeat(once, 5).tolist()
    labels = np.repeat(range(12), 5).tolist()
    found = estimate_mean(values, Design(labels))
    assert found.stderr == pytest.approx(scipy_stats.sem(once))
    low, high = mean_interval(values, Design(labels))
    narrow = wilson_interval(40, 60)
    assert high - low > 2 * (narrow[1] - narrow[0])


def test_rows_on_their_own_are_wilson_or_student():
    values, _ = draw_rows(1)
    right, rows = int(sum(values)), len(values)
    own = Design(range(rows))
    assert mean_interval(values) == mean_interval(values, own) == wilson_interval(right, rows)
    numbers, _ = draw_rows(1, shares=False)
    expected = scipy_stats.t.interval(0.95, rows - 1, np.mean(numbers), scipy_stats.sem(numbers))
    assert mean_interval(numbers) == pytest.approx(expected)


def stratify(values, strata, equal):
    """Cochran's variance of a stratified mean, by hand."""
    names = list(dict.fromkeys(strata))
    parts = [np.array([v for v, s in zip(values, strata, strict=True) if s == name]) for name in names]
    weights = [1 / len(parts) if equal else len(part) / len(values) for part in parts]
    mean = sum(weight * part.mean() for weight, part in zip(weights, parts, strict=True))
    variance = sum(w**2 * part.var(ddof=1) / len(part) for w, part in zip(weights, parts, strict=True))
    return mean, variance**0.5, len(values) - len(parts)


@pytest.mark.parametrize("equal", [True, False])
def test_a_group_is_stratified_by_member(equal):
    source = np.random.default_rng(2)
    strata = ["anatomy"] * 12 + ["law"] * 50 + ["virology"] * 7
    values = source.binomial(1, [0.9] * 12 + [0.3] * 50 + [0.6] * 7).astype(float).tolist()
    found = estimate_mean(values, Design(strata=strata, equal=equal))
    assert (found.value, found.stderr, found.freedom) == pytest.approx(stratify(values, strata, equal))
    half = scipy_stats.t.ppf(0.975, 66) * found.stderr
    interval = mean_interval(values, Design(strata=strata, equal=equal))
    assert interval == pytest.approx((found.value - half, found.value + half))
    low, high = bootstrap_mean(values, 0, Design(strata=strata, equal=equal))
    assert (high - low) / 2 == pytest.approx(1.96 * found.stderr, rel=0.08)
    whole = estimate_mean(values)
    assert found.stderr < whole.stderr or equal, "what members differ in is not chance"


def test_members_may_have_clusters_of_the_same_name():
    values = [0.0, 1, 1, 1, 0, 0]
    strata = ["a", "a", "a", "b", "b", "b"]
    same = estimate_mean(values, Design(["x", "x", "y", "x", "x", "y"], strata))
    other = estimate_mean(values, Design([1, 1, 2, 3, 3, 4], strata))
    assert same == other and same.clusters == 4


def test_members_with_one_row_are_taken_together():
    """As with --limit 1: each alone says nothing of its variance, together they bound it."""
    strata, values = list("abcdef"), [0.0, 1, 1, 0, 1, 1]
    found = estimate_mean(values, Design(strata=strata))
    assert found.stderr == pytest.approx(scipy_stats.sem(values))
    assert found.freedom == 5
    mixed = estimate_mean([*values, 1, 0, 0], Design(strata=[*strata, *"ggg"]))
    left = scipy_stats.sem(values) ** 2 * 36 + np.var([1, 0, 0], ddof=1) / 3 * 9
    assert mixed.stderr == pytest.approx(left**0.5 / 9)
    # a single one goes to the smallest of the others
    lone = estimate_mean([1, *[0, 1, 1], *[0, 0, 0, 1]], Design(strata=[*"a", *"bbb", *"cccc"]))
    joined = estimate_mean([1, *[0, 1, 1], *[0, 0, 0, 1]], Design(strata=[*"b", *"bbb", *"cccc"]))
    assert lone == joined and lone.freedom == 6


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_nothing_that_varies_is_not_certain(value):
    """At 0 or 1 there is no standard error: clusters say what as many rows would."""
    labels = [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4
    assert mean_interval([value] * 16, Design(labels)) == wilson_interval(int(4 * value), 4)
    strata = ["a"] * 8 + ["b"] * 8
    assert mean_interval([value] * 16, Design(strata=strata)) == wilson_interval(int(16 * value), 16)
    unequal = ["a"] * 15 + ["b"]
    low, high = mean_interval([value] * 16, Design(strata=unequal, equal=True))
    assert (low, high) == wilson_interval(int(3 * value), 3), "1 / (15 / 30^2 + 1 / 2^2) = 3.75 rows"


def test_what_cannot_be_known_has_no_interval():
    assert mean_interval([0.5] * 10) is None, "equal values that are no shares"
    assert mean_interval([0.0, 1.0, 1.0], Design(["x"] * 3)) is None, "one passage"
    assert mean_interval([0.3]) is None
    assert mean_interval([1.0]) == wilson_interval(1, 1)


def test_intervals_of_shares_stay_inside():
    values, labels = [0.0] * 3 + [1.0] * 57, [row // 3 for row in range(60)]
    low, high = mean_interval(values, Design(labels))
    assert 0 <= low < 0.95 < high == 1


def resample(values, labels, seed, resamples=4000):
    """The cluster bootstrap, one resample at a time."""
    source = np.random.default_rng(seed)
    parts = [
        np.array([v for v, e in zip(values, labels, strict=True) if e == name])
        for name in dict.fromkeys(labels)
    ]
    draws = source.integers(0, len(parts), (resamples, len(parts)))
    return np.quantile([np.concatenate([parts[i] for i in draw]).mean() for draw in draws], (0.025, 0.975))


def test_the_bootstrap_resamples_clusters():
    values, labels = draw_rows(3, clusters=40)
    expected = resample(values, labels, 1)
    assert bootstrap_mean(values, 0, Design(labels)) == pytest.approx(tuple(expected), abs=0.012)
    alone = bootstrap_mean(values)
    assert expected[1] - expected[0] > 1.3 * (alone[1] - alone[0])


def test_the_bootstrap_is_the_same_in_parts(monkeypatch):
    """Random numbers are drawn in parts that fit into memory; the result is that of one draw."""
    values, labels = draw_rows(3, shares=False)
    whole = bootstrap_mean(values, 7, Design(labels))
    flipped = flip_clusters(values, 7, Design(labels))
    monkeypatch.setattr(sampling, "AT_ONCE", 1000)
    assert bootstrap_mean(values, 7, Design(labels)) == whole
    assert flip_clusters(values, 7, Design(labels)) == flipped


@given(st.lists(st.tuples(st.integers(-2, 2), st.integers(0, 5)), min_size=1, max_size=30))
def test_swaps_are_those_of_scipy(rows):
    """Every swap of whole clusters, by scipy; ours are 10,000 random ones."""
    differences, labels = [float(value) for value, _ in rows], [label for _, label in rows]
    sums = [0, *(sum(v for v, e in rows if e == label) for label in dict.fromkeys(labels))]
    expected = scipy_stats.permutation_test(
        (np.array(sums, dtype=float),), lambda x, axis: x.sum(axis=axis), permutation_type="samples", vectorized=True,
    )  # fmt: skip
    assert flip_clusters(differences, 0, Design(labels)) == pytest.approx(expected.pvalue, abs=0.02)


def test_swaps_of_rows_are_mcnemars_test():
    assert flip_clusters([1.0] * 3 + [-1.0] * 9 + [0.0] * 20) == mcnemar_exact(9, 3)
    assert flip_clusters([0.0] * 5) == 1
    # a passage of four questions that all turn is one coin, not four
    twins = [value for value in [1.0] * 9 + [-1.0] for _ in range(4)]
    labels = [row // 4 for row in range(40)]
    assert flip_clusters(twins, 0, Design(labels)) == mcnemar_exact(1, 9) > mcnemar_exact(4, 36)


def test_a_comparison_of_clusters():
    first, labels = draw_rows(8, clusters=60)
    second, _ = draw_rows(8, clusters=60)
    turned = {f"passage {number}" for number in range(0, 60, 4)}
    second = [1.0 if label in turned else value for value, label in zip(second, labels, strict=True)]
    found = compare_pairs(first, second, 0, Design(labels))
    differences = np.array(second) - np.array(first)
    assert (found.rows, found.clusters) == (len(first), 60)
    assert found.value == pytest.approx(differences.mean())
    assert (found.only_first, found.only_second) == (0, int(differences.sum()))
    expected = fit(differences, labels)
    assert found.detectable == pytest.approx((Z95 + Z80) * expected.bse[0])
    assert found.interval == pytest.approx(tuple(expected.conf_int()[0]), abs=0.02)
    independent = compare_pairs(first, second)
    assert independent.clusters is None
    assert found.p_value > independent.p_value == mcnemar_exact(0, found.only_second)


def test_no_row_of_a_cluster_differs():
    """The bound is that of as many rows as there are clusters."""
    values, labels = draw_rows(4)
    found = compare_pairs(values, values, 0, Design(labels))
    assert (found.p_value, found.interval) == (1, (0, 0))
    assert found.detectable == find_detectable(30, 0)


def test_groups_are_compared_as_their_score_weighs_them():
    strata = ["a"] * 10 + ["b"] * 90
    first, second = [0.0] * 100, [1.0] * 5 + [0.0] * 5 + [1.0] * 9 + [0.0] * 81
    rows = compare_pairs(first, second, 0, Design(strata=strata))
    assert (rows.value, rows.p_value) == (0.14, mcnemar_exact(0, 14))
    members = compare_pairs(first, second, 0, Design(strata=strata, equal=True))
    assert members.value == pytest.approx((0.5 + 0.1) / 2)
    _, error, _ = stratify(second, strata, True)
    assert members.detectable == pytest.approx((Z95 + Z80) * error)
    assert members.interval == pytest.approx((0.3 - 1.96 * error, 0.3 + 1.96 * error), abs=0.012)


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Simulated: four questions a passage that mostly stand or fall together. Wilson's would miss too often."""
    source = np.random.default_rng(11)
    labels = np.repeat(range(80), 4).tolist()
    ours = wilsons = 0
    for _ in range(400):
        levels = np.repeat(source.beta(0.35, 0.15, 80), 4)
        values = source.binomial(1, levels).astype(float).tolist()
        low, high = mean_interval(values, Design(labels))
        ours += low <= 0.7 <= high
        low, high = wilson_interval(int(sum(values)), 320)
        wilsons += low <= 0.7 <= high
    assert 0.92 < ours / 400 < 0.98
    assert wilsons / 400 < 0.85


def test_the_paired_test_holds_its_level():
    """Simulated: arms that differ only by chance, passage by passage, are told apart in 5 % of cases or less."""
    source = np.random.default_rng(12)
    labels = np.repeat(range(60), 5).tolist()
    found = alone = 0
    for _ in range(200):
        differences = np.repeat(source.choice([-1.0, 0, 1], 60, p=[0.2, 0.6, 0.2]), 5)
        differences *= source.binomial(1, 0.8, 300)
        found += flip_clusters(differences.tolist(), 0, Design(labels)) < 0.05
        alone += flip_clusters(differences.tolist()) < 0.05
    assert found / 200 < 0.09
    assert alone / 200 > 0.2
