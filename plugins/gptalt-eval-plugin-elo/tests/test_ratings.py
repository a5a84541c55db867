"""Elo, shuffled orders and Bradley-Terry: by hand, on other scales, and against a bootstrap written out in loops."""

import random

import numpy as np
import pytest
from gptalt_eval_plugin_elo import ratings
from gptalt_eval_plugin_elo.formats import Vote
from gptalt_eval_plugin_elo.ratings import (
    Scale,
    compute_elo,
    find_groups,
    fit_bradley_terry,
    number_votes,
    predict,
    shuffle_elo,
)
from gptalt_eval_plugin_elo.tables import count_needed

SCALE = Scale()


def vote(first, second, winner):
    return Vote("q", first, second, winner)


def draw(count, models="wxyz", seed=0):
    generator = random.Random(seed)
    pairs = [generator.sample(models, 2) for _ in range(count)]
    return number_votes([vote(*pair, generator.choice(["a", "a", "b", "tie"])) for pair in pairs])


def test_the_usual_scale_is_elos():
    assert (SCALE.start, SCALE.k, SCALE.width) == (1000, 16, 400)


def test_votes_as_numbers():
    found = number_votes([vote("y", "x", "a"), vote("z", "y", "b"), vote("x", "z", "tie")])
    assert found.models == ["y", "x", "z"]
    assert (found.first.tolist(), found.second.tolist()) == ([0, 2, 1], [1, 0, 2])
    assert found.score.tolist() == [1.0, 0.0, 0.5] and len(found) == 3
    chosen = found.choose(np.array([2, 0]))
    assert (chosen.models, chosen.first.tolist(), chosen.second.tolist()) == (["y", "x", "z"], [1, 0], [2, 1])
    assert chosen.score.tolist() == [0.5, 1.0]
    empty = number_votes([])
    assert len(empty) == 0
    for votes in (empty, found):
        assert (votes.first.dtype, votes.second.dtype, votes.score.dtype) == (np.int64, np.int64, np.float64)


@pytest.mark.parametrize(
    ("first", "second", "width", "share"),
    [
        (1000, 1000, 400, 1 / 2),
        (1400, 1000, 400, 10 / 11),
        (1000, 1400, 400, 1 / 11),
        (1200, 1000, 200, 10 / 11),
    ],
)
def test_the_share_that_a_difference_predicts(first, second, width, share):
    assert float(predict(first, second, width)) == pytest.approx(share)
    assert float(predict(1400.0, 1000.0)) == pytest.approx(10 / 11)
    found = predict(np.array([1000.0, first]), np.array([1000.0, second]), width)
    assert found.tolist() == pytest.approx([0.5, share])


@pytest.mark.parametrize("scale", [Scale(), Scale(1500, 32, 200), Scale(0, 4, 1000)])
def test_each_vote_moves_points_by_hand(scale):
    votes = draw(25)
    expected = dict.fromkeys(range(4), scale.start)
    for first, second, score in zip(votes.first, votes.second, votes.score, strict=True):
        odds = 10 ** ((expected[first] - expected[second]) / scale.width)
        moved = scale.k * (score - odds / (1 + odds))
        expected[first] += moved
        expected[second] -= moved
    assert compute_elo(votes, scale) == pytest.approx([expected[number] for number in range(4)])
    order = np.argsort(np.random.default_rng(2).random((len(votes), 3), dtype=np.float32), axis=0)
    shuffled = shuffle_elo(votes, scale, 3, seed=2)
    assert shuffled.shape == (3, 4)
    for number in range(3):
        assert shuffled[number] == pytest.approx(compute_elo(votes.choose(order[:, number]), scale))


def test_orders_are_the_same_today_and_as_many_as_time_allows(monkeypatch):
    votes = draw(25)
    assert (shuffle_elo(votes, SCALE, 3) == shuffle_elo(votes, SCALE, 3, seed=0)).all()
    assert (shuffle_elo(votes, SCALE, 3) != shuffle_elo(votes, SCALE, 3, seed=1)).any()
    monkeypatch.setattr(ratings, "MAX_STEPS", 4 * 25 + 24)
    assert len(shuffle_elo(votes, SCALE, 100)) == 4
    assert len(shuffle_elo(votes, SCALE, 4)) == 4 and len(shuffle_elo(votes, SCALE, 3)) == 3
    assert len(shuffle_elo(votes, SCALE, 0)) == 1
    monkeypatch.setattr(ratings, "MAX_STEPS", 3)
    assert len(shuffle_elo(votes, SCALE, 100)) == 1, "one at least"
    assert shuffle_elo(number_votes([]), SCALE, 2).shape == (2, 0)


def test_groups_of_connected_models_the_largest_first():
    votes = [
        vote("p", "q", "a"),
        vote("x", "y", "b"),
        vote("z", "y", "a"),
        vote("p", "q", "a"),
        vote("s", "t", "tie"),
    ]
    assert find_groups(number_votes(votes)) == [[2, 3, 4], [0, 1], [5, 6]]


