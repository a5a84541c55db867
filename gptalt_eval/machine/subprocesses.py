"""Other programs that we run, so that neither the working folder nor its git settings decide what they do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

#: settings of a checkout that say how to compare its files, and run nothing
COMPARING = r"^core\.(filemode|symlinks|ignorecase|autocrlf|eol|precomposeunicode|longpaths)$"


def run_pip(*words: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    """Run this environment's pip; a ``pip.py`` in the working folder is not imported.

    Args:
        words: pip's arguments.
        settings: for ``subprocess.run``.
    """
    # -P leaves out the working folder; Python 3.10 has only -I, which leaves out the user's packages as well
    flag = "-P" if sys.version_info >= (3, 11) else "-I"
    command = [sys.executable, flag, "-m", "pip", *words]
    return subprocess.run(command, env=clean_environment(), check=False, **settings)


def clean_environment() -> dict[str, str]:
    """The environment, with only absolute folders in ``PYTHONPATH``: an empty one is the working folder."""
    kept = dict(os.environ)
    named = kept.pop("PYTHONPATH", "").split(os.pathsep)
    folders = [folder for folder in named if Path(folder).is_absolute()]
    return {**kept, "PYTHONPATH": os.pathsep.join(folders)} if folders else kept


def run_git(*arguments: str, settings: tuple[str, ...] = ()) -> str:
    """What git prints; empty if it fails. It starts no hook, monitor or transport that the checkout names."""
    program = shutil.which("git")
    if program is None or not Path(program).is_absolute():  # with "." in PATH, it could be the checkout's
        return ""
    quiet = {"GIT_ALLOW_PROTOCOL": "none", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    ours = ("core.fsmonitor=false", f"core.hooksPath={os.devnull}", *settings)
    command = [program, *(word for setting in ours for word in ("-c", setting)), *arguments]
    try:
        outcome = subprocess.run(
            command, capture_output=True, text=True, timeout=10, check=False, env={**inherited, **quiet}
        )
    except (OSError, UnicodeDecodeError, subprocess.TimeoutExpired):
        return ""
    return outcome.stdout.strip() if outcome.returncode == 0 else ""


def is_checkout_changed(commit: str) -> bool:
    """Whether files of the current checkout differ from a commit.

    ``git status`` runs the programs that the checkout's settings name (filters, monitors), so it is asked
    with a copy of the index in a folder with settings of our own.
    """
    top, own, common = (
        run_git("rev-parse", "--path-format=absolute", name)
        for name in ("--show-toplevel", "--absolute-git-dir", "--git-common-dir")
    )
    if not (top and own and common):
        return False
    listed = run_git("config", "--local", "--get-regexp", COMPARING).splitlines()
    settings = [line.replace(" ", "=", 1) for line in listed]
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for part in ("objects/info", "refs", "info"):
            (folder / part).mkdir(parents=True)
        (folder / "objects/info/alternates").write_text(f"{common}/objects\n", encoding="utf-8")
        (folder / "HEAD").write_text(f"{commit}\n", encoding="utf-8")
        try:
            shutil.copy2(Path(own, "index"), folder / "index")
            if Path(common, "info/exclude").is_file():
                shutil.copy2(Path(common, "info/exclude"), folder / "info/exclude")
        except OSError:
            return False
        where = (f"--git-dir={folder}", f"--work-tree={top}")
        asked = ("status", "--porcelain", "--ignore-submodules=all")
        return bool(run_git(*where, *asked, settings=tuple(settings)))
