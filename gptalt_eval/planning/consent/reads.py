"""Which files and addresses the rows of a task YAML come from, as far as it may not read them unasked.

Free are files below the YAML's own folder and below the folders that the user named, but no hidden ones, and
none that a link leads out to. Data on the hub is free as well.
"""

from __future__ import annotations

import glob
import json
import os
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.machine.bounds import LARGEST_YAML, check_yaml, read_file
from gptalt_eval.machine.storage import follow_links
from gptalt_eval.planning.index import Loader
from gptalt_eval.planning.local_files import LOCAL_BUILDERS

Rows = Mapping[Any, Any]
WILD = frozenset("*?[")
CARDS = ("README.md", ".huggingface.yaml")  # of a dataset
#: where a card has its settings, as huggingface_hub finds them
HEAD = re.compile(r"^(\s*---(?:\r\n|\r|\n))([\S\s]*?)((?:\r\n|\r|\n)---[ \t]*(\r\n|\n|$))")
LISTED = ("data_files", "data_dir", "cache_dir")  # settings of rows that are judged by themselves


def find_reads(mapping: Rows, bases: Sequence[Path], free: Sequence[Path]) -> Iterator[str]:
    """What one mapping of a YAML makes the ``datasets`` library read, fetch, or write, beyond what is free.

    Args:
        mapping: at any depth of the YAML.
        bases: the folders in which ``datasets`` may look for relative names.
        free: the folders, resolved, below which files are free.
    """
    path = mapping.get("dataset_path")
    if isinstance(path, str) and path not in LOCAL_BUILDERS and is_local(path):
        yield from describe(path, [Path()], free)
        folder = Path(path).expanduser()
        for card in read_card(folder):
            for inner in walk_mappings(card):
                yield from find_reads({**inner, "dataset_path": None}, [folder], free)
    for key in ("data_files", "data_dir"):
        for name in list_texts(mapping.get(key)):
            yield from describe(name, bases, free)
    for name in list_texts(mapping.get("cache_dir")):
        if "://" in name or not is_free(Path(name).expanduser(), free):
            yield f"writes to {name}"
    yield from find_connections(mapping.get("dataset_kwargs"), bases, free)


def find_connections(settings: Any, bases: Sequence[Path], free: Sequence[Path]) -> Iterator[str]:
    """What ``dataset_kwargs`` say about connections: ``storage_options`` can send the user's key elsewhere.

    Settings of readers (``field``, ``sep``) are texts and numbers, so that mappings are about connections.
    """
    for key, value in settings.items() if isinstance(settings, Mapping) else ():
        if key in LISTED:
            continue
        if any(True for _ in walk_mappings(value)):
            shown = json.dumps(value, default=str, ensure_ascii=False)
            yield f"connects to where rows are kept as it says: {key} {shown}"
        for name in list_texts(value):
            if "://" in name or name.startswith(("/", "~", "../")):
                yield from describe(name, bases, free)


def is_local(path: str) -> bool:
    """Whether ``datasets`` would take a ``dataset_path`` for something else than data on the hub."""
    return "://" in path or path.startswith((".", "/", "~")) or os.path.lexists(path)


def list_bases(mappings: Sequence[Rows]) -> list[Path]:
    """The folders in which relative names of files can be looked for: the current one, and those named."""
    named = [mapping.get(key) for mapping in mappings for key in ("dataset_path", "data_dir")]
    folders = [Path(name).expanduser() for name in named if isinstance(name, str) and "\0" not in name]
    found = [Path(), *(folder for folder in folders if folder.is_dir())]
    found += [base / folder for base in found for folder in folders if (base / folder).is_dir()]
    return list(dict.fromkeys(found))


def describe(name: str, bases: Sequence[Path], free: Sequence[Path]) -> Iterator[str]:
    """What is read under a name, unless it is free.

    Args:
        name: a path, a pattern or an address.
        bases: where a relative path can be. What is not there is the name of a file on the hub, or a mistake.
    """
    if "::" in name or ("://" in name and not name.startswith("hf://")):
        yield f"{'reads' if 'file://' in name or 'local://' in name else 'fetches'} {name}"
        return
    if "://" in name or "\0" in name:
        return
    path = Path(name).expanduser()
    # with a link in front of it, `..` leads elsewhere than on paper; both ways are possible
    for each in dict.fromkeys((path, Path(os.path.normpath(path)))):
        for base in bases:
            yield from describe_place(each, base, free)


def describe_place(path: Path, base: Path, free: Sequence[Path]) -> Iterator[str]:
    fixed = cut_pattern(path)
    place = base / fixed
    if is_free(place, free):
        if place.is_dir():
            yield from (f"reads {follow_links(link)}" for link in find_links_out(place, free))
        return
    # Path.glob refuses patterns such as **.json, which `datasets` accepts
    if next(glob.iglob(str(base / path), recursive=True), None):  # noqa: PTH207
        found = follow_links(place)
        yield f"reads {found / path.relative_to(fixed) if path != fixed else found}"


def cut_pattern(path: Path) -> Path:
    """The part of a path before its first wildcard."""
    parts = path.parts
    first = next((place for place, part in enumerate(parts) if WILD & set(part)), len(parts))
    return Path(*parts[:first])


def read_card(folder: Path) -> Iterator[Any]:
    """What the card of a local dataset says; it may name files anywhere.

    Raises:
        GptaltError: it is larger than any real one, or cannot be read as YAML, so that nobody knows.
    """
    for name in CARDS:
        file = folder / name
        if not file.is_file():
            continue
        try:
            text = read_file(file, LARGEST_YAML).decode("utf-8-sig", "replace")
            found = HEAD.search(text)
            head = text if name.endswith(".yaml") else found[2] if found else ""
            check_yaml(head.encode())
            yield yaml.load(head, Loader)
        except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
            raise GptaltError(f"{file} cannot be read: {' '.join(str(error).split())}.") from error


def is_free(path: Path, free: Sequence[Path]) -> bool:
    """Whether a path, links followed, is below a free folder and neither hidden nor below a hidden folder."""
    real = follow_links(path)
    inner = [real.relative_to(folder) for folder in free if real.is_relative_to(folder)]
    return any(not any(part.startswith(".") for part in rest.parts) for rest in inner)


def find_links_out(folder: Path, free: Sequence[Path]) -> Iterator[Path]:
    """The links below a folder that lead out of what is free."""
    waiting, seen = [folder], {follow_links(folder)}
    while waiting:
        try:
            entries = sorted(os.scandir(waiting.pop()), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            path = Path(entry.path)
            if entry.is_symlink() and not is_free(path, free):
                yield path
            elif path.is_dir() and not entry.name.startswith(".") and follow_links(path) not in seen:
                seen.add(follow_links(path))
                waiting.append(path)


def walk_mappings(value: Any) -> Iterator[Mapping[Any, Any]]:
    """Every mapping inside a value, itself first; aliases can make it contain itself."""
    waiting, seen = deque([value]), set()
    while waiting:
        each = waiting.popleft()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, Mapping):
            yield each
            waiting += each.values()
        elif isinstance(each, (list, tuple, set)):
            waiting += each


def list_texts(value: Any) -> list[str]:
    """The texts in a value: one, or several in lists and mappings."""
    found, waiting, seen = [], deque([value]), set()
    while waiting:
        each = waiting.popleft()
        if isinstance(each, str):
            found.append(each)
        elif id(each) not in seen and isinstance(each, (Mapping, list, tuple, set)):
            seen.add(id(each))
            waiting += each.values() if isinstance(each, Mapping) else each
    return found
