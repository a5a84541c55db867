"""Bradley-Terry ratings with intervals and ranks.

Bradley and Terry 1952, Rank analysis of incomplete block designs. The model is a logistic regression of the
votes on who is compared; a tie counts as half a win for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, shortest_path

from gptalt_eval_plugin_elo.ratings import Comparisons, Floats, Ints, Scale
from gptalt_eval_plugin_elo.regression import fit

EQUAL = 1e-6  # points; ratings that differ by less are the same
HALF = 0.5  # of a vote, added to each side of a pair where one side has all of them


@dataclass(frozen=True)
class Coefficient:
    """How a difference in style moves votes: the points of a difference of one standard deviation."""

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class BradleyTerry:
    """Ratings on Elo's scale. Their mean, weighted by votes, is the scale's initial rating.

    Attributes:
        rating: [models]; nan if there is no finite estimate: for a model that only wins or only loses.
        low, high: [models] 95 % interval. Without a rating, the one end that the votes support; the other is
            infinite.
        place: [models] where each stands: its rating, or without one what half a vote more for each side of
            its pairs would give.
        rank: [models] 1 + the number of models that stand above.
        best, worst: [models] 95 % interval of the rank: 1 + the models whose interval is wholly above, and
            the number of models less those whose interval is wholly below.
        style: the coefficients of differences in style, if they were controlled for.
    """

    rating: Floats
    low: Floats
    high: Floats
    place: Floats
    rank: Ints
    best: Ints
    worst: Ints
    style: Sequence[Coefficient] = ()


def fit_bradley_terry(
    votes: Comparisons,
    scale: Scale,
    even_pairs: bool = False,
    style: Floats | None = None,
    names: Sequence[str] = (),
) -> BradleyTerry:
    """Fit the ratings of models that votes connect.

    The covariance allows for votes on the same question being alike, and for those of the same person, if
    there are at least ten questions, or people; with fewer, the intervals are about just these (Liang and
    Zeger 1986; two-way: Cameron, Gelbach and Miller 2011). For models with few votes and for few groups, each
    group counts as what leaving it out would change: the jackknife (HC3 and CR3: MacKinnon and White 1985;
    Bell and McCaffrey 2002), with Student's t.

    Args:
        votes: the votes.
        scale: the scale of the ratings.
        even_pairs: whether each pair of models counts alike, whatever its number of votes.
        style: [N, F] standardised differences in style; their effect is fitted beside the ratings.
        names: [F] of its columns.
    """
    count = len(votes.models)
    weight = weigh_pairs(votes) if even_pairs else np.ones(len(votes))
    held = np.bincount(votes.first, weight, count) + np.bincount(votes.second, weight, count)
    centre = held / max(1.0, held.sum())
    points = scale.width / np.log(10)
    rated = find_rated(votes)
    place, error = np.zeros(count), np.zeros(count)
    if len(rated) < max(2, count):  # not all have a rating
        whole = fit(*add_half(votes, weight, rated), count, None)
        place, error = whole.place - centre @ whole.place, whole.measure_errors(np.eye(count) - centre)
    rating, low, high = np.full(count, np.nan), place - error, place + error
    coefficients: list[Coefficient] = []
    if len(rated) > 1:
        inside = np.isin(votes.first, rated) & np.isin(votes.second, rated)
        own = renumber(votes.choose(inside), rated)
        controls = None if style is None else style[inside]
        found = fit(own, weight[inside], len(rated), controls)
        value = found.place
        share = centre[rated] / centre[rated].sum()
        # the others' places are relative to those of the rated models
        value = value - share @ value + share @ place[rated]
        features = len(found.slope)
        against = np.hstack([np.eye(len(rated)) - share, np.zeros((len(rated), features))])
        spread = found.measure_errors(against)
        rating[rated] = place[rated] = value
        low[rated], high[rated] = value - spread, value + spread
        errors = found.measure_errors(np.hstack([np.zeros((features, len(rated))), np.eye(features)]))
        ends = points * np.stack([found.slope, found.slope - errors, found.slope + errors], axis=1)
        coefficients = [Coefficient(name, *map(float, each)) for name, each in zip(names, ends, strict=True)]
    low, high = open_intervals(votes, rated, low, high)
    rating, low, high, place = (scale.start + points * each for each in (rating, low, high, place))
    return BradleyTerry(rating, low, high, place, *rank(place, low, high), tuple(coefficients))


def weigh_pairs(votes: Comparisons) -> Floats:
    """[N] weights with which each pair of models counts alike; their sum is the number of votes."""
    count = len(votes.models)
    pair = np.minimum(votes.first, votes.second) * count + np.maximum(votes.first, votes.second)
    _, place, sizes = np.unique(pair, return_inverse=True, return_counts=True)
    return np.asarray(len(votes) / len(sizes) / sizes[place]) if len(votes) else np.ones(0)


def find_rated(votes: Comparisons) -> Ints:
    """The largest set of models that have all won and lost against others in it (Ford 1957)."""
    number, labels = connected_components(draw_wins(votes), directed=True, connection="strong")
    sizes = np.bincount(labels, minlength=number)
    return np.flatnonzero(labels == sizes.argmax()) if number else np.zeros(0, np.int64)


def draw_wins(votes: Comparisons) -> coo_array:
    """A graph with an edge from each loser to its winner; a tie is an edge in both directions."""
    up, down = votes.score >= 0.5, votes.score <= 0.5
    begin = np.concatenate([votes.second[up], votes.first[down]])
    end = np.concatenate([votes.first[up], votes.second[down]])
    return coo_array((np.ones(len(begin)), (begin, end)), shape=(len(votes.models),) * 2)


def renumber(votes: Comparisons, chosen: Ints) -> Comparisons:
    place = np.full(len(votes.models), -1)
    place[chosen] = np.arange(len(chosen))
    models = [votes.models[number] for number in chosen]
    return Comparisons(
        models, place[votes.first], place[votes.second], votes.score, votes.question, votes.annotator
    )


def add_half(votes: Comparisons, weight: Floats, rated: Ints) -> tuple[Comparisons, Floats]:
    """Half a vote more for each side, in pairs with an unrated model of which one side has all votes.

    Haldane 1956, The estimation and significance of the logarithm of a ratio of frequencies.
    """
    count = len(votes.models)
    wins = np.zeros((count, count))
    np.add.at(wins, (votes.first, votes.second), votes.score)
    np.add.at(wins, (votes.second, votes.first), 1 - votes.score)
    inside = np.isin(np.arange(count), rated) & (len(rated) > 1)
    one, other = np.nonzero((wins == 0) & (wins.T > 0) & ~(inside[:, None] & inside))
    first, second = np.concatenate([votes.first, one, other]), np.concatenate([votes.second, other, one])
    score = np.concatenate([votes.score, np.ones(2 * len(one))])
    groups = (
        None if each is None else np.concatenate([each, each.max(initial=0) + 1 + np.arange(2 * len(one))])
        for each in (votes.question, votes.annotator)
    )
    weights = np.concatenate([weight, np.full(2 * len(one), HALF)])
    return Comparisons(votes.models, first, second, score, *groups), weights


def open_intervals(votes: Comparisons, rated: Ints, low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """A model that never lost against the others has no upper end, one that never won no lower end."""
    count = len(votes.models)
    outside = np.setdiff1d(np.arange(count), rated) if len(rated) > 1 else np.arange(count)
    if len(outside):
        reached = np.isfinite(shortest_path(draw_wins(votes).tocsr(), unweighted=True))
        for model in outside:
            others = np.arange(count) != model
            if not (reached[model] & others).any():
                high[model] = np.inf
            if not (reached[:, model] & others).any():
                low[model] = -np.inf
    return low, high


def rank(place: Floats, low: Floats, high: Floats) -> tuple[Ints, Ints, Ints]:
    """Ranks by place, and their intervals as in LMArena's leaderboard; equal places share a rank."""
    above = place[None, :] > place[:, None] + EQUAL
    surely_above = low[None, :] > high[:, None]
    surely_below = high[None, :] < low[:, None]
    return 1 + above.sum(1), 1 + surely_above.sum(1), len(place) - surely_below.sum(1)


def move(found: BradleyTerry, by: float) -> BradleyTerry:
    """The same ratings ``by`` points higher, for example so that one model has a certain rating."""
    moved = {name: getattr(found, name) + by for name in ("rating", "low", "high", "place")}
    return replace(found, **moved)
