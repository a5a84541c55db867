"""Judges beside people: cases by hand, planted biases, and how often the intervals contain them."""

import math

import numpy as np
import pytest
from gptalt_eval_plugin_elo.estimation import (
    fit_slope,
    fit_strengths,
    jackknife,
    jackknife_share,
    make_estimate,
)
from gptalt_eval_plugin_elo.judges import POINTS, measure_judges
from gptalt_eval_plugin_elo.table import FIRST, SECOND, gather_votes
from gptalt_eval_plugin_elo.votes import Style, Vote

SEEDS = 1_000
STRENGTHS = np.array([0.6, 0.2, -0.2, -0.6])


def judged(question, first, second, winner, who="judge"):
    return Vote(question, first, second, winner, annotator=who, kind="judge")


def voted(question, first, second, winner, who="anna", lengths=None):
    styles = [Style(length, 0, 0, 0) for length in lengths] if lengths else [None, None]
    return Vote(question, first, second, winner, "", who, style_a=styles[0], style_b=styles[1])


def measure(votes):
    return measure_judges(gather_votes(votes))


# ---------------------------------------------------------------------- by hand


@pytest.mark.parametrize(
    ("one", "other", "merged", "flipped"),
    [
        ("a", "b", "x", 0), ("b", "a", "y", 0), ("tie", "tie", "tie", 0), ("a", "a", "tie", 1),
        ("b", "b", "tie", 1), ("a", "tie", "tie", 0), ("tie", "a", "tie", 0),
    ],
)  # fmt: skip
def test_two_orders_become_one_verdict(one, other, merged, flipped):
    """``one`` is the verdict on x and y in this order, ``other`` that on y and x."""
    votes = [judged("q", "x", "y", one), judged("q", "y", "x", other)]
    word = {"x": "a", "y": "b", "tie": "tie"}[merged]
    (report,) = measure([*votes, voted("q", "x", "y", word)])
    assert (report.comparisons, report.flipped, report.ties) == (1, flipped, int(merged == "tie"))
    assert report.agreement.value == 1


def test_no_verdict_is_neither_a_tie_nor_half_a_comparison():
    votes = [judged("q", "x", "y", "a"), judged("q", "y", "x", "skip"), voted("q", "x", "y", "a")]
    (report,) = measure(votes)
    assert (report.verdicts, report.without, report.comparisons, report.ties, report.shared) == (
        1,
        1,
        0,
        0,
        0,
    )
    assert report.agreement is report.kappa is report.first_shown is None


def test_agreement_by_hand():
    """Verdicts x, x, tie; people y, x, x on the same; two people agree on one of two."""
    votes = []
    for question, (mine, theirs) in {"p": ("a", "b"), "q": ("a", "a"), "r": ("tie", "a")}.items():
        back = {"a": "b", "b": "a", "tie": "tie"}[mine]
        votes += [judged(question, "x", "y", mine), judged(question, "y", "x", back)]
        votes += [voted(question, "x", "y", theirs)]
    votes += [voted("p", "y", "x", "a", "ben"), voted("q", "x", "y", "tie", "ben")]
    votes += [voted("q", "x", "y", "a", "anna")]  # judged twice by the same person
    votes += [voted("elsewhere", "x", "y", "a", who) for who in ("anna", "ben")]
    (report,) = measure(votes)
    assert (report.shared, report.comparisons) == (3, 3)
    # p: opposite to both; q: equal, half, equal; r: half
    assert report.agreement.value == pytest.approx((0 + 0 + 1 + 0.5 + 1 + 0.5) / 6)
    observed, expected = 2 / 6, (5 / 6) * (3 / 6) + (1 / 6) * (1 / 6)
    assert report.kappa.value == pytest.approx((observed - expected) / (1 - expected))
    assert report.people_agreement.value == pytest.approx((1 + 0.5) / 2)


