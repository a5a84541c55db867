"""The user's cache folder, and atomic writes."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from platformdirs import user_cache_path

TEMPORARY = ".tmp"
OLD = 24 * 3600  # seconds after which what is temporary was left by a process that was killed


def cache_dir() -> Path:
    """Where downloaded weights and indexes are stored: ``$GPTALT_CACHE``, else the system's cache folder."""
    chosen = os.environ.get("GPTALT_CACHE")
    return Path(chosen).expanduser() if chosen else user_cache_path("gptalt-eval", appauthor=False)


def hash_text(text: str) -> str:
    """SHA-256 of a text, as in lm-eval's results."""
    return hashlib.sha256(text.encode()).hexdigest()


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that readers see either the old text or the new text, never a part of it.

    Raises:
        OSError: the disk is full or access is denied; the existing file is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent, f"{path.name}.", OLD)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=TEMPORARY)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise


def remove_leftovers(folder: Path, name: str = "", age: float = 0.0) -> None:
    """Remove the unfinished files of processes that were killed while they wrote into a folder.

    Args:
        folder: the folder.
        name: how the names of the files begin that were being written.
        age: how many seconds old they must be; 0 only where no other process writes.
    """
    for file in folder.glob(f".{glob.escape(name)}*{TEMPORARY}"):
        with contextlib.suppress(OSError):
            if time.time() - file.stat().st_mtime >= age:
                file.unlink()


@contextlib.contextmanager
def temporary_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A folder that is removed when the block ends; older ones, left by a kill, are removed first."""
    for left in parent.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            if left.is_dir() and time.time() - left.stat().st_mtime > OLD:
                shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=prefix) as made:
        yield Path(made)
