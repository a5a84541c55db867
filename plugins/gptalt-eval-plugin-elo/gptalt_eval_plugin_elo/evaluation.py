"""Turns votes into ratings, tables and groups, for the command, the page and the JSON file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gptalt_eval import GptaltError
from gptalt_eval_plugin_elo.agreement import merge_votes
from gptalt_eval_plugin_elo.bradley_terry import fit_bradley_terry
from gptalt_eval_plugin_elo.ratings import (
    Comparisons,
    Scale,
    compute_elo,
    find_groups,
    number_votes,
    shuffle_elo,
)
from gptalt_eval_plugin_elo.tables import Calibration, Pairs, calibrate, compare_pairs
from gptalt_eval_plugin_elo.votes import Vote


@dataclass(frozen=True)
class Standing:
    """The results of one model.

    Attributes:
        model: its name.
        votes, wins, ties: numbers of its comparisons.
        elo: Elo rating in the order of the votes.
        mean, low, high: Elo rating over shuffled vote orders: mean and 95 % range.
        rating, rating_low, rating_high: Bradley-Terry rating and its 95 % interval; without a finite rating,
            nan and the one end that the votes support.
        rank, best, worst: its rank by Bradley-Terry, and the rank's 95 % interval.
    """

    model: str
    votes: int
    wins: int
    ties: int
    elo: float
    mean: float
    low: float
    high: float
    rating: float
    rating_low: float
    rating_high: float
    rank: int
    best: int
    worst: int


@dataclass(frozen=True)
class Board:
    """The leaderboard of a group of models that votes connect.

    Attributes:
        standings: sorted by where they stand by Bradley-Terry.
        pairs: in the same order.
        calibration: of the ratings' predictions.
        orders: number of shuffled vote orders.
    """

    standings: Sequence[Standing]
    pairs: Pairs
    calibration: Sequence[Calibration]
    orders: int

    @property
    def models(self) -> list[str]:
        return [standing.model for standing in self.standings]


@dataclass(frozen=True)
class Evaluation:
    """Attributes:
    votes, skipped: their numbers.
    merged: number of comparisons after merging.
    boards: one for each connected group of models, the largest first.
    categories: by category, each model's mean Elo over shuffled vote orders.
    """

    votes: int
    skipped: int
    merged: int
    boards: Sequence[Board]
    categories: dict[str, dict[str, float]]


def evaluate(votes: Sequence[Vote], rule: str, scale: Scale, orders: int, seed: int) -> Evaluation:
    """Rate the models of votes.

    Raises:
        GptaltError: all votes were skipped.
    """
    merged = merge_votes(votes, rule)
    if not merged:
        raise GptaltError("No vote says which answer is better.", "All of them were skipped.")
    numbered = number_votes(merged)
    boards = []
    for group in find_groups(numbered):
        inside = np.isin(numbered.first, group)
        boards.append(make_board(restrict(numbered, inside, group), scale, orders, seed))
    names = list(dict.fromkeys(vote.category for vote in merged if vote.category))
    categories = {}
    for name in names if len(names) > 1 else ():
        own = number_votes([vote for vote in merged if vote.category == name])
        means = shuffle_elo(own, scale, orders, seed).mean(0)
        categories[name] = dict(zip(own.models, map(float, means), strict=True))
    skipped = sum(vote.winner == "skip" for vote in votes)
    return Evaluation(len(votes), skipped, len(merged), boards, categories)


def restrict(votes: Comparisons, inside: np.ndarray, group: Sequence[int]) -> Comparisons:
    place = {model: number for number, model in enumerate(group)}
    own = votes.choose(inside)
    return Comparisons(
        [votes.models[model] for model in group],
        np.array([place[model] for model in own.first.tolist()], dtype=np.int64),
        np.array([place[model] for model in own.second.tolist()], dtype=np.int64),
        own.score,
    )


def make_board(votes: Comparisons, scale: Scale, orders: int, seed: int) -> Board:
    elo = compute_elo(votes, scale)
    shuffled = shuffle_elo(votes, scale, orders, seed)
    mean = shuffled.mean(0)
    low, high = np.percentile(shuffled, (2.5, 97.5), axis=0)
    fitted = fit_bradley_terry(votes, scale)
    pairs = compare_pairs(votes, fitted.place, scale.width)
    order = np.argsort(-fitted.place, kind="stable")
    standings = [
        Standing(
            model=votes.models[i],
            votes=int(pairs.votes[i].sum()),
            wins=int(pairs.wins[i].sum()),
            ties=int(pairs.ties[i].sum()),
            elo=float(elo[i]),
            mean=float(mean[i]),
            low=float(low[i]),
            high=float(high[i]),
            rating=float(fitted.rating[i]),
            rating_low=float(fitted.low[i]),
            rating_high=float(fitted.high[i]),
            rank=int(fitted.rank[i]),
            best=int(fitted.best[i]),
            worst=int(fitted.worst[i]),
        )
        for i in order.tolist()
    ]
    grid = np.ix_(order, order)
    sorted_pairs = Pairs(
        pairs.wins[grid], pairs.ties[grid], pairs.actual[grid], pairs.predicted[grid], pairs.more[grid]
    )
    return Board(standings, sorted_pairs, calibrate(sorted_pairs), len(shuffled))
