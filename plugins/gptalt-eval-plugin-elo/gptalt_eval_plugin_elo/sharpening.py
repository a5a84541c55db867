"""People's ratings, sharpened by a judge's verdicts as far as the judge agrees with them.

Prediction-powered inference (Angelopoulos et al. 2023, Prediction-powered inference) with the weight of least
variance (Angelopoulos, Duchi and Zrnic 2023, PPI++: Efficient prediction-powered inference), within strata
(Fisch et al. 2024, Stratified prediction-powered inference). What the judge says about all answers is added
to the people's equation, and what it says about those that people judged too is subtracted. Within a stratum,
a pair of models in one language, both have the same expectation: a biased judge shifts nothing, whichever
pairs people chose.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gptalt_eval_plugin_elo.agreement import Estimate
from gptalt_eval_plugin_elo.bradley_terry import find_rated
from gptalt_eval_plugin_elo.estimation import (
    Fit,
    Floats,
    Indices,
    find_quantile,
    fit_strengths,
    spread_over_models,
)
from gptalt_eval_plugin_elo.ratings import Scale, number_table
from gptalt_eval_plugin_elo.table import FIRST, SKIP, TIE, VoteTable
from gptalt_eval_plugin_elo.units import Units, find_units, gather_units, number_units

SURE = 1.959963984540054  # how many standard errors above 0 a weight must be
FEWEST = 10  # questions with people's votes, below which their variance is not known well enough


@dataclass(frozen=True)
class Sharpened:
    """Bradley-Terry ratings of people, without and with a judge, on the scale of ``fit_bradley_terry``.

    Attributes:
        judge: its name.
        weight: of its verdicts, from 0 (they say nothing about people's votes) to 1.
        votes: people's votes.
        judged: pairs of answers that the judge compared, on pairs of models that people judged.
        shared: people's votes on these answers.
        models: in the order of their numbers.
        people, sharpened: by model.
    """

    judge: str
    weight: float
    votes: int
    judged: int
    shared: int
    models: Sequence[str]
    people: Sequence[Estimate]
    sharpened: Sequence[Estimate]

    @property
    def gain(self) -> float:
        """How many times as many people's votes would give intervals as short as these."""
        widths = [[each.high - each.low for each in column] for column in (self.people, self.sharpened)]
        before, after = (sum(width**2 for width in column) for column in widths)
        return before / after if after else math.nan


@dataclass(frozen=True)
class Labels:
    """People's votes beside a judge's verdicts on the same pairs of answers.

    Attributes:
        models, clusters: the numbers of models and of questions.
        first, second, score, cluster: [N] people's votes: models, the first one's score, question.
        surprise: [N] the judge's score minus its mean in the stratum; 0: the judge has no verdict on it.
        shared: the number of people's votes on which the judge has a verdict.
        low, high, spread, question: [U] what the judge compared, in strata with people's votes: models; its
            score minus the mean, times people's votes for each of its verdicts in the stratum; question.
    """

    models: int
    clusters: int
    first: Indices
    second: Indices
    score: Floats
    cluster: Indices
    surprise: Floats
    shared: int
    low: Indices
    high: Indices
    spread: Floats
    question: Indices

    def fit(self, weight: float) -> Fit | None:
        """The strengths if the judge has a weight, with the influence of questions on them."""
        found = fit_strengths(
            self.first, self.second, self.score - weight * self.surprise, self.cluster, self.models,
            self.clusters,
        )  # fmt: skip
        if found is None:
            return None
        rest = spread_over_models(
            self.low, self.high, weight * self.spread, self.question, self.models, self.clusters
        )
        return Fit(found.values, found.influence + rest @ found.inverse, found.inverse)

    def choose_weight(self, alone: Fit) -> float:
        """The weight of the least total variance; 0 unless it is significantly above.

        Args:
            alone: the fit with weight 0.
        """
        rectifier = spread_over_models(
            self.first, self.second, self.surprise, self.cluster, self.models, self.clusters
        ) - spread_over_models(self.low, self.high, self.spread, self.question, self.models, self.clusters)
        moved = rectifier @ alone.inverse
        total = float((moved**2).sum())
        if total < 1e-12:  # people judged all that the judge did
            return 0.0
        weight = float((alone.influence * moved).sum()) / total
        doubt = math.sqrt(float(((moved * (alone.influence - weight * moved)).sum(1) ** 2).sum())) / total
        return min(1.0, weight) if weight > SURE * doubt else 0.0


def fit_with_judges(table: VoteTable, scale: Scale | None = None) -> list[Sharpened]:
    """People's ratings with each judge's help, for the largest set of models that people's votes can rate.

    Args:
        table: votes of people and judges.
        scale: of the ratings.

    Returns:
        one for each judge; none where the judge compared nothing, or people's votes are on fewer than ten
        questions or determine no ratings.
    """
    if not table.by_judge.any():
        return []
    people = table.choose(~table.by_judge & (table.outcome != SKIP))
    score = np.select([people.outcome == FIRST, people.outcome == TIE], [1.0, 0.5], 0.0)
    names = find_rated(number_table(people))
    place = np.full(len(table.models), -1)
    place[names] = np.arange(len(names))
    found = []
    for judge in np.unique(table.annotator[table.by_judge]).tolist():
        units = gather_units(table.choose(table.by_judge & (table.annotator == judge)))
        labels = label(people, score, units.choose(units.verdict >= 0), find_languages(table), place)
        if labels is not None:
            each = sharpen(table.annotators[judge], labels, [table.models[name] for name in names], scale)
            found += [each] if each else []
    return found


def find_languages(table: VoteTable) -> Indices:
    """[questions] the language of each."""
    found = np.zeros(len(table.questions), np.int64)
    named = np.array([bool(name) for name in table.languages], bool)[table.language]
    found[table.question[named]] = 1 + table.language[named]
    return found


def label(
    people: VoteTable, score: Floats, judged: Units, language: Indices, place: Indices
) -> Labels | None:
    """People's votes on the models that have a place, beside a judge's; None: there are too few."""
    inside = (place[people.first] >= 0) & (place[people.second] >= 0)
    people, score = people.choose(inside), score[inside]
    judged = judged.choose((place[judged.low] >= 0) & (place[judged.high] >= 0))
    if not len(judged) or len(np.unique(people.question)) < FEWEST:
        return None
    count = len(place)
    names, stratum = np.unique(
        (judged.low * count + judged.high) * (1 + language.max()) + language[judged.question],
        return_inverse=True,
    )
    sizes = np.bincount(stratum)
    mean = np.bincount(stratum, judged.score) / sizes
    at = find_units(judged, number_units(people))
    shared, low_first = at >= 0, people.first < people.second
    surprise = np.where(shared, (judged.score - mean[stratum])[at], 0.0) * np.where(low_first, 1.0, -1.0)
    votes = np.bincount(stratum[at[shared]], minlength=len(names))
    used = votes[stratum] > 0
    judged, stratum = judged.choose(used), stratum[used]
    _, cluster = np.unique(np.concatenate([people.question, judged.question]), return_inverse=True)
    return Labels(
        int(place.max()) + 1, int(cluster.max()) + 1, place[people.first], place[people.second], score,
        cluster[: len(people)], surprise, int(shared.sum()), place[judged.low], place[judged.high],
        (judged.score - mean[stratum]) * (votes / sizes)[stratum], cluster[len(people) :],
    )  # fmt: skip


def sharpen(judge: str, labels: Labels, models: Sequence[str], scale: Scale | None) -> Sharpened | None:
    """The ratings without and with a judge; None: there are no finite ones."""
    alone = labels.fit(0.0)
    if alone is None:
        return None
    weight = labels.choose_weight(alone)
    helped = labels.fit(weight) if weight else alone
    if helped is None:  # people's few votes and what was subtracted leave no finite ratings
        weight, helped = 0.0, alone
    held = np.bincount(np.concatenate([labels.first, labels.second]), minlength=labels.models)
    questions, scale = len(np.unique(labels.cluster)), scale or Scale()
    rated = [rate(fit, held / held.sum(), questions, scale) for fit in (alone, helped)]
    return Sharpened(
        judge, weight, len(labels.score), len(labels.spread), labels.shared, models,
        *rated,
    )  # fmt: skip


def rate(fit: Fit, centre: Floats, questions: int, scale: Scale) -> list[Estimate]:
    """The ratings of a fit to votes on so many questions, with 95 % intervals.

    Args:
        fit: the strengths.
        centre: [models] the weights with which their mean is the initial rating.
        questions: their number.
        scale: of the ratings.
    """
    points = scale.width / math.log(10)
    influence = fit.influence - (fit.influence @ centre)[:, None]
    errors = np.sqrt((influence**2).sum(0) * questions / (questions - 1))
    reach = find_quantile(questions) * errors * points
    values = scale.start + (fit.values - centre @ fit.values) * points
    return [
        Estimate(value, value - far, value + far)
        for value, far in zip(values.tolist(), reach.tolist(), strict=True)
    ]
