"""Compares an answer of a run's first full call with that of the model alone.

The trials before are short. What depends on how many tokens go through the model in one call shows only in a
full one; then smaller calls are made.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np

from gptalt_eval.scoring.engine import Answer, Engine, Progress
from gptalt_eval.scoring.lengths import list_thresholds
from gptalt_eval.scoring.tree import Query
from gptalt_eval.scoring.trial import Alone

CALL = 128  # tokens in calls that need no check
SHARE = (
    100  # a check costs at most this part of the run, unless the config has a number that makes it suspect
)
ROUNDING = 4  # times the tolerance of a mean: one answer can be rounded worse


def score_checked(
    engine: Engine,
    alone: Alone,
    queries: Sequence[Query],
    progress: Callable[[Progress], None],
    known: Collection[int] = (),
) -> Iterator[list[Answer]]:
    """Like ``engine.score``, with a budget with which an answer of the first full call is right."""
    total = 0

    def tell(current: Progress) -> None:
        nonlocal total
        total = current.total
        progress(current)

    while True:
        alone.memory.restore()
        batches = engine.score(queries, tell, known)
        first = next((batch for batch in batches if batch), [])
        if engine.largest <= max(CALL, engine.checked) or not is_wrong(engine, alone, queries, first, total):
            break
        engine.budget, engine.largest = engine.largest // 2, 0
    engine.checked = max(engine.checked, engine.largest)
    yield first
    yield from batches


def is_wrong(
    engine: Engine, alone: Alone, queries: Sequence[Query], answers: Sequence[Answer], total: int
) -> bool:
    """Whether the model alone gives another answer to a short query from the end of a call."""
    last = answers[len(answers) // 2 :]
    if not last:
        return False
    chosen = min(last, key=lambda answer: len(queries[answer.query].inputs))
    query = queries[chosen.query]
    config = alone.model.config.get_text_config()
    if SHARE * len(query.inputs) > total and not list_thresholds(config, engine.largest):
        return False
    spread = float(np.std([answer.logprob for answer in answers]))
    difference = abs(chosen.logprob - alone.answer(query))
    return not difference <= ROUNDING * alone.tolerance * max(1.0, spread)
