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
from scipy.stats import t as student

from gptalt_eval_plugin_elo.ratings import Comparisons, Floats, Ints, Scale

EQUAL = 1e-6  # points; ratings that differ by less are the same
STEPS, PRECISION = 100, 1e-10  # of Newton's method, on the natural scale
GROUPS = 10  # questions, or people, that show how much they differ; fewer do not
LARGEST = 5_000_000  # numbers in the groups' information; of more groups, leaving one out changes little
LEAST = 0.05  # of the information about something that is taken to remain when a group is left out
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
    whole = fit(add_half(votes, weight), count, None)
    place, error = whole.place - centre @ whole.place, whole.student_t * contrast(whole.covariance, centre)
    rating, low, high = np.full(count, np.nan), place - error, place + error
    coefficients: list[Coefficient] = []
    if len(rated) > 1:
        inside = np.isin(votes.first, rated) & np.isin(votes.second, rated)
        own = renumber(votes.choose(inside), rated)
        controls = None if style is None else style[inside]
        found = fit((own, weight[inside]), len(rated), controls)
        value = found.place
        share = centre[rated] / centre[rated].sum()
        # the others' places are relative to those of the rated models
        value = value - share @ value + share @ place[rated] if count > len(rated) else value - share @ value
        spread = found.student_t * contrast(found.covariance, share)
        rating[rated] = place[rated] = value
        low[rated], high[rated] = value - spread, value + spread
        errors = found.student_t * np.sqrt(np.diag(found.slopes))
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


def add_half(votes: Comparisons, weight: Floats) -> tuple[Comparisons, Floats]:
    """Half a vote more for each side of the pairs in which one side has all votes (Haldane 1956)."""
    count = len(votes.models)
    wins = np.zeros((count, count))
    np.add.at(wins, (votes.first, votes.second), votes.score)
    np.add.at(wins, (votes.second, votes.first), 1 - votes.score)
    one, other = np.nonzero((wins == 0) & (wins.T > 0))
    first, second = np.concatenate([votes.first, one, other]), np.concatenate([votes.second, other, one])
    score = np.concatenate([votes.score, np.ones(2 * len(one))])
    groups = (
        None if each is None else np.concatenate([each, each.max(initial=0) + 1 + np.arange(2 * len(one))])
        for each in (votes.question, votes.annotator)
    )
    weights = np.concatenate([weight, np.full(2 * len(one), HALF)])
    return Comparisons(votes.models, first, second, score, *groups), weights


@dataclass(frozen=True)
class Fit:
    """Attributes:
    place, covariance: [models], [models, models] strengths on the natural scale.
    slope, slopes: [F], [F, F] coefficients of differences in style.
    student_t: half a 95 % interval's width, in standard errors.
    """

    place: Floats
    covariance: Floats
    slope: Floats
    slopes: Floats
    student_t: float


def fit(weighted: tuple[Comparisons, Floats], count: int, style: Floats | None) -> Fit:
    """The maximum of the likelihood, and the robust covariance of its place."""
    votes, weight = weighted
    design = Design(votes, weight, count, style)
    place = np.zeros(design.size)
    for _ in range(STEPS):
        expected = design.predict(place)
        step = design.invert(expected) @ design.score(expected)
        # a long step can lead to where the likelihood is flat
        place += step / max(1.0, float(np.abs(step).max()) / 2)
        if np.abs(step).max() < PRECISION:
            break
    covariance, student_t = design.estimate_covariance(place)
    return Fit(
        place[:count], covariance[:count, :count], place[count:], covariance[count:, count:], student_t
    )


