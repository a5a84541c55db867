"""Votes as numbers, and Elo ratings in their order and over shuffled orders."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from gptalt_eval_plugin_elo.table import SKIP, VoteTable, gather_votes
from gptalt_eval_plugin_elo.votes import Vote

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
MAX_STEPS = 20_000_000  # votes x orders, about 5 s; with more, fewer orders are computed
FEW = 100  # orders that are faster one after another than in parallel
Z95, Z80 = 1.959963984540054, 0.8416212335729143


@dataclass(frozen=True)
class Scale:
    """Elo's scale (Elo 1978, The rating of chessplayers).

    Attributes:
        start: initial rating of every model.
        k: maximum rating change per vote.
        width: rating difference at which the odds are ten to one.
    """

    start: float = 1000.0
    k: float = 16.0
    width: float = 400.0


@dataclass(frozen=True)
class Comparisons:
    """Votes as numbers, without skipped ones.

    Attributes:
        models: their names.
        first, second: [N] indices of models.
        score: [N] 1 the first won, 0 the second, 0.5 a tie.
        question, annotator: [N] numbers, to know which votes are about the same question or by the same
            person; None: each vote is on its own.
    """

    models: Sequence[str]
    first: Ints
    second: Ints
    score: Floats
    question: Ints | None = None
    annotator: Ints | None = None

    def __len__(self) -> int:
        return len(self.score)

    def choose(self, which: npt.NDArray[np.bool_] | Ints) -> Comparisons:
        groups = (None if each is None else each[which] for each in (self.question, self.annotator))
        return Comparisons(self.models, self.first[which], self.second[which], self.score[which], *groups)


def number_votes(votes: Iterable[Vote]) -> Comparisons:
    return number_table(gather_votes(votes))


def number_table(table: VoteTable) -> Comparisons:
    """A table's votes without skipped ones. What has no annotator, or no question, stands alone."""
    kept = table.choose(table.outcome != SKIP)
    question = separate_nameless(kept.question, kept.questions)
    annotator = separate_nameless(kept.annotator, kept.annotators)
    scores = np.array([1.0, 0.0, 0.5])[kept.outcome]
    return Comparisons(
        kept.models, kept.first.astype(np.int64), kept.second.astype(np.int64), scores,
        question, annotator,
    )  # fmt: skip


def separate_nameless(numbers: npt.NDArray[np.int32], names: Sequence[str]) -> Ints:
    """[N] the numbers of names; each one without a name is on its own."""
    separate = numbers.astype(np.int64)
    if "" in names:
        nameless = separate == list(names).index("")
        separate[nameless] = len(names) + np.flatnonzero(nameless)
    return separate


def predict(first: Floats | float, second: Floats | float, width: float = 400.0) -> Floats:
    """Share of votes, without ties, that a model with the first rating wins against one with the second."""
    return np.asarray(1 / (1 + 10 ** np.minimum(300, (np.asarray(second) - np.asarray(first)) / width)))


def compute_elo(votes: Comparisons, scale: Scale) -> Floats:
    """Ratings [models] after one pass in the order of the votes."""
    ratings = [scale.start] * len(votes.models)
    for first, second, score in zip(
        votes.first.tolist(), votes.second.tolist(), votes.score.tolist(), strict=True
    ):
        expected = 1 / (1 + 10 ** min(300.0, (ratings[second] - ratings[first]) / scale.width))
        change = scale.k * (score - expected)
        ratings[first] += change
        ratings[second] -= change
    return np.array(ratings)


def shuffle_elo(votes: Comparisons, scale: Scale, orders: int, seed: int = 0) -> Floats:
    """Ratings [orders, models] of the same votes in random orders; of many votes, in fewer orders."""
    orders = max(1, min(orders, MAX_STEPS // max(1, len(votes))))
    generator = np.random.default_rng(seed)
    if orders < FEW:
        chosen = (votes.choose(generator.permutation(len(votes))) for _ in range(orders))
        return np.array([compute_elo(each, scale) for each in chosen]).reshape(orders, -1)
    order = np.tile(np.arange(len(votes), dtype=np.int32)[:, None], orders)
    generator.permuted(order, axis=0, out=order)
    ratings = np.full((orders, len(votes.models)), scale.start, dtype=np.float64)
    flat = ratings.reshape(-1)
    offset = np.arange(orders) * len(votes.models)
    for step in order:
        first = votes.first[step] + offset
        second = votes.second[step] + offset
        change = flat[second] - flat[first]
        change = scale.k * (votes.score[step] - 1 / (1 + 10 ** np.minimum(300, change / scale.width)))
        flat[first] += change
        flat[second] -= change
    return ratings


def find_groups(votes: Comparisons) -> list[list[int]]:
    """Groups of models that votes connect, largest first; different groups cannot be compared."""
    count = len(votes.models)
    graph = coo_array((np.ones(len(votes)), (votes.first, votes.second)), shape=(count, count))
    number, labels = connected_components(graph, directed=False)
    groups = [np.flatnonzero(labels == label).tolist() for label in range(number)]
    return sorted(groups, key=len, reverse=True)
