"""Agreement and merged votes: by hand, and against a bootstrap written out in loops."""

import itertools
import random

import numpy as np
import pytest
from gptalt_eval_plugin_elo import agreement
from gptalt_eval_plugin_elo.agreement import (
    Estimate,
    compute_alpha,
    compute_kappa,
    discount_ties,
    estimate,
    gather,
    measure_agreement,
    pair_up,
    repeat,
    resample,
)
from gptalt_eval_plugin_elo.merging import merge_votes, number_units
from gptalt_eval_plugin_elo.table import gather_votes
from gptalt_eval_plugin_elo.votes import Vote
from hypothesis import given, settings
from hypothesis import strategies as st

from gptalt_eval import GptaltError

A, B, TIE = 0, 1, 2
CODES = {"a": A, "b": B, "tie": TIE}
WORDS = ("a", "b", "tie")


def vote(first, second, winner, question="q", annotator="", category=""):
    return Vote(question, first, second, winner, category, annotator)


def list_votes(table):
    """A table as votes; styles and the like are left out."""
    return [
        vote(
            table.models[table.first[row]], table.models[table.second[row]],
            ("a", "b", "tie", "skip")[table.outcome[row]], table.questions[table.question[row]],
            table.annotators[table.annotator[row]], table.categories[table.category[row]],
        )
        for row in range(len(table))
    ]  # fmt: skip


def measure(votes, seed=0):
    return measure_agreement(gather_votes(votes), seed)


def merge(votes, rule):
    return list_votes(merge_votes(gather_votes(votes), rule))


def find_outcomes(*votes):
    return number_units(gather_votes(votes))[1].tolist()


@pytest.mark.parametrize(
    ("first", "second", "winner", "outcome"),
    [
        ("x", "y", "a", A), ("x", "y", "b", B), ("x", "y", "tie", TIE), ("y", "x", "a", B), ("y", "x", "b", A),
        ("y", "x", "tie", TIE), ("x", "x", "a", A),
    ],
)  # fmt: skip
def test_outcomes_are_for_models_in_the_order_of_their_names(first, second, winner, outcome):
    assert find_outcomes(vote(first, second, winner)) == [outcome]
    assert find_outcomes(vote("z", "y", "a"), vote(first, second, winner)) == [B, outcome], (
        "not of their votes"
    )


def test_votes_are_gathered_by_question_and_models():
    votes = [
        vote("x", "y", "a", "q1", "ann"), vote("y", "x", "a", "q1", "bob"), vote("x", "z", "tie", "q1", "ann"),
        vote("x", "y", "b", "q2", "ann"), vote("y", "x", "tie", "q1", "eve"),
    ]  # fmt: skip
    unit, outcome = number_units(gather_votes(votes))
    assert unit[0] == unit[1] == unit[4] and len(set(unit.tolist())) == 3
    assert outcome.tolist() == [A, B, TIE, B, TIE]
    found = gather(gather_votes(votes))
    assert found.outcome.tolist() == [A, B, TIE] and found.annotator.tolist() == [0, 1, 2]


def test_first_votes_of_two_and_two_votes_of_one():
    votes = [
        vote("x", "y", winner, question, name)
        for question, name, winner in (
            ("q1", "ann", "a"), ("q1", "bob", "b"), ("q1", "ann", "tie"), ("q1", "ann", "b"),
            ("q2", "bob", "tie"), ("q2", "eve", "a"), ("q2", "bob", "tie"), ("q3", "", "a"), ("q3", "", "b"),
        )
    ]  # fmt: skip
    table = gather_votes(votes)
    judged = gather(table)
    pairs = {who: each.outcome.tolist() for who, each in pair_up(judged, table.annotators)}
    assert pairs == {"ann and bob": [A, B], "bob and eve": [TIE, A]}
    twice = {who: each.outcome.tolist() for who, each in repeat(judged, table.annotators)}
    assert twice == {"ann, twice": [A, TIE], "bob, twice": [TIE, TIE]}


