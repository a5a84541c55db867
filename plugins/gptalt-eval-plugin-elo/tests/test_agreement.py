"""Agreement and merged votes: by hand, and against a bootstrap written out in loops."""

import itertools

import numpy as np
import pytest
from gptalt_eval_plugin_elo.agreement import (
    Estimate,
    compute_alpha,
    compute_kappa,
    count_pairs,
    discount_ties,
    estimate,
    find_unit,
    gather,
    measure_agreement,
    measure_units,
    merge_votes,
    orient,
    pair_up,
    repeat,
)
from gptalt_eval_plugin_elo.formats import Vote
from hypothesis import given
from hypothesis import strategies as st

from gptalt_eval import GptaltError

A, B, TIE = 0, 1, 2


def vote(first, second, winner, question="q", annotator="", category=""):
    return Vote(question, first, second, winner, category, annotator)


@pytest.mark.parametrize(
    ("first", "second", "winner", "outcome"),
    [
        ("x", "y", "a", A), ("x", "y", "b", B), ("x", "y", "tie", TIE), ("y", "x", "a", B), ("y", "x", "b", A),
        ("y", "x", "tie", TIE), ("x", "x", "a", A),
    ],
)  # fmt: skip
def test_outcomes_are_for_models_in_the_order_of_their_names(first, second, winner, outcome):
    assert orient(vote(first, second, winner)) == outcome
    assert find_unit(vote(first, second, winner)) == ("q", *sorted((first, second)))


def test_votes_are_gathered_by_question_and_models():
    votes = [
        vote("x", "y", "a", "q1", "ann"), vote("y", "x", "a", "q1", "bob"), vote("x", "y", "skip", "q1", "eve"),
        vote("x", "z", "tie", "q1", "ann"), vote("x", "y", "b", "q2", "ann"),
    ]  # fmt: skip
    assert gather(votes) == {
        ("q1", "x", "y"): [("ann", A), ("bob", B)],
        ("q1", "x", "z"): [("ann", TIE)],
        ("q2", "x", "y"): [("ann", B)],
    }


def test_first_votes_of_two_and_two_votes_of_one():
    judged = {
        ("q1", "x", "y"): [("ann", A), ("bob", B), ("ann", TIE), ("ann", B)],
        ("q2", "x", "y"): [("bob", TIE), ("eve", A), ("bob", TIE)],
        ("q3", "x", "y"): [("", A), ("", B)],
    }
    assert pair_up(judged, "ann", "bob") == [[A, B]]
    assert pair_up(judged, "bob", "ann") == [[B, A]]
    assert pair_up(judged, "bob", "eve") == [[TIE, A]]
    assert pair_up(judged, "ann", "eve") == []
    assert repeat(judged, "ann") == [[A, TIE]]
    assert repeat(judged, "bob") == [[TIE, TIE]]
    assert repeat(judged, "eve") == repeat(judged, "") == []


def test_ordered_pairs_by_hand():
    assert count_pairs([A, A, TIE]).tolist() == [[2, 0, 2], [0, 0, 0], [2, 0, 0]]
    assert count_pairs([B]).tolist() == [[0] * 3] * 3


UNITS = [[A, A], [A, B], [B, B], [A, TIE], [TIE, TIE], [B, A], [A, A]]


def measure_by_hand(units):
    """(tie-discounted, kappa, alpha) of units, in loops; alpha by Krippendorff's own formula."""
    worths, table, coincidences = [], np.zeros((3, 3)), np.zeros((3, 3))
    for unit in units:
        for one, other in itertools.permutations(unit, 2):
            worths.append(1.0 if one == other else 0.5 if TIE in (one, other) else 0.0)
            coincidences[one, other] += 1 / (len(unit) - 1)
        if len(unit) == 2:
            table[unit[0], unit[1]] += 1
    n = table.sum()
    chance = sum(table[k].sum() * table[:, k].sum() for k in range(3)) / n**2
    kappa = np.nan if chance >= 1 else (sum(table[k, k] for k in range(3)) / n - chance) / (1 - chance)
    values = coincidences.sum(1)
    total = values.sum()
    different = sum(coincidences[c, k] for c in range(3) for k in range(3) if c != k)
    expected = sum(values[c] * values[k] for c in range(3) for k in range(3) if c != k)
    alpha = np.nan if expected == 0 else 1 - (total - 1) * different / expected
    return np.mean(worths), kappa, alpha


