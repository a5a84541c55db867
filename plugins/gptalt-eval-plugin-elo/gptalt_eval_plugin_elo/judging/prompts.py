"""The prompts with which a model compares two answers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import permutations
from pathlib import Path
from string import Template
from typing import NamedTuple

from gptalt_eval_plugin_elo.answers import Answer

FOLDER = Path(__file__).with_name("prompts")
LANGUAGES = ("en", "zh")
VERDICTS = ("likelihood", "text")


class Match(NamedTuple):
    """Two answers to one question, in the order in which the judge sees them."""

    first: Answer
    second: Answer


def pair_answers(answers: Iterable[Answer]) -> Iterator[Match]:
    """Every pair of models on every question, in both orders."""
    by_question: dict[str, list[Answer]] = {}
    for answer in answers:
        by_question.setdefault(answer.key, []).append(answer)
    for group in by_question.values():
        yield from (Match(first, second) for first, second in permutations(group, 2))


@cache
def read_part(name: str) -> str:
    return (FOLDER / f"{name}.txt").read_text(encoding="utf-8").rstrip("\n")


def hash_prompts(verdict: str) -> str:
    """What identifies the wording of the prompts for one kind of verdict."""
    parts = (f"{language}{part}" for language in LANGUAGES for part in ("", "-expected", f"-{verdict}"))
    return hashlib.sha256("\0".join(map(read_part, parts)).encode()).hexdigest()[:12]


def write_prompt(match: Match, verdict: str) -> str:
    """The prompt for a comparison, in Chinese for questions in Chinese, else in English.

    An answer cannot leave its quotation: the mark is a hash of everything that is quoted, and the author of
    one part does not know the others. The model may still obey what it reads there.

    Args:
        match: what is compared.
        verdict: one of ``VERDICTS``.
    """
    first, second = match
    language = "zh" if first.language.lower().startswith("zh") else "en"
    mark = make_mark(first.prompt, first.expected, first.answer, second.answer)
    points = Template(read_part(f"{language}-expected"))
    return Template(read_part(language)).substitute(
        mark=mark, question=first.prompt, first=first.answer, second=second.answer,
        expected=points.substitute(mark=mark, points=first.expected) if first.expected else "",
        reply=read_part(f"{language}-{verdict}"),
    )  # fmt: skip


def make_mark(*texts: str) -> str:
    """A mark that appears in none of the texts; the same texts have the same mark."""
    digest = hashlib.sha256("\0".join(texts).encode()).hexdigest()
    while any(digest[:16] in text for text in texts):
        digest = hashlib.sha256(digest.encode()).hexdigest()
    return digest[:16]
