"""Means and ranks of arms: by hand, against a bootstrap and random swaps, and in simulated experiments."""

from dataclasses import replace
from itertools import permutations, product
from math import erfc, inf, nan, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, t
from statsmodels.stats.proportion import proportion_confint

from gptalt_eval.results import ranking
from gptalt_eval.results.analyse import Score
from gptalt_eval.results.arms import Arm, TaskRows, pair_rows
from gptalt_eval.results.ranking import compare_with, rank_arms
from gptalt_eval.results.rows import Row
from gptalt_eval.results.sampling import Design, estimate_mean
from gptalt_eval.results.stats import Z95, adjust_holm, flip_clusters, flip_sums, mcnemar_exact, mean_interval

SCORE = Score("task", "task", 0, 0, "acc", "none", 0.5, (0.4, 0.6), 100, 100, True, False, 0)


def make_arm(number):
    return Arm(f"model {number}", "standard", 0)


def make_column(values, name="task", members=(), clusters=(), equal=False, documents=(), saved=True):
    """A column of the table: rows x arms, with the member, cluster and document of each row."""
    values = np.asarray(values, dtype=float)
    rows, arms = values.shape
    keys = [(members[row] if members else name, row) for row in range(rows)]
    design = Design(
        [(key[0], clusters[key[1]] if clusters else key[1]) for key in keys],
        [key[0] for key in keys] if members else [],
        equal,
    )
    hashes = documents or [f"{name} {row}" for row in range(rows)]
    scores, table = {}, {}
    for place in range(arms):
        column = values[:, place].tolist()
        scores[make_arm(place)] = replace(
            SCORE,
            value=estimate_mean(column, design).value,
            interval=mean_interval(column, design),
            items=rows,
        )
        table[make_arm(place)] = {
            key: Row(hashes[row], "", {"acc": column[row]}, cluster=str(clusters[row]) if clusters else "")
            for row, key in enumerate(keys)
        }
    task = TaskRows(name, table, ["acc"], "passage" if clusters else "", bool(members), equal)
    return scores, task if saved else None


def rank(*columns):
    standings, places = rank_arms(columns)
    return list(standings.values()), places


def draw(source, rows, levels):
    """Rows that are hard or easy for all arms alike."""
    hard = source.normal(0, 1, (rows, 1))
    shift = np.log(np.asarray(levels) / (1 - np.asarray(levels))) * 1.2
    return (source.logistic(0, 1, (rows, len(levels))) < shift + hard).astype(float)


def test_means_and_ranks_by_hand():
    """Of 10 rows each: the first arm is right on 9 and 5, the second on 5 and 9, the third on 0 and 2."""
    first = make_column([[row < right for right in (9, 5, 0)] for row in range(10)], "first")
    second = make_column([[row < right for right in (5, 9, 2)] for row in range(10)], "second")
    (one, two, three), places = rank(first, second)
    assert places == [0, 1]
    assert [each.mean for each in (one, two, three)] == pytest.approx([0.7, 0.7, 0.1])
    assert [each.rank for each in (one, two, three)] == [1, 1, 3]
    # Of the 20 rows, 12 are right in one arm only and always in the better one: (12 - 1) / sqrt(12). The
    # correction is for two comparisons with the best; the two best are equal in 8 rows that differ.
    expected = 2 * erfc(11 / sqrt(12) / sqrt(2))
    assert (one.p_value, two.p_value, three.p_value) == (None, None, pytest.approx(expected))
    assert [(each.lowest, each.highest) for each in (one, two, three)] == [(1, 2), (1, 2), (3, 3)]


def test_the_interval_of_two_columns_by_hand():
    """Wilson's, of as many rows as a share of 0.35 has with the error of (0.1^2 + 0.2^2)^0.5 / 2 / 1.96."""
    scores = {make_arm(0): replace(SCORE, value=0.5, interval=(0.4, 0.6))}
    others = {make_arm(0): replace(SCORE, value=0.2, interval=(0.1, 0.5))}
    [found], _ = rank((scores, None), (others, None))
    rows = 0.35 * 0.65 / (0.05 / 4 / Z95**2)
    expected = proportion_confint(0.35 * rows, rows, method="wilson")
    assert found.interval == pytest.approx(expected)
    assert (found.rank, found.lowest, found.highest, found.p_value) == (1, 1, 1, None)


