import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from gptalt_eval.results.sampling import bootstrap_mean
from gptalt_eval.results.stats import (
    Z80,
    Z95,
    adjust_holm,
    compare_pairs,
    find_detectable,
    mcnemar_exact,
    normal_interval,
    wilson_interval,
)

RIGHT_OF_ALL = st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def test_wilson_by_hand():
    # 7 of 10: centre (0.7 + 1.9207/10) / (1 + 3.8415/10), worked with pencil and paper
    assert wilson_interval(7, 10) == pytest.approx((0.39678, 0.89221), abs=1e-5)


@given(RIGHT_OF_ALL)
@example((0, 1))
@example((1, 1))
@example((10_000, 10_000))
def test_wilson_agrees_with_statsmodels(case):
    expected = proportion_confint(*case, alpha=0.05, method="wilson")
    assert wilson_interval(*case) == pytest.approx(expected, abs=1e-12)


@given(RIGHT_OF_ALL)
def test_wilson_holds_the_share_and_stays_inside(case):
    right, items = case
    low, high = wilson_interval(right, items)
    assert 0 <= low <= right / items <= high <= 1
    assert low < high
    assert (type(low), type(high)) == (float, float)


@pytest.mark.parametrize(("right", "items"), [(0, 0), (1, 0), (11, 10), (-1, 10)])
def test_wilson_refuses_nonsense(right, items):
    with pytest.raises(ValueError):
        wilson_interval(right, items)


def test_normal_interval():
    assert normal_interval(0.5, 0.1) == pytest.approx((0.304, 0.696), abs=1e-3)


def test_mcnemar_by_hand():
    # 1 against 6 of 7 that disagree: 2 * (C(7,0) + C(7,1)) / 2^7
    assert mcnemar_exact(1, 6) == pytest.approx(2 * (1 + 7) / 128)
    assert mcnemar_exact(6, 1) == mcnemar_exact(1, 6)
    assert mcnemar_exact(0, 0) == mcnemar_exact(4, 4) == 1
    assert mcnemar_exact(0, 5) == pytest.approx(2 / 32)
    assert type(mcnemar_exact(0, 5)) is float


@given(st.integers(0, 60), st.integers(0, 60))
@example(0, 0)
@example(30, 30)
def test_mcnemar_agrees_with_statsmodels(only_first, only_second):
    expected = (
        mcnemar([[9, only_first], [only_second, 9]], exact=True).pvalue if only_first + only_second else 1
    )
    assert mcnemar_exact(only_first, only_second) == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_agrees_with_statsmodels(p_values):
    assert adjust_holm(p_values) == pytest.approx(
        multipletests(p_values, method="holm")[1].tolist(), abs=1e-12
    )


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
    assert found.value == pytest.approx(0.15)
    # Connor's formula for 100 rows of which 5 + 20 disagree, solved with a pocket calculator
    assert found.detectable == pytest.approx(0.138434, abs=1e-5)
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


def test_scores_that_are_not_right_or_wrong_are_permuted():
    found = compare_pairs([0.25, 0.5, 1], [0.5, 0.5, 1])
    assert found.only_first is found.only_second is None
    assert found.value == pytest.approx(0.25 / 3)
    assert found.p_value == 1, "one row that differs: it could as well be the other way round"
    error = 0.25 / 3  # of differences 0.25, 0, 0: standard deviation 0.25 / sqrt(3), divided by sqrt(3)
    assert found.detectable == pytest.approx((1.959964 + 0.841621) * error, rel=1e-5)


def test_the_bootstrap_is_that_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    numpy = pytest.importorskip("numpy")
    values = numpy.random.default_rng(3).normal(0.1, 1, 200)
    expected = stats.bootstrap((values,), numpy.mean, n_resamples=10_000, method="percentile", rng=1)
    low, high = bootstrap_mean(values.tolist())
    assert low == pytest.approx(expected.confidence_interval.low, abs=0.01)
    assert high == pytest.approx(expected.confidence_interval.high, abs=0.01)


def test_intervals_are_the_same_today_and_tomorrow():
    """The seed and the number of resamples are part of what is reported."""
    values = [number / 100 for number in range(100)]
    first = [0.0] * len(values)
    seeded = [bootstrap_mean(values, seed) for seed in range(3)]
    assert len(set(seeded)) == 3
    assert seeded[0] == bootstrap_mean(values) == bootstrap_mean(values, seed=0, resamples=10_000)
    assert seeded[0] == compare_pairs(first, values).interval
    assert seeded[2] == compare_pairs(first, values, 2).interval
    assert seeded[0] != bootstrap_mean(values, resamples=10_001)
    low, high = bootstrap_mean(values, resamples=1)
    assert low == high, "one resample has no width"
    assert {type(low), type(high)} == {float}


def test_what_can_be_detected():
    # Connor's formula the other way round gives the rows back
    for rows, disagreeing in ((200, 40), (1273, 300), (5000, 500)):
        found, share = find_detectable(rows, disagreeing), disagreeing / rows
        needed = (Z95 * share**0.5 + Z80 * (share - found**2) ** 0.5) ** 2 / found**2
        assert needed == pytest.approx(rows, rel=1e-6)
    assert find_detectable(5000, 1250) < find_detectable(1000, 250) < find_detectable(100, 25)


@pytest.mark.parametrize("rows", [6, 8, 20, 100, 1273])
@pytest.mark.parametrize("disagreeing", [0, 1, 2, 5])
def test_there_is_a_bound_where_no_or_few_rows_disagree(rows, disagreeing):
    """Were there a difference of this size, all rows that disagree on one side, it would be found."""
    found = find_detectable(rows, disagreeing)
    share = max(found, disagreeing / rows)
    needed = (Z95 * share**0.5 + Z80 * (share - found**2) ** 0.5) ** 2 / found**2
    assert needed == pytest.approx(rows, rel=1e-6)
    assert 0 < find_detectable(rows, 0) <= found <= 1


def test_the_bound_grows_with_the_rows_that_disagree():
    bounds = [find_detectable(100, disagreeing) for disagreeing in range(101)]
    assert bounds == sorted(bounds) and bounds[0] == bounds[7] < bounds[8] < bounds[100]


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_no_test_finds_anything_in_under_six_rows(rows):
    """All disagree, all on one side: the p-value is 2 / 2^5 or more."""
    assert mcnemar_exact(0, rows) > 0.05 > mcnemar_exact(0, 6)
    assert find_detectable(rows, 0) is find_detectable(rows, rows) is None


@pytest.mark.parametrize("rows", [40, 100, 1273])
def test_the_power_of_the_bound_where_no_row_disagrees(rows):
    """Worked out, not simulated: all that disagree are on one side, six or more are significant."""
    stats = pytest.importorskip("scipy.stats")
    power = stats.binom.sf(5, rows, find_detectable(rows, 0))
    assert 0.75 < power < 0.88


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
    for first, second in (([], []), ([], [1]), ([1], []), ([1], [1, 0])):
        with pytest.raises(ValueError, match=f"^{len(first)} and {len(second)} rows cannot be paired$"):
            compare_pairs(first, second)