class Design:
    """The regression's rows: votes with the same outcome for the same pair are one, unless style differs.

    Args:
        votes: the votes.
        weight: [N] their weights.
        count: number of models.
        style: [N, F] standardised differences in style; None: F is 0.
    """

    def __init__(self, votes: Comparisons, weight: Floats, count: int, style: Floats | None) -> None:
        self.votes, self.weight, self.count = votes, weight, count
        self.style = np.zeros((len(votes), 0)) if style is None else style
        self.size = count + self.style.shape[1]
        if style is None:
            cell = (votes.first * count + votes.second) * 3 + np.rint(2 * votes.score).astype(np.int64)
            _, kept, self.row = np.unique(cell, return_index=True, return_inverse=True)
        else:
            kept = self.row = np.arange(len(votes))
        self.first, self.second, self.outcome = votes.first[kept], votes.second[kept], votes.score[kept]
        self.controls = self.style[kept]
        self.total = np.bincount(self.row, weight, len(kept))

    def predict(self, place: Floats) -> Floats:
        """[rows] the expected score."""
        logit = place[self.first] - place[self.second] + self.controls @ place[self.count :]
        return np.asarray(1 / (1 + np.exp(-logit)))

    def score(self, expected: Floats) -> Floats:
        """The gradient of the log-likelihood."""
        rest = self.total * (self.outcome - expected)
        models = np.bincount(self.first, rest, self.count) - np.bincount(self.second, rest, self.count)
        return np.concatenate([models, rest @ self.controls])

    def invert(self, expected: Floats) -> Floats:
        """The inverse information, with the strengths' sum at 0."""
        weight = self.total * expected * (1 - expected)
        information = np.zeros((self.size, self.size))
        np.add.at(information, (self.first, self.first), weight)
        np.add.at(information, (self.second, self.second), weight)
        np.add.at(information, (self.first, self.second), -weight)
        np.add.at(information, (self.second, self.first), -weight)
        for number in range(self.controls.shape[1]):
            column = weight * self.controls[:, number]
            cross = np.bincount(self.first, column, self.count) - np.bincount(self.second, column, self.count)
            information[: self.count, self.count + number] = cross
            information[self.count + number, : self.count] = cross
        information[self.count :, self.count :] = (self.controls * weight[:, None]).T @ self.controls
        return np.asarray(np.linalg.pinv(information, hermitian=True))

    def estimate_covariance(self, place: Floats) -> tuple[Floats, float]:
        """The robust covariance, and Student's t for 95 % with its degrees of freedom."""
        expected = self.predict(place)
        bread = self.invert(expected)
        rest = self.weight * (self.outcome - expected)[self.row]
        weight = self.weight * (expected * (1 - expected))[self.row]
        groups = self.list_groups()
        parts = [self.gather(rest, weight, bread, each) for each in groups]
        meat, number = parts[0][0], min(each for _, each in parts)
        if len(groups) > 1:
            both = groups[0] * (groups[1].max(initial=0) + 1) + groups[1]
            meat = meat + parts[1][0] - self.gather(rest, weight, bread, both)[0]
        values, vectors = np.linalg.eigh(bread @ meat @ bread)
        covariance = (vectors * np.maximum(values, 0)) @ vectors.T
        return np.asarray(covariance), float(student.ppf(0.975, max(1, number - 1)))

    def list_groups(self) -> list[Ints]:
        """The ways in which votes can be alike: [N] numbers of their groups. Each vote alone, if in none."""
        votes = self.votes
        named = [each for each in (votes.question, votes.annotator) if each is not None]
        alike = [each for each in named if GROUPS <= len(np.unique(each)) < len(each)]
        return alike or [np.arange(len(votes))]

    def gather(self, rest: Floats, weight: Floats, bread: Floats, groups: Ints) -> tuple[Floats, int]:
        """The sum over groups of votes of their gradients' outer products, and the number of groups.

        A group's gradient is what leaving it out would change (the jackknife; of single votes, HC3).
        """
        _, group = np.unique(groups, return_inverse=True)
        number = int(group.max(initial=-1)) + 1
        exact = number < len(group) and number * self.size**2 <= LARGEST and not self.style.shape[1]
        if not exact:
            rest = rest / (1 - np.minimum(weight * self.measure_variance(bread)[self.row], 1 - LEAST))
        rows = np.concatenate([group, group, *[group] * self.style.shape[1]])
        places = [np.full(len(rest), self.count + each) for each in range(self.style.shape[1])]
        columns = np.concatenate([self.votes.first, self.votes.second, *places])
        values = np.concatenate([rest, -rest, *(rest * each for each in self.style.T)])
        sums = coo_array((values, (rows, columns)), shape=(number, self.size)).tocsr()
        if not exact:
            return np.asarray((sums.T @ sums).todense()), number
        one, other = self.votes.first, self.votes.second
        cells = np.concatenate([(group * self.count + a) * self.count + b for a, b in (
            (one, one), (other, other), (one, other), (other, one))])  # fmt: skip
        shares = np.concatenate([weight, weight, -weight, -weight])
        own = np.bincount(cells, shares, number * self.count**2).reshape(number, self.count, self.count)
        left, values, right = np.linalg.svd(np.eye(self.count) - own @ bread)
        turned = np.einsum("gji,gj->gi", left, sums.toarray()) / np.maximum(values, LEAST)
        changed = np.einsum("gij,gi->gj", right, turned)
        return np.asarray(changed.T @ changed), number

    def measure_variance(self, bread: Floats) -> Floats:
        """[rows] the variance of each row's logit."""
        one, other = self.first, self.second
        variance = bread[one, one] + bread[other, other] - 2 * bread[one, other]
        cross = bread[: self.count, self.count :]
        variance = variance + 2 * ((cross[one] - cross[other]) * self.controls).sum(1)
        own = self.controls @ bread[self.count :, self.count :]
        return np.asarray(variance + (own * self.controls).sum(1))


def contrast(covariance: Floats, centre: Floats) -> Floats:
    """Standard errors of the differences from a weighted mean."""
    against = np.eye(len(centre)) - centre
    return np.asarray(np.sqrt(np.maximum(0, np.einsum("ij,jk,ik->i", against, covariance, against))))


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
