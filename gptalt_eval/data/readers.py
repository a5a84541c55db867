"""Building blocks for the readers of release files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gptalt_eval.contract.errors import DataError
from gptalt_eval.contract.handed import open_named
from gptalt_eval.contract.types import RowReader
from gptalt_eval.machine.bounds import open_file, open_unpacked, read_lines


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON Lines file, one per line; empty lines are skipped.

    Raises:
        DataError: a line is truncated or not a JSON object; names the file and the line.
    """
    with open_named(path) as stream:
        yield from parse_jsonl(read_lines(stream), path)


def parse_jsonl(lines: Iterator[str], path: Path) -> Iterator[dict[str, Any]]:
    """As :func:`read_jsonl`, from an open stream; ``path`` is for messages."""
    number = 0
    try:
        for number, line in enumerate(lines, 1):
            if line.strip():
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise DataError(f"{path}, line {number}: a JSON object was expected.", REPLACE)
                yield row
    except (UnicodeDecodeError, EOFError, OSError) as error:  # of the line that was being read
        raise DataError(f"{path}, line {number + 1}: truncated or damaged ({error}).", REPLACE) from error
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        raise DataError(f"{path}, line {number}: truncated or damaged ({reason}).", REPLACE) from error


REPLACE = "Download the file again; 'gptalt-eval show dataset NAME' says where it is published."
Row = dict[str, Any]


def read_rows(path: Path) -> Iterator[Row]:
    """Rows of a JSON Lines file (plain, gzipped, or with the suffix .json) or of a JSON array."""
    if path.name.endswith(".jsonl.gz"):
        with open_unpacked(path) as stream:
            yield from parse_jsonl(read_lines(stream), path)
    elif path.suffix == ".jsonl" or not is_array(path):
        yield from read_jsonl(path)
    else:
        yield from read_json(path)


def is_array(path: Path) -> bool:
    with open_named(path, "rb") as stream:
        return bytes(stream.read(64)).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")


def read_json(path: Path) -> Any:
    """A whole JSON file.

    Raises:
        DataError: it is truncated or damaged.
    """
    try:
        with open_file(path) as stream:
            return json.load(stream)
    except (ValueError, OSError, RecursionError) as error:
        raise DataError(f"{path}: truncated or damaged ({error}).", REPLACE) from error


def from_rows(convert: Callable[[int, Row], Row]) -> RowReader:
    """A reader that converts row by row; ``convert`` gets the row's index and the row."""

    def read(files: tuple[Path, ...], config: str | None) -> Iterator[Row]:
        index = 0
        for file in files:
            for row in read_rows(file):
                try:
                    yield convert(index, row)
                except (KeyError, TypeError, ValueError, IndexError) as error:
                    text = f"{file}, row {index + 1}: not in the release's format ({error!r})."
                    raise DataError(text, REPLACE) from error
                index += 1

    return read


def with_labels(convert: Callable[[Row, str], Row]) -> RowReader:
    """A reader for releases with labels in ``NAME-labels.lst`` next to ``NAME.jsonl``."""

    def read(files: tuple[Path, ...], config: str | None) -> Iterator[Row]:
        for file in files:
            label_file = file.with_name(f"{file.stem}-labels.lst")
            if not label_file.is_file():
                raise DataError(f"{label_file} is missing: it contains the labels of {file.name}.", REPLACE)
            with open_named(label_file) as stream:
                labels = stream.read().split()
            count = 0
            for row in read_rows(file):
                if count < len(labels):
                    yield convert(row, labels[count])
                count += 1
            if len(labels) != count:
                text = f"{file.name} has {count:,} rows, but {label_file.name} has {len(labels):,} labels."
                raise DataError(text, REPLACE)

    return read
