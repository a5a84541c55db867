"""Prompts as the release writes them, by its names of formats: what is asked, and what is answered.

Before the dash stands what is given, in its order: question, context, multiple options, lecture, explanation.
After it stands what an example answers: the answer, lecture, explanation. Source: the prompts of the release,
github.com/lupantech/ScienceQA (base_prompt.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gptalt_eval_plugin_scienceqa.releases import LETTERS

GIVEN = ("QCM", "CQM", "QCML", "QCME", "QCMLE", "QCLM", "QCEM", "QCLEM")
ANSWERED = ("A", "AL", "AE", "ALE", "AEL", "LA", "EA", "LEA", "ELA")
FORMATS = tuple(f"{given}-{answered}" for given in GIVEN for answered in ANSWERED)
DEFAULT = "QCM-A"
PLACE = "<image>"  # a picture, on a line of its own before its question
BECAUSE = "BECAUSE:"
ASKED = "Answer:"


def write_question(row: Mapping[str, Any], format: str, context: str) -> str:
    """A question up to ``Answer:``.

    Args:
        row: the question.
        format: one of FORMATS.
        context: what is known besides; see ``write_context``.
    """
    given = format.partition("-")[0]
    lines = {
        "Q": f"Question: {row['question']}",
        "C": f"Context: {context}",
        "M": f"Options: {write_options(row['choices'])}",
    }
    parts: list[str] = []
    reasons: list[str] = []  # that come before the next part
    for letter in given:
        if letter in lines:
            parts += [*write_reasons(row, reasons), lines[letter]]
            reasons = []
        else:
            reasons.append(letter)
    return tidy("\n".join([*parts, *write_reasons(row, reasons), ASKED]))


def write_reasons(row: Mapping[str, Any], letters: list[str]) -> list[str]:
    """The lecture, the explanation, or both in one line; none if none is asked for."""
    if not letters:
        return []
    return [f"{BECAUSE} {' '.join(read_reason(row, letter) for letter in letters)}"]


def write_answer(row: Mapping[str, Any], format: str) -> str:
    """What follows ``Answer:`` in an example.

    In the release, AL gives the explanation alone and AE the lecture alone; that is kept, as prompts with
    these names are in use.
    """
    answered = format.partition("-")[2]
    answer = f"The answer is {LETTERS[row['answer']]}."
    if answered == "A":
        return answer
    letters = {"AL": "E", "AE": "L"}.get(answered, answered.replace("A", ""))
    reasons = " ".join(read_reason(row, letter) for letter in letters)
    text = f"{answer} {BECAUSE} {reasons}" if answered.startswith("A") else f"{reasons} {answer}"
    return tidy(f"{ASKED} {text}").removesuffix(BECAUSE).rstrip().removeprefix(f"{ASKED} ")


def answers_first(format: str) -> bool:
    """Whether an example gives its answer before its reasons."""
    return format.partition("-")[2].startswith("A")


def write_options(choices: list[str]) -> str:
    return " ".join(f"({letter}) {choice}" for letter, choice in zip(LETTERS, choices, strict=False))


def write_context(row: Mapping[str, Any], caption: bool) -> str:
    """The hint, and the caption in place of a picture; ``N/A`` if there is neither."""
    shown = row.get("caption") if caption and row["image"] is not None else ""
    return " ".join(filter(None, (row["hint"], shown))).strip() or "N/A"


def read_reason(row: Mapping[str, Any], letter: str) -> str:
    """The lecture (L) or the explanation (E) in one line, with \\n for its line breaks as in the release."""
    text: str = row["lecture" if letter == "L" else "solution"]
    return text.replace("\n", "\\n")


def tidy(text: str) -> str:
    return text.replace("  ", " ").strip()