def test_people_without_names_are_different_people():
    votes = [judged("q", "x", "y", "a"), judged("q", "y", "x", "b"), *[voted("q", "x", "y", "a", "")] * 3]
    assert measure(votes)[0].people_agreement.value == 1
    assert measure([*votes[:2], *[voted("q", "x", "y", "a", "anna")] * 3])[0].people_agreement is None


def test_a_position_needs_both_orders():
    votes = [judged(f"q{number}", "x", "y", "a") for number in range(9)]
    assert measure(votes)[0].first_shown is None
    assert measure(votes)[0].comparisons == 0


def test_what_does_not_vary_is_known_only_as_far_as_there_are_questions():
    """Nothing but the first answer: by Wilson's interval, with Student's t for five questions."""
    votes = [judged(f"q{n}", *pair, "a") for n in range(5) for pair in ("xy", "yx")]
    found = measure(votes)[0].first_shown
    weight = 2.7764451051977987**2 / 5
    assert (found.value, found.high) == (1, 1)
    assert found.low == pytest.approx(2 / (1 + weight) - 1)


def test_intervals_stay_where_values_can_be():
    words = ["a"] * 19 + ["b"]
    votes = [judged(f"q{n}", *pair, word) for n in range(20) for pair, word in (("xy", "a"), ("yx", "b"))]
    votes += [voted(f"q{n}", "x", "y", word) for n, word in enumerate(words)]
    found = measure(votes)[0]
    assert 0.7 < found.agreement.low < found.agreement.value == 0.95 < found.agreement.high < 1
    assert found.kappa.value == 0


def test_each_judge_by_itself_and_none_without_judges():
    votes = [judged("q", *pair, "a", who) for pair in ("xy", "yx") for who in ("zoe", "ada")]
    assert [each.judge for each in measure(votes)] == ["ada", "zoe"]
    assert measure([voted("q", "x", "y", "a")]) == []


def test_a_person_with_the_name_of_a_judge_is_a_person():
    votes = [judged("q", "x", "y", "a"), judged("q", "y", "x", "b"), voted("q", "x", "y", "b", "judge")]
    (report,) = measure(votes)
    assert (report.verdicts, report.shared, report.agreement.value) == (2, 1, 0)


def test_lengths_are_known_from_any_vote():
    """The judge's votes say nothing about lengths; those of people do."""
    votes = []
    for number in range(12):
        longer = number % 3 != 0
        votes += [judged(f"q{number}", "x", "y", "a" if longer else "b")]
        votes += [judged(f"q{number}", "y", "x", "b" if longer else "a")]
        votes += [voted(f"q{number}", "x", "y", "ab"[number % 2], lengths=(200, 100))]
    found = measure(votes)[0].longer
    assert (found.judge, found.people) == pytest.approx((2 / 3, 1 / 2))
    assert found.difference.value == pytest.approx(1 / 6)


def test_lengths_that_are_unknown_or_equal_say_nothing():
    votes = [judged("q", "x", "y", "a"), judged("q", "y", "x", "b")]
    for lengths in (None, (5, 5)):
        (report,) = measure([*votes, voted("q", "x", "y", "a", lengths=lengths)])
        assert report.longer is report.length is None


def list_own(pairs, wins=3):
    """The judge m0 prefers the first of each pair with 3:1, and people with 1:1, on questions of each pair."""
    for first, second in pairs:
        for number in range(4):
            question, word = f"{first}{second}{number}", "a" if number < wins else "b"
            yield judged(question, first, second, word, "m0")
            yield judged(question, second, first, {"a": "b", "b": "a"}[word], "m0")
            yield voted(question, first, second, "ab"[number % 2])


def test_its_own_answers_by_hand():
    (report,) = measure(list_own([("m0", "m1")]))
    assert report.own.judge - report.own.people == pytest.approx(POINTS * math.log(3))
    assert report.own.difference.value == pytest.approx(POINTS * math.log(3))


def test_models_that_no_comparison_connects_with_its_own_do_not_matter():
    pairs = [("m0", "m1"), ("m2", "m3"), ("m3", "m4")]
    for order in (pairs, pairs[::-1]):
        (report,) = measure(list_own(order))
        assert report.own.difference.value == pytest.approx(POINTS * math.log(3))


