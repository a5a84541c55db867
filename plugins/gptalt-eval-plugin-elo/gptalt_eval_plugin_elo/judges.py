"""How far models that judge agree with people, and what sways them: order, length, their own answers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gptalt_eval_plugin_elo.agreement import Estimate, compute_kappa, discount_ties
from gptalt_eval_plugin_elo.estimation import (
    Fit,
    Floats,
    Indices,
    fit_slope,
    fit_strengths,
    jackknife,
    jackknife_share,
    make_estimate,
)
from gptalt_eval_plugin_elo.table import SKIP, VoteTable
from gptalt_eval_plugin_elo.units import TIE, Units, find_units, gather_units, number_units

POINTS = 400 / math.log(10)  # Elo points of one unit of log-odds


@dataclass(frozen=True)
class Swayed:
    """How much something sways a judge and people, on the same answers.

    Attributes:
        judge, people: each by itself.
        difference: the judge minus people, with its interval.
    """

    judge: float
    people: float
    difference: Estimate


@dataclass(frozen=True)
class JudgeReport:
    """A judge beside people. All intervals treat the votes on one question as dependent; nan: unknown.

    Attributes:
        judge: its name.
        verdicts: its votes that say something; ``without``: those that do not.
        comparisons: pairs of answers with verdicts in both orders.
        flipped: of these, how many prefer what is in the same place in both.
        ties: of these, how many are ties, those that flipped among them.
        shared: pairs of answers that people judged too. All below, except ``first_shown``, is about these.
        agreement, kappa: of the judge's merged verdict with each person's vote; tie-discounted, and Cohen's.
        people_agreement, people_kappa: of two people; None: no two judged the same.
        first_shown: share of verdicts for the first answer shown minus the share for the second.
        longer: share of wins, ties half, of the longer answer.
        length: log-odds for an answer that is twice as long.
        own: rating, in Elo points, of the model with the judge's name above the mean of the others.
    """

    judge: str
    verdicts: int
    without: int
    comparisons: int
    flipped: int
    ties: int
    shared: int
    agreement: Estimate | None
    kappa: Estimate | None
    people_agreement: Estimate | None
    people_kappa: Estimate | None
    first_shown: Estimate | None
    longer: Swayed | None
    length: Swayed | None
    own: Swayed | None


def measure_judges(table: VoteTable) -> list[JudgeReport]:
    """A report on each judge, by name.

    Args:
        table: votes of people and judges.
    """
    if not table.by_judge.any():
        return []
    people = table.choose(~table.by_judge & (table.outcome != SKIP))
    lengths = find_lengths(table)
    numbers = np.unique(table.annotator[table.by_judge]).tolist()
    return [
        measure_judge(table, number, people, lengths)
        for number in sorted(numbers, key=lambda number: table.annotators[number])
    ]


def measure_judge(table: VoteTable, number: int, people: VoteTable, lengths: Floats) -> JudgeReport:
    units = gather_units(table.choose(table.by_judge & (table.annotator == number)))
    both = units.choose(units.is_both)
    judged = units.choose(units.verdict >= 0)
    at = find_units(judged, number_units(people))
    people, at = people.choose(at >= 0), at[at >= 0]
    given = gather_units(people)
    shared = judged.choose(np.unique(at))  # the same pairs of answers as in given, in the same order
    tables, among = compare_with_people(people, at, judged), compare_people(people)
    name = table.annotators[number]
    doublings = compare_lengths(shared, lengths, len(table.models))
    return JudgeReport(
        name, int(units.votes.sum()), int(units.without.sum()), len(both),
        int((both.balance.prod(1) < 0).sum()), int((both.verdict == TIE).sum()), len(shared),
        jackknife_share(tables, discount_ties), jackknife(tables, compute_kappa, most=1.0),
        jackknife_share(among, discount_ties), jackknife(among, compute_kappa, most=1.0),
        measure_first_shown(both), measure_longer(shared, given, doublings),
        measure_length(shared, given, doublings),
        measure_own(shared, given, table.models.index(name)) if name in table.models else None,
    )  # fmt: skip


def find_lengths(table: VoteTable) -> Floats:
    """[questions x models] characters of each answer; nan: unknown."""
    found = np.full(len(table.questions) * len(table.models), np.nan)
    for side, models in enumerate((table.first, table.second)):
        known = table.style[:, side, 0] >= 0
        key = table.question.astype(np.int64) * len(table.models) + models
        found[key[known]] = table.style[known, side, 0]
    return found


def count_cells(cluster: Indices, first: Indices, second: Indices) -> Floats:
    """[clusters, 3, 3] how often two outcomes meet."""
    _, cluster = np.unique(cluster, return_inverse=True)
    size = (int(cluster.max()) + 1 if len(cluster) else 0) * 9
    found = np.bincount(cluster * 9 + first * 3 + second, minlength=size)
    return found.astype(float).reshape(-1, 3, 3)


def orient(votes: VoteTable) -> Indices:
    """[N] the outcome for the model with the lower number."""
    outcome = votes.outcome.astype(np.int64)
    return np.where((outcome < TIE) & (votes.first > votes.second), 1 - outcome, outcome)


def compare_with_people(people: VoteTable, at: Indices, judged: Units) -> Floats:
    """[questions, 3, 3] the judge's verdicts against people's votes."""
    return count_cells(people.question.astype(np.int64), judged.verdict[at], orient(people))


def compare_people(people: VoteTable) -> Floats:
    """[questions, 3, 3] votes of two people on the same answers; of each person, the first one counts."""
    keys, place = np.unique(number_units(people), return_inverse=True)
    annotator = people.annotator.astype(np.int64)
    nameless = np.array([not name for name in people.annotators], bool)[annotator]
    size = len(people.annotators) + len(people)
    # without a name, each could be somebody else
    annotator = np.where(nameless, len(people.annotators) + np.arange(len(people)), annotator)
    first = np.unique(place * size + annotator, return_index=True)[1]
    unit = place[first]
    counts = np.bincount(unit * 3 + orient(people)[first], minlength=3 * len(keys))
    by_unit = counts.reshape(-1, 3).astype(float)
    pairs = by_unit[:, :, None] * by_unit[:, None, :] - by_unit[:, :, None] * np.eye(3)
    questions, cluster = np.unique(keys // len(people.models) ** 2, return_inverse=True)
    found = np.zeros((len(questions), 3, 3))
    np.add.at(found, cluster, pairs)
    return found


def measure_first_shown(both: Units) -> Estimate | None:
    """The share of verdicts for the first answer minus that for the second; each pair has both orders."""
    value = (both.mean[:, 0] - both.mean[:, 1]) / 2
    _, cluster = np.unique(both.question, return_inverse=True)
    sums = np.stack([np.bincount(cluster, weight) for weight in (value, np.ones(len(both)))], axis=1)
    return jackknife_share(sums, lambda each: each[:, 0] / each[:, 1], least=-1.0)


def compare_lengths(judge: Units, lengths: Floats, models: int) -> Floats:
    """[U] doublings from one answer's length to the other's; 0: they are equal or unknown."""
    low, high = lengths[judge.question * models + judge.low], lengths[judge.question * models + judge.high]
    return np.asarray(np.nan_to_num(np.log2(np.maximum(low, 1) / np.maximum(high, 1))))


def measure_longer(judge: Units, people: Units, doublings: Floats) -> Swayed | None:
    """The share of wins, ties half, of the longer of two answers."""
    side = np.sign(doublings)
    if not side.any():
        return None
    of_judge, of_people = (0.5 + side * (each.score - 0.5) for each in (judge, people))
    _, cluster = np.unique(judge.question, return_inverse=True)
    sums = np.stack([np.bincount(cluster, weight) for weight in (of_judge - of_people, side**2)], axis=1)
    difference = jackknife(sums, lambda each: each[:, 0] / each[:, 1])
    if difference is None:
        return None
    return Swayed(float(of_judge[side != 0].mean()), float(of_people[side != 0].mean()), difference)


def measure_length(judge: Units, people: Units, doublings: Floats) -> Swayed | None:
    """The log-odds for an answer of twice the length; None: either has no finite ones."""
    questions, cluster = np.unique(judge.question, return_inverse=True)
    of_judge = fit_slope(doublings, judge.score, cluster, len(questions))
    of_people = fit_slope(doublings, people.score, cluster, len(questions))
    return subtract(of_judge, of_people, 0) if of_judge and of_people else None


def measure_own(judge: Units, people: Units, own: int) -> Swayed | None:
    """The rating of one model, above the mean of those that votes connect with it, by a judge and by people.

    None: it has no finite rating from one of them, or was compared with none.
    """
    connected = find_connected(judge, own)
    judge, people = judge.choose(connected), people.choose(connected)
    names, place = np.unique(np.concatenate([judge.low, judge.high]), return_inverse=True)
    if own not in names:
        return None
    low, high = place[: len(judge)], place[len(judge) :]
    questions, cluster = np.unique(judge.question, return_inverse=True)
    size = (len(names), len(questions))
    of_judge = fit_strengths(low, high, judge.score, cluster, *size)
    of_people = fit_strengths(low, high, people.score, cluster, *size)
    at = int(np.searchsorted(names, own))
    unit = POINTS * len(names) / (len(names) - 1)  # the mean of all is 0
    return subtract(of_judge, of_people, at, unit) if of_judge and of_people else None


def find_connected(units: Units, model: int) -> npt.NDArray[np.bool_]:
    """[U] which pairs of answers are by models that comparisons connect with one."""
    reached = np.zeros(1 + max(model, int(units.high.max(initial=0))), bool)
    reached[model] = True
    count = 0
    while count < (count := int(reached.sum())):
        touched = reached[units.low] | reached[units.high]
        reached[units.low[touched]] = reached[units.high[touched]] = True
    return np.asarray(reached[units.low])


def subtract(judge: Fit, people: Fit, at: int, unit: float = 1.0) -> Swayed:
    """One of the values of two fits to votes on the same questions."""
    first, second = unit * float(judge.values[at]), unit * float(people.values[at])
    influence = unit * (judge.influence[:, at] - people.influence[:, at])
    return Swayed(first, second, make_estimate(first - second, influence))
