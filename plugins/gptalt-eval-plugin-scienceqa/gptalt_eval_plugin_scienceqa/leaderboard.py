"""The leaderboard: the share of right answers in each column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptalt_eval import GptaltError
from gptalt_eval_plugin_scienceqa.columns import TITLES, find_columns
from gptalt_eval_plugin_scienceqa.faults import describe_faults, find_fault
from gptalt_eval_plugin_scienceqa.predictions import Predictions
from gptalt_eval_plugin_scienceqa.releases import TEST, read_release

AVERAGE = "AVG"
COLUMNS = (*TITLES, AVERAGE)
POLICIES = ("refuse", "wrong", "leave_out")
NAMED = 3  # questions that a message names
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Share:
    """How many of some questions were answered correctly."""

    right: int
    questions: int

    @property
    def percent(self) -> float | None:
        return 100 * self.right / self.questions if self.questions else None


@dataclass(frozen=True)
class Scored:
    """A line of the leaderboard.

    Attributes:
        name: whose predictions they are.
        columns: by column, the last is ``AVG``.
        no_answer: of the scored questions, those whose reply chooses no option; they count as wrong.
        notes: what must be shown with the line.
    """

    name: str
    columns: Mapping[str, Share]
    no_answer: int
    notes: tuple[str, ...] = ()


def read_questions(folder: Path) -> Mapping[str, Row]:
    """The test set by number.

    Raises:
        GptaltError: it is not there, damaged, or has questions that cannot be scored.
    """
    file = folder / "scienceqa" / "problems.json"
    if not file.is_file():
        text = f"ScienceQA: no test set in {folder} (looked for scienceqa/problems.json)."
        raise GptaltError(text, "'gptalt-eval show dataset scienceqa' says where it is published.")
    rows = list(read_release(file, "test"))
    faults = [fault for place, row in enumerate(rows) if (fault := find_fault(row, place))]
    if faults or not rows:
        text = describe_faults(faults, len(rows)) if rows else f"{file} has no test set"
        raise GptaltError(f"{text}.", "Download the release again.")
    return {row["id"]: row for row in rows}


def score(
    predictions: Predictions, questions: Mapping[str, Row], missing: str = "refuse", unknown: str = "refuse"
) -> Scored:
    """A line of the leaderboard.

    Args:
        predictions: what was chosen.
        questions: the test set.
        missing: what questions without a prediction are: refused, ``wrong``, or left out (``leave_out``).
        unknown: whether predictions for other questions are refused, or left out (``leave_out``).

    Raises:
        GptaltError: predictions are missing, or for questions that are not in the test set.
    """
    chosen = predictions.chosen
    notes = []
    others = [name for name in chosen if name not in questions]
    if others:
        text = f"{predictions.name}: {count(others)} not in the test set ({name_some(others)})"
        if unknown == "refuse":
            part = "" if len(questions) >= TEST else f" The test set here has {len(questions):,} of {TEST:,}."
            raise GptaltError(f"{text}.{part}", "To leave them out, and count them: --unknown leave_out")
        notes.append(f"{text}; left out.")
    absent = [name for name in questions if name not in chosen]
    if len(absent) == len(questions):
        raise GptaltError(f"{predictions.name}: no question of the test set is in it.", "Give another file.")
    if absent:
        text = f"{predictions.name}: {count(absent)} without a prediction ({name_some(absent)})"
        if missing == "refuse":
            hint = "To count them as wrong: --missing wrong; to leave them out: --missing leave_out"
            raise GptaltError(f"{text}.", hint)
        notes.append(f"{text}; {'counted as wrong' if missing == 'wrong' else 'left out'}.")
    scored = [name for name in questions if name in chosen or missing == "wrong"]
    no_answer = sum(name in chosen and chosen[name] is None for name in scored)
    notes += describe_doubts(predictions)
    return Scored(predictions.name, fill(scored, chosen, questions), no_answer, tuple(notes))


def fill(
    scored: list[str], chosen: Mapping[str, int | None], questions: Mapping[str, Row]
) -> dict[str, Share]:
    """The columns; a question counts in those that it belongs to."""
    places = {name: (*find_columns(questions[name]), AVERAGE) for name in scored}
    right = {name for name in scored if chosen.get(name) == questions[name]["answer"]}
    columns = {}
    for column in COLUMNS:
        names = [name for name in scored if column in places[name]]
        columns[column] = Share(sum(name in right for name in names), len(names))
    return columns


def describe_doubts(predictions: Predictions) -> list[str]:
    """Where the results of a file and its texts differ: the results count, as in the release."""
    notes = []
    if predictions.contradicted:
        named = name_some(predictions.contradicted)
        text = f"{predictions.name}: {count(predictions.contradicted)} whose output states another option"
        notes.append(f"{text} than the result ({named}); the result counts.")
    if predictions.guessed:
        named = name_some(predictions.guessed)
        text = f"{predictions.name}: {count(predictions.guessed)} whose output states no option ({named})"
        notes.append(f"{text}; the result, which may be a guess, counts.")
    return notes


def count(names: list[str] | tuple[str, ...]) -> str:
    return f"{len(names):,} {'question' if len(names) == 1 else 'questions'}"


def name_some(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