def test_pairs_are_in_the_order_of_names_whoever_votes_first():
    votes = [vote("x", "y", "a", f"q{n}", who) for n in range(2) for who in ("eve", "ann", "bob")]
    table = gather_votes(votes)
    assert [who for who, _ in pair_up(gather(table), table.annotators)] == [
        "ann and bob",
        "ann and eve",
        "bob and eve",
    ]


def test_of_many_pairs_the_most_frequent_are_listed(monkeypatch):
    monkeypatch.setattr(agreement, "MOST", 2)
    votes = [
        vote("x", "y", "a", f"q{n}", who)
        for n, names in enumerate(("ab", "ab", "bc", "ac", "ac"))
        for who in names
    ]
    assert [each.who for each in measure(votes)] == ["all votes", "a and b", "a and c"]


@given(
    st.lists(
        st.tuples(
            *[st.sampled_from("pqr")] * 2,
            st.sampled_from(["a", "b", "tie", "skip"]),
            st.sampled_from(["ann", "bob", "eve", ""]),
        ),
        max_size=30,
    )
)
@settings(max_examples=60, deadline=None)
def test_every_value_is_the_one_in_loops(given_votes):
    votes = [vote("x", "y", winner, question + other, who) for question, other, winner, who in given_votes]
    by_unit, by_name = {}, {}
    for each in votes:
        if each.winner != "skip":
            by_unit.setdefault(each.question, []).append(CODES[each.winner])
            by_name.setdefault(each.question, {}).setdefault(each.annotator, []).append(CODES[each.winner])
    units = [unit for unit in by_unit.values() if len(unit) > 1]
    if not units:
        with pytest.raises(GptaltError):
            measure(votes)
        return
    expected = {"all votes": units}
    for one, other in itertools.combinations(("ann", "bob", "eve"), 2):
        expected[f"{one} and {other}"] = [
            [n[one][0], n[other][0]] for n in by_name.values() if one in n and other in n
        ]
    for name in ("ann", "bob", "eve"):
        expected[f"{name}, twice"] = [n[name][:2] for n in by_name.values() if len(n.get(name, ())) > 1]
    found = {each.who: each for each in measure(votes)}
    assert set(found) == {who for who, units in expected.items() if units}
    for who, each in found.items():
        discounted, kappa, alpha = measure_by_hand(expected[who])
        assert each.tie_discounted.value == pytest.approx(discounted)
        is_of_two = all(len(unit) == 2 for unit in expected[who])
        for value, by_hand in ((each.kappa, kappa if is_of_two else np.nan), (each.alpha, alpha)):
            assert (value is None) == bool(np.isnan(by_hand))
            assert value is None or value.value == pytest.approx(by_hand)


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
    chance = 1 if n == 0 else sum(table[k].sum() * table[:, k].sum() for k in range(3)) / n**2
    kappa = np.nan if chance >= 1 else (sum(table[k, k] for k in range(3)) / n - chance) / (1 - chance)
    values = coincidences.sum(1)
    total = values.sum()
    different = sum(coincidences[c, k] for c in range(3) for k in range(3) if c != k)
    expected = sum(values[c] * values[k] for c in range(3) for k in range(3) if c != k)
    alpha = np.nan if expected == 0 else 1 - (total - 1) * different / expected
    return np.mean(worths), kappa, alpha


def make_votes(units, questions=None):
    return [
        vote("x", "y", WORDS[outcome], f"q{(questions or range(len(units)))[number]}/{number}", f"n{place}")
        for number, unit in enumerate(units)
        for place, outcome in enumerate(unit)
    ]


