"""Actual and predicted win rates of pairs of models."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from gptalt_eval_plugin_elo.ratings import Z80, Z95, Comparisons, Floats, Ints, predict

BINS = 10


@dataclass(frozen=True)
class Pairs:
    """For each pair of models [models, models], the row against the column.

    Attributes:
        wins: votes that the row's model won.
        ties: ties.
        actual: wins / (wins + losses), without ties as in the survey; nan without such votes.
        predicted: predicted from the ratings.
        more: additional votes, including ties, until the pair differs significantly; inf if they are equal.
    """

    wins: Ints
    ties: Ints
    actual: Floats
    predicted: Floats
    more: Floats

    @property
    def votes(self) -> Ints:
        return np.asarray(self.wins + self.wins.T + self.ties)


def compare_pairs(votes: Comparisons, ratings: Floats, width: float = 400.0) -> Pairs:
    count = len(votes.models)
    wins, ties = np.zeros((count, count), np.int64), np.zeros((count, count), np.int64)
    won, lost, tied = votes.score == 1, votes.score == 0, votes.score == 0.5
    np.add.at(wins, (votes.first[won], votes.second[won]), 1)
    np.add.at(wins, (votes.second[lost], votes.first[lost]), 1)
    np.add.at(ties, (votes.first[tied], votes.second[tied]), 1)
    np.add.at(ties, (votes.second[tied], votes.first[tied]), 1)
    decided = wins + wins.T
    with np.errstate(divide="ignore", invalid="ignore"):
        actual = np.where(decided > 0, wins / decided, np.nan)
    predicted = predict(ratings[:, None], ratings[None, :], width)
    np.fill_diagonal(predicted, np.nan)
    every = decided + ties
    share = np.where(every > 0, decided / np.maximum(every, 1), decided.sum() / max(1, every.sum()))
    more = np.maximum(0, count_needed(predicted) - decided) / np.maximum(share, 0.05)
    return Pairs(wins, ties, actual, predicted, np.ceil(more))


def count_needed(share: Floats) -> Floats:
    """Votes, without ties, to distinguish a share from one half: two-sided at 5 %, with 80 % power.

    The normal approximation for one proportion (Fleiss, Levin and Paik 2003, Statistical Methods for Rates
    and Proportions, 2.4).
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        root = (Z95 * 0.5 + Z80 * np.sqrt(share * (1 - share))) / np.abs(share - 0.5)
        return np.asarray(np.ceil(root**2))


@dataclass(frozen=True)
class Calibration:
    """The pairs whose predicted share is in one bin.

    Attributes:
        predicted, actual: means over votes.
        votes: number of votes, without ties.
    """

    predicted: float
    actual: float
    votes: int


def calibrate(pairs: Pairs) -> list[Calibration]:
    """Predicted and actual shares of the stronger models, in bins from one half to one."""
    found = []
    decided = pairs.wins + pairs.wins.T
    edges = np.linspace(0.5, 1, BINS + 1)
    for low, high in pairwise(edges):
        inside = (pairs.predicted >= low) & ((pairs.predicted < high) | (high == 1)) & (decided > 0)
        total = int(decided[inside].sum())
        if total:
            predicted = float((pairs.predicted * decided)[inside].sum() / total)
            found.append(Calibration(predicted, float(pairs.wins[inside].sum() / total), total))
    return found


def average_wins(pairs: Pairs) -> Floats:
    """[models] mean predicted share of votes won against the others, each alike."""
    return np.asarray(np.nanmean(pairs.predicted, axis=1)) if len(pairs.wins) > 1 else np.full(1, np.nan)
