"""Bradley-Terry: against independent computations, in worlds whose truth is known, and where votes say little."""

import random

import numpy as np
import pytest
from gptalt_eval_plugin_elo.bradley_terry import (
    fit_bradley_terry,
    move,
    weigh_pairs,
)
from gptalt_eval_plugin_elo.ratings import Comparisons, Scale, number_votes
from gptalt_eval_plugin_elo.regression import Design
from gptalt_eval_plugin_elo.votes import Vote
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

SCALE = Scale()
POINTS = 400 / np.log(10)


def make(*pairs, models=None):
    """Votes from (winner, loser, number); a number of ties if the third is negative."""
    votes = []
    for first, second, count in pairs:
        votes += [
            Vote(f"q{len(votes) + n}", first, second, "a" if count > 0 else "tie") for n in range(abs(count))
        ]
    return number_votes(votes)


def by_name(votes, values):
    return dict(zip(votes.models, values.tolist(), strict=True))


def draw(count, models="wxyz", seed=0, questions=None):
    generator = random.Random(seed)
    found = []
    for number in range(count):
        question = f"q{generator.randrange(questions) if questions else number}"
        winner = generator.choice(["a", "a", "b", "tie"])
        found.append(Vote(question, *generator.sample(models, 2), winner, annotator=f"p{number % 15}"))
    return found


# ---------------------------------------------------------------------- ratings


def maximise(votes):
    """The likelihood's maximum, by a general optimiser."""

    def loss(place):
        logit = place[votes.first] - place[votes.second]
        return np.sum(np.logaddexp(0, -logit) * votes.score + np.logaddexp(0, logit) * (1 - votes.score))

    found = minimize(loss, np.zeros(len(votes.models)), method="BFGS", options={"gtol": 1e-9}).x
    return found * POINTS


@pytest.mark.parametrize("seed", range(3))
def test_ratings_are_the_likelihoods_maximum(seed):
    votes = number_votes(draw(120, seed=seed))
    expected, found = maximise(votes), fit_bradley_terry(votes, SCALE).rating
    assert found - found.mean() == pytest.approx(expected - expected.mean(), abs=1e-2)


def test_the_mean_over_votes_is_the_initial_rating_on_any_scale():
    votes = number_votes(draw(60))
    held = np.bincount(np.concatenate([votes.first, votes.second]))
    usual = fit_bradley_terry(votes, SCALE)
    assert held @ usual.rating / held.sum() == pytest.approx(1000)
    other = fit_bradley_terry(votes, Scale(start=1500, k=1, width=200))
    for name in ("rating", "low", "high", "place"):
        assert getattr(other, name) - 1500 == pytest.approx((getattr(usual, name) - 1000) / 2)
    assert other.rank.tolist() == usual.rank.tolist()


def test_a_newcomer_leaves_the_others_where_they_are():
    """The issue's case: with a bootstrap over votes, x's interval went from [1305, 1452] to [1000, 1456]."""
    known = [("x", "y", 90), ("y", "x", 10), ("y", "z", 90), ("z", "y", 10), ("x", "z", 98), ("z", "x", 2)]
    before = make(*known)
    after = make(*known, ("new", "y", 1), ("y", "new", 1))
    for name in ("rating", "low", "high"):
        one = by_name(before, getattr(fit_bradley_terry(before, SCALE), name))
        two = by_name(after, getattr(fit_bradley_terry(after, SCALE), name))
        assert {each: two[each] for each in "xyz"} == pytest.approx(one, abs=3)
    assert by_name(before, fit_bradley_terry(before, SCALE).rating) == pytest.approx(
        {"x": 1370, "y": 1000, "z": 630}, abs=1
    )
    assert by_name(after, fit_bradley_terry(after, SCALE).low)["new"] < 500, "two votes say little"


@given(st.permutations(range(4)), st.lists(st.booleans(), min_size=40, max_size=40))
@settings(max_examples=25, deadline=None)
def test_names_and_sides_do_not_matter(order, turned):
    votes = draw(40)
    names = dict(zip("wxyz", (f"m{number}" for number in order), strict=True))
    other = [
        each._replace(model_a=names[each.model_a], model_b=names[each.model_b])
        if not turn
        else each._replace(
            model_a=names[each.model_b], model_b=names[each.model_a],
            winner={"a": "b", "b": "a"}.get(each.winner, each.winner),
        )
        for each, turn in zip(votes, turned, strict=True)
    ]  # fmt: skip
    one, two = number_votes(votes), number_votes(other)
    found, again = fit_bradley_terry(one, SCALE), fit_bradley_terry(two, SCALE)
    for name in ("rating", "low", "high"):
        expected = {names[each]: value for each, value in by_name(one, getattr(found, name)).items()}
        assert by_name(two, getattr(again, name)) == pytest.approx(expected, abs=1e-4, nan_ok=True)


