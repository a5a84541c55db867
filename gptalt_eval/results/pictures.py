"""Prompts with their pictures, prepared for the report: a folder's author may have put anything there."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.pictures import measure_thumbnail
from gptalt_eval.contract.record import Record

MARK = "<image>"  # where a picture belongs in a prompt
MOST_PICTURES = 300  # in a page
LARGEST_PAGE = 12 << 20  # bytes of all pictures in a page
BETWEEN = "\n\n"  # examples, unless a task says otherwise


@dataclass(frozen=True)
class ShownPicture:
    """A picture as the page shows it.

    Attributes:
        uri: the picture itself; empty: it cannot be shown.
        alt: what is said in its place.
        width, height: pixels.
        reason: why it cannot be shown.
    """

    uri: str
    alt: str
    width: int = 0
    height: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Part:
    """A piece of a prompt: text, or a picture."""

    text: str = ""
    picture: ShownPicture | None = None


class Album:
    """The pictures of one page, up to a limit of their number and size.

    Attributes:
        left_out: how many were too many.
    """

    def __init__(self, most: int = MOST_PICTURES, largest: int = LARGEST_PAGE) -> None:
        self.most, self.largest = most, largest
        self.left_out = 0

    def add(self, record: Record, name: str, alt: str) -> ShownPicture:
        """A picture of a run that goes into the page, or why it does not."""
        try:
            content = record.read_picture(name)
            if content is None:
                return ShownPicture("", alt, reason="not in the folder of this run")
            width, height = measure_thumbnail(content, "its file")
        except GptaltError as error:
            return ShownPicture("", alt, reason=error.what)
        except OSError as error:
            return ShownPicture("", alt, reason=f"its file cannot be read: {error.strerror or error}")
        if not self.most or len(content) > self.largest:
            self.left_out += 1
            return ShownPicture("", alt, reason="left out, because the page has too many")
        self.most, self.largest = self.most - 1, self.largest - len(content)
        return ShownPicture(f"data:image/webp;base64,{b64encode(content).decode()}", alt, width, height)


def list_pictures(arguments: Any) -> tuple[str, ...]:
    """What the pictures of an item are called, in the order of its prompt.

    Args:
        arguments: those of a saved sample; all its requests have the same pictures.
    """
    request = next(iter(arguments.values() if isinstance(arguments, Mapping) else arguments), ())
    parts = request.values() if isinstance(request, Mapping) else request
    shown = next((part["visual"] for part in parts if is_visual(part)), ())
    return tuple(map(str, shown)) if isinstance(shown, list) else ()


def is_visual(part: object) -> bool:
    """Whether a part of a request is its pictures."""
    return isinstance(part, Mapping) and "visual" in part


def find_start(prompts: Sequence[str], between: str = BETWEEN) -> int:
    """How long the beginning is that all prompts have, up to the end of their last common example; 0: none.

    Args:
        prompts: the prompts of a task's items.
        between: what is between two examples. Empty, or not in the beginning: a line's end counts.
    """
    first, last = min(prompts), max(prompts)
    same = takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    common = first[: sum(1 for _ in same)]
    ends = (common.rfind(mark) + len(mark) for mark in (between, "\n") if mark and mark in common)
    end = next(ends, 0)
    return end if all(len(prompt) > end for prompt in prompts) else 0


def split_prompt(text: str, pictures: Sequence[ShownPicture]) -> list[Part]:
    """The pieces of a prompt, each picture where it belongs; before the text, if that does not say where."""
    texts = [each.strip("\n") for each in text.split(MARK)]
    if len(texts) != len(pictures) + 1:
        return [*(Part(picture=picture) for picture in pictures), Part(text)]
    parts = [Part(texts[0])]
    for picture, after in zip(pictures, texts[1:], strict=True):
        parts += [Part(picture=picture), Part(after)]
    return [part for part in parts if part.picture or part.text.strip()]
