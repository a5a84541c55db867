"""Tables as text: CSV with any separator, in the encodings that spreadsheets write."""

from __future__ import annotations

import codecs
import csv
from collections import Counter
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from gptalt_eval import GptaltError, open_named
from gptalt_eval_plugin_elo.records import LONGEST, Record, Step, Unreadable, has_surrogates, show

SEPARATORS = {".csv": ",", ".tsv": "\t"}
COMMON = 0.9  # share of characters
OTHERS = (",", ";", "\t", "|")
csv.field_size_limit(LONGEST)


def read_table(path: Path, step: Step) -> Iterator[Record | Unreadable]:
    """The rows of a table as objects.

    The separator is the one that divides the first line into most columns, or the one that a first line
    ``sep=;`` names. A table in which two columns have the same name is not read.
    """
    encoding = find_encoding(path)
    errors = "replace" if encoding == "utf-16" else "surrogateescape"  # which does not support them
    with open_named(path, encoding=encoding, errors=errors, newline="") as stream:

        def follow() -> Iterator[str]:
            for line in stream:
                step(len(line.encode("utf-8", "surrogatepass")))
                yield line.replace("\0", "\ufffd")  # csv refuses NUL and everything after it

        lines = follow()
        first = next(lines, "")
        skipped = 0
        separator = find_separator(first, SEPARATORS[path.suffix.lower()])
        if first.lower().startswith("sep=") and len(first.strip("\r\n")) == 5:
            skipped, first = 1, next(lines, "")
        yield from read_rows(path, first, lines, separator, encoding, skipped)


def read_rows(
    path: Path, first: str, lines: Iterator[str], separator: str, encoding: str, skipped: int
) -> Iterator[Record | Unreadable]:
    """
    Raises:
        GptaltError: a quote is not closed, or there is more text behind it.
    """

    line = first

    def join() -> Iterator[str]:
        nonlocal line
        while line:
            yield line
            line = next(lines, "")

    # strict: a quote that belongs to a text would hide the rows up to the next one
    reader = csv.reader(join(), delimiter=separator, strict=True)
    header: list[str] | None = None
    while True:
        begin = skipped + reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise GptaltError(
                f"{path}, line {begin}: the quotes are not those of a table ({error}), so that it is unclear "
                "where the rows end.",
                'A text with a quote is written in quotes, and the quote in it twice: "so ""it"" is".',
            ) from error
        shown = show(separator.join(row))
        if header is None:
            header = [name.strip() for name in row]
            if fault := find_double(header):
                yield Unreadable(begin, fault, shown)
                return
        elif any(cell.strip() for cell in row):
            if any(map(has_surrogates, row)):
                wrong = "not UTF-8, save it as CSV UTF-8" if encoding == "utf-8-sig" else f"not {encoding}"
                yield Unreadable(begin, wrong, shown)
            elif len(row) != len(header):
                reason = f"{len(row)} columns, the first line has {len(header)}"
                yield Unreadable(begin, reason, shown, fill_row(row, header) if line.endswith("\n") else None)
            else:
                yield begin, dict(zip(header, row, strict=True))


def fill_row(row: list[str], header: list[str]) -> dict[str, str] | None:
    """A row whose empty last cells a program has left out; None: it has too many cells."""
    return dict(zip_longest(header, row, fillvalue="")) if len(row) < len(header) else None


def find_double(header: list[str]) -> str:
    """What is said of a table with two columns of the same name; empty: it has none."""
    names = Counter(name for name in header if name)
    name, number = names.most_common(1)[0] if names else ("", 0)
    return f"{number} columns are called '{name}'" if number > 1 else ""


def find_separator(first: str, usual: str) -> str:
    line = first.rstrip("\r\n")
    if line.lower().startswith("sep=") and len(line) == 5:
        return line[4]
    numbers = {usual: count_columns(line, usual)}
    for separator in OTHERS:
        numbers.setdefault(separator, count_columns(line, separator))
    return max(numbers, key=lambda separator: numbers[separator])


def count_columns(line: str, separator: str) -> int:
    if separator not in line:
        return 1
    try:
        return len(next(csv.reader([line], delimiter=separator), []))
    except csv.Error:
        return 0


def find_encoding(path: Path) -> str:
    """Chinese editions of Excel write GBK, and as Unicode text UTF-16.

    Others write their own encodings, many of whose texts could be GBK too: what is not as common in Chinese
    is not taken for it, and is not UTF-8.
    """
    with open_named(path, "rb") as stream:
        start = stream.read(1 << 20)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return "gb18030" if not is_text(start, "utf-8-sig") and is_chinese(start) else "utf-8-sig"


def is_text(start: bytes, encoding: str) -> bool:
    try:
        codecs.getincrementaldecoder(encoding)("strict").decode(start)
    except UnicodeDecodeError:
        return False
    return True


def is_chinese(start: bytes) -> bool:
    """Whether it is GBK, and nearly all characters are among the 7,445 that GB 2312 chose for Chinese."""
    if not is_text(start, "gb18030"):
        return False
    characters = [each for each in start.decode("gb18030", "ignore") if not each.isascii()]
    common = "".join(characters).encode("gb2312", "ignore").decode("gb2312")
    return len(common) >= COMMON * len(characters)
