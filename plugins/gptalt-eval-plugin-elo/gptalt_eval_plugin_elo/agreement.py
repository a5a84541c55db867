"""Agreement between annotators."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gptalt_eval import GptaltError
from gptalt_eval_plugin_elo.merging import Outcomes, count_outcomes, number_units
from gptalt_eval_plugin_elo.ratings import Z95, Floats, Ints
from gptalt_eval_plugin_elo.regression import GROUPS
from gptalt_eval_plugin_elo.table import SKIP, VoteTable

RESAMPLES = 1_000
DRAWN = 4_000_000  # numbers that are drawn at once
MOST = 100  # pairs of annotators, and annotators, that are listed: those with the most votes in common


@dataclass(frozen=True)
class Agreement:
    """The agreement between two or all annotators.

    Attributes:
        who: their names, or which votes these are.
        pairs: number of pairs of votes on the same answers.
        tie_discounted: mean of 1 for equal votes, 0.5 if exactly one is a tie, 0 for opposite votes.
        kappa: Cohen's (1960), for two votes on each pair of answers; None for more, or if undefined.
        alpha: Krippendorff's nominal alpha; None if undefined.
    """

    who: str
    pairs: int
    tie_discounted: Estimate
    kappa: Estimate | None
    alpha: Estimate | None


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % interval, by bootstrap over questions; over pairs of answers, if of under ten.

    The ends are nan where there is no interval: of one pair of answers alone, or where nothing varies.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Votes:
    """Votes on answers that several votes are about.

    Attributes:
        unit: [N] which pair of answers, ascending.
        outcome, annotator, question: [N].
    """

    unit: Ints
    outcome: Outcomes
    annotator: Ints
    question: Ints

    def choose(self, which: np.ndarray) -> Votes:
        return Votes(self.unit[which], self.outcome[which], self.annotator[which], self.question[which])


def measure_agreement(table: VoteTable, seed: int = 0) -> list[Agreement]:
    """For all votes, each pair of annotators, each annotator with themselves, and each category.

    Raises:
        GptaltError: nothing was judged twice.
    """
    kept = table.choose(table.outcome != SKIP)
    votes = gather(kept)
    everything = measure_votes("all votes", votes, seed)
    if everything is None:
        raise GptaltError(
            "Nothing was judged twice, so there is no agreement to measure.",
            "Import the votes of a second annotator: gptalt-eval votes import FILE...",
        )
    found = [everything]
    for who, pair in [*pair_up(votes, table.annotators), *repeat(votes, table.annotators)]:
        found.append(measure_votes(who, pair, seed))  # type: ignore[arg-type]  # they have two votes each
    names = sorted((name, number) for number, name in enumerate(table.categories) if name)
    named = [(name, number) for name, number in names if (kept.category == number).any()]
    for name, number in named if len(named) > 1 else ():
        own = measure_votes(name, gather(kept.choose(kept.category == number)), seed)
        found += [own] if own else []
    return found


def gather(table: VoteTable) -> Votes:
    """The votes on answers that several votes are about, those on the same answers in their order."""
    unit, outcome = number_units(table)
    several = np.bincount(unit)[unit] > 1 if len(unit) else np.zeros(0, bool)
    order = np.flatnonzero(several)[np.argsort(unit[several], kind="stable")]
    columns = (each.astype(np.int64) for each in (table.annotator, table.question))
    return Votes(unit, outcome, *columns).choose(order)


def pair_up(votes: Votes, names: Sequence[str]) -> Iterator[tuple[str, Votes]]:
    """The first votes of each two annotators on the answers that both judged."""
    place = rank_names(names)
    order = np.lexsort((np.arange(len(votes.unit)), place[votes.annotator], votes.unit))
    sorted_votes = votes.choose(order)
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(sorted_votes.unit) != 0) | (np.diff(sorted_votes.annotator) != 0)
    own = sorted_votes.choose(new & (place[sorted_votes.annotator] >= 0))
    begin, end = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for distance in range(1, len(own.unit)):
        same = np.flatnonzero(own.unit[:-distance] == own.unit[distance:])
        if not len(same):
            break
        begin.append(same)
        end.append(same + distance)
    one, other = np.concatenate(begin), np.concatenate(end)
    key = place[own.annotator[one]] * len(place) + place[own.annotator[other]]
    for which in split(key):
        both = np.stack([one[which], other[which]], axis=1)
        pair = own.choose(both[np.argsort(both[:, 0])].ravel())
        first, second = (names[number] for number in pair.annotator[:2].tolist())
        yield f"{first} and {second}", pair


def repeat(votes: Votes, names: Sequence[str]) -> Iterator[tuple[str, Votes]]:
    """Each annotator's first two votes on the answers that they judged twice."""
    place = rank_names(names)
    order = np.lexsort((np.arange(len(votes.unit)), place[votes.annotator], votes.unit))
    own = votes.choose(order)
    own = own.choose(place[own.annotator] >= 0)
    new = np.ones(len(own.unit), bool)
    new[1:] = (np.diff(own.unit) != 0) | (np.diff(own.annotator) != 0)
    first = np.flatnonzero(new[:-1] & ~new[1:])
    for which in split(place[own.annotator[first]]):
        pair = own.choose(np.stack([first[which], first[which] + 1], axis=1).ravel())
        yield f"{names[int(pair.annotator[0])]}, twice", pair


