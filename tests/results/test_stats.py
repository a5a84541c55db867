import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptalt_eval.results.stats import (
    Z80,
    Z95,
    adjust_holm,
    bootstrap_mean,
    compare_pairs,
    find_detectable,
    is_share,
    mcnemar_exact,
    normal_interval,
    wilson_interval,
)


def test_wilson_by_hand():
    # 7 of 10: centre (0.7 + 1.9207/10) / (1 + 3.8415/10), worked with pencil and paper
    low, high = wilson_interval(0.7, 10)
    assert low == pytest.approx(0.39678, abs=1e-5)
    assert high == pytest.approx(0.89221, abs=1e-5)


def test_wilson_agrees_with_scipy():
    stats = pytest.importorskip("scipy.stats")
    for right, items in ((0, 5), (1, 1), (3, 7), (50, 100), (999, 1000)):
        expected = stats.binomtest(right, items).proportion_ci(method="wilson")
        assert wilson_interval(right / items, items) == pytest.approx((expected.low, expected.high), abs=1e-9)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share_and_stays_inside(case):
    right, items = case
    low, high = wilson_interval(right / items, items)
    assert 0 <= low <= right / items <= high <= 1
    assert low < high


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_symmetric_and_narrows(case):
    right, items = case
    low, high = wilson_interval(right / items, items)
    mirrored = wilson_interval((items - right) / items, items)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-9)
    more = wilson_interval(right / items, items * 4)
    assert more[1] - more[0] < high - low


@pytest.mark.parametrize(("score", "items"), [(0.5, 0), (-0.1, 10), (1.1, 10)])
def test_wilson_refuses_nonsense(score, items):
    with pytest.raises(ValueError):
        wilson_interval(score, items)


def test_is_share():
    assert is_share(0.35, 20)
    assert not is_share(0.36, 20)
    assert not is_share(1.2, 5)
    assert not is_share(0.5, 0)


def test_normal_interval():
    assert normal_interval(0.5, 0.1) == pytest.approx((0.304, 0.696), abs=1e-3)


def test_mcnemar_by_hand():
    # 1 against 6 of 7 that disagree: 2 * (C(7,0) + C(7,1)) / 2^7
    assert mcnemar_exact(1, 6) == pytest.approx(2 * (1 + 7) / 128)
    assert mcnemar_exact(6, 1) == mcnemar_exact(1, 6)
    assert mcnemar_exact(0, 0) == mcnemar_exact(4, 4) == 1
    assert mcnemar_exact(0, 5) == pytest.approx(2 / 32)


def test_holm_by_hand():
    # sorted 0.01, 0.02, 0.03, 0.04: times 4, 3, 2, 1, and never falling
    assert adjust_holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert adjust_holm([0.5, 0.9]) == pytest.approx([1, 1])
    assert adjust_holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_only_raises_and_keeps_the_order(p_values):
    adjusted = adjust_holm(p_values)
    assert all(one <= other <= 1 for one, other in zip(p_values, adjusted, strict=True))
    pairs = sorted(zip(p_values, adjusted, strict=True))
    assert [other for _, other in pairs] == sorted(adjusted)
    assert min(adjusted) <= min(1, len(p_values) * min(p_values)) + 1e-12


def test_a_comparison_by_hand():
    first = [1] * 50 + [0] * 50
    second = [1] * 45 + [0] * 5 + [1] * 20 + [0] * 30
    found = compare_pairs(first, second)
    assert (found.rows, found.first, found.second) == (100, 0.5, 0.65)
    assert (found.only_first, found.only_second) == (5, 20)
    assert found.p_value == pytest.approx(mcnemar_exact(5, 20))
    # the rows' differences have mean 0.15 and variance 0.25 - 0.15^2
    error = ((0.25 - 0.15**2) / 100) ** 0.5
    assert found.interval == pytest.approx((0.15 - 1.96 * error, 0.15 + 1.96 * error), abs=0.012)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=60))
def test_comparisons_mirror(pairs):
    first, second = map(list, zip(*pairs, strict=True))
    one, other = compare_pairs(first, second), compare_pairs(second, first)
    assert one.value == pytest.approx(-other.value)
    assert one.p_value == pytest.approx(other.p_value)
    assert one.interval[0] - 1e-9 <= one.value <= one.interval[1] + 1e-9
    assert compare_pairs(first, first).interval == (0, 0)
    assert compare_pairs(first, second) == one  # the seed is fixed


def test_scores_that_are_not_right_or_wrong_have_no_test():
    found = compare_pairs([0.25, 0.5, 1], [0.5, 0.5, 1])
    assert found.p_value is found.detectable is found.only_first is None
    assert found.value == pytest.approx(0.25 / 3)


def test_the_bootstrap_is_that_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    numpy = pytest.importorskip("numpy")
    values = numpy.random.default_rng(3).normal(0.1, 1, 200)
    expected = stats.bootstrap((values,), numpy.mean, n_resamples=10_000, method="percentile", rng=1)
    low, high = bootstrap_mean(values.tolist())
    assert low == pytest.approx(expected.confidence_interval.low, abs=0.01)
    assert high == pytest.approx(expected.confidence_interval.high, abs=0.01)


def test_what_can_be_detected():
    # Connor's formula the other way round gives the rows back
    for rows, disagreeing in ((200, 40), (1273, 300), (5000, 500)):
        found, share = find_detectable(rows, disagreeing), disagreeing / rows
        needed = (Z95 * share**0.5 + Z80 * (share - found**2) ** 0.5) ** 2 / found**2
        assert needed == pytest.approx(rows, rel=1e-6)
    assert find_detectable(5000, 1250) < find_detectable(1000, 250) < find_detectable(100, 25)
    assert find_detectable(10, 2) is None


def test_the_power_is_what_is_said():
    """Simulated: a true difference of the detectable size is found four times in five."""
    numpy = pytest.importorskip("numpy")
    rows, share = 1000, 0.2
    difference = find_detectable(rows, int(rows * share))
    source = numpy.random.default_rng(5)
    up, down = (share + difference) / 2, (share - difference) / 2
    counts = source.multinomial(rows, [down, up, 1 - share], size=400)
    power = numpy.mean([mcnemar_exact(int(a), int(b)) < 0.05 for a, b, _ in counts])
    assert 0.72 < power < 0.87  # the exact test is a little more cautious than the formula


def test_pairs_must_be_pairs():
    with pytest.raises(ValueError, match="0 and 0 rows"):
        compare_pairs([], [])
    with pytest.raises(ValueError, match="1 and 2 rows"):
        compare_pairs([1], [1, 0])
