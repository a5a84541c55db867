"""Votes by the pair of answers that they compare, and by the order in which these were shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gptalt_eval_plugin_elo.estimation import Floats, Indices
from gptalt_eval_plugin_elo.table import FIRST, SECOND, SKIP, VoteTable

Mask = npt.NDArray[np.bool_]
WIN, LOSS, TIE = 0, 1, 2  # outcomes for the model with the lower number


@dataclass(frozen=True)
class Units:
    """The pairs of answers that some votes compare.

    Attributes:
        key: [U] their numbers, ascending; the same in every ``Units`` of one table.
        question, low, high: [U] the question, and the models by their numbers.
        votes: [U, 2] votes that say something: ``low`` shown first, and shown second.
        balance: [U, 2] wins of ``low`` minus wins of ``high`` among them.
        without: [U] votes that say nothing.
    """

    key: Indices
    question: Indices
    low: Indices
    high: Indices
    votes: Indices
    balance: Indices
    without: Indices

    def __len__(self) -> int:
        return len(self.key)

    @property
    def is_both(self) -> Mask:
        """[U] whether there are votes on both orders, and none without a verdict."""
        return np.asarray((self.votes > 0).all(1) & (self.without == 0))

    @property
    def mean(self) -> Floats:
        """[U, 2] from -1 (``high`` won) to 1; nan without votes."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self.balance / self.votes)

    @property
    def score(self) -> Floats:
        """[U] of ``low``, from 0 to 1, with equal weight for both orders; nan without votes."""
        with np.errstate(invalid="ignore"):
            shown = (self.votes > 0).astype(float)
            return np.asarray((1 + np.nansum(self.mean, 1) / shown.sum(1)) / 2)

    @property
    def verdict(self) -> Indices:
        """[U] ``WIN`` and ``LOSS`` if both orders, or the only one, say so; else ``TIE``; -1: none."""
        sign = np.sign(self.balance)
        only = sign.sum(1)
        both = np.where(sign[:, 0] == sign[:, 1], sign[:, 0], 0)
        agreed = np.where((self.votes > 0).all(1), both, only)
        found = np.select([agreed > 0, agreed < 0], [WIN, LOSS], TIE)
        return np.where(self.votes.any(1) & (self.without == 0), found, -1)

    def choose(self, which: npt.NDArray[np.bool_] | Indices) -> Units:
        columns = (self.key, self.question, self.low, self.high, self.votes, self.balance, self.without)
        return Units(*(column[which] for column in columns))


def number_units(table: VoteTable) -> Indices:
    """[N] the number of the pair of answers of each vote."""
    count = len(table.models)
    low, high = np.minimum(table.first, table.second), np.maximum(table.first, table.second)
    return np.asarray((table.question.astype(np.int64) * count + low) * count + high)


def gather_units(table: VoteTable) -> Units:
    count = len(table.models)
    key, unit = np.unique(number_units(table), return_inverse=True)
    is_second = (table.first > table.second).astype(np.int64)  # the lower model is the second shown
    outcome = table.outcome.astype(np.int64)
    says = (outcome != SKIP).astype(float)
    value = np.select([outcome == FIRST, outcome == SECOND], [1.0, -1.0], 0.0) * (1 - 2 * is_second)
    size, place = 2 * len(key), 2 * unit + is_second
    return Units(
        key, key // count**2, key // count % count, key % count,
        np.bincount(place, says, size).astype(np.int64).reshape(-1, 2),
        np.bincount(place, value, size).astype(np.int64).reshape(-1, 2),
        np.bincount(unit, 1 - says, len(key)).astype(np.int64),
    )  # fmt: skip


def find_units(units: Units, keys: Indices) -> Indices:
    """[K] the places of keys in units; -1: it is not among them."""
    if not len(units):
        return np.full(len(keys), -1)
    place = np.minimum(np.searchsorted(units.key, keys), len(units) - 1)
    return np.where(units.key[place] == keys, place, -1)
