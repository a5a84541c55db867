"""Values of the records of any format."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from gptalt_eval_plugin_elo.votes import Word

Record = Mapping[str, Any]


def fold(name: str) -> str:
    """A column's name without case, with ``_`` for blanks and hyphens."""
    return name if name.isidentifier() and name.islower() else re.sub(r"[\s-]+", "_", name.strip().casefold())


def fold_names(record: Record) -> dict[str, Any]:
    """The record with folded names; of two names that become one, the one that is already folded.

    Raises:
        ValueError: neither of two is.
    """
    folded: dict[str, Any] = {}
    for name, value in record.items():
        key = fold(name)
        if key != name and (key in record or key in folded):
            if key not in record:
                raise ValueError(f"two columns are called '{key}'")
            continue
        folded[key] = value
    return folded


def has(*names: str) -> Callable[[Record], bool]:
    """Whether a record has all of these columns, in any case."""
    return lambda record: set(names) <= {fold(name) for name in record}


def get_text(record: Record, name: str) -> str:
    """A value as text; numbers are ids.

    Raises:
        ValueError: it is missing, or neither text nor a number.
    """
    value = record.get(name)
    if isinstance(value, str) and value.strip():
        return value.strip()
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value == value:
        return str(int(value) if value == value // 1 else value)
    if is_missing(value):
        raise ValueError(f"'{name}' is missing")
    raise ValueError(f"'{name}' is not text: {shorten(value)}")


def is_missing(value: Any) -> bool:
    """Whether nothing was given; tables have ``nan`` for nothing."""
    return value is None or value == "" or (isinstance(value, float) and value != value)


def get_optional(record: Record, name: str) -> str:
    return "" if is_missing(record.get(name)) else get_text(record, name)


def get_first(record: Record, names: tuple[str, ...]) -> str:
    """The first of several values that is there; empty: none is."""
    return next((get_text(record, name) for name in names if not is_missing(record.get(name))), "")


def get_word(record: Record, name: str) -> Word:
    """A winner, as a word whatever it is: an empty one may mean a tie, and so may none at all."""
    return make_word(record.get(name))


def make_word(value: Any) -> Word:
    if value is None:
        return Word("")
    return Word(
        value.strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    )


def get_truth(record: Record, name: str) -> bool:
    """
    Raises:
        ValueError: it is neither true nor false, 1 nor 0.
    """
    word = str(record[name]).strip().casefold()
    if word not in ("true", "false", "1", "0", "1.0", "0.0"):
        raise ValueError(f"'{name}' is {shorten(record[name])}; expected true or false")
    return word in ("true", "1", "1.0")


def add_turn(question: str, record: Record) -> str:
    """The question's id with the turn of its conversation, of which each is a question of its own."""
    turn = get_optional(record, "turn")
    return f"{question}/turn {turn.removesuffix('.0')}" if turn and question else question


def shorten(value: Any) -> str:
    return f"{value!r}"[:60]
