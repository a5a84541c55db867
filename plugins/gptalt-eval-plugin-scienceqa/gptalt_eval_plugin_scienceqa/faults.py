"""What is wrong with a question, so that it cannot be asked or scored."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptalt_eval import GptaltError, make_picture
from gptalt_eval_plugin_scienceqa.releases import LETTERS

SHOWN = 3  # questions with a fault that a message names


@dataclass(frozen=True)
class Fault:
    """What is wrong with a question.

    Attributes:
        question: its number in the release, or its place where rows have none.
        kind: what counts as the same fault, after "questions": ``without options``.
        text: all that is known of it, after the question's number: ``has no options``.
    """

    question: str
    kind: str
    text: str

    def __str__(self) -> str:
        return f"question {self.question} {self.text}"


def find_fault(row: Mapping[str, Any], place: int, picture: object = None) -> Fault | None:
    """The first fault of a question; None: it has none.

    Args:
        row: the question.
        place: its place in its split.
        picture: what the model is to see, as ``make_picture`` takes it; None: nothing.
    """
    name, choices = str(row.get("id") or place), row["choices"]
    if not choices:
        return Fault(name, "without options", "has no options")
    if len(choices) > len(LETTERS):
        return Fault(name, "with more options than letters", f"has {len(choices)} options, more than letters")
    if not row["question"].strip():
        return Fault(name, "without text", "has no text")
    if not 0 <= row["answer"] < len(choices):
        text = "has an answer that is not one of its options"
        return Fault(name, "with an answer that is not one of the options", text)
    return find_picture_fault(name, picture) if picture is not None else None


def find_picture_fault(name: str, picture: object) -> Fault | None:
    try:
        make_picture(picture).check()
    except GptaltError as error:
        text = f"has a picture that cannot be shown: {error.what.rstrip('.')}"
        if isinstance(picture, str) and not Path(picture).exists():
            return Fault(name, "whose picture is missing", text)
        found = re.search(r"(?:cannot be read|is not|is cut off|is given|has) .*", error.what)
        kind = re.split(r" ?[(;:.]", found[0] if found else error.what)[0]
        kind = re.sub(r"has [0-9,]+ x [0-9,]+ pixels", "has too many pixels", kind)
        return Fault(name, f"whose picture {re.sub(r'[0-9][0-9,]*', 'N', kind)}", text)
    return None


def count_kinds(faults: Sequence[Fault]) -> dict[str, int]:
    """How many questions have each kind of fault, the most frequent first."""
    return dict(Counter(fault.kind for fault in faults).most_common())


def describe_faults(faults: Sequence[Fault], count: int) -> str:
    """What is wrong with some of the questions that were to be asked, without a full stop."""
    listed = ", ".join(f"{number:,} {kind}" for kind, number in count_kinds(faults).items())
    named = "; ".join(map(str, faults[:SHOWN])) + ("; ..." if len(faults) > SHOWN else "")
    return f"ScienceQA: {len(faults):,} of {count:,} questions cannot be asked ({listed}): {named}"
