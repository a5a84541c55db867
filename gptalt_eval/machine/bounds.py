"""Limits for files of others: none of them may take all memory or all day. All real ones are far below."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, AnyStr

import yaml

from gptalt_eval.machine.storage import check_ordinary

LARGEST_YAML = 8 << 20  # bytes; the largest of lm-eval's has 60 KB
DEEPEST_YAML = 200  # libyaml composes recursively in C: a thousand nested brackets would crash the process
MOST_NODES = 1_000_000  # of YAML, with what its aliases repeat
LONGEST_LINE = 256 << 20  # characters of one line of JSON Lines
OPENINGS = (b"[", b"{", b"- ", b"? ", b"\n ")
Parser: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(file: Path) -> bytes:
    """The bytes of a YAML file that is not too large, too deep, or too large once its aliases are resolved.

    Raises:
        OSError: it cannot be read.
        yaml.YAMLError: it is not within the limits, or not valid.
    """
    try:
        content = read_file(file, LARGEST_YAML)
    except ValueError as error:
        raise yaml.YAMLError(str(error)) from None
    check_yaml(content)
    return content


def read_file(file: Path, largest: int) -> bytes:
    """The bytes of a file.

    Raises:
        OSError: it cannot be read, or is a pipe or a device.
        ValueError: it has more than ``largest`` bytes.
    """
    check_ordinary(file)
    with file.open("rb") as stream:
        content = stream.read(largest + 1)
    if len(content) > largest:
        raise ValueError(f"it has more than {largest:,} bytes")
    return content


def check_yaml(content: bytes) -> None:
    """Check depth and size, aliases resolved.

    Raises:
        yaml.YAMLError: it exceeds a limit, or is not valid.
    """
    has_aliases = b"&" in content and b"*" in content
    if not has_aliases and sum(content.count(sign) for sign in OPENINGS) < DEEPEST_YAML:
        return
    sizes: dict[str, int] = {}
    opened: list[tuple[str | None, int]] = []  # anchor, and how many nodes there were before
    nodes = 0
    for event in yaml.parse(content, Parser):
        mark: Any = event.start_mark
        if isinstance(event, yaml.CollectionStartEvent):
            opened.append((event.anchor, nodes))
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = opened.pop()
            sizes |= {anchor: nodes - before} if anchor else {}
        elif isinstance(event, yaml.AliasEvent):
            nodes += sizes.get(event.anchor or "", 1)
        nodes += isinstance(event, yaml.NodeEvent)
        if len(opened) > DEEPEST_YAML:
            raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=mark)
        if nodes > MOST_NODES:
            text = f"it has more than {MOST_NODES:,} values, those that its aliases repeat included"
            raise yaml.MarkedYAMLError(problem=text, problem_mark=mark)


@contextlib.contextmanager
def limit_time(seconds: float) -> Iterator[None]:
    """Inside the block, a computation that takes longer ends with an error.

    It needs signals: on Windows and outside the main thread there is no limit.

    Raises:
        TimeoutError: it took longer.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise TimeoutError(f"it takes longer than {seconds:g} s")

    earlier = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, earlier)


def read_lines(stream: IO[AnyStr]) -> Iterator[AnyStr]:
    """The lines of a stream.

    Raises:
        ValueError: one is so long that it is not a row of anything.
    """
    while line := stream.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE:
            raise ValueError(f"a line has more than {LONGEST_LINE:,} characters")
        yield line
