"""Files that somebody may have handed over: bare names, no links, no pipes, JSON of any content.

A file or folder that the user typed may lie behind a link. What is in the folder may not be one: it could
lead anywhere.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from shlex import quote
from typing import IO, Any

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.machine.bounds import open_file

DEEPEST = 100  # levels of JSON; ours have fewer than 20
LONGEST_NUMBER = 300  # digits; a float has at most 309 before its point
#: one half of a character that JSON writes as two, without the other: it cannot be printed or saved
HALF = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F]"
)
LINKED = "If you know where it leads and it is yours, replace it by a copy of that file."


def is_bare(name: str) -> bool:
    """Whether a name is that of a file and nothing else: no folder, no drive, no control characters."""
    plain = name.isprintable() and len(name.encode("utf-8", "replace")) <= 255
    return plain and name not in ("", ".", "..") and PureWindowsPath(name).name == name


def check_plain(*paths: Path) -> None:
    """Check that nothing, or an ordinary file of its own, is at each path in a folder.

    Raises:
        GptaltError: one is a link, a folder, a device, or another name of a file elsewhere.
    """
    for path in paths:
        with contextlib.suppress(OSError):
            refuse_odd(path, path.lstat())


def refuse_odd(path: Path, found: os.stat_result) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise GptaltError(f"{path} is a link, which could lead anywhere; it is not followed.", LINKED)
    if not stat.S_ISREG(found.st_mode):
        raise GptaltError(f"{path} is not an ordinary file.", "Remove it, or use another folder.")
    if found.st_nlink > 1:
        raise GptaltError(f"{path} is a hard link: the same file has another name elsewhere.", LINKED)


def check_folders(root: Path, *names: str) -> Path:
    """The folder below a root that the user chose; it need not exist.

    Raises:
        GptaltError: one of the folders below the root is a link, or has a name that leads elsewhere.
    """
    for name in names:
        root = root / name
        if not is_bare(name):
            raise GptaltError(f"{name!r:.80} cannot be the name of a folder.")
        if root.is_symlink():
            raise GptaltError(f"{root} is a link, which could lead anywhere; it is not followed.", LINKED)
    return root


def open_plain(path: Path, mode: str = "r") -> IO[Any]:
    """Open a file of a folder without following a link; text is UTF-8.

    Args:
        path: the file.
        mode: ``r``, ``rb``, ``a``, ``ab``, ``a+`` or ``r+b``.

    Raises:
        GptaltError: it is a link, a device, or another name of a file elsewhere.
        OSError: it does not exist, or cannot be opened.
    """
    check_plain(path)
    handle = os.open(path, choose_flags(mode), 0o666)
    try:
        refuse_odd(path, os.fstat(handle))
        return os.fdopen(handle, mode, encoding=None if "b" in mode else "utf-8")
    except BaseException:
        os.close(handle)
        raise


def open_growing(path: Path) -> IO[Any]:
    """Open a file that grows line by line, to read it and to append to it; it is made if there is none.

    Raises:
        GptaltError: it is a link, a device, or another name of a file elsewhere, or may not be opened.
        OSError: it cannot be made.
    """
    try:
        return open_plain(path, "a+")
    except PermissionError as error:
        if not path.exists():
            raise
        raise GptaltError(
            f"{path} cannot be opened: {error.strerror}.", f"If it is yours: chmod u+rw {quote(str(path))}"
        ) from None


def open_named(path: Path, mode: str = "r", **settings: Any) -> IO[Any]:
    """Open a file that the user or one of their files named, for reading; links are followed.

    Args:
        path: the file.
        mode: ``r`` or ``rb``.
        settings: those of ``open``; text is UTF-8 unless they say otherwise.

    Raises:
        GptaltError: there is none, it cannot be opened, or it is a folder, a pipe, a socket or a device.
    """
    try:
        return open_file(path, mode, **settings)
    except (OSError, ValueError) as error:  # a name with a NUL is none
        reason = getattr(error, "strerror", None) or error
        raise GptaltError(
            f"{path} cannot be read: {reason}.", "Give the path of an ordinary file."
        ) from error


def choose_flags(mode: str) -> int:
    flags = os.O_RDWR if "+" in mode else os.O_WRONLY if "a" in mode else os.O_RDONLY
    if "a" in mode:
        flags |= os.O_APPEND | os.O_CREAT
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):  # each where the system has it
        flags |= getattr(os, name, 0)
    return flags


def read_json(file: Path, hint: str = "") -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        GptaltError: it is a link, cannot be read, or contains something else; names the file.
    """
    try:
        with open_plain(file) as stream:
            content = parse_json(stream.read())
    except (OSError, ValueError) as error:
        raise GptaltError(f"{file} is damaged ({error}).", hint) from error
    if not isinstance(content, dict):
        raise GptaltError(f"{file} is damaged (not a JSON object).", hint)
    return content


def parse_json(text: str) -> Any:
    """The content of JSON.

    Raises:
        ValueError: it is damaged, deeper than 100 levels, or has a number of more than 300 digits.
    """
    try:
        value = DECODER.decode(text)
    except RecursionError:
        raise ValueError(f"nested deeper than {DEEPEST} levels") from None
    if text.count("[") + text.count("{") > DEEPEST:
        check_depth(value)
    if ("\\ud" in text or "\\uD" in text) and HALF.search(text):  # to look for the former is much faster
        value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    return value


def read_number(digits: str) -> int:
    if len(digits) > LONGEST_NUMBER:
        raise ValueError(f"a number of {len(digits):,} digits")
    return int(digits)


DECODER = json.JSONDecoder(parse_int=read_number)


def check_depth(value: object) -> None:
    level = [value]
    for _ in range(DEEPEST):
        level = [part for outer in level for part in list_parts(outer) if isinstance(part, (dict, list))]
        if not level:
            return
    raise ValueError(f"nested deeper than {DEEPEST} levels")


def list_parts(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value
