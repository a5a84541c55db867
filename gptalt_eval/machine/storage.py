"""The user's cache folder, and atomic writes."""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import os
import secrets
import stat
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from platformdirs import user_cache_path

from gptalt_eval.machine.secrets import hide_known

TEMPORARY = ".tmp"
UNENCODED = "backslashreplace"  # a lone surrogate is written as JSON writes it, instead of ending a run
OLD = 24 * 3600  # seconds after which what is temporary was left by a process that was killed


def cache_dir() -> Path:
    """Where downloaded weights and indexes are stored: ``$GPTALT_CACHE``, else the system's cache folder."""
    chosen = os.environ.get("GPTALT_CACHE")
    return Path(chosen).expanduser() if chosen else user_cache_path("gptalt-eval", appauthor=False)


def make_cache(*parts: str) -> Path:
    """The cache folder or one in it, which only the user can open; what is missing of it is made."""
    folder = cache_dir()
    for part in ("", *parts):
        folder = folder / part
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def find_shared(path: Path, root: Path | None = None) -> Path | None:
    """The first folder or file on the way from a folder to ``path`` that others may have changed.

    What is behind a folder that they cannot enter is safe from them, whatever its own mode. None: all is the
    user's own, or it does not exist yet.

    Args:
        path: what is looked at.
        root: where the way begins; None: our own cache folder.
    """
    root, reach = root or cache_dir(), 0o022
    for place in reversed([path, *(parent for parent in path.parents if parent.is_relative_to(root))]):
        with contextlib.suppress(OSError):
            if is_others(place, reach):
                return place
            reach &= (place.stat().st_mode & 0o011) << 1
    return None


def is_others(path: Path, bits: int = 0o022) -> bool:
    """Whether another user owns a file or folder, or may write to it by one of these bits of its mode.

    Raises:
        OSError: it does not exist.
    """
    found = path.stat()
    if not hasattr(os, "getuid"):  # Windows keeps a user's folders apart itself
        return False
    if found.st_mode & bits & 0o070 and is_private_group(found.st_gid):
        bits &= ~0o070
    return found.st_uid not in (0, os.getuid()) or bool(found.st_mode & bits)


def is_private_group(group: int) -> bool:
    """Whether a group is that of the user alone, as on systems on which files are writable by the group."""
    import grp
    import pwd

    try:
        own, found = pwd.getpwuid(os.getuid()), grp.getgrgid(group)
    except KeyError:
        return False
    return group == own.pw_gid and found.gr_name == own.pw_name and set(found.gr_mem) <= {own.pw_name}


def check_ordinary(path: Path) -> None:
    """Check that a file is one that ends: a pipe would make us wait for ever, and a device has no end.

    Raises:
        OSError: it is a pipe, a socket or a device, or there is none.
    """
    refuse_endless(path.stat(), str(path))


def refuse_endless(found: os.stat_result, path: str) -> None:
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", path)


def refuse_device(path: Path) -> None:
    """Check that no device is at a path, which a file would replace.

    Raises:
        OSError: there is one.
    """
    with contextlib.suppress(FileNotFoundError):
        mode = path.stat().st_mode
        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            raise OSError(errno.EINVAL, "it is a device, not a file", str(path))


def follow_links(path: Path) -> Path:
    """The absolute path of what a path leads to; of a link that leads to itself, the path as it is.

    ``Path.resolve`` fails there.
    """
    return Path(os.path.realpath(path))


def walk_files(folder: Path, ignored: Collection[str] = ()) -> Iterator[Path]:
    """All files below a folder, however deep; links to folders are not followed. Others' folders are skipped.

    Python's own ways (``os.walk``, ``rglob``) fail at a thousand levels.
    """
    waiting = [str(folder)]
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    yield Path(entry.path)
                elif entry.name not in ignored:
                    waiting.append(entry.path)


def hash_text(text: str) -> str:
    """SHA-256 of a text, as in lm-eval's results."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, read in blocks."""
    digest = hashlib.sha256()
    check_ordinary(path)
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def hash_folder(folder: Path, leave_out: str) -> dict[str, str]:
    """SHA-256 of a folder's files by name, but for the file in which these are kept."""
    return {file.name: hash_file(file) for file in sorted(folder.iterdir()) if file.name != leave_out}


@contextlib.contextmanager
def name_file(path: Path) -> Iterator[None]:
    """Have an error of the system say which file it is about: that of an open file does not, and neither does
    one of a network or a pipe.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that readers see either the old content or the new one, never a part of it.

    Text is written as UTF-8, without the keys that are known. The file's mode follows the umask; that of an
    existing file only loses bits.

    Raises:
        OSError: the disk is full, access is denied, or it is a device; what is there is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    refuse_device(path)
    remove_leftovers(path.parent, f"{path.name}.", OLD)
    temporary = path.parent / f".{path.name}.{secrets.token_hex(8)}{TEMPORARY}"
    if isinstance(content, str):
        content = hide_known(content).encode("utf-8", UNENCODED)
    # unlike tempfile's, this file has the mode that the umask leaves
    handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        with name_file(path), os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        with contextlib.suppress(OSError):  # there was none: a file that is replaced is never opened wider
            temporary.chmod(temporary.stat().st_mode & path.stat().st_mode & 0o777)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
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
