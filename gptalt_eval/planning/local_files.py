"""Rows of ``dataset_path: json`` (or csv, parquet) with ``dataset_kwargs: data_files``."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.handed import open_named
from gptalt_eval.data.readers import read_jsonl
from gptalt_eval.machine.storage import walk_files

LOCAL_BUILDERS = ("json", "csv", "parquet", "arrow", "text", "pandas", "xml", "webdataset", "imagefolder")
#: how compressed files and archives begin
PACKED = (
    b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"PK\x03\x04", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18", b"7z\xbc\xaf",
    b"Rar!",
)  # fmt: skip
Row = Mapping[str, Any]


def list_data_files(settings: Any) -> dict[str, Any]:
    """Split -> what ``data_files`` names for it; without splits, they are ``train``."""
    files = settings.get("data_files") if isinstance(settings, Mapping) else None
    if files is None:
        return {}
    return {
        str(split): named for split, named in (files if isinstance(files, dict) else {"train": files}).items()
    }


def list_files(config: Mapping[str, Any]) -> list[Path]:
    """All files that a task reads from this computer because its YAML names them or their folder."""
    settings = config.get("dataset_kwargs")
    named = list_data_files(settings)
    files = {
        path for names in named.values() for _, _, matches in match_files(names, settings) for path in matches
    }
    path = config.get("dataset_path")
    places = [] if path in LOCAL_BUILDERS else [path]
    if not named and isinstance(settings, Mapping):
        places.append(settings.get("data_dir"))
    for place in (Path(str(each)).expanduser() for each in places if each):
        if place.is_file():
            files.add(place)
        elif place.is_dir():
            files |= {path for path in walk_files(place) if path.is_file()}
    return sorted(files)


def match_files(named: Any, settings: Any) -> Iterator[tuple[str, Path, list[Path]]]:
    """Each name of a split's files with its path and the files that it matches, but none on the web."""
    folder = Path(str(settings.get("data_dir") or ".")).expanduser()
    for name in named if isinstance(named, list) else [named]:
        if not isinstance(name, str) or "://" in name or "\0" in name:
            continue  # downloaded when the task runs
        path = folder / Path(name).expanduser()
        matches = sorted(path.parent.glob(path.name)) if any(sign in name for sign in "*?[") else [path]
        yield name, path, [match for match in matches if match.is_file()]


def count_rows(config: Mapping[str, Any], split: str) -> int | None:
    """How many rows a split of local files has; None: unknown without building the task.

    Args:
        config: the task's merged YAML.
        split: the split.
    """
    settings, builder = config.get("dataset_kwargs"), config.get("dataset_path")
    named = list_data_files(settings).get(split)
    if named is None or config.get("process_docs") is not None or builder not in ("json", "csv", "parquet"):
        return None
    names = named if isinstance(named, list) else [named]
    found = list(match_files(named, settings))
    if len(found) < len(names) or not all(files for _, _, files in found):
        return None
    try:
        paths = [path for _, _, files in found for path in files]
        if any(map(is_packed, paths)):
            return None
        field = dict(settings or {}).get("field")
        return sum([count_table(path, str(builder), field) for path in paths])
    except (GptaltError, OSError, ValueError):
        return None  # what is wrong with them is said when they are read


def count_table(path: Path, builder: str, field: Any) -> int:
    if builder == "parquet":
        from pyarrow import parquet

        return int(parquet.ParquetFile(path).metadata.num_rows)
    return sum(1 for _ in read_table(path, builder, field))


def read_table(path: Path, builder: str, field: Any) -> Iterator[Row]:
    """Rows of a JSON, JSON Lines or CSV file; none for other formats, and of files that are compressed.

    Raises:
        GptaltError: the file is damaged.
    """
    if is_packed(path):
        return
    if builder == "csv":
        yield from read_csv(path)
    elif builder == "json":
        with open_named(path, errors="replace") as stream:
            start = stream.read(4096).lstrip()[:1]
        if start == "[" or field:
            yield from read_array(path, field)
        else:
            yield from read_jsonl(path)


def is_packed(path: Path) -> bool:
    """Whether a file is compressed or an archive, which the ``datasets`` library unpacks by itself."""
    with open_named(path, "rb") as stream:
        start: bytes = stream.read(512)
    return start.startswith(PACKED) or start[257:262] == b"ustar"


def read_csv(path: Path) -> Iterator[Row]:
    try:
        with open_named(path, newline="") as stream:
            for row in csv.DictReader(stream):
                yield {key: read_number(value) for key, value in row.items()}
    except (UnicodeDecodeError, csv.Error) as error:
        raise GptaltError(f"{path}: damaged, or no CSV in UTF-8 ({error}).") from error


def read_array(path: Path, field: Any) -> Iterator[Row]:
    try:
        with open_named(path) as stream:
            value = json.load(stream)
        rows = value[field] if field else value
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise GptaltError(
            f"{path}: damaged, or not in the format that the task describes ({error})."
        ) from error
    yield from (row for row in rows if isinstance(row, dict))


def read_number(value: Any) -> Any:
    """A CSV cell, typed as by the csv builder: integers become int."""
    return int(value) if isinstance(value, str) and value.isdecimal() and value.isascii() else value
