"""Elo and shuffled orders: by hand, and on other scales."""

import random

import numpy as np
import pytest
from gptalt_eval_plugin_elo import Vote, ratings
from gptalt_eval_plugin_elo.ratings import (
    Scale,
    compute_elo,
    find_groups,
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
    for orders in (3, 100):  # one after another, and in parallel
        shuffled = shuffle_elo(votes, scale, orders, seed=2)
        assert shuffled.shape == (orders, 4)
        assert shuffled.sum(1) == pytest.approx([4 * scale.start] * orders)


def test_orders_are_those_of_the_generator():
    votes = draw(25)
    generator = np.random.default_rng(2)
    for found in shuffle_elo(votes, SCALE, 3, seed=2):
        assert found == pytest.approx(compute_elo(votes.choose(generator.permutation(25)), SCALE))
    order = np.tile(np.arange(25, dtype=np.int32)[:, None], 100)
    np.random.default_rng(2).permuted(order, axis=0, out=order)
    for number, found in enumerate(shuffle_elo(votes, SCALE, 100, seed=2)):
        assert found == pytest.approx(compute_elo(votes.choose(order[:, number]), SCALE))


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
