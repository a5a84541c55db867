"""Scores generated replies: correct, incorrect, or no answer."""

from __future__ import annotations

from typing import Any

from gptalt_eval import find_choice


def score(doc: dict[str, Any], replies: list[str]) -> dict[str, float]:
    choice = find_choice(replies[0], {option["key"]: option["value"] for option in doc["options"]})
    return {"acc": float(choice == doc["answer_idx"]), "no_answer": float(choice is None)}