@pytest.mark.parametrize("seed", [0, 3])
@pytest.mark.parametrize("units", [UNITS, [*UNITS[:4], [A, B, A], [A]], [[A, A], [A, A], [A, B]], UNITS * 8])
def test_values_and_intervals_are_those_of_a_bootstrap_in_loops(units, seed):
    found = measure(make_votes(units), seed)[0]
    several = [unit for unit in units if len(unit) > 1]
    resampled = np.array([measure_by_hand(each) for each in draw_in_loops(several, seed)])
    assert found.who == "all votes"
    assert found.pairs == sum(len(unit) * (len(unit) - 1) // 2 for unit in several)
    is_of_two = all(len(unit) == 2 for unit in several)
    assert (found.kappa is not None) == is_of_two
    for number, each in enumerate((found.tie_discounted, found.kappa, found.alpha)):
        if each is not None:
            assert each.value == pytest.approx(measure_by_hand(several)[number])
            low, high = np.nanpercentile(resampled[:, number], (2.5, 97.5))
            if len(several) > 20:  # of fewer, one more or less moves an end by too much
                assert (each.low, each.high) == pytest.approx((low, high), abs=0.05)
            assert {type(each.value), type(each.low), type(each.high)} == {float}


def draw_in_loops(units, seed, count=1_000):
    source = random.Random(seed)
    for _ in range(count):
        yield source.choices(units, k=len(units))


def test_groups_of_rows_are_drawn_as_a_whole():
    """Sums of two rows: 0, 2 or 4 times, never once alone."""
    rows = np.array([[1.0], [1.0], [5.0], [5.0]])
    found = resample(rows, np.array([7, 7, 3, 3]), 0)
    assert found[0].tolist() == [12.0] and len(found) == 1_001
    assert set(found[1:, 0].tolist()) == {4.0, 12.0, 20.0}
    assert np.mean(found[1:, 0] == 12) == pytest.approx(0.5, abs=0.05)


def test_many_kinds_are_drawn_in_blocks(monkeypatch):
    rows = np.arange(50.0)[:, None]
    monkeypatch.setattr(agreement, "DRAWN", 150)
    found = resample(rows, np.arange(50), 0)
    assert len(found) == 1_001 and found[1:, 0].std() == pytest.approx(rows.std() * 50**0.5, rel=0.1)


def test_questions_are_drawn_if_there_are_ten():
    """Ten questions of many pairs of answers, on which all votes agree or none do: few questions, wide intervals."""
    votes = [
        vote(f"m{pair}", "z", "a" if who == "ann" or number % 2 else "b", f"q{number}", who)
        for number in range(10)
        for pair in range(20)
        for who in ("ann", "bob")
    ]
    [found, _] = measure(votes)
    assert found.tie_discounted.value == 0.5
    assert found.tie_discounted.low == pytest.approx(0.2, abs=0.05)
    assert found.tie_discounted.high == pytest.approx(0.8, abs=0.05)
    nine = [each for each in votes if each.question != "q9"]
    assert measure(nine)[0].tie_discounted.high < 0.56, "of nine, pairs of answers are drawn"


def test_what_is_not_defined_is_none():
    same = measure(make_votes([[A, A], [A, A]]))[0]
    assert (same.kappa, same.alpha) == (None, None)
    assert same.tie_discounted == Estimate(1.0, pytest.approx(2 / (2 + 1.96**2), abs=1e-3), 1.0)
    assert np.isnan(compute_kappa(np.diag([4.0, 0, 0]))) and np.isnan(compute_alpha(np.diag([4.0, 0, 0])))
    assert float(compute_kappa(np.diag([4.0, 2, 0]))) == float(compute_alpha(np.diag([4.0, 2, 0]))) == 1


def test_one_pair_of_answers_has_no_interval():
    whole, pair = measure(make_votes([[A, B]]))
    for each in (whole.tie_discounted, pair.tie_discounted, pair.kappa, pair.alpha):
        assert each.value == 0 and np.isnan([each.low, each.high]).all()
    three = measure(make_votes([[A, B, A]]))[0].tie_discounted
    assert three.value == pytest.approx(1 / 3) and np.isnan(three.low), "nor have three votes on it"
    assert measure(make_votes([[A, B], [A, A]]))[0].tie_discounted == Estimate(0.5, 0.0, 1.0)


def test_agreement_without_exception_is_not_certain():
    """Wilson's interval of 54 of 54 is [0.934, 1], of 0 of 18 [0, 0.176]; no other measure has an interval."""
    always = measure(make_votes([[A, A]] * 27 + [[B, B]] * 27))[0]
    assert (always.tie_discounted.low, always.tie_discounted.high) == (pytest.approx(0.934, abs=1e-3), 1.0)
    assert always.kappa.value == always.alpha.value == 1
    assert np.isnan([always.kappa.low, always.kappa.high, always.alpha.low, always.alpha.high]).all()
    never = measure(make_votes([[A, B]] * 18))[0].tie_discounted
    assert (never.low, never.high) == (0.0, pytest.approx(0.176, abs=1e-3))
    half = measure(make_votes([[A, TIE]] * 18))[0].tie_discounted
    assert half.value == 0.5 and np.isnan(half.low) and np.isnan(half.high)


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
    assert [each.who for each in measure(votes)] == [
        "all votes", "ann and bob", "ann and eve", "bob and eve", "bob, twice", "c1", "c2",
    ]  # fmt: skip
    one_category = [each._replace(category="c1") for each in votes if each.annotator in ("ann", "eve")]
    assert [each.who for each in measure(one_category)] == ["all votes", "ann and eve"]
    unnamed = [each._replace(annotator="", category="") for each in votes]
    assert [each.who for each in measure(unnamed)] == ["all votes"]


def test_categories_are_in_the_order_of_their_names():
    names = [f"c{number}" for number in range(9)]
    votes = [vote("x", "y", "a", name, who, name) for name in reversed(names) for who in ("ann", "bob")]
    found = measure(votes)
    assert [each.who for each in found] == ["all votes", "ann and bob", *names]
    assert [(each.pairs, type(each.pairs)) for each in found[2:]] == [(1, int)] * 9


def test_the_seed_reaches_every_interval():
    generator = np.random.default_rng(1)
    votes = [
        vote("x", "y", ("a", "b", "tie")[generator.integers(3)], f"q{number}", name, ("c1", "c2")[number % 2])
        for number in range(23)
        for name in ("ann", "bob", "ann")
    ]
    first, again, other = measure(votes, 0), measure(votes), measure(votes, 1)
    assert first == again
    assert [each.who for each in first] == ["all votes", "ann and bob", "ann, twice", "c1", "c2"]
    for one, two in zip(first, other, strict=True):
        assert one.alpha.value == two.alpha.value and one.alpha != two.alpha


def test_what_is_said_where_nothing_was_judged_twice():
    with pytest.raises(GptaltError) as caught:
        measure([vote("x", "y", "a"), vote("x", "z", "a"), vote("x", "y", "skip")])
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
        [found] = merge(votes, rule)
        assert (found.model_a, found.model_b, found.winner) == ("y", "x", winner)
        kept = [each for each in votes if each.winner != "skip"]
        assert found.annotator == (kept[0].annotator if len(kept) == 1 else "")


def test_merged_votes_stand_at_the_place_of_the_first():
    votes = [
        vote("y", "x", "a", "q1", "ann", "c"), vote("x", "z", "b", "q1", "ann"), vote("x", "y", "b", "q1", "bob", "d"),
        vote("x", "y", "skip", "q2", "bob"), vote("z", "x", "a", "q1", "bob"),
    ]  # fmt: skip
    assert merge(votes, "survey") == [vote("y", "x", "a", "q1", "", "c"), vote("x", "z", "b", "q1")]
    assert merge(votes, "all") == [each for each in votes if each.winner != "skip"]
    assert merge([], "survey") == merge([votes[3]], "majority") == []
