"""Votes, their file formats, and the hook with which other plugins add formats."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

KINDS = ("person", "judge")


class Style(NamedTuple):
    """What an answer looks like, whatever it says.

    Attributes:
        length: characters, or tokens where the source counts those; the same for both answers.
        headers, lists, bold: numbers of Markdown's headers, list items and bold passages.
    """

    length: int
    headers: int
    lists: int
    bold: int


class Word(str):
    """A winner in a file's own words; the import finds out what it means, or asks."""

    __slots__ = ()


class Unclear(ValueError):
    """A record in which several things could be the verdict: nothing of its file is imported."""


class Vote(NamedTuple):
    """A person's or a judge's verdict on two models' answers to one question.

    Attributes:
        question: its id, or its text if it has no id.
        model_a, model_b: the models.
        winner: ``a``, ``b``, ``tie`` or ``skip`` (not judged); from a format also a ``Word``.
        category: the question's category; may be empty.
        annotator: who judged; may be empty.
        time: when, ISO 8601; may be empty.
        language: the question's language; may be empty.
        id: the source's own name for this vote, the same in every export; may be empty.
        kind: ``person``, or ``judge`` for a model that judged.
        blind: whether the models' names were hidden.
        style_a, style_b: of the answers; None: unknown.
    """

    question: str
    model_a: str
    model_b: str
    winner: str
    category: str = ""
    annotator: str = ""
    time: str = ""
    language: str = ""
    id: str = ""
    kind: str = "person"
    blind: bool = True
    style_a: Style | None = None
    style_b: Style | None = None

    def describe(self) -> dict[str, Any]:
        """The vote as a JSON object: the first seven fields, and the others if they say something."""
        usual = self._field_defaults
        return {
            name: value._asdict() if isinstance(value, Style) else value
            for place, (name, value) in enumerate(self._asdict().items())
            if place < 7 or value != usual[name]
        }


@dataclass(frozen=True)
class VoteFormat:
    """Converts the records of a tool's vote files to votes. A record is a JSON object or a CSV row.

    Attributes:
        name: for ``--format``.
        summary: one line.
        recognise: whether a record looks like this format; called with a few records of a file.
        convert: the votes of a record; yields or raises a ``ValueError`` with the reason if it is not a vote.
            A vote whose winner is a ``Word`` is subject to ``--winners``.
    """

    name: str
    summary: str
    recognise: Callable[[Mapping[str, Any]], bool]
    convert: Callable[[Mapping[str, Any]], Iterable[Vote | ValueError]]


def register_vote_formats() -> Iterable[VoteFormat]:  # type: ignore[empty-body]
    """Contribute formats of vote files, for ``gptalt-eval votes import``. Called when files are imported."""
