"""The pictures of a page: a run folder's author may have put anything there."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.pictures import measure_thumbnail
from gptalt_eval.contract.record import Record

MARK = "<image>"  # where a picture belongs in a prompt
LARGEST_PAGE = 6 << 20  # bytes of all pictures in a page
Rank = tuple[bool, float]  # pictures with the lowest one come first


@dataclass(frozen=True)
class ShownPicture:
    """A picture as the page shows it.

    Attributes:
        content: its file in base64; empty: it cannot be shown.
        width, height: pixels.
        reason: why it cannot be shown.
    """

    content: str = ""
    width: int = 0
    height: int = 0
    reason: str = ""


class Album:
    """The pictures of one page, each once, up to a limit of their size."""

    def __init__(self, largest: int = LARGEST_PAGE) -> None:
        self.largest = largest
        self.numbers: dict[str, int] = {}
        self.ranks: list[Rank] = []
        self.sources: list[list[Record]] = []

    def add(self, record: Record, name: str, rank: Rank) -> int:
        """The number of a picture that some item has; whether it is shown is decided at the end."""
        number = self.numbers.setdefault(name, len(self.numbers))
        if number == len(self.ranks):
            self.ranks.append(rank)
            self.sources.append([])
        self.ranks[number] = min(self.ranks[number], rank)
        if record not in self.sources[number]:
            self.sources[number].append(record)
        return number

    def choose(self) -> list[ShownPicture]:
        """The pictures by number: as many as there is room for, those with the lowest rank first."""
        names = list(self.numbers)
        shown = [ShownPicture()] * len(names)
        room = self.largest
        for number in sorted(range(len(names)), key=self.ranks.__getitem__):
            picture, size = read_first(self.sources[number], names[number])
            if size > room:
                picture = ShownPicture(reason=LEFT_OUT)
            elif picture.content:
                room -= size
            shown[number] = picture
        return shown


LEFT_OUT = "left out, because the page has too many"


def read_first(records: Sequence[Record], name: str) -> tuple[ShownPicture, int]:
    """A picture from the first run that has it, or why it cannot be shown; and the size of its file."""
    faults = []
    for record in records:
        try:
            content = record.read_picture(name)
            if content is None:
                faults.append("not in the folder of this run")
                continue
            width, height = measure_thumbnail(content, "its file")
            return ShownPicture(b64encode(content).decode(), width, height), len(content)
        except GptaltError as error:
            faults.append(error.what)
        except OSError as error:
            faults.append(f"its file cannot be read: {error.strerror or error}")
    return ShownPicture(reason=faults[0]), 0


def list_pictures(arguments: Any) -> tuple[str, ...]:
    """What the pictures of an item are called, in the order of its prompt.

    Args:
        arguments: those of a saved sample; all its requests have the same pictures.
    """
    request = next(iter(arguments.values() if isinstance(arguments, Mapping) else arguments), ())
    parts = request.values() if isinstance(request, Mapping) else request
    parts = parts if isinstance(parts, Iterable) else ()
    shown = next((part["visual"] for part in parts if is_visual(part)), ())
    return tuple(map(str, shown)) if isinstance(shown, list) else ()


def is_visual(part: object) -> bool:
    """Whether a part of a request is its pictures."""
    return isinstance(part, Mapping) and "visual" in part
