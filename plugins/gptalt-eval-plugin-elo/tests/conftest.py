"""Simulated people and judges whose tastes are known."""

from itertools import combinations

import numpy as np
import pytest
from gptalt_eval_plugin_elo.table import FIRST, SECOND, TIE, VoteTable


class World:
    """Questions that models answer; every pair of models on every question is a pair of answers.

    Attributes:
        question, low, high: [U] of each pair of answers.
        doublings: [U] from the length of ``high`` to that of ``low``.
    """

    def __init__(self, seed, questions=60, models=4):
        self.random = np.random.default_rng(seed)
        self.models, self.questions = models, questions
        low, high = np.array(list(combinations(range(models), 2))).T
        self.low, self.high = np.tile(low, questions), np.tile(high, questions)
        self.question = np.repeat(np.arange(questions), len(low))
        self.length = (50 * 2 ** self.random.normal(2, 1, (questions, models))).astype(int)
        self.doublings = np.log2(self.length[self.question, self.low] / self.length[self.question, self.high])
        self.rows = []

    def draw(self, log_odds, ties=0.0):
        """[U] outcomes for ``low``."""
        wins = self.random.random(len(log_odds)) < 1 / (1 + np.exp(-log_odds))
        outcome = np.where(wins, FIRST, SECOND)
        return np.where(self.random.random(len(log_odds)) < ties, TIE, outcome)

    def add(self, annotator, outcome, is_swapped=False, by_judge=False, which=slice(None)):
        """Votes with outcomes for ``low``, which is shown second where they are swapped."""
        outcome, swapped = np.asarray(outcome), np.broadcast_to(is_swapped, np.shape(self.low))[which]
        low, high = self.low[which], self.high[which]
        shown = np.where(swapped & (outcome < TIE), 1 - outcome, outcome)
        first, second = np.where(swapped, high, low), np.where(swapped, low, high)
        same = np.full(len(shown), annotator), np.full(len(shown), by_judge)
        self.rows.append(np.stack([first, second, shown, self.question[which], *same]))

    def judge(self, annotator, outcome, other=None):
        """A judge's votes in both orders; ``outcome`` and ``other`` are those for ``low``."""
        self.add(annotator, outcome, False, by_judge=True)
        self.add(annotator, outcome if other is None else other, True, by_judge=True)

    def poll(self, annotator, outcome, which=slice(None)):
        """A person's votes, each in a random order."""
        self.add(annotator, outcome, self.random.random(len(self.low)) < 0.5, which=which)

    def finish(self, annotators=("anna", "ben", "cleo", "m0"), has_lengths=True):
        first, second, outcome, question, annotator, by_judge = np.concatenate(self.rows, axis=1).astype(
            np.int32
        )
        style = np.full((len(first), 2, 4), -1, np.int32)
        if has_lengths:
            style[:, 0, 0], style[:, 1, 0] = self.length[question, first], self.length[question, second]
        same = np.zeros(len(first), np.int32)
        return VoteTable(
            models=[f"m{number}" for number in range(self.models)],
            questions=[f"q{number}" for number in range(self.questions)],
            annotators=list(annotators), categories=[""], languages=[""], first=first, second=second,
            outcome=outcome.astype(np.int8), question=question, annotator=annotator, category=same,
            language=same, by_judge=by_judge.astype(bool), blind=np.ones(len(first), bool), style=style,
        )  # fmt: skip


@pytest.fixture
def make_world():
    return World
