"""Votes on the same two answers, and how several become one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from gptalt_eval_plugin_elo.ratings import Ints, separate_nameless
from gptalt_eval_plugin_elo.table import FIRST, SECOND, SKIP, TIE, VoteTable

Outcomes = npt.NDArray[np.int8]


def number_units(table: VoteTable) -> tuple[Ints, Outcomes]:
    """Which pair of answers each vote is about, and its outcome for models in the order of their names.

    Votes without a question are about answers of their own.

    Returns:
        [N] the pairs' numbers, and [N] outcomes: ``FIRST`` if the model with the earlier name won.
    """
    count = len(table.models)
    first, second = table.first.astype(np.int64), table.second.astype(np.int64)
    low, high = np.minimum(first, second), np.maximum(first, second)
    question = separate_nameless(table.question, table.questions)
    _, unit = np.unique((question * count + low) * count + high, return_inverse=True)
    return unit.astype(np.int64), turn(table.outcome, is_turned(table))


def is_turned(table: VoteTable) -> npt.NDArray[np.bool_]:
    """[N] whether the first model's name comes after the second's."""
    place = np.empty(len(table.models), np.int64)
    place[sorted(range(len(place)), key=lambda number: table.models[number])] = np.arange(len(place))
    return np.asarray(place[table.first] > place[table.second])


def turn(outcome: Outcomes, turned: npt.NDArray[np.bool_]) -> Outcomes:
    """Outcomes seen from the other side, where they are turned."""
    return np.where(turned & (outcome < TIE), 1 - outcome, outcome).astype(np.int8)


def count_outcomes(unit: Ints, outcome: Outcomes) -> Ints:
    """[units, 3] how many votes on each pair of answers have each outcome."""
    number = int(unit.max(initial=-1)) + 1
    return np.bincount(unit * 3 + outcome, minlength=3 * number).reshape(number, 3)


def merge_votes(table: VoteTable, rule: str) -> VoteTable:
    """Merge the votes on the same answers into one, at the place of the first; skipped ones are dropped.

    Args:
        table: the votes.
        rule: ``survey``: two equal votes are kept, a tie yields to the other vote, opposite votes are a tie;
            of more than two, the side with more votes wins. ``majority``: the outcome of more than half of
            the votes, else a tie. ``all``: no merging.
    """
    kept = table.choose(table.outcome != SKIP)
    if rule == "all" or not len(kept):
        return kept
    unit, outcome = number_units(kept)
    counts = count_outcomes(unit, outcome)
    _, first = np.unique(unit, return_index=True)
    order = np.argsort(first)
    merged, settled = kept.choose(first[order]), MERGES[rule](counts)[order]
    names = list(kept.annotators)
    nobody = names.index("") if "" in names else len(names)
    several = counts.sum(1)[order] > 1
    return replace(
        merged,
        outcome=turn(settled, is_turned(merged)),
        annotators=names if nobody < len(names) else [*names, ""],
        annotator=np.where(several, nobody, merged.annotator).astype(np.int32),
    )


def merge_as_survey(counts: Ints) -> Outcomes:
    balance = counts[:, FIRST] - counts[:, SECOND]
    return np.select([balance > 0, balance < 0], [FIRST, SECOND], TIE).astype(np.int8)


def merge_by_majority(counts: Ints) -> Outcomes:
    decided = 2 * counts > counts.sum(1, keepdims=True)
    return np.where(decided.any(1), decided.argmax(1), TIE).astype(np.int8)


MERGES: Mapping[str, Callable[[Ints], Outcomes]] = {
    "survey": merge_as_survey,
    "majority": merge_by_majority,
}
