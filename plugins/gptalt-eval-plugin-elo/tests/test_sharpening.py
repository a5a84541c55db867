"""People's ratings with a judge's help: by hand, and in worlds whose ratings are known."""

import math

import numpy as np
import pytest
from gptalt_eval_plugin_elo.bradley_terry import fit_bradley_terry
from gptalt_eval_plugin_elo.estimation import fit_strengths
from gptalt_eval_plugin_elo.ratings import Scale, number_table
from gptalt_eval_plugin_elo.sharpening import fit_with_judges
from gptalt_eval_plugin_elo.table import gather_votes
from gptalt_eval_plugin_elo.votes import Vote

SEEDS = 400
STRENGTHS = np.array([0.8, 0.2, -0.2, -0.8])
SUITED = 1.5  # standard deviation of how well a question suits a model
POINTS = 400 / math.log(10)


def make_votes(people, judge):
    """By question: what a person says, or nothing, and what the judge says in both orders; of x against y."""
    back = {"a": "b", "b": "a", "tie": "tie"}
    for number, (theirs, own) in enumerate(zip(people, judge, strict=True)):
        if theirs != " ":
            yield Vote(f"q{number}", "x", "y", theirs, annotator="anna")
        if own != " ":
            yield Vote(f"q{number}", "x", "y", own, annotator="judge", kind="judge")
            yield Vote(f"q{number}", "y", "x", back[own], annotator="judge", kind="judge")


PEOPLE, JUDGE = "aaabbabaabbaaaba" + " " * 24, "aaabbabaabbbaaaa" + "ababbbbbababbbabbbaabbbb"


def test_two_models_by_hand():
    (found,) = fit_with_judges(gather_votes(make_votes(PEOPLE, JUDGE)))
    assert (found.judge, found.models, found.votes, found.judged, found.shared) == (
        "judge", ["x", "y"], 16, 40, 16,
    )  # fmt: skip
    of_people = PEOPLE.count("a") / 16
    of_judge, there = JUDGE.count("a") / 40, JUDGE[:16].count("a") / 16
    share = of_people - found.weight * (there - of_judge)
    assert 0.3 < found.weight < 1
    for column, chance in ((found.people, of_people), (found.sharpened, share)):
        half = math.log10(chance / (1 - chance)) * 200
        assert [each.value for each in column] == pytest.approx([1000 + half, 1000 - half])
    assert found.gain > 1.2


def test_the_order_of_votes_and_the_side_of_a_model_do_not_matter():
    votes = list(make_votes(PEOPLE, JUDGE))
    turned = [vote._replace(model_a=vote.model_b, model_b=vote.model_a,
                            winner={"a": "b", "b": "a"}[vote.winner]) for vote in votes]  # fmt: skip
    (one,), (other,) = (fit_with_judges(gather_votes(each)) for each in (votes, turned[::-1]))
    assert other.weight == pytest.approx(one.weight)
    by_model = [dict(zip(each.models, each.sharpened, strict=True)) for each in (one, other)]
    for model in "xy":
        assert by_model[1][model].value == pytest.approx(by_model[0][model].value)
        assert by_model[1][model].high == pytest.approx(by_model[0][model].high)


@pytest.mark.parametrize(
    ("people", "judge"),
    [
        (PEOPLE, " " * 40),  # it judged nothing
        ("aabbabaab" + " " * 31, JUDGE),  # on nine questions
        ("a" * 16 + " " * 24, JUDGE),  # x only wins
        (" " * 40, JUDGE),
    ],
)
def test_what_people_did_not_say_is_not_made_up(people, judge):
    assert fit_with_judges(gather_votes(make_votes(people, judge))) == []


@pytest.mark.parametrize(
    "judge",
    [
        JUDGE[:16] + " " * 24,  # it judged what people judged
        "a" * 40,  # it says the same about everything
        "".join({"a": "b", "b": "a"}[each] for each in JUDGE),  # the opposite
    ],
)
def test_a_judge_that_does_not_help_has_no_weight(judge):
    (found,) = fit_with_judges(gather_votes(make_votes(PEOPLE, judge)))
    assert found.weight == 0 and found.gain == 1
    assert found.sharpened == found.people


def test_a_judge_of_other_models_does_not_help():
    votes = list(make_votes(PEOPLE, " " * 40))
    votes += [
        Vote(f"q{n}", *pair, "a", annotator="judge", kind="judge") for n in range(20) for pair in ("vw", "wv")
    ]
    assert fit_with_judges(gather_votes(votes)) == []