@pytest.mark.parametrize("seed", [0, 3])
@pytest.mark.parametrize("units", [UNITS, [*UNITS[:4], [A, B, A], [A]], [[A, A], [A, A], [A, B]]])
def test_values_and_intervals_are_those_of_a_bootstrap_in_loops(units, seed):
    found = measure_units("all", units, seed)
    several = [unit for unit in units if len(unit) > 1]
    drawn = np.random.default_rng(seed).multinomial(len(several), [1 / len(several)] * len(several), 1_000)
    resampled = np.array(
        [
            measure_by_hand([unit for unit, times in zip(several, row, strict=True) for _ in range(times)])
            for row in drawn[:]
        ]
    )
    assert found.who == "all"
    assert found.pairs == sum(len(unit) * (len(unit) - 1) // 2 for unit in several)
    is_of_two = all(len(unit) == 2 for unit in several)
    assert (found.kappa is not None) == is_of_two
    for number, each in enumerate((found.tie_discounted, found.kappa, found.alpha)):
        if each is not None:
            assert each.value == pytest.approx(measure_by_hand(several)[number])
            low, high = np.nanpercentile(resampled[:, number], (2.5, 97.5))
            assert (each.low, each.high) == pytest.approx((low, high))
            assert {type(each.value), type(each.low), type(each.high)} == {float}


def test_what_is_not_defined_is_none():
    same = measure_units("all", [[A, A], [A, A]], 0)
    assert (same.kappa, same.alpha) == (None, None)
    assert same.tie_discounted == Estimate(1.0, 1.0, 1.0)
    assert measure_units("all", [[A], []], 0) is None
    assert measure_units("all", [], 0) is None
    assert np.isnan(compute_kappa(np.diag([4.0, 0, 0]))) and np.isnan(compute_alpha(np.diag([4.0, 0, 0])))
    assert float(compute_kappa(np.diag([4.0, 2, 0]))) == float(compute_alpha(np.diag([4.0, 2, 0]))) == 1


def test_an_interval_leaves_out_what_is_not_defined():
    tables = np.array([1.0, 2.0, np.nan, 4.0])
    assert estimate(lambda given: given, tables) == Estimate(1.0, 2.05, 3.95)
    assert estimate(lambda given: given, tables[2:]) is None


@given(st.lists(st.lists(st.integers(0, 2), min_size=2, max_size=2), min_size=1, max_size=12))
def test_ties_count_half(units):
    tables = np.zeros((3, 3))
    for one, other in units:
        tables[one, other] += 1
    expected = np.mean([1 if a == b else 0.5 if TIE in (a, b) else 0 for a, b in units])
    assert float(discount_ties(tables)) == pytest.approx(expected)


def test_who_is_compared_with_whom():
    votes = []
    for number in range(4):
        question, category = f"q{number}", ("", "c1", "c2", "c2")[number]
        votes += [vote("x", "y", "a", question, name, category) for name in ("bob", "ann", "bob", "eve")]
    votes += [vote("x", "y", "skip", "q9", "zoe", "c9")]
    assert [each.who for each in measure_agreement(votes)] == [
        "all votes", "ann and bob", "ann and eve", "bob and eve", "bob, twice", "c1", "c2",
    ]  # fmt: skip
    one_category = [each._replace(category="c1") for each in votes if each.annotator in ("ann", "eve")]
    assert [each.who for each in measure_agreement(one_category)] == ["all votes", "ann and eve"]
    unnamed = [each._replace(annotator="", category="") for each in votes]
    assert [each.who for each in measure_agreement(unnamed)] == ["all votes"]


def test_categories_are_in_the_order_of_their_names():
    names = [f"c{number}" for number in range(9)]
    votes = [vote("x", "y", "a", name, who, name) for name in reversed(names) for who in ("ann", "bob")]
    found = measure_agreement(votes)
    assert [each.who for each in found] == ["all votes", "ann and bob", *names]
    assert [(each.pairs, type(each.pairs)) for each in found[2:]] == [(1, int)] * 9


def test_the_seed_reaches_every_interval():
    generator = np.random.default_rng(1)
    votes = [
        vote("x", "y", ("a", "b", "tie")[generator.integers(3)], f"q{number}", name, ("c1", "c2")[number % 2])
        for number in range(23)
        for name in ("ann", "bob", "ann")
    ]
    first, again, other = measure_agreement(votes, 0), measure_agreement(votes), measure_agreement(votes, 1)
    assert first == again
    assert [each.who for each in first] == ["all votes", "ann and bob", "ann, twice", "c1", "c2"]
    for one, two in zip(first, other, strict=True):
        assert one.alpha.value == two.alpha.value and one.alpha != two.alpha


def test_what_is_said_where_nothing_was_judged_twice():
    with pytest.raises(GptaltError) as caught:
        measure_agreement([vote("x", "y", "a"), vote("x", "z", "a"), vote("x", "y", "skip")])
    assert caught.value.what == "Nothing was judged twice, so there is no agreement to measure."
    assert caught.value.hint == "Import the votes of a second annotator: gptalt-eval votes import FILE..."


# ---------------------------------------------------------------------- one vote out of several


@pytest.mark.parametrize(
    ("winners", "survey", "majority"),
    [
        ("a", "a", "a"), ("b", "b", "b"), ("t", "tie", "tie"), ("aa", "a", "a"), ("ab", "tie", "tie"), ("at", "a", "tie"),
        ("tb", "b", "tie"), ("aab", "a", "a"), ("abb", "b", "b"), ("aabb", "tie", "tie"), ("aabt", "a", "tie"),
        ("btt", "b", "tie"), ("att", "a", "tie"), ("aaabt", "a", "a"), ("sab", "tie", "tie"), ("sa", "a", "a"),
    ],
)  # fmt: skip
def test_how_several_votes_become_one(winners, survey, majority):
    words = {"a": "a", "b": "b", "t": "tie", "s": "skip"}
    votes = [vote("y", "x", words[each], annotator=f"n{number}") for number, each in enumerate(winners)]
    for rule, winner in (("survey", survey), ("majority", majority)):
        [found] = merge_votes(votes, rule)
        assert (found.model_a, found.model_b, found.winner) == ("y", "x", winner)
        kept = [each for each in votes if each.winner != "skip"]
        assert found.annotator == (kept[0].annotator if len(kept) == 1 else "")


def test_merged_votes_stand_at_the_place_of_the_first():
    votes = [
        vote("y", "x", "a", "q1", "ann", "c"), vote("x", "z", "b", "q1", "ann"), vote("x", "y", "b", "q1", "bob", "d"),
        vote("x", "y", "skip", "q2", "bob"), vote("z", "x", "a", "q1", "bob"),
    ]  # fmt: skip
    assert merge_votes(votes, "survey") == [vote("y", "x", "a", "q1", "", "c"), vote("x", "z", "b", "q1")]
    assert merge_votes(votes, "all") == [each for each in votes if each.winner != "skip"]
    assert merge_votes(iter(votes), "majority") == merge_votes(votes, "majority")
