"""Agreement between judges, and merging several votes into one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from gptalt_eval import GptaltError
from gptalt_eval_plugin_elo.votes import Vote

Floats = npt.NDArray[np.float64]
OUTCOMES = {"a": 0, "b": 1, "tie": 2}
RESAMPLES = 1_000
Unit = tuple[str, str, str]  # question, and the two models in the order of their names


@dataclass(frozen=True)
class Agreement:
    """The agreement between two or all judges.

    Attributes:
        who: their names, or which votes these are.
        pairs: number of pairs of votes on the same answers.
        tie_discounted: mean of 1 for equal votes, 0.5 if exactly one is a tie, 0 for opposite votes.
        kappa: Cohen's (1960), for two judges; None for more judges, or if undefined.
        alpha: Krippendorff's nominal alpha; None if undefined.
    """

    who: str
    pairs: int
    tie_discounted: Estimate
    kappa: Estimate | None
    alpha: Estimate | None


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % interval, by bootstrap over the judged pairs of answers."""

    value: float
    low: float
    high: float


def find_unit(vote: Vote) -> Unit:
    return (vote.question, *sorted((vote.model_a, vote.model_b)))  # type: ignore[return-value]


def orient(vote: Vote) -> int:
    """The outcome for models in the order of their names: 0 the first won, 1 the second, 2 a tie."""
    outcome = OUTCOMES[vote.winner]
    return 1 - outcome if outcome < 2 and vote.model_a > vote.model_b else outcome


def gather(votes: Iterable[Vote]) -> dict[Unit, list[tuple[str, int]]]:
    """By judged pair of answers: (annotator, outcome) of each vote, without skipped ones."""
    judged: dict[Unit, list[tuple[str, int]]] = defaultdict(list)
    for vote in votes:
        if vote.winner != "skip":
            judged[find_unit(vote)].append((vote.annotator, orient(vote)))
    return judged


def measure_agreement(votes: Sequence[Vote], seed: int = 0) -> list[Agreement]:
    """For all votes, each pair of annotators, each annotator with themselves, and each category.

    Raises:
        GptaltError: nothing was judged twice.
    """
    everything = gather(votes)
    found = [measure_units("all votes", [[o for _, o in each] for each in everything.values()], seed)]
    if found[0] is None:
        raise GptaltError(
            "Nothing was judged twice, so there is no agreement to measure.",
            "Import the votes of a second annotator: gptalt-eval votes import FILE...",
        )
    names = sorted({name for each in everything.values() for name, _ in each})
    for first, second in combinations(names, 2):
        found.append(measure_units(f"{first} and {second}", pair_up(everything, first, second), seed))
    for name in names:
        found.append(measure_units(f"{name}, twice", repeat(everything, name), seed))
    categories = sorted({vote.category for vote in votes if vote.category})
    for category in categories if len(categories) > 1 else ():
        units = gather(vote for vote in votes if vote.category == category)
        found.append(measure_units(category, [[o for _, o in each] for each in units.values()], seed))
    return [each for each in found if each is not None]


def pair_up(judged: Mapping[Unit, Sequence[tuple[str, int]]], first: str, second: str) -> list[list[int]]:
    """The first votes of two annotators on the pairs that both judged."""
    pairs = []
    for votes in judged.values():
        by_name: dict[str, int] = {}
        for name, outcome in votes:
            by_name.setdefault(name, outcome)
        if first in by_name and second in by_name:
            pairs.append([by_name[first], by_name[second]])
    return pairs


def repeat(judged: Mapping[Unit, Sequence[tuple[str, int]]], name: str) -> list[list[int]]:
    """One annotator's first two votes on pairs that they judged twice; none without a name."""
    own = [[outcome for who, outcome in votes if who == name] for votes in judged.values()]
    return [votes[:2] for votes in own if len(votes) > 1] if name else []


def measure_units(who: str, units: Sequence[Sequence[int]], seed: int) -> Agreement | None:
    """The agreement of votes on the same units; None if no unit has two votes."""
    several = [unit for unit in units if len(unit) > 1]
    if not several:
        return None
    tables = np.array([count_pairs(unit) for unit in several])  # [units, 3, 3], of ordered pairs of votes
    sizes = np.array([len(unit) for unit in several], dtype=float)
    generator = np.random.default_rng(seed)
    weights = generator.multinomial(len(several), np.full(len(several), 1 / len(several)), RESAMPLES)
    weights = np.concatenate([np.ones((1, len(several)), dtype=weights.dtype), weights])
    plain = np.tensordot(weights, tables, 1)  # [1 + resamples, 3, 3]
    # Krippendorff's coincidences: a unit's pairs are divided by its number of votes minus one
    coincidences = np.tensordot(weights, tables / (sizes - 1)[:, None, None], 1)
    kappa = None
    if all(len(unit) == 2 for unit in several):
        ordered = np.zeros((len(several), 3, 3))
        for number, (first, second) in enumerate(several):
            ordered[number, first, second] = 1
        kappa = estimate(compute_kappa, np.tensordot(weights, ordered, 1))
    return Agreement(
        who,
        int(tables.sum()) // 2,
        estimate(discount_ties, plain),  # type: ignore[arg-type]
        kappa,
        estimate(compute_alpha, coincidences),
    )


def count_pairs(outcomes: Sequence[int]) -> Floats:
    """Ordered pairs of different votes, by their outcomes: [3, 3]."""
    counts = np.bincount(outcomes, minlength=3).astype(float)
    return np.outer(counts, counts) - np.diag(counts)


def estimate(measure: Callable[[Floats], Floats], tables: Floats) -> Estimate | None:
    """A measure of the first table, with its interval from the others; None if undefined."""
    values = measure(tables)
    if np.isnan(values[0]):
        return None
    low, high = np.nanpercentile(values[1:], (2.5, 97.5))
    return Estimate(float(values[0]), float(low), float(high))


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


def merge_votes(votes: Iterable[Vote], rule: str) -> list[Vote]:
    """Merge the votes on the same answers into one, at the place of the first; skipped ones are dropped.

    Args:
        votes: the votes, in order.
        rule: ``survey``: two equal votes are kept, a tie yields to the other vote, opposite votes are a tie;
            of more than two, the side with more votes wins. ``majority``: the outcome of more than half of
            the votes, else a tie. ``all``: no merging.
    """
    kept = [vote for vote in votes if vote.winner != "skip"]
    if rule == "all":
        return kept
    groups: dict[Unit, list[Vote]] = {}
    for vote in kept:
        groups.setdefault(find_unit(vote), []).append(vote)
    return [MERGES[rule](group) for group in groups.values()]


def merge_as_survey(votes: Sequence[Vote]) -> Vote:
    balance = sum((1, -1, 0)[orient(vote)] for vote in votes)
    return settle(votes, 2 if balance == 0 else int(balance < 0))


def merge_by_majority(votes: Sequence[Vote]) -> Vote:
    outcome, count = Counter(map(orient, votes)).most_common(1)[0]
    return settle(votes, outcome if 2 * count > len(votes) else 2)


def settle(votes: Sequence[Vote], outcome: int) -> Vote:
    first = votes[0]
    if outcome < 2 and first.model_a > first.model_b:
        outcome = 1 - outcome
    annotator = first.annotator if len(votes) == 1 else ""
    return first._replace(winner=("a", "b", "tie")[outcome], annotator=annotator)


MERGES: Mapping[str, Callable[[Sequence[Vote]], Vote]] = {
    "survey": merge_as_survey,
    "majority": merge_by_majority,
}
