"""How often the 95 % intervals of ratings hold the truth, in simulated worlds.

    python plugins/gptalt-eval-plugin-elo/benchmarks/coverage.py [--runs 1000] [--world NAME]

In each world, votes are drawn from known strengths. Some questions suit some models, and some people like
some models better. The truth is what Bradley-Terry would find in endlessly many votes on endlessly many such
questions by endlessly many such people. Prints the table of RESULTS.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from gptalt_eval_plugin_elo.bradley_terry import fit_bradley_terry
from gptalt_eval_plugin_elo.ratings import Comparisons, Floats, Scale
from gptalt_eval_plugin_elo.regression import fit

POINT = np.log(10) / 400  # of Elo's scale, on the natural one
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(41)


@dataclass(frozen=True)
class World:
    """Attributes:
    name: what is special.
    strength: [models] points.
    share: [models] how often each is drawn, relative to the others.
    votes: their number.
    questions, people: their numbers; 0: each vote is on another question, by somebody else.
    by_question, by_person: standard deviation, in points, of what one question or person adds to a strength.
    ties: share of votes that are ties, whoever is compared.
    """

    name: str
    strength: Sequence[float]
    share: Sequence[float]
    votes: int
    questions: int = 0
    people: int = 0
    by_question: float = 0.0
    by_person: float = 0.0
    ties: float = 0.2


EIGHT = (0, 40, 90, 120, 180, 220, 260, 330)
WORLDS = [
    World("uneven numbers of votes", EIGHT, (1, 1, 3, 10, 30, 100, 300, 1000), 10_000),
    World("two newcomers with 8 votes", EIGHT, (1, 60, 60, 60, 60, 60, 60, 1), 1_448),
    World("near-separable pairs", (0, 300, 600, 900, 1200), (1,) * 5, 1_000, ties=0.0),
    World("50 questions", EIGHT, (1,) * 8, 3_000, questions=50, by_question=150),
    World("10 questions", EIGHT, (1,) * 8, 1_000, questions=10, by_question=150),
    World("30 people", EIGHT, (1,) * 8, 3_000, people=30, by_person=100),
    World("80 questions, 20 people", EIGHT, (1,) * 8, 4_000, 80, 20, 120, 80),
    World("the same, uneven, with newcomers", EIGHT, (1, 3, 30, 60, 60, 60, 60, 1), 3_000, 80, 20, 120, 80),
    World("few votes", EIGHT, (1,) * 8, 80),
]  # fmt: skip


def draw_votes(world: World, generator: np.random.Generator) -> Comparisons:
    """Votes in a world; people are busy to different degrees."""
    strength, share = np.array(world.strength), np.array(world.share) / np.sum(world.share)
    count, size = len(strength), world.votes
    first = generator.choice(count, size, p=share)
    second = generator.choice(count, size, p=share)
    while (same := first == second).any():
        first[same] = generator.choice(count, int(same.sum()), p=share)
        second[same] = generator.choice(count, int(same.sum()), p=share)
    question = generator.integers(world.questions, size=size) if world.questions else np.arange(size)
    busy = 1.0 / (1 + np.arange(world.people) % 4)
    person = generator.choice(world.people, size, p=busy / busy.sum()) if world.people else np.arange(size)
    difference = strength[first] - strength[second]
    if world.questions:
        suits = generator.normal(0, world.by_question, (world.questions, count))
        difference = difference + suits[question, first] - suits[question, second]
    if world.people:
        likes = generator.normal(0, world.by_person, (world.people, count))
        difference = difference + likes[person, first] - likes[person, second]
    won = generator.random(size) < 1 / (1 + np.exp(-POINT * difference))
    score = np.where(generator.random(size) < world.ties, 0.5, won)
    return Comparisons([f"model {each}" for each in range(count)], first, second, score, question, person)


def find_truth(world: World) -> Floats:
    """[models] points: Bradley-Terry fitted to the expected numbers of wins."""
    count = len(world.strength)
    share = np.array(world.share, float)
    first, second = np.nonzero(~np.eye(count, dtype=bool))
    spread = np.sqrt(2 * (world.by_question**2 + world.by_person**2))
    points = np.array(world.strength)[first] - np.array(world.strength)[second]
    logit = POINT * (points[:, None] + spread * NODES)
    expected = (1 - world.ties) * (1 / (1 + np.exp(-logit))) @ WEIGHTS / WEIGHTS.sum() + world.ties / 2
    # the order of a pair is a coin's, so the wins of each order hold all that is expected
    weight = share[first] * share[second] * expected / share.sum() ** 2
    votes = Comparisons([""] * count, first, second, np.ones(len(first)))
    return fit(votes, weight, count).place / POINT


@dataclass(frozen=True)
class Coverage:
    """Attributes:
    intervals, ranks: [models] share of simulations in which the 95 % interval held the truth.
    width: [models] the median interval's width, in points.
    rated: [models] share of simulations in which the model had a rating.
    """

    intervals: Floats
    ranks: Floats
    width: Floats
    rated: Floats


def measure_coverage(world: World, runs: int, seed: int = 0) -> Coverage:
    truth = find_truth(world)
    order = 1 + (truth[None, :] > truth[:, None]).sum(1)
    held, ranked, widths, rated = [], [], [], []
    for number in range(runs):
        votes = draw_votes(world, np.random.default_rng((seed, number)))
        found = fit_bradley_terry(votes, Scale(start=0))
        shown = np.bincount(votes.first, minlength=len(truth)) + np.bincount(
            votes.second, minlength=len(truth)
        )
        target = truth - shown @ truth / shown.sum()
        held.append((found.low <= target) & (target <= found.high))
        ranked.append((found.best <= order) & (order <= found.worst))
        widths.append(found.high - found.low)
        rated.append(np.isfinite(found.rating))
    return Coverage(
        np.mean(held, 0), np.mean(ranked, 0), np.median(widths, 0), np.mean(rated, 0)
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--world", default="")
    given = parser.parse_args()
    print("| world | intervals | least and most of the models | ranks | median width | rated |")
    print("|---|---|---|---|---|---|")
    for world in WORLDS:
        if given.world in world.name:
            found = measure_coverage(world, given.runs)
            each = found.intervals * 100
            print(
                f"| {world.name} | {each.mean():.1f} % | {each.min():.1f} to {each.max():.1f} % "
                f"| {found.ranks.mean() * 100:.1f} % | {np.median(found.width):.0f} "
                f"| {found.rated.min() * 100:.0f} % |",
                flush=True,
            )


if __name__ == "__main__":
    main()