def test_the_same_votes_twice_leave_the_ratings_and_narrow_the_intervals():
    votes = [each._replace(annotator="") for each in draw(100)]
    twice = [
        each._replace(question=f"again {each.question}", annotator=f"{n}") for n, each in enumerate(votes)
    ]
    one, two = (fit_bradley_terry(number_votes(each), SCALE) for each in (votes, votes + twice))
    assert two.rating == pytest.approx(one.rating, abs=1e-4)
    assert ((two.high - two.low) * 1.3 < one.high - one.low).all()


def test_the_same_votes_on_the_same_questions_narrow_nothing():
    """Votes by several people on one question are not independent votes."""
    votes = draw(400, questions=400)
    one, two = (fit_bradley_terry(number_votes(each), SCALE) for each in (votes, votes + votes))
    assert (two.high - two.low) == pytest.approx(one.high - one.low, rel=0.12)


# ---------------------------------------------------------------------- intervals


def test_the_covariance_is_that_of_a_logistic_regression_with_clusters():
    """Against the sandwich written out: scores summed by question, after leaving each question out."""
    votes = number_votes(draw(200, questions=30))
    found = fit_bradley_terry(votes, SCALE)
    place = (found.rating - 1000) / POINTS
    design = np.zeros((200, 4))
    design[np.arange(200), votes.first], design[np.arange(200), votes.second] = 1, -1
    changes = []
    for question in np.unique(votes.question):
        kept = votes.question != question
        expected = 1 / (1 + np.exp(-design[kept] @ place))
        information = (design[kept] * (expected * (1 - expected))[:, None]).T @ design[kept]
        # one step of Newton's method from the estimate, without the question
        changes.append(np.linalg.pinv(information) @ design[kept].T @ (votes.score[kept] - expected))
    changes = np.array(changes)
    covariance = changes.T @ changes
    held = np.bincount(np.concatenate([votes.first, votes.second])) / 400
    against = np.eye(4) - held
    expected = 2 * 2.045 * POINTS * np.sqrt(np.diag(against @ covariance @ against.T))
    alone = fit_bradley_terry(
        Comparisons(votes.models, votes.first, votes.second, votes.score, votes.question), SCALE
    )
    assert alone.high - alone.low == pytest.approx(expected, rel=1e-3)


def test_many_questions_are_left_out_one_by_one_or_by_their_votes_leverage(monkeypatch):
    votes = number_votes(each._replace(annotator="") for each in draw(2_000, questions=1_500))
    exact = fit_bradley_terry(votes, SCALE)
    monkeypatch.setattr("gptalt_eval_plugin_elo.regression.LARGEST", 0)
    quick = fit_bradley_terry(votes, SCALE)
    assert quick.high - quick.low == pytest.approx(exact.high - exact.low, rel=0.01)


def test_fewer_than_ten_questions_show_nothing_of_others():
    """All votes on one question: they are taken to be independent."""
    votes = draw(200)
    same = [each._replace(question="q", annotator="") for each in votes]
    apart = [each._replace(annotator="") for each in votes]
    one, two = (fit_bradley_terry(number_votes(each), SCALE) for each in (same, apart))
    assert one.low == pytest.approx(two.low) and one.high == pytest.approx(two.high)


def test_a_newcomer_whom_one_person_judged():
    """Leaving that person out leaves nothing of it: its interval was 5,000 points wide."""
    votes = [each._replace(annotator="ann" if number % 2 else "ben") for number, each in enumerate(draw(300))]
    votes += [Vote(f"n{number}", "new", "x", "a" if number else "b", annotator="ann") for number in range(12)]
    votes += [each._replace(question=f"again {each.question}", annotator="") for each in votes[:100]]
    numbered = number_votes(votes)
    found = fit_bradley_terry(numbered, SCALE)
    low, high = by_name(numbered, found.low)["new"], by_name(numbered, found.high)["new"]
    alone = fit_bradley_terry(number_votes([each._replace(annotator="") for each in votes]), SCALE)
    assert 200 < high - low < 900
    assert high - low == pytest.approx(alone.high.max() - by_name(numbered, alone.low)["new"], rel=0.5)


