"""What ``gptalt-eval install`` is given, and what of it pip is told: names and paths, nothing else."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from gptalt_eval.contract.discovery import PREFIX
from gptalt_eval.contract.errors import GptaltError, UnknownNameError, did_you_mean
from gptalt_eval.machine.bounds import LARGEST_YAML, read_file
from gptalt_eval.planning.known import KNOWN

NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
PINNED = re.compile(r"([a-z0-9][a-z0-9-]*)(==[a-z0-9.+!]+)?")
COMMENT = re.compile(r"(^|\s+)#.*$")  # as pip reads it
RULE = "A plugin's name has small letters, digits and hyphens; a path begins with ./ or /."


@dataclass(frozen=True)
class Wanted:
    """What pip would be told.

    Attributes:
        packages: names and paths.
        options: what comes before them.
        doubts: what in it is neither a known plugin nor a path that was typed, one line each.
    """

    packages: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


def read_name(name: str, checkout: Path | None) -> Wanted:
    """What one name stands for: a path, a checkout's folder, or a package of the index.

    Args:
        name: as typed.
        checkout: the checkout of gptalt-eval in which plugins are looked for first.

    Raises:
        GptaltError: it is none of these, or it is similar to the name of a known plugin.
    """
    if is_path(name):
        check_project(name)
        return Wanted((name,))  # as typed: for pip, './sky' is a folder and 'sky' a package
    if not NAME.fullmatch(name):
        raise GptaltError(f"{name!r} is neither the name of a plugin nor a path.", suggest_name(name))
    short = name.removeprefix(PREFIX)
    folder = checkout / "plugins" / (PREFIX + short) if checkout else None
    if folder and folder.is_dir():
        return Wanted(options=("-e", str(folder)))
    near = did_you_mean(short, KNOWN)
    if short == name and short not in KNOWN and near:  # a typo may be someone else's package
        hint = f"{near} If not, give the full name: gptalt-eval install {PREFIX}{name}"
        raise UnknownNameError(f"There is no known plugin '{short}'.", hint)
    package = PREFIX + short
    doubts = () if short in KNOWN else (f"{package}, which is not a plugin of this project",)
    return Wanted((package,), doubts=doubts)


def is_path(name: str) -> bool:
    return name in (".", "..") or name.startswith(("./", "../", f".{os.sep}")) or Path(name).is_absolute()


def suggest_name(name: str) -> str:
    """What may have been meant by something that is neither a name nor a path."""
    if Path(name).exists():
        return f"For the file or folder, type: ./{name}"
    return did_you_mean(name, KNOWN) or f"{RULE} For anything else, call pip itself."


def check_project(name: str) -> None:
    """Refuse what is neither a wheel nor a folder with a Python project.

    Raises:
        GptaltError: suggests what is near.
    """
    path = Path(name)
    if not path.exists():
        raise UnknownNameError(f"{path} does not exist.", suggest_sibling(path))
    if ";" in name or name.endswith("]"):
        raise GptaltError(f"pip would read {name!r} as more than a path.", "Rename it.")
    if path.is_file() and path.suffix != ".whl":
        raise GptaltError(
            f"{path} is neither a folder nor a wheel (.whl).", "Unpack it, and give the folder."
        )
    if path.is_dir() and not (path / "pyproject.toml").is_file():
        inside = [str(path / folder.parent.name) for folder in sorted(path.glob("*/pyproject.toml"))]
        hint = f"It contains: {', '.join(inside)}" if inside else "Give the folder with pyproject.toml."
        raise GptaltError(f"{path} is not a Python project: pyproject.toml is missing.", hint)


def suggest_sibling(path: Path) -> str:
    siblings = [sibling.name for sibling in path.parent.iterdir()] if path.parent.is_dir() else []
    return did_you_mean(path.name, siblings)


def read_requirements(file: Path) -> Wanted:
    """What a requirements file asks for.

    pip gets a file itself only if it contains more than known plugins: it could read another encoding in it.

    Raises:
        GptaltError: it cannot be read.
    """
    if not file.is_file():
        raise UnknownNameError(f"There is no file {file}.", suggest_sibling(file))
    try:
        lines = read_file(file, LARGEST_YAML).decode("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise GptaltError(f"{file} cannot be read: {error}.", "Save it as UTF-8 text.") from error
    known = {PREFIX + name for name in KNOWN}
    packages, doubts = [], []
    for number, line in enumerate(lines, 1):
        content = COMMENT.sub("", line).strip()
        pinned = PINNED.fullmatch(content)
        if pinned and pinned[1] in known:
            packages.append(content)
        elif content:
            doubts.append(f"{content!r} (line {number} of {file})")
    if doubts:
        return Wanted(options=("-r", str(file.absolute())), doubts=tuple(doubts))
    return Wanted(tuple(packages))
