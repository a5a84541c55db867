"""Temporary folders; those that a killed process has left are removed by the next that needs one."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from gptalt_eval.machine.storage import OLD, check_ordinary

HELD = ".held"  # in each folder: locked by the process that uses it, and names the computer
LONGEST = 1000  # bytes of a computer's name


@contextlib.contextmanager
def temporary_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A folder of this user alone, removed when the block ends; those that a kill left are removed first.

    Raises:
        OSError: it cannot be made.
    """
    remove_left(parent, prefix)
    folder = tempfile.TemporaryDirectory(dir=parent, prefix=prefix, ignore_cleanup_errors=True)
    with folder as made, hold(Path(made) / HELD):
        yield Path(made)


def remove_left(parent: Path, prefix: str) -> None:
    """Remove the folders of processes that are dead. What is another user's stays."""
    for left in parent.glob(f"{glob.escape(prefix)}*"):
        with contextlib.suppress(OSError):
            found = left.lstat()
            if stat.S_ISDIR(found.st_mode) and is_own(found) and is_left(left, found.st_mtime):
                shutil.rmtree(left, ignore_errors=True)


def is_own(found: os.stat_result) -> bool:
    return not hasattr(os, "getuid") or found.st_uid == os.getuid()


def is_left(folder: Path, changed: float) -> bool:
    """Whether the process that made a folder is dead. Another computer's locks may be unknown here.

    Raises:
        OSError: another process removes it too, or it is not of our making.
    """
    if not (folder / HELD).exists():  # from a system without locks, or from the moment before one
        return time.time() - changed > OLD
    check_ordinary(folder / HELD)
    with (folder / HELD).open("r+b") as held:
        return lock(held.fileno(), wait=False) and held.read(LONGEST) == name_computer()


@contextlib.contextmanager
def hold(file: Path) -> Iterator[None]:
    """Lock a new file as long as the block lasts; a kill frees it. Only a file that is locked has content."""
    with file.open("xb", buffering=0) as held:
        if lock(held.fileno(), wait=True):
            held.write(name_computer())
        yield


def lock(handle: int, wait: bool) -> bool:
    """Lock an open file; whether that succeeds."""
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except (ImportError, OSError):  # Windows; another process has it, or the file system has no locks
        return False
    return True


def name_computer() -> bytes:
    return os.fsencode(socket.gethostname())