def test_everything_that_is_known_of_a_model_from_one_of_many_people():
    votes = [each._replace(annotator=f"p{number % 20}") for number, each in enumerate(draw(400))]
    votes += [
        Vote(f"n{number}", "new", "x", "a" if number % 4 else "b", annotator="p0") for number in range(12)
    ]
    numbered = number_votes(votes)
    found = fit_bradley_terry(numbered, SCALE)
    assert 150 < by_name(numbered, found.high - found.low)["new"] < 1_500
    assert max(by_name(numbered, found.high - found.low)[name] for name in "wxyz") < 200


def draw_world(generator, kind):
    """Votes, and what their expectation says of the models: [models] on the natural scale."""
    count = {"newcomer": 7, "uneven": 8}.get(kind, 5)
    truth = generator.normal(0, 0.8, count)
    effects = None
    if kind == "uneven":
        share = np.array([10, 20, 40, 100, 300, 600, 600, 600])
        first, second = (generator.choice(8, 1200, p=share / share.sum()) for _ in range(2))
        first, second = first[first != second], second[first != second]
    else:
        rivals = 6 if kind == "newcomer" else 5
        first = generator.integers(0, rivals, 1_000)
        second = (first + 1 + generator.integers(0, rivals - 1, 1_000)) % rivals
    if kind == "newcomer":
        first = np.concatenate([first, np.full(8, 6)])
        second = np.concatenate([second, generator.integers(0, 6, 8)])
    question, annotator = np.arange(len(first)), np.arange(len(first))
    if kind == "questions":
        question = generator.integers(0, 50, len(first))
        effects = generator.normal(0, 0.7, (50, 5))[question]
    if kind == "people":
        annotator = generator.integers(0, 40, len(first))
        effects = generator.normal(0, 0.5, (40, 5))[annotator]
    rows = np.arange(len(first))
    shift = 0 if effects is None else effects[rows, first] - effects[rows, second]
    share = 1 / (1 + np.exp(-(truth[first] - truth[second] + shift)))
    score = np.where(generator.random(len(first)) < 0.2, 0.5, generator.random(len(first)) < share)
    votes = Comparisons([str(each) for each in range(count)], first, second, score, question, annotator)
    spread = {"questions": 0.7, "people": 0.5}.get(kind, 0) * np.sqrt(2)
    points = np.linspace(-4, 4, 41) * spread
    weight = np.exp(-(np.linspace(-4, 4, 41) ** 2) / 2)
    chance = 1 / (1 + np.exp(-(truth[first] - truth[second])[:, None] - points))
    expected = 0.1 + 0.8 * (chance @ weight / weight.sum())
    return votes, find_target(votes, expected)


def find_target(votes, expected):
    """The parameters that votes with these expected scores estimate."""
    count = len(votes.models)
    design = Design(
        Comparisons(votes.models, votes.first, votes.second, expected),
        np.ones(len(votes)),
        count,
        np.zeros((len(votes), 0)),
    )
    place = np.zeros(count)
    for _ in range(30):
        shown = design.predict(place)
        place += design.invert(shown) @ design.score(shown)
    return place


@pytest.mark.parametrize("kind", ["uneven", "newcomer", "questions", "people"])
def test_intervals_cover_the_truth(kind):
    """120 worlds; RESULTS.md has 2,000. Binomial: 0.95 of 600 and more is within 0.92 and 0.98."""
    generator = np.random.default_rng(0)
    hits = []
    for _ in range(120):
        votes, target = draw_world(generator, kind)
        found = fit_bradley_terry(votes, SCALE)
        held = np.bincount(np.concatenate([votes.first, votes.second]), minlength=len(target))
        expected = 1000 + POINTS * (target - held @ target / held.sum())
        hits.append((found.low <= expected) & (expected <= found.high))
    assert 0.92 <= np.mean(hits) <= 0.98
    assert np.mean(hits, axis=0).min() > 0.88


# ---------------------------------------------------------------------- ranks


def test_ties_alone_make_all_models_first():
    found = fit_bradley_terry(make(("x", "y", -3), ("y", "z", -3)), SCALE)
    assert found.rating.tolist() == pytest.approx([1000] * 3)
    assert found.rank.tolist() == found.best.tolist() == [1, 1, 1] and found.worst.tolist() == [3, 3, 3]


def test_equal_models_share_a_rank():
    votes = make(("x", "y", 3), ("y", "x", 3), ("x", "z", 30), ("z", "x", 5), ("y", "z", 30), ("z", "y", 5))
    assert by_name(votes, fit_bradley_terry(votes, SCALE).rank) == {"x": 1, "y": 1, "z": 3}


