"""The folders that the commands write into."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gptalt_eval import GptaltError


@contextmanager
def written(folder: Path, flag: str) -> Iterator[None]:
    """Inside the block, files are written into a folder, which is made if it is missing.

    Args:
        folder: the folder.
        flag: the flag that chooses another one.

    Raises:
        GptaltError: it is a file or a pipe, access is denied, or the disk is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        text = f"{error.filename or folder} cannot be written: {error.strerror or error}."
        raise GptaltError(text, f"Choose another folder: {flag} FOLDER") from error