def test_verdicts_in_one_language_say_nothing_about_another():
    """People judged in English, where the judge agrees; in Chinese it says b to everything."""
    english = list(make_votes(PEOPLE, JUDGE))
    chinese = [
        Vote(f"z{n}", *pair, winner, annotator="judge", kind="judge", language="zh")
        for n in range(500) for pair, winner in (("xy", "b"), ("yx", "a"))
    ]  # fmt: skip
    one, other = (fit_with_judges(gather_votes(each))[0] for each in (english, english + chinese))
    assert other.sharpened == one.sharpened


# ---------------------------------------------------------------------- worlds


def find_truth():
    """The strengths that the votes of all people on all questions would have."""
    suited = np.random.default_rng(0).normal(0, SUITED, (200_000, 4)) + STRENGTHS
    low, high = np.triu_indices(4, 1)
    chances = 1 / (1 + np.exp(suited[:, high] - suited[:, low]))
    return fit_strengths(low, high, chances.mean(0), np.zeros(6, int), 4, 1).values


@pytest.fixture(scope="module")
def truth():
    return find_truth()


def choose_evenly(world):
    return world.random.choice(len(world.low), 200, replace=False)


def choose_one_pair_mostly(world):
    """As where one pair of models interests people more."""
    wanted = np.where((world.low == 0) & (world.high == 1), 10.0, np.where(world.high == 3, 0.5, 1.0))
    return world.random.choice(len(world.low), 200, replace=False, p=wanted / wanted.sum())


def judge_well(world, log_odds):
    return 2 * log_odds, -2 * log_odds


def judge_with_bias(world, log_odds):
    """Favours m3 and the first answer shown."""
    favoured = 2 * log_odds - 2.0 * (world.high == 3)
    return favoured + 1, -(favoured - 1)


def judge_at_random(world, log_odds):
    return 0 * log_odds, 0 * log_odds


def judge_for_one_model(world, log_odds):
    return 0 * log_odds - 4.0 * (world.high == 3), 0 * log_odds + 4.0 * (world.high == 3)


def judge_the_opposite(world, log_odds):
    return -2 * log_odds, 2 * log_odds


def simulate(make_world, judge, choose, seed, questions=120):
    world = make_world(seed, questions)
    suited = world.random.normal(0, SUITED, (questions, 4)) + STRENGTHS
    log_odds = suited[world.question, world.low] - suited[world.question, world.high]
    which = choose(world)
    world.poll(0, world.draw(log_odds[which]), which)
    shown_first, shown_second = judge(world, log_odds)
    world.judge(3, world.draw(shown_first), world.draw(-shown_second))
    return world.finish()


def count_covered(column, truth, table):
    """How many of the ratings' intervals contain the truth, where the mean is that of people's votes."""
    people = table.choose(~table.by_judge)
    held = np.bincount(np.concatenate([people.first, people.second]), minlength=4)
    target = 1000 + POINTS * (truth - held @ truth / held.sum())
    return sum(each.low < value < each.high for each, value in zip(column, target, strict=True))


WORLDS = [
    (judge_well, choose_evenly), (judge_with_bias, choose_evenly), (judge_with_bias, choose_one_pair_mostly),
    (judge_at_random, choose_evenly), (judge_for_one_model, choose_one_pair_mostly),
    (judge_the_opposite, choose_evenly),
]  # fmt: skip


@pytest.mark.parametrize(("judge", "choose"), WORLDS)
def test_95_percent_of_intervals_contain_the_truth(make_world, truth, judge, choose):
    covered, gains, weights = [0, 0], [], []
    for seed in range(SEEDS):
        table = simulate(make_world, judge, choose, seed)
        (found,) = fit_with_judges(table)
        gains.append(found.gain)
        weights.append(found.weight)
        for place, column in enumerate((found.people, found.sharpened)):
            covered[place] += count_covered(column, truth, table) / 4 / SEEDS
    assert 0.93 <= covered[0] <= 0.97 and 0.93 <= covered[1] <= 0.97
    helps = judge in (judge_well, judge_with_bias)
    if helps:
        assert np.mean(gains) > 1.15 and np.mean(weights) > 0.4
    else:
        assert np.mean(np.array(weights) == 0) > 0.9 and np.mean(gains) == pytest.approx(1, abs=0.02)


def test_people_alone_have_the_ratings_of_the_board(make_world):
    table = simulate(make_world, judge_well, choose_evenly, 0)
    (found,) = fit_with_judges(table, Scale(1200, 16, 200))
    board = fit_bradley_terry(number_table(table.choose(~table.by_judge)), Scale(1200, 16, 200))
    assert [each.value for each in found.people] == pytest.approx(board.rating)
    widths = np.array([each.high - each.low for each in found.people])
    assert widths == pytest.approx(board.high - board.low, rel=0.1)
