"""The survey's files: a CSV of answers, and a JSON of each annotator that refers to it by number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gptalt_eval_plugin_elo.formats.values import has, make_word, shorten
from gptalt_eval_plugin_elo.votes import Vote, VoteFormat


@dataclass(frozen=True)
class Answers:
    """The survey's table of answers, which gives models and questions their numbers.

    Attributes:
        models: by number.
        questions, categories: by row.
    """

    models: Sequence[str]
    questions: Sequence[str]
    categories: Sequence[str]


def is_survey(record: Mapping[str, Any]) -> bool:
    return has("que_idx", "que_rec")(record)


RECORDED = {1: "a", -1: "b", -2: "tie", 0: "skip"}


def make_survey_format(answers: Answers, annotator: str) -> VoteFormat:
    """One annotator's file: ``que_idx`` contains (question, model, model), ``que_rec`` the votes."""

    def convert(record: Mapping[str, Any]) -> Iterator[Vote | ValueError]:
        asked, given = record["que_idx"], record["que_rec"]
        if not isinstance(asked, list) or not isinstance(given, list):
            raise ValueError("'que_idx' and 'que_rec' are not lists")
        if len(asked) != len(given):
            yield ValueError(f"'que_idx' has {len(asked)} entries, but 'que_rec' has {len(given)}")
        for number, (indices, recorded) in enumerate(zip(asked, given, strict=False)):
            try:
                yield read_entry(answers, annotator, indices, recorded)
            except ValueError as error:
                yield ValueError(f"entry {number}: {error}")

    return VoteFormat(
        "survey", "the survey's: a CSV of answers, a JSON of each annotator", is_survey, convert
    )


def read_entry(answers: Answers, annotator: str, indices: Any, recorded: Any) -> Vote:
    whole = isinstance(indices, list) and len(indices) == 3 and all(type(index) is int for index in indices)
    if not whole:
        raise ValueError(f"{shorten(indices)} instead of [question, model, model]")
    question, first, second = indices
    for index, there, what in (
        (question, answers.questions, "question"),
        (first, answers.models, "model"),
        (second, answers.models, "model"),
    ):
        if not 0 <= index < len(there):
            raise ValueError(f"there is no {what} {index}; the table has {len(there)}")
    known = RECORDED.get(recorded) if type(recorded) is int else None
    return Vote(
        str(question), answers.models[first], answers.models[second], known or make_word(recorded),
        answers.categories[question], annotator,
    )  # fmt: skip


def read_answers(rows: Iterable[Mapping[str, Any]]) -> Answers:
    """Read the table: models start at the fourth column; by default the second is the category.

    Raises:
        ValueError: there are fewer than two models.
    """
    rows = list(rows)
    columns = list(rows[0]) if rows else []
    if len(columns) < 5:
        raise ValueError(f"{len(columns)} columns; the models start at the fourth")
    named = {name.strip().lower(): name for name in columns[:3]}
    category = next(
        (named[word] for word in ("category", "type", "类别", "类型") if word in named), columns[1]
    )
    question = next((named[word] for word in ("question", "prompt", "问题") if word in named), columns[2])
    return Answers(columns[3:], [row[question] for row in rows], [row[category] for row in rows])
