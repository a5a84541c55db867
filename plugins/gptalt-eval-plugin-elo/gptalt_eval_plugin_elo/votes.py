"""Votes, their file formats, and the hook with which other plugins add formats."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple


class Vote(NamedTuple):
    """A person's judgement of two models' answers to one question.

    Attributes:
        question: its id, or its text if it has no id.
        model_a, model_b: the models.
        winner: ``a``, ``b``, ``tie`` or ``skip`` (not judged).
        category: the question's category; may be empty.
        annotator: who judged; may be empty.
        time: when, ISO 8601; may be empty.
    """

    question: str
    model_a: str
    model_b: str
    winner: str
    category: str = ""
    annotator: str = ""
    time: str = ""


@dataclass(frozen=True)
class VoteFormat:
    """Converts the records of a tool's vote files to votes. A record is a JSON object or a CSV row.

    Attributes:
        name: for ``--format``.
        summary: one line.
        recognise: whether a record looks like this format; called with a few records of a file.
        convert: the votes of a record; yields or raises a ``ValueError`` with the reason if it is not a vote.
    """

    name: str
    summary: str
    recognise: Callable[[Mapping[str, Any]], bool]
    convert: Callable[[Mapping[str, Any]], Iterable[Vote | ValueError]]


def register_vote_formats() -> Iterable[VoteFormat]:  # type: ignore[empty-body]
    """Contribute formats of vote files, for ``gptalt-eval votes import``. Called when files are imported."""
