"""Put the files of a downloaded release where they belong below the data folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import takewhile
from pathlib import Path, PurePosixPath

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.types import Dataset
from gptalt_eval.data.download import Item, open_download
from gptalt_eval.machine.storage import follow_links, hash_file
from gptalt_eval.machine.temporary import temporary_folder


@dataclass(frozen=True)
class Placed:
    """A release file in its place below the data folder.

    Attributes:
        path: below the data folder.
        is_new: whether it was not there before.
    """

    path: str
    is_new: bool


@dataclass(frozen=True)
class Choice:
    """A downloaded file that matches a place in the layout, and how many of its path's components match."""

    item: Item
    fit: int


def prepare_dataset(dataset: Dataset, source: Path, folder: Path) -> list[Placed]:
    """Copy the release files in a download to their places below the data folder.

    Args:
        dataset: the dataset whose files to find, by name and, if names are ambiguous, by folder.
        source: a file, a folder or an archive (zip, tar, gz).
        folder: the data folder; it is created if it does not exist.

    Raises:
        GptaltError: no file matches, two files match one place, a different file already exists, or the
            download cannot be read. Nothing is changed then.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (
            open_download(source) as items,
            temporary_folder(folder, ".prepare-") as temporary,
        ):
            choices = choose_items(dataset, items)
            if not choices:
                looked = ", ".join(pattern.replace("{config}", "*") for pattern in list_patterns(dataset))
                raise GptaltError(f"{source} contains no file of {dataset.title}.", f"Looked for: {looked}")
            staged = {path: stage(fits, path, temporary) for path, fits in choices.items()}
            return place(staged, folder, source)
    except OSError as error:
        reason = error.strerror or str(error)
        raise GptaltError(f"{error.filename or folder}: {reason}.", "Nothing else was changed.") from error


def list_patterns(dataset: Dataset) -> list[str]:
    """Every path that the dataset's files may have, including label files."""
    patterns: dict[str, None] = {}
    for split in dataset.splits:
        for pattern in split.files:
            patterns[pattern] = None
            path = PurePosixPath(pattern)
            for beside in split.beside:
                patterns[str(path.parent / beside.replace("{stem}", path.stem))] = None
    return list(patterns)


def choose_items(dataset: Dataset, items: Iterable[Item]) -> dict[str, list[Choice]]:
    """Path below the data folder -> the downloaded files that match it best."""
    patterns = [PurePosixPath(pattern.replace("{config}", "*")).parts for pattern in list_patterns(dataset)]
    columns = zip(*(parts[:-1] for parts in patterns), strict=False)
    shared = len(list(takewhile(lambda names: len(set(names)) == 1, columns)))
    found: dict[str, list[Choice]] = {}
    for item in items:
        fits = [(count_fitting(item.parts, parts), parts) for parts in patterns]
        # the components that distinguish the dataset's files must match; their common folders need not
        fits = [(fit, parts) for fit, parts in fits if fit >= len(parts) - shared]
        if not fits:
            continue
        fit, parts = max(fits, key=lambda pair: pair[0])
        path = "/".join((*parts[:-fit], *item.parts[-fit:]))
        found.setdefault(path, []).append(Choice(item, fit))
    return {path: [c for c in fits if c.fit == max(o.fit for o in fits)] for path, fits in found.items()}


def count_fitting(parts: tuple[str, ...], pattern: tuple[str, ...]) -> int:
    """How many components match, counted from the last one."""
    count = 0
    for part, wanted in zip(reversed(parts), reversed(pattern), strict=False):
        if not fnmatchcase(part, wanted):
            break
        count += 1
    return count


def stage(choices: list[Choice], path: str, temporary: Path) -> Path:
    """Write the matching file to the temporary folder.

    Raises:
        GptaltError: several files match, and they differ.
    """
    target = temporary / path
    target.parent.mkdir(parents=True, exist_ok=True)
    digests = {}
    for choice in choices:
        with choice.item.open() as stream, target.open("wb") as written:
            shutil.copyfileobj(stream, written, 1 << 20)
        digests[choice.item.path] = hash_file(target)
    if len(set(digests.values())) > 1:
        names = " and ".join(list(digests)[:2])
        raise GptaltError(f"Two different files match {path}: {names}.", "Give one of them: --from FILE")
    return target


def place(staged: dict[str, Path], folder: Path, source: Path) -> list[Placed]:
    """Move staged files to their places; a file that already exists must be identical.

    Raises:
        GptaltError: it is not, or its place is behind a link.
    """
    for path in staged:
        check_inside(folder / path, folder)
    there = {path: (folder / path).exists() for path in staged}
    other = [path for path in staged if there[path] and hash_file(folder / path) != hash_file(staged[path])]
    if other:
        more = f" (and {len(other) - 1} more)" if len(other) > 1 else ""
        text = f"{folder / other[0]}{more} already exists and differs from the one in {source}."
        raise GptaltError(
            text, f"Nothing was changed. To replace it, remove it first: rm {folder / other[0]}"
        )
    for path, file in staged.items():
        if not there[path]:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            file.replace(folder / path)
    return [Placed(path, not there[path]) for path in staged]


def check_inside(path: Path, folder: Path) -> None:
    """Check that a place in the data folder is there, and not behind a link that leads elsewhere.

    Raises:
        GptaltError: it is.
    """
    target = follow_links(path)
    if not target.is_relative_to(follow_links(folder)):
        text = f"{path} would be written to {target}, because a link leads there. Nothing was changed."
        raise GptaltError(text, "Give the folder itself as --data_dir, or replace the link by a folder.")
