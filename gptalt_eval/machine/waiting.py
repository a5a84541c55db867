"""Says what is done while nothing is shown yet, on a line that disappears. Imports nothing heavy."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from gptalt_eval.machine.wrapping import find_width

ERASE = "\r\x1b[K"


@contextlib.contextmanager
def waiting(text: str) -> Iterator[None]:
    """While this lasts, a terminal shows the text; a pipe or a file gets nothing."""
    stream = sys.stderr
    width = find_width(stream) if os.environ.get("TERM") != "dumb" else None
    if width is None:
        yield
        return
    # at the beginning of the line, what comes meanwhile is written over it
    stream.write(f"{text[: width - 5]} ...\r")
    stream.flush()
    try:
        yield
    finally:
        stream.write(ERASE)
        stream.flush()
