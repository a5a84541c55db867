"""Compares a few of a run's own answers, in its first full calls, with those of the model alone.

The trials before are short. What depends on how many tokens go through the model in one call shows only in a
full one; then smaller calls are made.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np

from gptalt_eval.scoring.engine import Answer, Engine, Progress
from gptalt_eval.scoring.tree import Query
from gptalt_eval.scoring.trial import Alone

CALL = 128  # tokens in calls that need no check
ROWS = 3  # that are compared at most
TOKENS = 256  # of these rows together, if there is more than one


def score_checked(
    engine: Engine,
    alone: Alone,
    queries: Sequence[Query],
    progress: Callable[[Progress], None],
    known: Collection[int] = (),
) -> Iterator[list[Answer]]:
    """Like ``engine.score``, with a budget with which the first answers are right."""
    while True:
        alone.memory.restore()
        batches = engine.score(queries, progress, known)
        first = next((batch for batch in batches if batch), [])
        if engine.largest <= max(CALL, engine.checked) or is_right(alone, queries, first):
            break
        engine.budget, engine.largest = engine.largest // 2, 0
    engine.checked = max(engine.checked, engine.largest)
    yield first
    yield from batches


def is_right(alone: Alone, queries: Sequence[Query], answers: Sequence[Answer]) -> bool:
    """Whether the model alone gives a few of these answers, among them one from the end of the call."""
    if not answers:
        return True
    last = min(answers[len(answers) // 2 :], key=lambda answer: len(queries[answer.query].inputs))
    chosen, tokens = [last], len(queries[last.query].inputs)
    for answer in sorted(answers, key=lambda answer: len(queries[answer.query].inputs))[: ROWS - 1]:
        tokens += len(queries[answer.query].inputs)
        if tokens <= TOKENS and answer is not last:
            chosen.append(answer)
    expected = [alone.answer(queries[answer.query]) for answer in chosen]
    differences = np.array([answer.logprob for answer in chosen]) - expected
    spread = float(np.std([answer.logprob for answer in answers])) or 1.0
    return bool(np.sqrt(np.mean(differences**2)) <= alone.tolerance * max(1.0, spread))
