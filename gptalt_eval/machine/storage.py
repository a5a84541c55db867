"""The user's cache folder, and atomic writes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

from platformdirs import user_cache_path


def cache_dir() -> Path:
    """Where downloaded weights and indexes are stored: ``$GPTALT_CACHE``, else the system's cache folder."""
    chosen = os.environ.get("GPTALT_CACHE")
    return Path(chosen).expanduser() if chosen else user_cache_path("gptalt-eval", appauthor=False)


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
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
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
