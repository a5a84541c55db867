"""Many votes as columns of numbers: a million of them take some tens of megabytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from gptalt_eval_plugin_elo.votes import Vote

OUTCOMES = {"a": 0, "b": 1, "tie": 2, "skip": 3}
FIRST, SECOND, TIE, SKIP = OUTCOMES.values()
UNKNOWN = (-1, -1, -1, -1)  # the style of an answer of which none is known
Numbers = npt.NDArray[np.int32]


@dataclass(frozen=True)
class VoteTable:
    """Votes in their order; each name stands once, and the columns hold its number.

    Attributes:
        models, questions, annotators, categories, languages: the names, in the order of their first votes.
        first, second: [N] the models.
        outcome: [N] ``FIRST``, ``SECOND``, ``TIE`` or ``SKIP``.
        question, annotator, category, language: [N].
        by_judge: [N] whether a model judged, and not a person.
        blind: [N] whether the models' names were hidden.
        style: [N, 2, 4] the two answers' ``Style``; -1: unknown.
    """

    models: Sequence[str]
    questions: Sequence[str]
    annotators: Sequence[str]
    categories: Sequence[str]
    languages: Sequence[str]
    first: Numbers
    second: Numbers
    outcome: npt.NDArray[np.int8]
    question: Numbers
    annotator: Numbers
    category: Numbers
    language: Numbers
    by_judge: npt.NDArray[np.bool_]
    blind: npt.NDArray[np.bool_]
    style: Numbers

    def __len__(self) -> int:
        return len(self.outcome)

    def choose(self, which: npt.NDArray[Any]) -> VoteTable:
        """The votes of a mask or of indices; the names stay as they are."""
        columns = [each.name for each in fields(self) if isinstance(getattr(self, each.name), np.ndarray)]
        return replace(self, **{name: getattr(self, name)[which] for name in columns})


class Names:
    """Numbers names in the order in which they come."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def number(self, name: str) -> int:
        return self.numbers.setdefault(name, len(self.numbers))


def gather_votes(votes: Iterable[Vote]) -> VoteTable:
    """Put votes into columns, one by one, so that a file need not fit into memory as objects."""
    names = {each: Names() for each in ("model", "question", "annotator", "category", "language")}
    number = {each: column.number for each, column in names.items()}
    rows = (
        (
            number["model"](vote.model_a), number["model"](vote.model_b), OUTCOMES[vote.winner],
            number["question"](vote.question), number["annotator"](vote.annotator),
            number["category"](vote.category), number["language"](vote.language),
            vote.kind == "judge", vote.blind, *(vote.style_a or UNKNOWN), *(vote.style_b or UNKNOWN),
        )
        for vote in votes
    )  # fmt: skip
    table: npt.NDArray[Any] = np.fromiter(rows, dtype=np.dtype((np.int32, 17)))
    columns = [np.ascontiguousarray(table[:, place]) for place in range(9)]
    first, second, outcome, question, annotator, category, language, by_judge, blind = columns
    questions = split_languages(names["question"], question, names["language"], language)
    return VoteTable(
        models=list(names["model"].numbers), questions=questions,
        annotators=list(names["annotator"].numbers), categories=list(names["category"].numbers),
        languages=list(names["language"].numbers),
        first=first, second=second, outcome=outcome.astype(np.int8), question=question, annotator=annotator,
        category=category, language=language, by_judge=by_judge.astype(bool), blind=blind.astype(bool),
        style=table[:, 9:].reshape(-1, 2, 4).copy(),
    )  # fmt: skip


def split_languages(questions: Names, question: Numbers, languages: Names, language: Numbers) -> list[str]:
    """The questions' names; those with votes in several languages are one for each.

    Args:
        questions, languages: the names.
        question, language: [N] their numbers; those of these questions change.
    """
    names, spoken = list(questions.numbers), list(languages.numbers)
    said = (language != languages.numbers.get("", -1)) & (question != questions.numbers.get("", -1))
    keys = np.unique(question[said].astype(np.int64) * len(spoken) + language[said])
    several = np.bincount(keys // max(1, len(spoken)), minlength=len(names)) > 1
    split = np.flatnonzero(said & several[question])
    keys, place = np.unique(
        question[split].astype(np.int64) * len(spoken) + language[split], return_inverse=True
    )
    numbers = [
        questions.number(f"{names[key // len(spoken)]}\0{spoken[key % len(spoken)]}") for key in keys.tolist()
    ]
    question[split] = np.array(numbers, np.int32)[place]
    return list(questions.numbers)