def test_a_model_that_lost_all_to_an_unrated_one_is_below_it():
    votes = make(("x", "y", 20))
    found = fit_bradley_terry(votes, SCALE)
    assert np.isnan(found.rating).all()
    assert (found.rank.tolist(), found.best.tolist(), found.worst.tolist()) == ([1, 2], [1, 2], [1, 2])
    assert found.high[0] == np.inf and found.low[1] == -np.inf and found.high[1] < found.low[0]


def test_one_win_is_no_first_rank_for_sure():
    votes = make(("x", "y", 50), ("y", "x", 50), ("new", "y", 1))
    found = fit_bradley_terry(votes, SCALE)
    best, worst = by_name(votes, found.best), by_name(votes, found.worst)
    assert best == {"x": 1, "y": 1, "new": 1} and worst == {"x": 3, "y": 3, "new": 3}
    assert np.isnan(by_name(votes, found.rating)["new"])
    assert by_name(votes, found.high)["new"] == np.inf


def test_models_that_only_win_or_only_lose_have_no_rating_and_leave_the_others():
    inner = [("x", "y", 12), ("y", "x", 9), ("y", "z", 8), ("z", "y", 6)]
    votes = make(*inner, ("best", "x", 20), ("y", "worst", 20))
    found, alone = fit_bradley_terry(votes, SCALE), fit_bradley_terry(make(*inner), SCALE)
    rating = by_name(votes, found.rating)
    assert np.isnan(rating["best"]) and np.isnan(rating["worst"])
    expected = alone.rating - alone.rating[0]
    assert [rating[name] - rating["x"] for name in "xyz"] == pytest.approx(expected.tolist(), abs=1e-4)
    rank = by_name(votes, found.rank)
    assert rank["best"] == 1 and rank["worst"] == 5
    assert by_name(votes, found.low)["worst"] == -np.inf and by_name(votes, found.high)["best"] == np.inf


@given(
    st.lists(st.tuples(*[st.sampled_from("vwxyz")] * 2, st.sampled_from([1, 2, -1])), min_size=1, max_size=12)
)
@settings(max_examples=60, deadline=None)
def test_whatever_the_votes_everybody_has_a_place(pairs):
    pairs = [(first, second, count) for first, second, count in pairs if first != second]
    assume(pairs)
    votes = make(*pairs)
    found = fit_bradley_terry(votes, SCALE)
    assert np.isfinite(found.place).all()
    assert (found.best <= found.rank).all() and (found.rank <= found.worst).all()
    assert (found.low <= found.place + 1e-6).all() and (found.place <= found.high + 1e-6).all()
    rated = ~np.isnan(found.rating)
    assert np.isfinite(found.low[rated]).all() and np.isfinite(found.high[rated]).all()


# ---------------------------------------------------------------------- weights and style


def test_each_pair_counts_alike():
    votes = make(("x", "y", 60), ("y", "x", 40), ("y", "z", 6), ("z", "y", 4))
    weight = weigh_pairs(votes)
    assert weight.sum() == pytest.approx(110)
    assert weight[:100].sum() == pytest.approx(weight[100:].sum())
    even = fit_bradley_terry(votes, SCALE, even_pairs=True)
    assert even.rating[0] - even.rating[1] == pytest.approx(even.rating[1] - even.rating[2])
    assert even.high[2] - even.low[2] > even.high[0] - even.low[0], "weights do not make votes of few"


def test_style_is_told_from_strength():
    """Longer answers win, whoever gives them; x is as good as y, but longer."""
    generator = np.random.default_rng(3)
    first, second = np.zeros(6_000, int), np.ones(6_000, int)
    second[3_000:] = 2
    style = generator.normal(np.where(second == 1, 1.0, 0.0), 1)[:, None]
    truth = np.array([0.0, 0.0, -0.5])
    share = 1 / (1 + np.exp(-(truth[first] - truth[second] + 0.6 * style[:, 0])))
    score = (generator.random(6_000) < share).astype(float)
    votes = Comparisons(["x", "y", "z"], first, second, score)
    plain = fit_bradley_terry(votes, SCALE)
    fair = fit_bradley_terry(votes, SCALE, style=style, names=["length"])
    assert plain.rating[0] - plain.rating[1] > 70
    assert abs(fair.rating[0] - fair.rating[1]) < 25
    [length] = fair.style
    assert length.low < 0.6 * POINTS < length.high and length.value == pytest.approx(0.6 * POINTS, abs=15)
    assert plain.style == ()


def test_moved_ratings():
    found = fit_bradley_terry(make(("x", "y", 3), ("y", "x", 2)), SCALE)
    moved = move(found, 50)
    for name in ("rating", "low", "high", "place"):
        assert getattr(moved, name) == pytest.approx(getattr(found, name) + 50)
    assert moved.best.tolist() == found.best.tolist()
