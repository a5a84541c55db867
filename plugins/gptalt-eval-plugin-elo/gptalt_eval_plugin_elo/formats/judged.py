"""A model's verdicts: FastChat's MT-bench on pairs, and its earlier reviews, which name no models."""

from __future__ import annotations

from collections.abc import Iterator

from gptalt_eval_plugin_elo.formats.arena import find_judge
from gptalt_eval_plugin_elo.formats.values import (
    Record,
    add_turn,
    fold_names,
    get_optional,
    get_text,
    get_word,
    has,
)
from gptalt_eval_plugin_elo.votes import Vote

is_judgment = has("question_id", "model_1", "model_2", "g1_winner", "g2_winner")
is_review = has("review_id", "answer1_id", "answer2_id", "score")
SIDES = {"model_1": 0, "model_2": 1}


def convert_judgment(record: Record) -> Iterator[Vote]:
    """Two votes: in the second game, ``model_2`` came first. ``error`` means not judged."""
    record = fold_names(record)
    question = add_turn(get_text(record, "question_id"), record)
    judge, when = find_judge(record), get_optional(record, "tstamp")
    models = get_text(record, "model_1"), get_text(record, "model_2")
    for swapped, name in enumerate(("g1_winner", "g2_winner")):
        word = get_word(record, name)
        winner: str = {"tie": "tie", "error": "skip"}.get(word, word)
        if word in SIDES:
            winner = "ab"[SIDES[word] ^ swapped]
        shown = models[::-1] if swapped else models
        named = f"game {swapped + 1}"  # else the second one would pass for a copy of the first
        yield Vote(question, *shown, winner, "", judge, when, "", named, "judge")
