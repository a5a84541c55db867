"""``gptalt-eval install`` and ``uninstall``: pip with plugins' short names and a checkout's folders."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from gptalt_eval.commands.checkout import find_checkout
from gptalt_eval.contract.discovery import PREFIX
from gptalt_eval.contract.errors import GptaltError, UnknownNameError, did_you_mean
from gptalt_eval.contract.hookspecs import GROUP
from gptalt_eval.contract.types import Installed
from gptalt_eval.machine.plain import print_plain as print
from gptalt_eval.machine.subprocesses import run_pip
from gptalt_eval.planning.known import KNOWN


def run_install(arguments: argparse.Namespace, plugins: Installed) -> int:
    # an editable install is in its checkout, whatever the current folder
    checkout = find_checkout(Path.cwd(), Path(__file__))
    words = [word for name in arguments.names for word in locate(name, checkout)]
    for file in arguments.requirements:
        if not file.is_file():
            raise UnknownNameError(f"There is no file {file}.", suggest_sibling(file))
        words += ["-r", str(file)]
    if not words:
        raise GptaltError("No plugin was given.", f"Type: gptalt-eval install {'|'.join(KNOWN)}, or ./FOLDER")
    if call_pip("install", *words):
        ours = [name for name in arguments.names if name.removeprefix(PREFIX) in KNOWN]
        hint = "Known plugins: gptalt-eval plugins"
        if ours and not checkout:
            hint = f"'{ours[0]}' is part of gptalt-eval's repository; in a checkout of it, type: make install"
        raise GptaltError("pip could not install it; pip's own message is above.", hint)
    return 0


def run_uninstall(arguments: argparse.Namespace, plugins: Installed) -> int:
    # by entry points, not by what was loaded: a disabled plugin must be uninstallable too
    installed = {point.name: point.dist.name for point in entry_points(group=GROUP) if point.dist}
    by_name = {name: name for name in installed.values()} | installed
    for name in arguments.names:
        if name not in by_name:
            hint = did_you_mean(name, by_name) or f"Installed: {', '.join(sorted(installed)) or 'none'}"
            raise UnknownNameError(f"No plugin '{name}' is installed.", hint)
    distributions = dict.fromkeys(by_name[name] for name in arguments.names)
    if call_pip("uninstall", "--yes", *distributions):
        raise GptaltError("pip could not uninstall it; pip's own message is above.")
    return 0


def locate(name: str, checkout: Path | None) -> list[str]:
    """pip's arguments for one name: a path, a checkout's folder, or a package of the index.

    Raises:
        GptaltError: it is none of these, or it is similar to the name of a known plugin.
    """
    if name.startswith(".") or "/" in name or os.sep in name or name.endswith((".whl", ".tar.gz")):
        check_project(Path(name))
        return [name]  # as typed: for pip, './sky' is a folder and 'sky' a package
    try:
        requirement = Requirement(name)
    except InvalidRequirement:
        hint = did_you_mean(name, KNOWN) or f"Type: gptalt-eval install {'|'.join(KNOWN)}, or ./FOLDER"
        raise GptaltError(f"'{name}' is not a valid plugin name.", hint) from None
    short = requirement.name.removeprefix(PREFIX)
    if checkout and not requirement.specifier:
        folder = checkout / "plugins" / (PREFIX + short)
        if folder.is_dir():
            return ["-e", str(folder)]
    near = did_you_mean(short, KNOWN)
    if short == requirement.name and short not in KNOWN and near:  # a typo may be someone else's package
        hint = f"{near} If not, give the full name: gptalt-eval install {PREFIX}{name}"
        raise UnknownNameError(f"There is no known plugin '{short}'.", hint)
    return [name if name.startswith(PREFIX) else PREFIX + name]


def check_project(path: Path) -> None:
    """Refuse what is neither a file nor a folder with a Python project.

    Raises:
        GptaltError: suggests what is near.
    """
    if not path.exists():
        raise UnknownNameError(f"{path} does not exist.", suggest_sibling(path))
    if path.is_dir() and not (path / "pyproject.toml").is_file():
        inside = [str(path / folder.parent.name) for folder in sorted(path.glob("*/pyproject.toml"))]
        hint = f"It contains: {', '.join(inside)}" if inside else "Give the folder with pyproject.toml."
        raise GptaltError(f"{path} is not a Python project: pyproject.toml is missing.", hint)


def suggest_sibling(path: Path) -> str:
    siblings = [sibling.name for sibling in path.parent.iterdir()] if path.parent.is_dir() else []
    return did_you_mean(path.name, siblings)


def call_pip(*words: str) -> int:
    """Run this environment's pip, and show the command; returns its exit code.

    Raises:
        GptaltError: the environment has no pip.
    """
    typed = shlex.join(("pip", *words))
    if find_spec("pip") is None:
        raise GptaltError(
            f"This environment ({sys.prefix}) has no pip; uv makes environments without it.",
            f"Type: uv {typed}\nor install pip first: {shlex.quote(sys.executable)} -m ensurepip",
        )
    print(typed, flush=True)
    return run_pip(*words).returncode