@pytest.mark.parametrize("pairs", [[("m2", "m3")], [("m0", "m1")]])
def test_own_answers_without_a_finite_rating(pairs):
    (report,) = measure([*list_own(pairs, wins=4), Vote("alone", "m0", "m1", "skip")])
    assert report.own is None


def test_without_people_there_is_nothing_to_agree_with():
    votes = [judged(f"q{n}", *pair, "a") for n in range(5) for pair in ("xy", "yx")]
    (report,) = measure(votes)
    assert report.shared == 0
    assert report.agreement is report.people_agreement is report.longer is report.length is report.own is None


# ---------------------------------------------------------------------- planted


def judge_the_first(world):
    """Picks the first with 0.7, whatever it is."""
    first = world.random.random((2, len(world.low))) < 0.7
    world.judge(3, np.where(first[0], FIRST, SECOND), np.where(first[1], SECOND, FIRST))


def judge_the_longer(world):
    """Picks the longer with 0.8; people do not care."""
    longer = np.where(world.doublings > 0, 1.0, -1.0) * math.log(0.8 / 0.2)
    world.judge(3, world.draw(longer), world.draw(longer))
    world.poll(0, world.draw(0 * longer))


def judge_by_length(world):
    """Log-odds 1.2 for a doubling; people 0.4."""
    world.judge(3, world.draw(1.2 * world.doublings), world.draw(1.2 * world.doublings))
    world.poll(0, world.draw(0.4 * world.doublings))


def judge_for_itself(world):
    """Judge m0 adds 0.8 to its own answers."""
    log_odds = STRENGTHS[world.low] - STRENGTHS[world.high]
    own = 0.8 * (world.low == 0)
    world.judge(3, world.draw(log_odds + own), world.draw(log_odds + own))
    world.poll(0, world.draw(log_odds))


def judge_by_copying(world):
    """Of three outcomes, one is right. People find it with 0.7, the judge with 0.9 or 0.3 by question."""
    right = world.random.integers(0, 3, len(world.low))

    def find(share):
        other = (right + world.random.integers(1, 3, len(right))) % 3
        return np.where(world.random.random(len(right)) < share, right, other)

    skill = np.where(world.random.random(world.questions) < 0.5, 0.9, 0.3)[world.question]
    world.judge(3, find(skill))
    world.poll(0, find(0.7))
    world.poll(1, find(0.7))


def agree(one, other, worth):
    """The expected worth of two verdicts that find the right one of three outcomes with these chances."""
    chances = [
        np.full((3, 3), (1 - share) / 2) + np.eye(3) * (share - (1 - share) / 2) for share in (one, other)
    ]
    return float((chances[0].T @ chances[1] / 3 * worth).sum())


EQUAL = np.eye(3)
DISCOUNTED = np.array([[1, 0, 0.5], [0, 1, 0.5], [0.5, 0.5, 1]])
PLANTED = {
    judge_the_first: {"first_shown": 0.4},
    judge_the_longer: {"longer": 0.3},
    judge_by_length: {"length": 0.8},
    judge_for_itself: {"own": 0.8 * POINTS},
    judge_by_copying: {
        "agreement": agree(0.6, 0.7, DISCOUNTED),
        "kappa": (agree(0.6, 0.7, EQUAL) - 1 / 3) / (2 / 3),
        "people_agreement": agree(0.7, 0.7, DISCOUNTED),
        "people_kappa": (agree(0.7, 0.7, EQUAL) - 1 / 3) / (2 / 3),
    },
}


def read(report, name):
    found = getattr(report, name)
    return getattr(found, "difference", found)


@pytest.fixture
def simulate(make_world):
    def report(play, seed, **settings):
        world = make_world(seed, **settings)
        play(world)
        return measure_judges(world.finish())[0]

    return report


@pytest.mark.parametrize("play", PLANTED)
def test_a_planted_bias_is_found(simulate, play):
    report = simulate(play, 0, questions=1000)
    for name, planted in PLANTED[play].items():
        found = read(report, name)
        assert found.low < planted < found.high
        assert found.high - found.low < 0.3 * planted


