"""Where a task's rows come from: a folder of release files, the embedded sample, or the hub.

A task's YAML names a hub dataset. If a registered dataset has that hub id, its rows come from
``--data_dir`` (or ``GPTALT_DATA``) or from the embedded sample instead; otherwise they come from the hub
or a mirror (``HF_ENDPOINT``).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from glob import escape
from pathlib import Path
from typing import Any

from gptalt_eval.contract.errors import DataError
from gptalt_eval.contract.located import SAMPLE, LocatedData, LocatedSplit
from gptalt_eval.contract.types import Dataset, Split
from gptalt_eval.data import cache as rowcache
from gptalt_eval.data.check import find_published_rows, hash_files, is_summed, judge
from gptalt_eval.data.progress import is_big, show_progress
from gptalt_eval.data.readers import REPLACE, read_jsonl


def choose_data_dir(flag: str | None) -> Path | str | None:
    """``--data_dir``, else ``GPTALT_DATA``; ``sample`` is returned unchanged.

    Raises:
        DataError: the folder does not exist.
    """
    chosen = flag or os.environ.get("GPTALT_DATA")
    if not chosen or chosen == SAMPLE:
        return chosen or None
    folder = Path(chosen).expanduser()
    if not folder.is_dir():
        source = "--data_dir" if flag else "GPTALT_DATA"
        raise DataError(
            f"{source}: there is no folder {chosen}.",
            "Give a folder of release files, or --data_dir sample for the embedded sample.",
        )
    return folder


def locate(
    dataset: Dataset, config: str | None, splits: tuple[str, ...], data_dir: Path | str
) -> LocatedData:
    """Find, read and count the splits of a dataset in a folder or in the sample.

    Missing splits are left out; the caller knows which ones it needs.

    Raises:
        DataError: a file cannot be read to the end.
    """
    found: dict[str, LocatedSplit] = {}
    for name in splits:
        split = dataset.split(name)
        if split is None:
            continue
        if data_dir == SAMPLE:
            files = find_sample(dataset, name)
            if files:
                rows = read_split(dataset, config, files, True)
                found[name] = LocatedSplit(name, files, len(rows), None, hash_files(files).together)
        else:
            located = locate_split(dataset, config, split, Path(data_dir))
            if located is not None:
                found[name] = located
    return LocatedData(dataset.hub, config, "sample" if data_dir == SAMPLE else "folder", dataset, found)


def locate_split(dataset: Dataset, config: str | None, split: Split, folder: Path) -> LocatedSplit | None:
    """Find, count and check the release files of one split; None if there are none.

    Raises:
        DataError: a file cannot be read to the end.
    """
    dataset = dataset.reading(split.name)
    pattern, files = match_files(folder, split, config)
    if not files:
        return None
    beside = tuple(other for file in files for other in find_beside(file, split))
    try:
        hashes = hash_files(files + beside)
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}.", REPLACE) from error
    is_kept = sum(file.stat().st_size for file in files) >= rowcache.WORTH_KEEPING
    key = rowcache.make_key(dataset, config, hashes.together) if is_kept else ""
    below = {file.relative_to(folder).as_posix(): digest for file, digest in hashes.each.items()}
    # a file that is missing beside them is noticed when they are read
    is_whole = len(beside) >= len(files) * len(split.beside)
    count = find_published_rows(dataset, split, pattern, below) if is_whole else None
    if count is None and key:
        count = rowcache.find_count(key)
    if count is None:
        rows = iterate_split(dataset, config, files, False)
        count = sum(
            1 for _ in show_big_progress(rows, files, f"Reading {dataset.title} {split.name}", split.rows)
        )
        if key:
            rowcache.keep_count(key, count)
    place = pattern.replace("{config}", config or "")
    verdict = judge(dataset, split, pattern, place, count, below)
    official = None if is_summed(dataset, split) else split.rows
    return LocatedSplit(split.name, files, count, official, hashes.together, verdict, key)


def find_files(folder: Path, split: Split, config: str | None) -> tuple[Path, ...]:
    """The files of a split below the data folder: those that its first matching pattern finds."""
    return match_files(folder, split, config)[1]


def match_files(folder: Path, split: Split, config: str | None) -> tuple[str, tuple[Path, ...]]:
    """The first pattern of a split that matches any files, and those files."""
    for pattern in split.files:
        filled = pattern.replace("{config}", config or "").lstrip("/")  # a task may have no configuration
        files = sorted(folder.glob(filled), key=natural_key)
        if files:
            return pattern, tuple(files)
    return "", ()


def find_beside(file: Path, split: Split) -> tuple[Path, ...]:
    """The existing files that the reader opens in addition to this one."""
    patterns = [pattern.replace("{stem}", escape(file.stem)) for pattern in split.beside]
    return tuple(other for pattern in patterns for other in sorted(file.parent.glob(pattern)))


def natural_key(path: Path) -> tuple[str, int, str]:
    """Sorts 9.txt before 10.txt."""
    return str(path.parent), int(path.stem) if path.stem.isdigit() else -1, path.name


def find_sample(dataset: Dataset, split: str) -> tuple[Path, ...]:
    file = dataset.sample / f"{split}.jsonl" if dataset.sample else None
    return (file,) if file and file.is_file() else ()


def read_split(
    dataset: Dataset | None, config: str | None, files: tuple[Path, ...], is_sample: bool
) -> list[dict[str, Any]]:
    return list(iterate_split(dataset, config, files, is_sample))


def iterate_split(
    dataset: Dataset | None, config: str | None, files: tuple[Path, ...], is_sample: bool
) -> Iterator[dict[str, Any]]:
    """The rows of one split, one at a time."""
    if dataset is None:
        raise ValueError("only the rows of a registered dataset are read here")
    if not is_sample:
        yield from dataset.read(files, config)
        return
    # one sample file for all subjects; "sample" marks few-shot examples that all of them share
    subjects = (config, "sample") if config and not dataset.configs else None
    for row in read_jsonl(files[0]):
        if subjects is None or row.get("subject") in subjects:
            yield row


def show_big_progress(
    rows: Iterator[dict[str, Any]], files: Iterable[Path], text: str, total: int | None
) -> Iterator[dict[str, Any]]:
    return show_progress(rows, text, total) if is_big(files) else rows


def read_located(data: LocatedData, split: str) -> Iterator[dict[str, Any]]:
    """The rows of one located split, in the hub version's schema; a big file gets a progress bar."""
    located = data.splits[split]
    dataset = data.dataset.reading(split) if data.dataset else None
    rows = iterate_split(dataset, data.config, located.files, data.is_sample)
    return show_big_progress(rows, located.files, f"Converting {split}", located.rows)