def rank_names(names: Sequence[str]) -> Ints:
    """[names] their places in alphabetical order; -1 for the empty one, which is nobody's."""
    place = np.empty(len(names), np.int64)
    place[sorted(range(len(names)), key=lambda number: names[number])] = np.arange(len(names))
    place[[number for number, name in enumerate(names) if not name]] = -1
    return place


def split(key: Ints) -> list[Ints]:
    """The indices of equal keys, by ascending key; only the most frequent keys, if there are many."""
    order = np.argsort(key, kind="stable")
    _, begin, counts = np.unique(key[order], return_index=True, return_counts=True)
    groups = [order[start : start + count] for start, count in zip(begin, counts, strict=True)]
    least = np.sort(counts)[-MOST] if len(counts) > MOST else 0
    return [group for group in groups if len(group) >= least][:MOST]


def measure_votes(who: str, votes: Votes, seed: int) -> Agreement | None:
    """The agreement of votes on the same answers; None if there are none."""
    if not len(votes.unit):
        return None
    _, begin, unit = np.unique(votes.unit, return_index=True, return_inverse=True)
    counts = count_outcomes(unit, votes.outcome).astype(float)
    sizes = counts.sum(1)
    plain = np.einsum("ui,uj->uij", counts, counts) - np.einsum("ui,ij->uij", counts, np.eye(3))
    # Krippendorff's coincidences: a unit's pairs are divided by its number of votes minus one
    parts = [plain, plain / (sizes - 1)[:, None, None]]
    if is_twofold := bool((sizes == 2).all()):
        ordered = np.zeros((len(counts), 9))
        ordered[np.arange(len(counts)), votes.outcome[begin] * 3 + votes.outcome[begin + 1]] = 1
        parts.append(ordered.reshape(-1, 3, 3))
    questions = votes.question[begin]
    groups = questions if len(np.unique(questions)) >= GROUPS else np.arange(len(begin))
    totals = resample(np.stack(parts, axis=1).reshape(len(counts), -1), groups, seed).reshape(
        -1, len(parts), 3, 3
    )
    if len(counts) == 1:
        totals = totals[:1]
    discounted = estimate(discount_ties, totals[:, 0], len(np.unique(groups)))
    assert discounted is not None
    return Agreement(
        who, int(plain.sum()) // 2, discounted,
        estimate(compute_kappa, totals[:, 2]) if is_twofold else None,
        estimate(compute_alpha, totals[:, 1]),
    )  # fmt: skip


def resample(rows: Floats, groups: Ints, seed: int) -> Floats:
    """Sums of rows: of all, and of ``RESAMPLES`` bootstrap samples of their groups.

    Groups with the same sum are drawn together: how often they are drawn is all that matters.

    Args:
        rows: [units, F].
        groups: [units].
        seed: of the samples.

    Returns:
        [1 + samples, F].
    """
    _, group = np.unique(groups, return_inverse=True)
    number = int(group.max()) + 1
    sums = np.stack([np.bincount(group, column, number) for column in rows.T], axis=1)
    kinds, counts = np.unique(sums, axis=0, return_counts=True)
    generator = np.random.default_rng(seed)
    found, block = [sums.sum(0, keepdims=True)], max(1, DRAWN // len(kinds))
    for start in range(0, RESAMPLES, block):
        size = min(block, RESAMPLES - start)
        found.append(generator.multinomial(number, counts / number, size) @ kinds)
    return np.concatenate(found)


def estimate(measure: Callable[[Floats], Floats], tables: Floats, groups: int = 0) -> Estimate | None:
    """A measure of the first table, with its interval from the others; None if undefined.

    Where all samples say the same, they do not tell how certain it is. A share of 0 or 1 then has Wilson's
    interval (1927, Probable inference, the law of succession, and statistical inference), others have none.

    Args:
        measure: of tables.
        tables: [1 + samples, 3, 3].
        groups: number of questions or pairs of answers, if the measure is a share.
    """
    values = measure(tables)
    if np.isnan(values[0]):
        return None
    value = float(values[0])
    low, high = np.nanpercentile(values[1:], (2.5, 97.5)) if len(values) > 1 else (np.nan, np.nan)
    if low == high:
        least = groups / (groups + Z95**2)
        ends = {1.0: (least, 1.0), 0.0: (0.0, 1 - least)} if groups else {}
        low, high = ends.get(value, (np.nan, np.nan))
    return Estimate(value, float(low), float(high))


def discount_ties(tables: Floats) -> Floats:
    """The survey's agreement of [..., 3, 3]: 1 for equal votes, 0.5 for one tie, 0 for opposite votes."""
    worth = np.array([[1, 0, 0.5], [0, 1, 0.5], [0.5, 0.5, 1]])
    return np.asarray((tables * worth).sum((-2, -1)) / tables.sum((-2, -1)))


def compute_kappa(tables: Floats) -> Floats:
    """Cohen (1960), A coefficient of agreement for nominal scales; the rows are the first judge's votes."""
    total = tables.sum((-2, -1))
    observed = np.trace(tables, axis1=-2, axis2=-1) / total
    expected = (tables.sum(-1) * tables.sum(-2)).sum(-1) / total**2
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(expected < 1, (observed - expected) / (1 - expected), np.nan))


def compute_alpha(coincidences: Floats) -> Floats:
    """Krippendorff (2011), Computing Krippendorff's alpha-reliability; nominal."""
    values = coincidences.sum(-1)
    total = values.sum(-1)
    observed = total - np.trace(coincidences, axis1=-2, axis2=-1)
    expected = (total**2 - (values**2).sum(-1)) / (total - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(expected > 0, 1 - observed / expected, np.nan))
