"""PandaLM's test set. Its codes are known because all of its fields are: elsewhere they mean other things."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gptalt_eval_plugin_elo.formats.values import (
    Record,
    fold,
    fold_names,
    get_optional,
    get_text,
    has,
    make_word,
    shorten,
)
from gptalt_eval_plugin_elo.votes import Vote

has_fields = has("idx", "motivation_app", "cmp_key", "instruction", "input", "response1", "response2")
CODES = {"0": "tie", "1": "a", "2": "b"}


def is_pandalm(record: Record) -> bool:
    return has_fields(record) and any(fold(name).startswith("annotator") for name in record)


def convert_pandalm(record: Record) -> Iterator[Vote]:
    """``cmp_key`` is ``first_second``; each annotator's value is 1 (first wins), 2 (second) or 0 (tie)."""
    record = fold_names(record)
    models = get_text(record, "cmp_key").split("_")
    if len(models) != 2:
        raise ValueError(f"'cmp_key' does not name two models: {shorten(record['cmp_key'])}")
    question, category = get_text(record, "idx"), get_optional(record, "motivation_app")
    for name, value in record.items():
        if name.startswith("annotator"):
            yield Vote(question, models[0], models[1], read_code(value), category, name)


def read_code(value: Any) -> str:
    """The outcome, or an unknown word."""
    word = make_word(value)
    return CODES.get(word.removesuffix(".0"), word)
