"""The keys of a model's YAML, and what their values may be."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gptalt_eval.contract.errors import did_you_mean
from gptalt_eval.contract.models import MULTIMODAL

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
LANGUAGE = re.compile(r"[a-z]{2,3}")
DATE = re.compile(r"\d{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?)?")
NUMBER = re.compile(r"(\d+(?:\.\d+)?)\s*([MBT]?)", re.IGNORECASE)
UNITS: Mapping[str, int] = {"": 1, "M": 10**6, "B": 10**9, "T": 10**12}
#: how YAML 1.1 writes truth values; others read ``yes`` as text
ANSWERS: Mapping[str, str] = {
    "yes": "yes", "true": "yes", "on": "yes", "no": "no", "false": "no", "off": "no", "ask": "ask",
}  # fmt: skip
Written = str | list[str]


class FieldError(Exception):
    """A value that cannot be used.

    Args:
        text: what is wrong, as the end of a sentence that begins with the key.
        hint: what to write instead.
        key: the key whose place is shown, if it is not known already.
    """

    def __init__(self, text: str, hint: str = "", key: str = "") -> None:
        super().__init__(text)
        self.text, self.hint, self.key = text, hint, key


@dataclass(frozen=True)
class Facts:
    """The value of a key, and its YAML node."""

    value: Any
    node: Any


def read_text(written: Written) -> str:
    if isinstance(written, str) and written.strip():
        return written
    raise FieldError("must be text")


def read_texts(written: Written) -> tuple[str, ...]:
    texts = [written] if isinstance(written, str) else written
    if all(texts):
        return tuple(dict.fromkeys(texts))
    raise FieldError("contains an empty text")


def read_name(written: Written) -> str:
    """The name of a model: what can be typed after ``--model``, and is neither a hub id nor a path."""
    if isinstance(written, str) and NAME.fullmatch(written):
        return written
    text = "is not a model's name: use letters, digits, '.', '_', '+' and '-'"
    raise FieldError(text, "Example: my-model-7b")


def read_names(written: Written) -> tuple[str, ...]:
    return tuple(read_name(name) for name in read_texts(written))


def read_languages(written: Written) -> tuple[str, ...]:
    for code in read_texts(written):
        if not LANGUAGE.fullmatch(code):
            raise FieldError(f"has '{code}', which is not an ISO 639 code", "Example: [en, zh]")
    return read_texts(written)


def read_ids(written: Written) -> tuple[int, ...]:
    texts = read_texts(written)
    if all(text.isascii() and text.isdigit() for text in texts):
        return tuple(int(text) for text in texts)
    raise FieldError("must be a list of token ids", "Example: [2, 64795]")


def read_number(written: Written) -> int:
    """A number of parameters: ``6738415616``, ``6.7B``, ``135M``."""
    matched = NUMBER.fullmatch(written.replace("_", "").strip()) if isinstance(written, str) else None
    if matched:
        return round(float(matched[1]) * UNITS[matched[2].upper()])
    raise FieldError("must be a number of parameters", "Example: 6738415616, or 6.7B")


def read_date(written: Written) -> str:
    if isinstance(written, str) and DATE.fullmatch(written):
        return written
    raise FieldError("must be a date", "Example: 2023-03-14, or 2023-03")


def read_answer(written: Written) -> str:
    answer = ANSWERS.get(written.lower()) if isinstance(written, str) else None
    if answer:
        return answer
    raise FieldError("must be yes, no or ask", "'ask': the publisher must be asked.")


def choose_from(*choices: str) -> Callable[[Written], str]:
    def choose(written: Written) -> str:
        if isinstance(written, str) and written in choices:
            return written
        hint = did_you_mean(written, choices) if isinstance(written, str) else ""
        raise FieldError(f"must be one of {', '.join(choices)}", hint)

    return choose


KINDS: Mapping[str, Callable[[Written], Any]] = {
    "summary": read_text,
    "aliases": read_names,
    "hub": read_text,
    "revision": read_text,
    "base": read_text,
    "delta": read_text,
    "adapter": read_text,
    "tokenizer": read_text,
    "loader": read_text,
    "licence": read_text,
    "commercial": read_answer,
    "languages": read_languages,
    "parameters": read_number,
    "tuning": read_text,
    "released": read_date,
    "home": read_text,
    "editions": read_texts,
    "modality": choose_from("text", "image-text"),
    "pictures": choose_from("several", "one"),
    "backend": choose_from("hf", MULTIMODAL),
    "model_type": read_text,
    "sources": read_texts,
    "unverified": read_texts,
    "template": read_text,
    "system": read_text,
    "system_place": choose_from("own", "preamble", "first_user", "nowhere"),
    "stop": read_texts,
    "stop_token_ids": read_ids,
    "template_source": read_text,
    "template_notes": read_text,
}
