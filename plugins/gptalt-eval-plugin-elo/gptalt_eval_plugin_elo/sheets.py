"""Tables in files that need a package: Parquet and Excel's."""

from __future__ import annotations

import datetime
import importlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import IO, Any
from zipfile import ZipFile

from gptalt_eval import GptaltError, open_named
from gptalt_eval_plugin_elo.records import Record, Step, Unreadable, show
from gptalt_eval_plugin_elo.separated import find_double

LARGEST = 1 << 30  # bytes of a workbook when unpacked; a small file can become very large
ROWS = 1_000  # of a Parquet file, in memory at a time


def load_package(name: str, extra: str, path: Path) -> ModuleType:
    """
    Raises:
        GptaltError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise GptaltError(
            f"{path} cannot be read without {package}.",
            f"Install it: pip install 'gptalt-eval-plugin-elo[{extra}]'. Or save the table as CSV.",
        ) from error


def read_parquet(path: Path, step: Step) -> Iterator[Record]:
    """The rows, numbered from 1.

    Raises:
        GptaltError: it is damaged, or pyarrow is not installed.
    """
    parquet, arrow = (
        load_package("pyarrow.parquet", "parquet", path),
        load_package("pyarrow", "parquet", path),
    )
    with open_named(path, "rb") as stream:
        try:
            file = parquet.ParquetFile(stream)
            share = path.stat().st_size / max(1, file.metadata.num_rows)
            number = 0
            for batch in file.iter_batches(batch_size=ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield number, {name: make_plain(value) for name, value in row.items()}
                step(int(share * batch.num_rows))
        except (arrow.ArrowException, OSError, ValueError) as error:
            raise explain_damaged(path, "Parquet", error) from error


def read_sheet(path: Path, step: Step) -> Iterator[Record | Unreadable]:
    """The rows of the only sheet that is not empty, numbered as in the sheet.

    Raises:
        GptaltError: it is damaged or has votes in several sheets, or openpyxl is not installed.
    """
    openpyxl = load_package("openpyxl", "xlsx", path)
    with open_named(path, "rb") as stream:
        try:
            check_size(stream, path)
            book = openpyxl.load_workbook(stream, read_only=True, data_only=True)
            sheets = [
                sheet for sheet in book.worksheets if any(map(is_filled, sheet.iter_rows(values_only=True)))
            ]
            if len(sheets) > 1:
                names = ", ".join(sheet.title for sheet in sheets)
                raise GptaltError(
                    f"{path} has several sheets: {names}.", "Save the one with the votes as CSV."
                )
            for sheet in sheets:
                yield from read_cells(sheet.iter_rows(values_only=True))
        except GptaltError:
            raise
        except Exception as error:  # openpyxl promises no kinds of errors
            raise explain_damaged(path, "Excel", error) from error
    step(path.stat().st_size)


def check_size(stream: IO[bytes], path: Path) -> None:
    with ZipFile(stream) as archive:
        if sum(each.file_size for each in archive.infolist()) > LARGEST:
            raise GptaltError(f"{path} would be larger than 1 GiB when unpacked.", "Save the votes as CSV.")
    stream.seek(0)


def is_filled(row: Iterable[Any]) -> bool:
    return any(cell not in (None, "") for cell in row)


def read_cells(rows: Iterable[Iterable[Any]]) -> Iterator[Record | Unreadable]:
    header: list[str] | None = None
    for number, row in enumerate(rows, 1):
        cells = ["" if cell is None else make_plain(cell) for cell in row]
        if not is_filled(cells):
            continue
        if header is None:
            header = [str(cell).strip() for cell in cells]
            if fault := find_double(header):
                yield Unreadable(number, fault, show(", ".join(header)))
                return
        elif is_filled(cells[len(header) :]):
            yield Unreadable(
                number, f"{len(cells)} columns, the first line has {len(header)}", show(str(cells))
            )
        else:
            padded = cells + [""] * (len(header) - len(cells))
            yield number, dict(zip(header, padded, strict=False))


def make_plain(value: Any) -> Any:
    """The value as JSON has it; times as ISO 8601."""
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(name): make_plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [make_plain(each) for each in value]
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    return str(value)


def explain_damaged(path: Path, kind: str, error: Exception) -> GptaltError:
    text = " ".join(str(error).split())[:100]
    return GptaltError(f"{path} cannot be read as {kind}: {text}.", "Save it again, or as CSV.")
