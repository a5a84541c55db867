"""Limits for files of others: none of them may take all memory or all day. All real ones are far below."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import signal
import threading
import zlib
from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import IO, Any, AnyStr

import yaml

from gptalt_eval.machine.storage import check_ordinary, refuse_endless

LARGEST_YAML = 8 << 20  # bytes; the largest of lm-eval's has 60 KB
DEEPEST_YAML = 200  # libyaml composes recursively in C: a thousand nested brackets would crash the process
MOST_NODES = 1_000_000  # of YAML, with what its aliases repeat
LONGEST_LINE = 256 << 20  # characters of one line of JSON Lines
FREE = 64 << 20  # bytes that may be unpacked from any file
RATIO = 100  # from a larger one, how often its size
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
    with open_file(file, "rb") as stream:
        content: bytes = stream.read(largest + 1)
    if len(content) > largest:
        raise ValueError(f"it has more than {largest:,} bytes")
    return content


def open_file(path: Path, mode: str = "r", **settings: Any) -> IO[Any]:
    """Open a file for reading; text is UTF-8 unless the settings of ``open`` say otherwise.

    Raises:
        OSError: it cannot be opened, or is a pipe, a socket or a device.
    """
    check_ordinary(path)  # a tape rewinds as soon as it is opened
    if "b" not in mode:
        settings = {"encoding": "utf-8", **settings}
    return open(path, mode, opener=open_ordinary, **settings)  # Path.open takes no opener


def open_ordinary(path: str, flags: int) -> int:
    """A file's descriptor; it is looked at once more, since it may have been replaced meanwhile."""
    handle = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    try:
        refuse_endless(os.fstat(handle), path)
    except OSError:
        os.close(handle)
        raise
    return handle


def open_unpacked(path: Path) -> IO[str]:
    """The text of a gzipped file.

    Raises:
        OSError: it cannot be opened; on reading, that it is damaged, or unpacks to more than any real file.
    """
    packed = open_file(path, "rb")
    limit = limit_unpacked(path.stat().st_size)
    return io.TextIOWrapper(io.BufferedReader(Unpacked(packed, limit)), encoding="utf-8")


def limit_unpacked(size: int) -> int:
    """How many bytes may be unpacked from some; a file of 1 MB must not fill the memory or the disk."""
    return max(FREE, RATIO * size)


class Unpacked(io.RawIOBase):
    """The content of a gzipped stream, up to a limit of bytes. Closing it closes that stream too."""

    def __init__(self, packed: IO[bytes], limit: float = inf) -> None:
        self.packed, self.left = packed, limit
        self.stream = gzip.GzipFile(fileobj=packed)

    def readable(self) -> bool:
        return True

    def readinto(self, block: Any) -> int:
        try:
            count = self.stream.readinto(block)
        except zlib.error as error:  # which is none of the errors of files
            raise OSError(str(error)) from error
        self.left -= count
        if self.left < 0:
            raise OSError(f"it unpacks to more than {RATIO} times its size")
        return count

    def close(self) -> None:
        self.stream.close()
        self.packed.close()  # which the stream leaves open
        super().close()


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

    Counted is the time that this process computes, so that a busy computer makes no difference. Blocks can be
    inside each other. It needs signals: on Windows and outside the main thread there is no limit.

    Raises:
        TimeoutError: it took longer.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise TimeoutError(f"it takes longer than {seconds:g} s")

    outer, _ = signal.getitimer(signal.ITIMER_VIRTUAL)
    given = min(seconds, outer) if outer else seconds
    earlier = signal.signal(signal.SIGVTALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, given, given)  # again, should the first one be swallowed
        yield
    finally:
        left, _ = signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, earlier)
        if outer:
            signal.setitimer(signal.ITIMER_VIRTUAL, max(outer - (given - left), 0.001), outer)


def read_lines(stream: IO[AnyStr]) -> Iterator[AnyStr]:
    """The lines of a stream.

    Raises:
        ValueError: one is so long that it is not a row of anything.
    """
    while line := stream.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE:
            raise ValueError(f"a line has more than {LONGEST_LINE:,} characters")
        yield line
