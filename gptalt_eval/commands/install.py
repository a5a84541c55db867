"""``gptalt-eval install`` and ``uninstall``: pip with plugins' short names and a checkout's folders."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from gptalt_eval.commands.checkout import find_checkout
from gptalt_eval.commands.wanted import read_name, read_requirements
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
    wanted = [read_name(name, checkout) for name in arguments.names]
    wanted += [read_requirements(file) for file in arguments.requirements]
    options = [word for each in wanted for word in each.options]
    packages = [word for each in wanted for word in each.packages]
    if not options and not packages:
        raise GptaltError("No plugin was given.", f"Type: gptalt-eval install {'|'.join(KNOWN)}, or ./FOLDER")
    refuse_unknown([doubt for each in wanted for doubt in each.doubts], arguments.unknown)
    if call_pip("install", *options, *(("--", *packages) if packages else ())):
        ours = [name for name in arguments.names if name.removeprefix(PREFIX) in KNOWN]
        hint = "Known plugins: gptalt-eval plugins"
        if ours and not checkout:
            hint = f"'{ours[0]}' is part of gptalt-eval's repository; in a checkout of it, type: make install"
        raise GptaltError("pip could not install it; pip's own message is above.", hint)
    return 0


def refuse_unknown(doubts: Sequence[str], is_allowed: bool) -> None:
    """Require consent to install what is not a known plugin.

    Raises:
        GptaltError: there is some, and no consent; lists it.
    """
    if doubts and not is_allowed:
        listed = "\n".join(f"  {doubt}" for doubt in doubts)
        hint = "What is installed runs with your rights. If you trust all of it, add: --unknown"
        raise GptaltError(f"pip would look for:\n{listed}", hint)


def run_uninstall(arguments: argparse.Namespace, plugins: Installed) -> int:
    # by entry points, not by what was loaded: a disabled plugin must be uninstallable too
    installed: dict[str, dict[str, None]] = {}
    for point in entry_points(group=GROUP):
        if point.dist:
            for name in (point.name, point.dist.name):
                installed.setdefault(name, {})[point.dist.name] = None
    distributions = dict.fromkeys(choose_distribution(name, installed) for name in arguments.names)
    if call_pip("uninstall", "--yes", "--", *distributions):
        raise GptaltError("pip could not uninstall it; pip's own message is above.")
    return 0


def choose_distribution(name: str, installed: Mapping[str, Collection[str]]) -> str:
    """The distribution with a plugin of this name.

    Args:
        name: of a plugin or a distribution.
        installed: by name, the distributions that use it.

    Raises:
        GptaltError: there is none, or there are several.
    """
    found = installed.get(name, ())
    for exact in (PREFIX + name, name):  # another one's plugin may have the same name
        if exact in found:
            return exact
    if not found:
        plugins = sorted(each for each, found in installed.items() if each not in found)
        hint = did_you_mean(name, installed) or f"Installed: {', '.join(plugins) or 'none'}"
        raise UnknownNameError(f"No plugin '{name}' is installed.", hint)
    if len(found) > 1:
        text = f"Several packages have a plugin '{name}': {', '.join(sorted(found))}."
        raise GptaltError(text, "Give the name of one of them.")
    return next(iter(found))


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