@pytest.mark.parametrize("play", PLANTED)
def test_95_percent_of_intervals_contain_what_was_planted(simulate, play):
    reports = [simulate(play, seed) for seed in range(SEEDS)]
    for name, planted in PLANTED[play].items():
        found = [read(report, name) for report in reports]
        assert 0.93 <= np.mean([each.low < planted < each.high for each in found]) <= 0.97
        assert np.mean([each.value for each in found]) == pytest.approx(planted, rel=0.02)


# ---------------------------------------------------------------------- the mathematics


def test_the_jackknife_of_a_mean_is_the_usual_interval():
    values = np.array([1.0, 2.0, 4.0, 9.0])
    found = jackknife(np.stack([values, np.ones(4)], axis=1), lambda each: each[:, 0] / each[:, 1])
    reach = 3.182446305284263 * values.std(ddof=1) / 2
    assert (found.value, found.low, found.high) == pytest.approx((4, 4 - reach, 4 + reach))


def test_a_share_of_independent_questions_has_wilsons_interval():
    """Of 300 questions, 240; Wilson (1927) with 299 observations, as the variance is estimated."""
    parts = np.stack([np.arange(300) < 240, np.ones(300)], axis=1)
    found = jackknife_share(parts, lambda each: each[:, 0] / each[:, 1])
    z2 = 1.967929669035602**2
    middle, reach = (
        (0.8 + z2 / 598) / (1 + z2 / 299),
        math.sqrt(z2 * 0.16 / 299 + (z2 / 598) ** 2) / (1 + z2 / 299),
    )
    assert (found.low, found.high) == pytest.approx((middle - reach, middle + reach))


def test_a_measure_does_not_exceed_its_limit():
    parts = np.array([[9.0, 10.0], [10.0, 10.0], [8.0, 10.0]])
    found, limited = (
        jackknife(parts, lambda each: each[:, 0] / each[:, 1], most) for most in (math.inf, 1.0)
    )
    assert found.high > 1 == limited.high and limited.low == found.low


@pytest.mark.parametrize("parts", [np.zeros((0, 2)), np.zeros((3, 2))])
def test_nothing_has_no_estimate(parts):
    assert jackknife(parts, lambda each: each[:, 0] / each[:, 1]) is None


def test_one_question_has_a_value_without_an_interval():
    found = jackknife(np.array([[1.0, 2.0]]), lambda each: each[:, 0] / each[:, 1])
    assert found.value == 0.5 and math.isnan(found.low)
    assert math.isnan(make_estimate(1.0, np.array([0.5])).low)


def test_strengths_of_two_models_by_hand():
    """Nine of twelve: odds of three."""
    first, second, score = np.zeros(12, int), np.ones(12, int), np.array([1.0] * 8 + [0.5] * 2 + [0.0] * 2)
    found = fit_strengths(first, second, score, np.arange(12), 2, 12)
    assert found.values == pytest.approx(np.array([1, -1]) * math.log(3) / 2)
    variance = ((score - 0.75) ** 2).sum() / (12 * 0.75 * 0.25) ** 2
    assert ((found.influence @ [1, -1]) ** 2).sum() == pytest.approx(variance)


@pytest.mark.parametrize("score", [[1.0] * 6, [0.0] * 6])
def test_a_model_that_only_wins_has_no_strength(score):
    assert fit_strengths(np.zeros(6, int), np.ones(6, int), np.array(score), np.arange(6), 2, 6) is None


def test_a_slope_by_hand_and_one_that_is_infinite():
    side, score = np.array([1.0, -1.0] * 4), np.array([1.0, 0.0] * 3 + [0.0, 1.0])
    assert fit_slope(side, score, np.arange(8), 8).values == pytest.approx([math.log(3)])
    assert fit_slope(side, np.maximum(side, 0), np.arange(8), 8) is None
    assert fit_slope(0 * side, score, np.arange(8), 8) is None
