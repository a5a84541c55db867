"""What the words for a winner mean: those that are sure, those that the user explains, and the rest.

A vote is never left out for its outcome: an unknown word stops the import, and all of them are listed.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from gptalt_eval import GptaltError
from gptalt_eval_plugin_elo.votes import Vote, Word

OUTCOMES = ("a", "b", "tie", "skip")
MODEL = "model"  # in --winners: the word is a model's name
EMPTY = "@empty"  # without parentheses, which a shell does not take
#: words that mean one thing wherever they are used, with single blanks; numbers are not among them
WORDS = {
    **dict.fromkeys((
        "a", "model a", "modela", "a win", "a wins", "model a win", "model a wins", "model a won", "left",
        "leftvote", "left vote", "first", "assistant a", "answer a", "response a", "[[a]]", "左",
    ), "a"),
    **dict.fromkeys((
        "b", "model b", "modelb", "b win", "b wins", "model b win", "model b wins", "model b won", "right",
        "rightvote", "right vote", "second", "assistant b", "answer b", "response b", "[[b]]", "右",
    ), "b"),
    **dict.fromkeys((
        "tie", "ties", "tied", "equal", "draw", "both", "=", "平", "平局", "tievote", "tie vote", "both good",
        "bothgood", "tie (bothbad)", "tie (both bad)", "tie bothbad", "tie both bad", "bothbad", "both bad",
        "bothbad vote", "both bad vote",
    ), "tie"),
    **dict.fromkeys(("skip", "skipped", "跳过"), "skip"),
}  # fmt: skip
NUMBER = re.compile(r"[+-]?\d+([./]\d+)?")
SHOWN = 20  # words in a message
MOST = 1_000  # different words that are counted, or kept
LONG = 200  # characters; what is longer is not kept


class UnknownWinner(ValueError):
    """A word that does not say who won; the reason may be empty."""


def simplify(word: str) -> str:
    """The word without case; a number that passed through a spreadsheet (``1.0``) as it was before."""
    simple = word.strip().casefold()
    if NUMBER.fullmatch(simple) and "/" not in simple and float(simple).is_integer():
        simple = str(int(float(simple)))
    return simple


def read_winner(word: str, models: tuple[str, str], given: Mapping[str, str]) -> str:
    """``a``, ``b``, ``tie`` or ``skip``.

    Args:
        word: as it stands in the file.
        models: those that are compared.
        given: what the user says that words mean, by simplified word.

    Raises:
        UnknownWinner: the word is unknown, or could mean two things.
    """
    simple = simplify(word)
    chosen = given.get(simple)
    if chosen in OUTCOMES:
        return chosen
    sides = find_sides(word.strip(), models)
    side = sides[0] if len(sides) == 1 else ""
    if chosen == MODEL:
        if not side:
            raise UnknownWinner("names neither or both of two models")
        return side
    meaning = WORDS.get(space(word), "")
    is_number = NUMBER.fullmatch(simple) is not None
    if meaning and (not sides or side == meaning):
        return meaning
    if sides and (meaning or is_number):
        raise UnknownWinner("also the name of a model")
    if is_number:
        raise UnknownWinner("a code: releases differ in what it means")
    if not side:
        raise UnknownWinner("" if not sides else "fits the names of both models")
    return side


def find_sides(word: str, models: tuple[str, str]) -> list[str]:
    """On which sides a model has this name, in the first of three forms in which one has it.

    Exactly; without case; and with blanks for ``_`` and ``-``, as words are compared.
    """
    for form in (str.strip, simplify, space):
        sides = [side for side, name in zip("ab", models, strict=True) if form(name) == form(word)]
        if sides:
            return sides
    return []


def space(word: str) -> str:
    """The word with single blanks between its parts, in which ``_`` and ``-`` are blanks."""
    return re.sub(r"[\s_-]+", " ", simplify(word))


class Winners:
    """Reads the winners of an import's votes, and counts the words that it does not understand.

    Args:
        given: what the user says that words mean, by simplified word.
    """

    def __init__(self, given: Mapping[str, str] | None = None) -> None:
        self.given = given or {}
        self.find = lru_cache(MOST)(lambda word, models: read_winner(word, models, self.given))
        self.known: Counter[tuple[str, str]] = Counter()  # by word and outcome
        self.unknown: Counter[tuple[str, str]] = Counter()  # by word and reason
        self.unclear: Counter[str] = Counter()  # by what is unclear
        self.files: dict[Path, None] = {}  # that have such

    def read(self, vote: Vote, file: Path) -> Vote | None:
        """The vote with its outcome; None: the word is not understood."""
        if vote.winner in OUTCOMES and not isinstance(vote.winner, Word):
            return vote
        if vote.model_a == vote.model_b:  # it is not a vote, and will be rejected
            return vote._replace(winner="skip")
        word = str(vote.winner)
        try:
            find = self.find if len(word) < LONG else self.find.__wrapped__
            winner = find(word, (vote.model_a, vote.model_b))
        except UnknownWinner as error:
            self.count(self.unknown, (word.strip()[:60], str(error)))
            self.files[file] = None
            return None
        self.count(self.known, (word[:60], winner))
        return vote._replace(winner=winner)

    def add_unclear(self, reason: str, file: Path) -> None:
        self.unclear[reason] += 1
        self.files[file] = None

    def count(self, counter: Counter[tuple[str, str]], key: tuple[str, str]) -> None:
        if key in counter or len(counter) < MOST:
            counter[key] += 1

    def check(self) -> None:
        """Check that every winner was understood.

        Raises:
            GptaltError: one was not; lists all of them.
        """
        files = ", ".join(map(str, self.files))
        if self.unclear:
            (reason, _), number = self.unclear.most_common(1)[0], sum(self.unclear.values())
            records = "1 record" if number == 1 else f"{number:,} records"
            raise GptaltError(
                f"{files}: the verdict of {records} is unclear: {reason}. Nothing was imported.",
                "Say which one it is: --columns winner=NAME",
            )
        if not self.unknown:
            return
        words = dict.fromkeys(simplify(word) for word, _ in self.unknown)
        text = (
            f"{files}: {'this word' if len(words) == 1 else f'these {len(words):,} words'} for the winner "
            f"cannot be understood: {list_words(self.unknown)}."
        )
        if self.known:
            text += f" Understood: {list_words(self.known)}."
        raise GptaltError(f"{text} Nothing was imported.", self.explain_words())

    def explain_words(self) -> str:
        ambiguous = [word for word, reason in self.unknown if "name" in reason]
        text = "Say what each means: --winners a=...,b=...,tie=...,skip=... (two words for one: a=x,a=y)."
        if ambiguous:
            text += f" If it is the model's name: {MODEL}={ambiguous[0]}"
        return text


def list_words(counted: Counter[tuple[str, str]]) -> str:
    """Words with their counts, and their outcomes or what is wrong with them."""
    listed = [
        f"{word or EMPTY} ({number:,} {'vote' if number == 1 else 'votes'}{', ' * bool(note)}{note})"
        for (word, note), number in counted.most_common(SHOWN)
    ]
    more = len(counted) - SHOWN
    at_least = "at least " * (len(counted) == MOST)
    return ", ".join(listed) + (f" and {at_least}{more:,} more" if more > 0 else "")


def read_winners(text: str | None) -> dict[str, str]:
    """What ``a=left,b=right,tie=equal,tie=bad`` says: outcomes by simplified word.

    Raises:
        GptaltError: a part is not of this form, or a word is given two meanings.
    """
    given: dict[str, str] = {}
    for outcome, word in split_pairs(text, "--winners", (*OUTCOMES, MODEL)):
        simple = "" if word == EMPTY else simplify(word)
        if given.setdefault(simple, outcome) != outcome:
            raise GptaltError(
                f"--winners: '{word}' cannot be both {given[simple]} and {outcome}.", "Name each word once."
            )
    return given


def split_pairs(text: str | None, flag: str, names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """The pairs of ``name=value,name=value``; a pair with a comma is quoted, as in a CSV.

    Raises:
        GptaltError: a part is not of this form, or has another name.
    """
    for part in next(csv.reader([text]), []) if text else ():
        name, separator, value = part.partition("=")
        if not separator or name.strip() not in names or not value.strip():
            raise GptaltError(
                f"{flag}: '{part}' is not NAME=VALUE with one of its names.",
                f"Available: {', '.join(names)}.",
            )
        yield name.strip(), value.strip()
