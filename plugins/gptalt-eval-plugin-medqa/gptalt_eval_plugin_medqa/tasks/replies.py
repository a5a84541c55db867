"""Scores generated replies: correct, incorrect, or no answer."""

from __future__ import annotations

from typing import Any

from gptalt_eval import find_choice, find_text

Doc = dict[str, Any]
Scores = dict[str, float]
DECISIONS = ("yes", "no", "maybe")


def score(choice: str | None, gold: str) -> Scores:
    return {"acc": float(choice == gold), "no_answer": float(choice is None)}


def score_medqa(doc: Doc, replies: list[str]) -> Scores:
    options = {option["key"]: option["value"] for option in doc["options"]}
    return score(find_choice(replies[0], options), doc["answer_idx"])


def score_medmcqa(doc: Doc, replies: list[str]) -> Scores:
    options = {letter: doc[f"op{letter.lower()}"] for letter in "ABCD"}
    return score(find_choice(replies[0], options), "ABCD"[doc["cop"]])


def score_pubmedqa(doc: Doc, replies: list[str]) -> Scores:
    return score(find_text(replies[0], {word: word for word in DECISIONS}), doc["final_decision"])


def sort_options(doc: Doc) -> list[str]:
    """The options in alphabetical order, so that the place of the correct one reveals nothing."""
    return sorted(
        [doc["correct_answer"], *(doc[f"distractor{number}"] for number in (1, 2, 3))], key=str.lower
    )


def ask_sciq(doc: Doc) -> str:
    lines = [f"{letter}. {option}" for letter, option in zip("ABCD", sort_options(doc), strict=True)]
    support = f"{doc['support'].strip()}\n" if doc["support"].strip() else ""
    return "\n".join([f"{support}Question: {doc['question']}", *lines, "Answer:"])


def answer_sciq(doc: Doc) -> str:
    return "ABCD"[sort_options(doc).index(doc["correct_answer"])]


def score_sciq(doc: Doc, replies: list[str]) -> Scores:
    options = dict(zip("ABCD", sort_options(doc), strict=True))
    return score(find_choice(replies[0], options), answer_sciq(doc))
