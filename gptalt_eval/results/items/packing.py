"""The items of a task in columns, each text once: small enough for a page. pages/items-data.js reads them."""

from __future__ import annotations

import gzip
import json
import re
from base64 import b85encode
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from math import isnan
from typing import Any

from gptalt_eval.results.rows import is_usable

LONGEST = 20_000  # characters of one text
LEFT_OUT = -2  # in the place of examples
HALVES = re.compile("[\ud800-\udfff]")  # of a character that UTF-16 writes as two: UTF-8 has none of them
HARMLESS = bytes.maketrans(b"<>&", b",.:")  # none of the latter is in base85
Column = dict[str, Any]  # what JSON has

#: columns of an arm that name texts or lists of texts; they are written as differences
PLACES = ("prompt", "gold", "shots", "options", "replies", "extracted", "pictures")


class Texts:
    """Texts by number, each once, and lists of them by number; -1 is none."""

    def __init__(self) -> None:
        self.texts: dict[str, int] = {}
        self.lists: dict[tuple[int, ...], int] = {}
        self.cut: set[int] = set()

    def add(self, text: str) -> int:
        place = self.texts.setdefault(cut_middle(text, LONGEST), len(self.texts))
        if len(text) > LONGEST:
            self.cut.add(place)
        return place

    def add_list(self, texts: Iterable[str]) -> int:
        return self.add_places(tuple(map(self.add, texts)))

    def add_places(self, places: tuple[int, ...]) -> int:
        return self.lists.setdefault(places, len(self.lists)) if places else -1


def cut_middle(text: str, longest: int) -> str:
    """The beginning and the end of a long text: the question may stand in either."""
    if len(text) <= longest:
        return text
    end = longest // 4
    return f"{text[: longest - end]} [... {len(text) - longest:,} characters left out ...] {text[-end:]}"


def shorten(value: float | None) -> float | int | str | None:
    """A number in as few characters as it is exact to 4 digits; an infinite or enormous one is a text.

    Of two decimals none is left out: probabilities are made of the differences of log-likelihoods.
    """
    if value is None or isnan(value):
        return None
    if not is_usable(value):
        return str(value)
    short = round(value, 2) if 10 <= abs(value) < 1e6 else float(f"{value:.4g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def subtract(places: Sequence[int]) -> list[int]:
    """The differences of neighbours: numbers that grow evenly become equal ones, which compress well."""
    return [place - before for before, place in zip([0, *places], places, strict=False)]


def add_up(differences: Sequence[int]) -> list[int]:
    """The inverse of :func:`subtract`."""
    return list(accumulate(differences))


def pack(content: object) -> str:
    """JSON, compressed, as text."""
    return write_out(compress(content))


def write_out(content: bytes) -> str:
    """Bytes in base85, without the characters that mean something in HTML; base64 would be a 16th longer."""
    return b85encode(content).translate(HARMLESS).decode()


def compress(content: object) -> bytes:
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    plain = HALVES.sub(lambda half: f"\\u{ord(half[0]):04x}", text).encode()
    return gzip.compress(plain, 9, mtime=0)


def order(texts: Texts, arms: Sequence[Column]) -> Column:
    """The texts that some item uses, in the order of the items, and the arms' columns with their new numbers.

    So the prompts that several arms made of one question are neighbours, and compress well.
    """
    written, lists = list(texts.texts), list(texts.lists)
    new_texts: dict[int, int] = {}
    new_lists: dict[int, int] = {}

    def number(place: int) -> int:
        return -1 if place < 0 else new_texts.setdefault(place, len(new_texts))

    def number_list(place: int) -> int:
        if place >= 0 and place not in new_lists:
            for each in lists[place]:
                number(each)
            new_lists[place] = len(new_lists)
        return new_lists.get(place, -1)

    columns = [(column, number_list) for arm in arms for column in list_columns(arm, lists=True)]
    columns += [(column, number) for arm in arms for column in list_columns(arm, lists=False)]
    for row in range(max((len(column) for column, _ in columns), default=0)):
        for column, renumber in columns:
            column[row] = renumber(column[row])
    return {
        "texts": [written[place] for place in new_texts],
        "lists": [[new_texts[each] for each in lists[place]] for place in new_lists],
        "arms": [write_arm(arm) for arm in arms],
    }


def list_columns(arm: Column, lists: bool) -> list[list[int]]:
    """The columns of an arm that name lists of texts, or texts."""
    if not lists:
        return [arm["prompt"], arm["gold"]]
    extracted = [each["extracted"] for each in arm["filters"].values()]
    return [arm["shots"], arm["options"], arm["replies"], *extracted]


def write_arm(arm: Column) -> Column:
    """An arm's columns as they are written: places as differences."""
    filters = {name: write_arm(each) for name, each in arm.get("filters", {}).items()}
    return {
        name: filters if name == "filters" else subtract(column) if name in PLACES else column
        for name, column in arm.items()
    }


def share(chunk: Mapping[str, Any]) -> Column:
    """A task's items with each column once: arms have many in common, and name them by number."""
    numbers: dict[str, int] = {}

    def number(part: Any) -> Any:
        if isinstance(part, list):
            return numbers.setdefault(json.dumps(part), len(numbers))
        return {name: number(each) for name, each in part.items()} if isinstance(part, dict) else part

    arms = [number(arm) for arm in chunk["arms"]]
    return {**chunk, "arms": arms, "columns": [json.loads(column) for column in numbers]}


def unshare(chunk: Mapping[str, Any]) -> Column:
    """The inverse of :func:`share`."""

    def read(part: Any, name: str = "") -> Any:
        if isinstance(part, dict):
            return {name: read(each, name) for name, each in part.items()}
        return chunk["columns"][part] if isinstance(part, int) and name != "arm" else part

    return {**chunk, "arms": [read(arm) for arm in chunk["arms"]], "columns": []}


def reduce(chunk: Mapping[str, Any], longest: int) -> Column:
    """The items of a task without examples, and with long texts cut.

    Args:
        chunk: the items, as :func:`order` and the columns of the rows say.
        longest: characters of a text.
    """
    shots = [add_up(arm["shots"]) for arm in chunk["arms"]]
    arms = [
        {**arm, "shots": subtract([min(place, -1) if place < 0 else LEFT_OUT for place in places])}
        for arm, places in zip(chunk["arms"], shots, strict=True)
    ]
    used = list_used({**chunk, "arms": arms})
    texts = [cut_middle(text, longest) if place in used else "" for place, text in enumerate(chunk["texts"])]
    return {**chunk, "texts": texts, "arms": arms}


def list_used(chunk: Mapping[str, Any]) -> set[int]:
    """The texts that some item uses."""
    used: set[int] = set()
    for arm in chunk["arms"]:
        used.update(*(add_up(arm[name]) for name in ("prompt", "gold")))
        columns = [arm["shots"], arm["options"], arm["replies"]]
        columns += [each["extracted"] for each in arm["filters"].values()]
        lists = {place for column in columns for place in add_up(column) if place >= 0}
        used.update(*(chunk["lists"][place] for place in lists))
    return used