def flip_pairs(task, best, arm):
    pairs = pair_rows(task, "acc", best, arm)
    return flip_clusters(pairs.differences, design=pairs.design)


DESIGNS = {
    "rows": {},
    "passages": {"clusters": [row // 3 for row in range(60)]},
    "members": {"members": ["a"] * 12 + ["b"] * 47 + ["c"]},
    "equal members": {"members": ["a"] * 12 + ["b"] * 40 + ["c"] * 8, "equal": True},
    "both": {
        "members": ["a"] * 12 + ["b"] * 48,
        "clusters": [row // 4 for row in range(60)],
        "equal": True,
    },
}


@pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
@pytest.mark.parametrize("seed", range(3))
def test_one_column_is_that_of_the_table(design, seed):
    """The interval is the score's own, the p-value that of the mark in the table of the same page."""
    scores, task = make_column(draw(np.random.default_rng(seed), 60, [0.7, 0.6, 0.4]), **design)
    found, _ = rank((scores, task))
    arms = list(scores)
    best = next(arm for arm, each in zip(arms, found, strict=True) if each.rank == 1)
    for arm, each in zip(arms, found, strict=True):
        assert each.mean == scores[arm].value
        assert each.interval == pytest.approx(scores[arm].interval)
    others = [arm for arm in arms if arm != best]
    raw = [flip_pairs(task, best, arm) for arm in others]
    assert [compare_with(best, scores, task)[arm] for arm in others] == raw
    expected = dict(zip(others, adjust_holm(raw), strict=True))
    for arm, each in zip(arms, found, strict=True):
        assert each.p_value == (None if each.rank == 1 else expected[arm])


@pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
def test_the_variance_is_that_of_swapped_clusters(design):
    """The p-value of two columns is that of random swaps in the rows of both, drawn here, or larger where few differ."""
    source = np.random.default_rng(3)
    tables = [draw(source, 60, [0.66, 0.5]) for _ in range(2)]
    columns = [make_column(table, name, **design) for table, name in zip(tables, "xy", strict=True)]
    found, _ = rank(*columns)
    sums = []
    for _, task in columns:
        pairs = pair_rows(task, "acc", *task.arms)
        sizes = {name: pairs.design.strata.count(name) for name in pairs.design.strata}
        by_cluster = {}
        strata = pairs.design.strata or [""] * 60
        for label, name, value in zip(pairs.design.clusters, strata, pairs.differences, strict=True):
            weight = 1 / len(sizes) / sizes[name] if pairs.design.equal else 1 / 60
            by_cluster[label] = by_cluster.get(label, 0) + weight * value
        sums += by_cluster.values()
    sums = np.array(sums)
    swapped = (np.random.default_rng(0).choice([-1, 1], (40_000, len(sums))) * sums).sum(axis=1)
    expected = np.mean(abs(swapped) >= abs(sums.sum()) - 1e-9)
    z = max(0, abs(sums.sum()) - sqrt((sums**4).sum() / (sums**2).sum())) / sqrt((sums**2).sum())
    worse = max(found, key=lambda each: each.rank)
    assert worse.p_value == pytest.approx(erfc(z / sqrt(2)))
    assert expected - 0.01 < worse.p_value < expected + 0.1


def resample(source, tables, counts=2_000):
    """The bootstrap's interval of the mean over columns of rows that are independent, of the first arm."""
    means = [source.choice(table[:, 0], (counts, len(table))).mean(axis=1) for table in tables]
    return tuple(np.quantile(np.mean(means, axis=0), (0.025, 0.975)))


def test_the_interval_is_that_of_a_bootstrap():
    source = np.random.default_rng(5)
    tables = [draw(source, rows, [level, 0.5]) for rows, level in ((300, 0.6), (150, 0.4), (80, 0.7))]
    [found, _], _ = rank(*(make_column(table, f"t{place}") for place, table in enumerate(tables)))
    assert found.interval == pytest.approx(resample(source, tables), abs=0.008)


@pytest.mark.parametrize("members", [False, True])
def test_rows_in_two_columns_count_once(members):
    """400 rows, 100 of which are a column too: a bootstrap draws the rows, and both columns from them."""
    source = np.random.default_rng(6)
    table = draw(source, 400, [0.6, 0.5])
    documents = [f"d{row}" for row in range(400)]
    names = (["a"] * 100 + ["b"] * 300, ["a"] * 100) if members else ((), ())
    whole = make_column(table, "whole", names[0], documents=documents)
    part = make_column(table[:100], "part", names[1], documents=documents[:100])
    first, second = rank(whole, part)[0]
    drawn = [table[:100][source.integers(0, 100, 100)] for _ in range(4_000)]
    others = [table[100:][source.integers(0, 300, 300)] for _ in range(4_000)]
    means = np.array(
        [(np.vstack([a, b]).mean(axis=0) + a.mean(axis=0)) / 2 for a, b in zip(drawn, others, strict=True)]
    )
    low, high = np.quantile(means[:, 0], (0.025, 0.975))
    assert first.interval == pytest.approx((low, high), abs=0.008)
    apart = rank(make_column(table, "whole"), make_column(table[:100], "part"))[0]
    assert first.interval[1] - first.interval[0] > 1.1 * (apart[0].interval[1] - apart[0].interval[0])
    differences = (table[:, 0] - table[:, 1]) * np.where(np.arange(400) < 100, 1 / 400 + 1 / 100, 1 / 400)
    assert second.p_value == pytest.approx(flip_sums(differences), abs=0.02)


def test_the_same_column_twice_says_no_more_than_once():
    table = draw(np.random.default_rng(7), 200, [0.7, 0.6, 0.5])
    documents = [f"d{row}" for row in range(200)]
    columns = [make_column(table, name, documents=documents) for name in "ab"]
    once, twice = rank(columns[0])[0], rank(*columns)[0]
    for one, two in zip(once, twice, strict=True):
        assert two.interval == pytest.approx(one.interval, abs=0.001)
        assert (two.lowest, two.highest) == (one.lowest, one.highest)


@pytest.mark.parametrize(
    ("change", "columns"),
    [
        ({"higher_is_better": False}, [0]),
        ({"higher_is_better": None}, [0]),
        ({"value": nan}, [0]),
        ({"value": inf}, [0]),
        ({"value": -inf}, [0]),
        ({"value": 12.5}, [0]),
        ({"value": -0.1}, [0]),
        ({"metric": "f1"}, [0]),
        ({"interval": None}, [0, 1]),
    ],
)
def test_columns_that_count(change, columns):
    """Not perplexity, not BLEU of 0 to 100, not another metric in one arm, not where an arm has no number."""
    scores = {make_arm(place): replace(SCORE, value=place / 10) for place in range(3)}
    other = {
        arm: replace(score, **change) if arm.model == "model 1" else score for arm, score in scores.items()
    }
    standings, places = rank_arms([(scores, None), (other, None)])
    assert places == columns
    assert [each.rank for each in standings.values()] == [3, 2, 1]
    assert rank_arms([(other, None)])[1] == [0] * (len(columns) - 1)


def test_a_column_without_an_arm_does_not_count():
    scores = {make_arm(place): SCORE for place in range(3)}
    fewer = {arm: score for arm, score in scores.items() if arm.model != "model 1"}
    assert rank_arms([(fewer, None), (scores, None)])[1] == [1]
    assert rank_arms([(fewer, None), ({make_arm(1): SCORE}, None)]) == ({}, [])
    assert rank_arms([]) == ({}, [])


def test_bleu_of_weak_models_is_not_a_share():
    scores = {make_arm(place): replace(SCORE, metric="bleu", value=0.4) for place in range(2)}
    assert rank_arms([(scores, None)]) == ({}, [])


def test_rows_above_one_are_not_shares():
    assert rank(make_column([[0.5, 1.5], [0.5, 0.1]])) == ([], [])
    assert rank(make_column([[0.5, 0.9], [0.5, 0.1]]))[1] == [0]


def test_an_interval_that_is_unknown_makes_that_of_the_mean_unknown():
    scores = {make_arm(place): replace(SCORE, value=place / 2) for place in range(2)}
    other = {arm: replace(score, interval=None) for arm, score in scores.items()}
    for interval in (None, (nan, nan), (0.0, inf), (0.5, 0.5)):
        other = {arm: replace(score, interval=interval) for arm, score in scores.items()}
        worst, best = rank((scores, None), (other, None))[0]
        assert worst.interval is None and best.interval is None and worst.p_value is None
        assert (best.rank, best.lowest, best.highest) == (1, 1, 2)


def test_arms_without_saved_rows_differ_if_their_intervals_do_not_overlap():
    def find(gap):
        scores = {
            make_arm(0): replace(SCORE, value=0.5, interval=(0.4, 0.6)),
            make_arm(1): replace(SCORE, value=0.7 + gap, interval=(0.6 + gap, 0.8 + gap)),
        }
        return rank((scores, None))[0]

    assert [(each.lowest, each.highest) for each in find(-1e-6)] == [(1, 2), (1, 2)]
    assert [(each.lowest, each.highest) for each in find(1e-6)] == [(2, 2), (1, 1)]
    scores = {
        make_arm(0): replace(SCORE, value=0.9, interval=(0.6, 0.91)),
        make_arm(1): replace(SCORE, value=0.6, interval=(0.59, 0.7)),
    }
    assert [each.highest for each in rank((scores, None))[0]] == [2, 2]
    assert find(1e-6)[0].p_value is None  # as in the table: there are no rows to test


def test_few_rows_are_never_sure():
    """Where the first arm is right on all rows and the second on none: McNemar's exact test needs six rows."""
    for rows in range(1, 12):
        for split in (1, 2):
            tables = (
                [[[1, 0]] * rows] if split == 1 else [[[1, 0]] * (rows - rows // 2), [[1, 0]] * (rows // 2)]
            )
            found = rank(*(make_column(table, f"t{place}") for place, table in enumerate(tables) if table))[0]
            assert (found[1].lowest == 2) == (mcnemar_exact(0, rows) < 0.05), rows
            assert found[0].interval[0] < 1 and found[1].interval[1] > 0


@pytest.mark.parametrize("seed", range(40))
def test_the_p_value_is_never_below_that_of_all_swaps(seed):
    """Of few rows with any differences, all swaps can be tried."""
    source = np.random.default_rng(seed)
    number = int(source.integers(1, 12))
    differences = np.minimum(source.lognormal(-3, source.choice([0.0, 1.0, 2.0]), number), 0.5)
    differences *= source.choice([1, 1, 1, -1], number)
    table = np.array([[0.5 + each, 0.5] for each in differences])
    parts = [table[: number // 2], table[number // 2 :]]
    columns = [make_column(part, name) for part, name in zip(parts, "ab", strict=True) if len(part)]
    found, _ = rank(*columns, *([make_column([[0.5, 0.5]], "c")] if len(columns) == 1 else []))
    weights = np.concatenate([np.full(len(part), 1 / len(part)) for part in parts if len(part)])
    sums = abs(differences) * weights
    swapped = np.array(list(product([-1, 1], repeat=number))) @ sums
    expected = np.mean(abs(swapped) >= abs((differences * weights).sum()) - 1e-12)
    p_value = next((each.p_value for each in found if each.p_value is not None), 1.0)
    assert p_value > 0.95 * expected


def test_equal_arms_share_a_rank():
    table = np.array([[1, 1, 0, 1]] * 30)
    found, _ = rank(make_column(table, "a"), make_column(table, "b"))
    assert [each.rank for each in found] == [1, 1, 4, 1]
    assert [(each.lowest, each.highest) for each in found] == [(1, 3), (1, 3), (4, 4), (1, 3)]
    assert [each.p_value is None for each in found] == [True, True, False, True]


def test_sums_that_differ_in_the_last_digit_are_equal():
    """0.1 + 0.2 is not 0.3 in binary."""
    columns = [
        ({make_arm(place): replace(SCORE, value=value) for place, value in enumerate(pair)}, None)
        for pair in [(0.1, 0.3), (0.2, 0.0)]
    ]
    found, _ = rank(*columns)
    assert found[0].mean != found[1].mean
    assert [(each.rank, each.lowest, each.highest, each.p_value) for each in found] == [(1, 1, 2, None)] * 2


def test_the_interval_of_few_clusters_by_hand():
    """Wilson's with Student's t and Satterthwaite's degrees of freedom, from the columns' own errors."""
    source = np.random.default_rng(8)
    tables = [draw(source, rows, [0.6]) for rows in (24, 12)]
    columns = [
        make_column(table, name, clusters=[row // size for row in range(len(table))])
        for table, name, size in zip(tables, "ab", (4, 3), strict=True)
    ]
    [found], _ = rank(*columns)
    own = [
        estimate_mean(table[:, 0].tolist(), Design([row // size for row in range(len(table))]))
        for table, size in zip(tables, (4, 3), strict=True)
    ]
    variances = [each.stderr**2 / 4 for each in own]
    freedom = sum(variances) ** 2 / (variances[0] ** 2 / 5 + variances[1] ** 2 / 3)
    rows = found.mean * (1 - found.mean) / sum(variances)
    alpha = 2 * norm.sf(t.ppf(0.975, freedom))  # at which the normal quantile is that of t
    assert found.interval == pytest.approx(
        proportion_confint(found.mean * rows, rows, alpha, method="wilson")
    )


def test_the_interval_of_common_rows_by_hand():
    """24 rows, 4 of which are a column too: what they add to both is added up, and 3 is few to know it from."""
    values = draw(np.random.default_rng(12), 24, [0.6])
    documents = [f"d{row}" for row in range(24)]
    columns = [make_column(values[:rows], f"t{rows}", documents=documents[:rows]) for rows in (24, 4)]
    [found], _ = rank(*columns)
    errors = (values[:, 0] - values.mean()) / 24 * sqrt(24 / 23)
    errors[:4] += (values[:4, 0] - values[:4].mean()) / 4 * sqrt(4 / 3)
    rows = found.mean * (1 - found.mean) / ((errors**2).sum() / 4)
    expected = proportion_confint(found.mean * rows, rows, 2 * norm.sf(t.ppf(0.975, 3)), method="wilson")
    assert found.interval == pytest.approx(expected)


def test_where_nothing_varies_the_interval_is_that_of_so_sure_a_number_of_rows():
    """10 and 30 rows: 4 / (1/10 + 1/30) = 30; the same 20 rows twice: 20; 8 passages twice: 8."""
    ones = np.ones((60, 1))
    documents = [f"d{row}" for row in range(20)]
    passages = [row // 5 for row in range(40)]
    for columns, rows in (
        ((make_column(ones[:10], "a"), make_column(ones[:30], "b")), 30),
        (tuple(make_column(ones[:20], name, documents=documents) for name in "ab"), 20),
        (tuple(make_column(ones[:40], name, clusters=passages) for name in "ab"), 16),
        ((make_column(ones[:7], "a", saved=False), make_column(ones[:7], "b")), 14),
    ):
        [found], _ = rank(*columns)
        assert found.interval == pytest.approx(proportion_confint(rows, rows, method="wilson"))
        assert found.interval[1] == 1


def test_a_column_in_which_nothing_varies_is_not_sure():
    """2 of 2 rows are as sure as a share of 2.5 / 3, whatever the other column; and so for columns of one row."""
    table = draw(np.random.default_rng(13), 900, [0.6])
    [found], _ = rank(make_column(table, "a"), make_column([[1], [1]], "b"))
    error = (table.var() / 899 + (2.5 / 3) * (0.5 / 3) / 2) / 4
    rows = found.mean * (1 - found.mean) / error
    assert found.interval == pytest.approx(
        proportion_confint(found.mean * rows, rows, method="wilson"), abs=1e-5
    )
    [found], _ = rank(*(make_column([[place % 4 > 0]], f"t{place}") for place in range(8)))
    rows = 0.75 * 0.25 / (8 * 0.75 * 0.25 / 64)
    assert found.interval == pytest.approx(proportion_confint(0.75 * rows, rows, method="wilson"))


def test_one_passage_says_nothing():
    table = [[1, 0], [0, 0], [1, 1]]
    passage, other = make_column(table, "a", clusters=[1, 1, 1]), make_column(table, "b")
    found, _ = rank(passage, other)
    assert [each.interval for each in found] == [None, None]
    assert [(each.lowest, each.highest) for each in found] == [(1, 2), (1, 2)]


def test_holm_is_for_all_pairs_of_arms():
    """Right in 8 more rows of 20: alone a significant difference, p = 0.013, but not as one of six."""
    nothing = np.zeros((20, 4))
    table = np.array([[row < right for right in (16, 8, 8, 9)] for row in range(20)])
    alone, _ = rank(make_column(table[:, :2], "a"), make_column(nothing[:, :2], "b"))
    assert 0.05 / 3 > alone[1].p_value > 0.01 and alone[1].lowest == 2
    found, _ = rank(make_column(table, "a"), make_column(nothing, "b"))
    assert [(each.lowest, each.highest) for each in found] == [(1, 4)] * 4


def test_columns_that_share_documents_with_a_third_are_together():
    """So are they in whatever order they come: the third joins two that have nothing in common."""
    source = np.random.default_rng(9)
    table = draw(source, 60, [0.7, 0.5])
    documents = [f"d{row}" for row in range(60)]
    parts = [slice(0, 30), slice(30, 60), slice(0, 60)]
    columns = [
        make_column(table[part], f"t{place}", documents=documents[part]) for place, part in enumerate(parts)
    ]
    made = [ranked for order in permutations(columns) for ranked in [rank(*order)[0]]]
    for found in made[1:]:
        assert found[0].interval == pytest.approx(made[0][0].interval)
        assert found[1].p_value == pytest.approx(made[0][1].p_value)
    once, _ = rank(columns[2])
    assert made[0][0].interval == pytest.approx(once[0].interval, abs=0.01)


def test_arms_with_other_rows_are_compared_by_their_intervals():
    """One was evaluated on 30 of 300 rows: as if no rows were saved."""
    table = draw(np.random.default_rng(10), 300, [0.8, 0.7, 0.45])
    columns = []
    for name in "ab":
        scores, task = make_column(table, name)
        few, short = make_column(table[:30], name)
        arm = make_arm(2)
        columns.append(({**scores, arm: few[arm]}, replace(task, arms={**task.arms, arm: short.arms[arm]})))
    found, _ = rank(*columns)
    alone, _ = rank(*((scores, None) for scores, _ in columns))
    assert found[2].p_value == pytest.approx(alone[2].p_value)
    assert found[1].p_value < alone[1].p_value, "their rows are the same"


def test_one_column_is_tested_over_the_rows_that_both_have():
    table = draw(np.random.default_rng(11), 80, [0.9, 0.5, 0.5, 0.5])
    scores, task = make_column(table)
    rows = dict(task.arms)
    rows[make_arm(1)] = {key: row for key, row in rows[make_arm(1)].items() if key[1] < 70}
    scores[make_arm(1)] = replace(scores[make_arm(1)], value=table[:70, 1].mean())
    rows[make_arm(2)] = {(name, row + 80): each for (name, row), each in rows[make_arm(2)].items()}
    del rows[make_arm(3)]
    task = replace(task, arms=rows)
    found = compare_with(make_arm(0), scores, task)
    assert list(found) == [make_arm(1)]
    assert found[make_arm(1)] == flip_pairs(task, make_arm(0), make_arm(1))
    assert [each.p_value is None for each in rank((scores, task))[0]] == [True, False, True, True]
    assert compare_with(make_arm(3), scores, task) == {}


def test_a_rank_is_not_surer_than_the_p_value(monkeypatch):
    """The p-value of a single column is of random swaps, and may be a bit larger than the normal one."""
    column = make_column([[1, 0]] * 12)
    assert rank(column)[0][0].highest == 1
    monkeypatch.setattr(ranking, "compare_with", lambda best, scores, task: {make_arm(1): 0.051})
    first, second = rank(column)[0]
    assert (first.highest, second.lowest, second.p_value) == (2, 1, 0.051)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 4), st.randoms())
def test_the_order_changes_nothing(seed, arms, columns, shuffler):
    source = np.random.default_rng(seed)
    made = []
    for place in range(columns):
        rows = int(source.integers(1, 30))
        table = source.integers(0, 2, (rows, arms))
        documents = [f"d{row + source.integers(0, 20)}" for row in range(rows)]
        made.append(make_column(table, f"t{place}", documents=documents, saved=bool(source.integers(4))))
    found, places = rank_arms(made)
    shuffled = list(range(columns))
    shuffler.shuffle(shuffled)
    order = [make_arm(place) for place in range(arms)]
    shuffler.shuffle(order)
    again, _ = rank_arms(
        [({arm: made[place][0][arm] for arm in order}, made[place][1]) for place in shuffled]
    )
    assert places == list(range(columns))
    for arm in order:
        one, other = found[arm], again[arm]
        assert (one.mean, one.rank, one.lowest, one.highest) == (
            other.mean,
            other.rank,
            other.lowest,
            other.highest,
        )
        assert one.interval == (None if other.interval is None else pytest.approx(other.interval))
        assert 1 <= one.lowest <= one.rank <= one.highest <= arms
        assert one.p_value is None or 0 <= one.p_value <= 1
        assert one.interval is None or one.interval[0] <= one.mean <= one.interval[1]


FLOATS = st.one_of(st.floats(), st.sampled_from([0.0, 1.0, 0.5, nan, inf, -inf, 1e-300, 1e300, -0.0]))
SCORES = st.builds(
    replace,
    st.just(SCORE),
    value=st.one_of(st.floats(0, 1), FLOATS),
    interval=st.none() | st.tuples(FLOATS, FLOATS),
    items=st.integers(-1, 50),
    clusters=st.none() | st.integers(-1, 50),
    higher_is_better=st.sampled_from([True, True, True, False, None]),
    metric=st.sampled_from(["acc", "acc", "acc", "bleu"]),
)
ROWS = st.dictionaries(
    st.tuples(st.sampled_from("ab"), st.integers(0, 4)),
    st.builds(
        Row,
        document=st.sampled_from("xyz"),
        prompt=st.just(""),
        scores=st.dictionaries(
            st.sampled_from(["acc", "bleu"]), st.sampled_from([0.0, 1.0, 0.3, -1e100, 1e100])
        ),
        cluster=st.sampled_from(["", "", "p"]),
    ),
    max_size=6,
)
TASKS = st.builds(
    TaskRows,
    name=st.just("task"),
    arms=st.dictionaries(st.integers(0, 3).map(make_arm), ROWS, max_size=4),
    metrics=st.just(["acc"]),
    cluster=st.sampled_from(["", "passage"]),
    is_group=st.booleans(),
    equal=st.booleans(),
)


def agree(scores, task):
    """Scores that are the means of the rows, where these are shares."""
    for arm, rows in task.arms.items():
        values = [row.scores["acc"] for row in rows.values() if "acc" in row.scores]
        if arm in scores and values:
            scores[arm] = replace(scores[arm], value=sum(values) / len(values), metric="acc")
    return scores, task


COLUMNS = st.tuples(st.dictionaries(st.integers(0, 3).map(make_arm), SCORES, max_size=4), st.none() | TASKS)


@settings(max_examples=300, deadline=None)
@given(st.lists(COLUMNS | st.builds(agree, COLUMNS.map(lambda each: each[0]), TASKS), max_size=4))
def test_hostile_values_break_nothing(columns):
    standings, places = rank_arms(columns)
    assert places == sorted(set(places)) and set(places) <= set(range(len(columns)))
    assert set(standings) == ({arm for scores, _ in columns for arm in scores} if places else set())
    for each in standings.values():
        assert 1 <= each.lowest <= each.rank <= each.highest <= len(standings)
        assert 0 <= each.mean <= 1
        assert each.p_value is None or 0 <= each.p_value <= 1
        if len(places) > 1 and each.interval:
            assert 0 <= each.interval[0] <= each.mean <= each.interval[1] <= 1
