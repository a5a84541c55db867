"""Text in the width of a terminal: broken between words, never within one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import TextIO

#: Chinese, Japanese and Korean, which have no spaces between words: a line may end after each character
WIDE = "\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uffe6\U00020000-\U0003fffd"
OPENING, CLOSING = "（《「『【〈〔“‘", "，。、；：！？）》」』】〉〕”’…％,.:;!?)"
NARROW = f"[^ {WIDE}{OPENING}]+(?: %(?=[{CLOSING}]*(?: |$)))?"  # 95 % is one word
WORD = re.compile(f"( *)([{OPENING}]*(?:[{WIDE}]|{NARROW})[{CLOSING}]*|[{OPENING}]+)")
#: what is to be typed, at the end of a line: it stands on a line of its own, unbroken, if it must
COMMAND = re.compile(r"(?<=[:.] )(?:gptalt-eval|(?:uv )?pip (?:un)?install|python -m|cd) \S.*$")
GLUE = "\u00a0"  # in a text to wrap: a space at which no line ends


def find_width(file: TextIO) -> int | None:
    """How many columns a file's terminal has; None: it is none, and its lines can have any length."""
    try:
        if not file.isatty():
            return None
        named = os.environ.get("COLUMNS", "")
        columns = int(named) if named.isdecimal() else 0
        return columns or os.get_terminal_size(file.fileno()).columns or None
    except (AttributeError, OSError, ValueError):
        return None


def measure(text: str) -> int:
    """How many columns a text takes: a Chinese character takes two."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def wrap(text: str, width: int, hang: int = 2) -> str:
    """A text whose lines have at most a number of columns.

    Only a word that is longer, such as a path, makes a longer line, and so does a command at the end of a
    line, so that it can be copied. Such a line is not indented.

    Args:
        text: its lines are kept, with what they are indented by; ``GLUE`` becomes a space.
        width: of the terminal.
        hang: by how much more each line after the first is indented.
    """
    lines = (part for line in text.split("\n") for part in wrap_line(line, width, hang))
    return "\n".join(lines).replace(GLUE, " ")


def wrap_line(line: str, width: int, hang: int) -> Iterator[str]:
    if measure(line) <= width:
        yield line
        return
    command = COMMAND.search(line)
    if command:
        yield from wrap_line(line[: command.start()].rstrip(), width, hang)
    whole = command[0] if command else ""
    indent = " " * min(len(line) - len(line.lstrip(" ")), width // 2)
    inner = indent + " " * min(hang, width // 4)
    if whole:
        yield (inner if measure(inner + whole) <= width else "") + whole
        return
    current = ""
    for gap, word in WORD.findall(line.strip(" ")):
        if not current:
            current = indent + word
        elif measure(current) + len(gap) + measure(word) > width:
            yield current
            current = (inner if measure(inner + word) <= width else "") + word
        else:
            current += gap + word
    yield current
