"""Reads the records of vote files of any size one by one: JSON Lines, JSON arrays and objects, and tables.

Records that cannot be read are returned with their line and the reason, and reading continues after them.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from gptalt_eval import open_named

LONGEST = 16 << 20  # bytes of one record; a longer one is not a vote, and would fill the memory
BLOCK = 1 << 18
KEPT = 2_000  # characters of a record that cannot be read
TABLES = (".csv", ".tsv", ".xlsx")
NEXT = re.compile(r"[,\n][ \t\r]*(?=\{)")  # not \s: over many empty lines, it would be quadratic

Step = Callable[[int], None]  # called with the number of bytes read


@dataclass(frozen=True)
class Unreadable:
    """A record that is not a vote.

    Attributes:
        line: its line in the file, from 1; in a CSV or an array, the line where it begins.
        reason: why it is not a vote.
        text: its beginning.
        cells: of a row that is too short, those that are there, the others empty.
    """

    line: int
    reason: str
    text: str
    cells: Mapping[str, Any] | None = None


Record = tuple[int, Mapping[str, Any]]


def read_records(path: Path, step: Step = lambda _: None) -> Iterator[Record | Unreadable]:
    """The records of a file with their lines.

    Raises:
        GptaltError: the file cannot be opened, or is a pipe or a device.
    """
    ending = path.suffix.lower()
    if ending in (*TABLES, ".parquet"):
        yield from read_tables(path, ending, step)
        return
    with open_named(path, "rb") as raw, decode_utf16(raw) as stream:
        first = stream.readline(LONGEST).removeprefix(codecs.BOM_UTF8).strip()
        stream.seek(0)
        if first[:1] == b"[" or first == b"{":  # an array, or an object over several lines
            yield from read_values(stream, step)
        else:
            yield from read_lines(stream, step)


def read_tables(path: Path, ending: str, step: Step) -> Iterator[Record | Unreadable]:
    if ending in (".xlsx", ".parquet"):
        from gptalt_eval_plugin_elo.sheets import read_parquet, read_sheet

        yield from read_sheet(path, step) if ending == ".xlsx" else read_parquet(path, step)
    else:
        from gptalt_eval_plugin_elo.separated import read_table

        yield from read_table(path, step)


@contextmanager
def decode_utf16(raw: IO[bytes]) -> Iterator[IO[bytes]]:
    """The file in UTF-8: itself, or a copy if it begins with a mark of UTF-16."""
    start = raw.read(2)
    raw.seek(0)
    if start not in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        yield raw
        return
    with TemporaryFile() as copy:
        decode = codecs.getincrementaldecoder("utf-16")("replace").decode
        while block := raw.read(BLOCK):
            copy.write(decode(block).encode("utf-8", "replace"))
        copy.write(decode(b"", True).encode("utf-8", "replace"))
        copy.seek(0)
        yield copy


def read_lines(stream: IO[bytes], step: Step) -> Iterator[Record | Unreadable]:
    number = 0
    while line := stream.readline(LONGEST):
        number += 1
        step(len(line))
        if len(line) == LONGEST and not line.endswith(b"\n"):
            while rest := stream.readline(BLOCK):
                step(len(rest))
                if rest.endswith(b"\n"):
                    break
            yield Unreadable(number, f"longer than {LONGEST >> 20} MiB", show(line))
            continue
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        if line.strip():
            yield read_line(number, line)


def read_line(number: int, line: bytes) -> Record | Unreadable:
    try:
        record = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return Unreadable(number, f"not UTF-8 (byte {error.start + 1})", show(line))
    except json.JSONDecodeError as error:
        return Unreadable(number, f"not JSON: {error.msg} (character {error.pos + 1})", show(line))
    except (ValueError, RecursionError) as error:  # numbers of 5,000 digits, brackets 10,000 deep
        return Unreadable(number, f"not JSON: {str(error).splitlines()[0][:100]}", show(line))
    if not isinstance(record, dict):
        return Unreadable(number, f"{describe(record)} instead of an object", show(line))
    return number, record


def show(line: bytes | str) -> str:
    """The beginning of an unreadable record, as text that can be written."""
    text = line[: 4 * KEPT].decode("utf-8", "replace") if isinstance(line, bytes) else line
    return text.encode("utf-8", "replace").decode("utf-8")[:KEPT].rstrip("\r\n")


def describe(value: Any) -> str:
    kinds = {list: "a list", str: "a string", bool: "true or false", type(None): "null", dict: "an object"}
    return kinds.get(type(value), "a number")


def read_values(stream: IO[bytes], step: Step) -> Iterator[Record | Unreadable]:
    """The objects of an array, or objects over several lines; only one at a time is in memory."""
    # bytes that are not UTF-8 become unpaired surrogates, by which they are found later
    decode = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape").decode
    decoder = json.JSONDecoder()
    text, line, ended = "", 1, False

    def read_more() -> str:
        nonlocal ended
        block = stream.read(BLOCK)
        step(len(block))
        ended = not block
        return decode(block, ended)

    text = (text + read_more()).lstrip().removeprefix("[")
    while True:
        stripped = text.lstrip(" \t\r\n,")
        line += text[: len(text) - len(stripped)].count("\n")
        text = stripped
        if not text or text[0] == "]":
            if ended or text:
                return
            text = read_more()
            continue
        try:
            value, end = decoder.raw_decode(text)
            found: Record | Unreadable = (line, value)
            if not isinstance(value, dict):
                found = Unreadable(line, f"{describe(value)} instead of an object", show(text[:end]))
            elif has_surrogates(text[:end]):
                found = Unreadable(line, "not UTF-8", show(text[:end]))
        except (ValueError, RecursionError) as error:
            at = getattr(error, "pos", 0)
            cut = at >= len(text) - 8 or "Unterminated" in str(error)
            if cut and not ended and len(text) < LONGEST:
                text += read_more()
                continue
            following = NEXT.search(text, at + 1)
            while following is None and not ended and len(text) < LONGEST:
                text += read_more()
                following = NEXT.search(text, at + 1)
            end = following.end() if following else len(text)
            reason = f"not JSON: {getattr(error, 'msg', str(error).splitlines()[0][:100])}"
            found = Unreadable(
                line, "truncated" if cut and ended and following is None else reason, show(text[:end])
            )
        yield found
        line += text[:end].count("\n")
        text = text[end:]


def has_surrogates(text: str) -> bool:
    return not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text)
