"""Text of others on the terminal and in pages: what would steer them is shown instead of obeyed."""

from __future__ import annotations

import builtins
import logging
import re
import sys
from typing import TextIO

from gptalt_eval.machine.secrets import hide_text
from gptalt_eval.machine.wrapping import find_width, wrap

#: control characters except tabs and line ends, changes of the writing direction, and what XML cannot contain
STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def show_plain(text: str) -> str:
    """The text with characters that steer a terminal as ``\\u001b``, which JSON reads back as the same."""
    return STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def print_plain(
    *values: object, end: str = "\n", file: TextIO | None = None, flush: bool = False, as_is: bool = False
) -> None:
    """``print``, for text that may come from others; on a terminal, lines end between words.

    Args:
        as_is: no line is broken: the text is for programs, or shows where its own lines end.
    """
    file = file or sys.stdout
    text = show_plain(hide_text(" ".join(map(str, values))))
    width = None if as_is or end != "\n" else find_width(file)
    builtins.print(wrap(text, width) if width else text, end=end, file=file, flush=flush)


def show_plain_record(record: logging.LogRecord) -> bool:
    """A filter for a log's handler: messages may quote a task or a model."""
    record.msg, record.args = show_plain(hide_text(record.getMessage())), ()
    return True
