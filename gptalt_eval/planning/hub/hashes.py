"""Whether downloaded files are those that the hub has, by their hashes; each is read once and remembered."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.machine.storage import cache_dir, hash_file, make_cache, write_atomically
from gptalt_eval.planning.hub.repository import HEX, RemoteFile

CHECKED = "checked.json"
SHA1, SHA256 = 40, 64  # hexadecimal digits


def check_files(
    folder: Path, name: str, files: Iterable[RemoteFile], say: Callable[[str], None] = lambda _: None
) -> None:
    """Check the files of a repository that were not checked before.

    Args:
        folder: the folder with the files.
        name: the repository's name.
        files: what they should be.
        say: told which file is read.

    Raises:
        GptaltError: one of them has another content; it has been removed.
    """
    known = read_checked()
    for file in files:
        path = folder / file.path
        expected = find_expected(path, file)
        if not expected or known.get(str(path.resolve())) == [*describe(path), expected]:
            continue
        say(f"Checking {name}: {file.path}")
        check_file(path, file.path, name, expected)
        known[str(path.resolve())] = [*describe(path), expected]
        remember(known)


def find_expected(path: Path, file: RemoteFile) -> str:
    """The hash that a file should have: the hub's, else its name in the cache; empty: it is not known."""
    if file.sha256 or file.blob:
        return file.sha256 or file.blob
    blob = path.resolve().name if path.is_symlink() else ""  # the client names what it keeps by its hash
    return blob if HEX.fullmatch(blob) and len(blob) in (SHA1, SHA256) else ""


def check_file(path: Path, shown: str, name: str, expected: str) -> None:
    """Check one file.

    Raises:
        GptaltError: it has another content; it has been removed.
    """
    found = hash_file(path) if len(expected) == SHA256 else hash_blob(path)
    if found == expected:
        return
    size = path.stat().st_size
    with contextlib.suppress(OSError):
        path.resolve().unlink()
        path.unlink(missing_ok=True)
    raise GptaltError(
        f"{shown} of '{name}' is damaged ({size:,} bytes, hash {found[:12]}, expected {expected[:12]}). "
        "It has been removed.",
        "Run the same command again: it downloads this file again, and no other.",
    )


def hash_blob(path: Path) -> str:
    """The id that git gives to a file with this content (SHA-1)."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    digest.update(path.read_bytes())
    return digest.hexdigest()


def describe(path: Path) -> list[int]:
    state = path.stat()
    return [state.st_size, state.st_mtime_ns, state.st_ctime_ns]  # the last one cannot be set


def read_checked() -> dict[str, object]:
    """The files that were checked: path -> size, times of change, hash."""
    try:
        found = json.loads((cache_dir() / "hub" / CHECKED).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return dict(found) if isinstance(found, dict) else {}


def remember(checked: Mapping[str, object]) -> None:
    with contextlib.suppress(OSError):  # a run must not fail because its cache is read-only
        write_atomically(make_cache("hub") / CHECKED, json.dumps(checked))