@pytest.mark.parametrize(("share", "votes"), [(0.6, 194), (0.4, 194), (0.55, 783), (0.9, 10), (1.0, 4)])
def test_the_votes_that_tell_a_share_from_one_half(share, votes):
    """0.6: ((1.959964 x 0.5 + 0.841621 x 0.489898) / 0.1)^2 = 193.8, with a pocket calculator."""
    assert count_needed(np.array(share)) == votes


# ---------------------------------------------------------------------- Bradley-Terry


def solve_by_hand(first, second, score, count, scale):
    """Hunter (2004), MM algorithms for generalized Bradley-Terry models; a tie is half a win for each."""
    wins = np.zeros((count, count))
    np.add.at(wins, (first, second), score)
    np.add.at(wins, (second, first), 1 - score)
    strength = np.ones(count)
    for _ in range(2_000):
        strength = wins.sum(1) / ((wins + wins.T) / (strength[:, None] + strength)).sum(1)
        strength /= np.exp(np.log(strength).mean())
    logs = np.log10(strength) * scale.width
    return logs - logs.mean() + scale.start


def test_ratings_are_the_likelihoods_maximum_on_any_scale():
    votes = draw(60)
    for scale in (Scale(), Scale(start=1500, k=1, width=200)):
        expected = solve_by_hand(votes.first, votes.second, votes.score, 4, scale)
        assert fit_bradley_terry(votes, scale, resamples=2).rating == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_intervals_and_ranks_are_those_of_a_bootstrap_in_loops(seed):
    votes = draw(80, "uvwxyz", seed)
    found = fit_bradley_terry(votes, SCALE, resamples=40, seed=seed)
    cells, counts = np.unique(
        np.stack([votes.first, votes.second, 2 * votes.score]), axis=1, return_counts=True
    )
    drawn = np.random.default_rng(seed).multinomial(80, counts / 80, 40)
    resampled = []
    for each in drawn:
        first, second, doubled = np.repeat(cells, each, axis=1).astype(int)
        resampled.append(solve_by_hand(first, second, doubled / 2, 6, SCALE))
    low, high = np.percentile(resampled, (2.5, 97.5), axis=0)
    assert found.low == pytest.approx(low, abs=0.01) and found.high == pytest.approx(high, abs=0.01)
    ranks = np.array([[1 + sum(other > own for other in row) for own in row] for row in resampled])
    best, worst = np.percentile(ranks, (2.5, 97.5), axis=0).round()
    assert (found.best.tolist(), found.worst.tolist()) == (best.tolist(), worst.tolist())
    assert found.best.dtype == found.worst.dtype == np.int64


def test_the_bootstrap_has_a_seed_and_a_size():
    votes = draw(40, "xyz")
    usual = fit_bradley_terry(votes, SCALE)
    same, fewer, other = (fit_bradley_terry(votes, SCALE, *given) for given in ((500, 0), (499, 0), (500, 1)))
    assert usual.low.tolist() == same.low.tolist()
    assert usual.low.tolist() != fewer.low.tolist() != other.low.tolist()
    assert usual.rating.tolist() == other.rating.tolist()


@pytest.mark.parametrize("is_turned", [False, True])
def test_models_without_a_finite_rating_are_left_out(is_turned):
    """'best' only wins and 'worst' only loses: they have neither a rating nor a rank, and count for nobody."""
    inner = [
        vote("x", "y", "a"),
        vote("y", "x", "a"),
        vote("y", "z", "a"),
        vote("z", "y", "a"),
        vote("x", "y", "a"),
    ]
    outer = [vote("best", "x", "a"), vote("y", "worst", "a"), vote("best", "worst", "a")]
    if is_turned:  # what counts is who won, not who is named first
        outer = [vote("best", "worst", "a"), vote("x", "best", "b"), vote("worst", "y", "b")]
    found = fit_bradley_terry(number_votes([*outer, *inner]), SCALE, resamples=20)
    alone = fit_bradley_terry(number_votes([vote("x", "y", "a"), *inner[1:]]), SCALE, resamples=20)
    models = number_votes([*outer, *inner]).models
    finite = [models.index(name) for name in "xyz"]
    others = [models.index(name) for name in ("best", "worst")]
    assert found.rating[finite] == pytest.approx(alone.rating) and found.rating[
        finite
    ].mean() == pytest.approx(1000)
    for values in (found.rating, found.low, found.high):
        assert np.isnan(values[others]).all() and np.isfinite(values[finite]).all()
    assert found.best[others].tolist() == found.worst[others].tolist() == [0, 0]
    assert (found.best[finite] >= 1).all() and (found.worst[finite] <= 3).all()


def test_where_nobody_won_and_lost_there_are_no_ratings():
    found = fit_bradley_terry(number_votes([vote("x", "y", "a"), vote("y", "z", "a")]), SCALE)
    for values in (found.rating, found.low, found.high):
        assert np.isnan(values).all() and len(values) == 3
    assert found.best.tolist() == found.worst.tolist() == [0, 0, 0]
    assert found.low is not found.high and found.best is not found.worst


def test_a_tie_alone_makes_two_models_equal():
    found = fit_bradley_terry(number_votes([vote("x", "y", "tie")]), SCALE, resamples=3)
    assert found.rating.tolist() == found.low.tolist() == pytest.approx([1000, 1000])
