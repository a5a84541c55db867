"""Ratings of models from votes: Elo in their order and over shuffled orders, and Bradley-Terry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from gptalt_eval_plugin_elo.votes import Vote

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
SCORES = {"a": 1.0, "b": 0.0, "tie": 0.5}
MAX_STEPS = 20_000_000  # votes x orders, about 5 s; with more, fewer orders are computed
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
    """Votes as numbers.

    Attributes:
        models: in the order of their first votes.
        first, second: [N] indices of models.
        score: [N] 1 the first won, 0 the second, 0.5 a tie.
    """

    models: Sequence[str]
    first: Ints
    second: Ints
    score: Floats

    def __len__(self) -> int:
        return len(self.score)

    def choose(self, which: npt.NDArray[np.bool_] | Ints) -> Comparisons:
        return Comparisons(self.models, self.first[which], self.second[which], self.score[which])


def number_votes(votes: Sequence[Vote]) -> Comparisons:
    numbers: dict[str, int] = {}
    for vote in votes:
        numbers.setdefault(vote.model_a, len(numbers))
        numbers.setdefault(vote.model_b, len(numbers))
    return Comparisons(
        list(numbers),
        np.array([numbers[vote.model_a] for vote in votes], dtype=np.int64),
        np.array([numbers[vote.model_b] for vote in votes], dtype=np.int64),
        np.array([SCORES[vote.winner] for vote in votes], dtype=np.float64),
    )


def predict(first: Floats | float, second: Floats | float, width: float = 400.0) -> Floats:
    """Share of votes, without ties, that a model with the first rating wins against one with the second."""
    return np.asarray(1 / (1 + 10 ** ((np.asarray(second) - np.asarray(first)) / width)))


def compute_elo(votes: Comparisons, scale: Scale) -> Floats:
    """Ratings [models] after one pass in the order of the votes."""
    ratings = [scale.start] * len(votes.models)
    for first, second, score in zip(
        votes.first.tolist(), votes.second.tolist(), votes.score.tolist(), strict=True
    ):
        expected = 1 / (1 + 10 ** ((ratings[second] - ratings[first]) / scale.width))
        change = scale.k * (score - expected)
        ratings[first] += change
        ratings[second] -= change
    return np.array(ratings)


def shuffle_elo(votes: Comparisons, scale: Scale, orders: int, seed: int = 0) -> Floats:
    """Ratings [orders, models] of the same votes in random orders, computed in parallel."""
    orders = max(1, min(orders, MAX_STEPS // max(1, len(votes))))
    generator = np.random.default_rng(seed)
    order = np.argsort(generator.random((len(votes), orders), dtype=np.float32), axis=0)
    ratings = np.full((orders, len(votes.models)), scale.start, dtype=np.float64)
    flat = ratings.reshape(-1)
    offset = np.arange(orders) * len(votes.models)
    for step in order:
        first = votes.first[step] + offset
        second = votes.second[step] + offset
        change = flat[second] - flat[first]
        change = scale.k * (votes.score[step] - 1 / (1 + 10 ** (change / scale.width)))
        flat[first] += change
        flat[second] -= change
    return ratings


def find_groups(votes: Comparisons) -> list[list[int]]:
    """Groups of models that votes connect, largest first; different groups cannot be compared."""
    return split_graph(votes, "weak")


def split_graph(votes: Comparisons, connection: str) -> list[list[int]]:
    count = len(votes.models)
    # an edge from the loser to the winner; a tie is an edge in both directions
    up, down = votes.score >= 0.5, votes.score <= 0.5
    begin = np.concatenate([votes.second[up], votes.first[down]])
    end = np.concatenate([votes.first[up], votes.second[down]])
    graph = coo_array((np.ones(len(begin)), (begin, end)), shape=(count, count))
    number, labels = connected_components(graph, directed=True, connection=connection)
    groups = [np.flatnonzero(labels == label).tolist() for label in range(number)]
    return sorted(groups, key=len, reverse=True)


@dataclass(frozen=True)
class BradleyTerry:
    """Bradley-Terry ratings (1952) on Elo's scale; the mean of a group is the initial rating.

    Attributes:
        rating: [models]; nan if there is no finite estimate, for a model that only wins or only loses.
        low, high: [models] 95 % interval, by bootstrap over votes.
        best, worst: [models] 95 % interval of the rank; 1 is best.
    """

    rating: Floats
    low: Floats
    high: Floats
    best: Ints
    worst: Ints


def fit_bradley_terry(votes: Comparisons, scale: Scale, resamples: int = 500, seed: int = 0) -> BradleyTerry:
    """Ratings within the largest set of models that have all won and lost against others in it."""
    count = len(votes.models)
    inside = split_graph(votes, "strong")[0]
    nothing = np.full(count, np.nan)
    ranks = np.zeros(count, dtype=np.int64)
    if len(inside) < 2:
        return BradleyTerry(nothing, nothing.copy(), nothing.copy(), ranks, ranks.copy())
    place = np.full(count, -1)
    place[inside] = np.arange(len(inside))
    own = votes.choose((place[votes.first] >= 0) & (place[votes.second] >= 0))
    first, second = place[own.first], place[own.second]
    cells, counts = np.unique(np.stack([first, second, 2 * own.score]), axis=1, return_counts=True)
    rating = nothing.copy()
    rating[inside] = solve(cells, counts, len(inside), scale)
    # votes with the same outcome for the same pair are equal, so only their numbers are drawn
    drawn = np.random.default_rng(seed).multinomial(len(own), counts / len(own), resamples)
    found = np.array([solve(cells, each, len(inside), scale) for each in drawn])
    low, high = nothing.copy(), nothing.copy()
    best, worst = ranks.copy(), ranks.copy()
    low[inside], high[inside] = np.nanpercentile(found, (2.5, 97.5), axis=0)
    order = (-found).argsort(1).argsort(1) + 1
    best[inside], worst[inside] = np.percentile(order, (2.5, 97.5), axis=0).round()
    return BradleyTerry(rating, low, high, best, worst)


def solve(cells: Floats, counts: Ints, count: int, scale: Scale) -> Floats:
    """Ratings [count] computed by evalica; a tie is half a win for each.

    Args:
        cells: [3, C] first and second model, and twice the first one's score.
        counts: [C] number of votes of each.
        count: number of models.
        scale: the scale of the ratings.
    """
    from evalica import Winner, bradley_terry

    winners = (Winner.Y, Winner.Draw, Winner.X)
    drawn = counts > 0
    first, second, outcome = cells[:, drawn].astype(int).tolist()
    solved = bradley_terry(
        first, second, [winners[each] for each in outcome], weights=counts[drawn].astype(float).tolist(),
        tolerance=1e-9, limit=10_000,
    )  # fmt: skip
    strength = np.full(count, np.nan)
    strength[solved.scores.index.to_numpy()] = solved.scores.to_numpy()
    logs = np.log10(np.maximum(strength, 1e-12)) * scale.width
    return np.asarray(logs - np.nanmean(logs) + scale.start)
