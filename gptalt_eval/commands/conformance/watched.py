"""A program that imports one plugin, calls its hooks, and records what that does to the computer.

    python -m gptalt_eval.commands.conformance.watched ENTRY_POINT_VALUE REPORT

Every command does this with a plugin. It needs its own process, because an audit hook stays until its process
ends, and because nothing may have been imported before. ``watch`` reads REPORT.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gptalt_eval.contract.hookspecs import GROUP, HOOKS
from gptalt_eval.contract.plugins import Plugins
from gptalt_eval.contract.types import Owner

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
#: audit event -> a verb, and the index of the argument that is its object
EVENTS: Mapping[str, tuple[str, int]] = MappingProxyType(
    {
        "os.chmod": ("changes", 0),
        "os.link": ("links", 0),
        "os.mkdir": ("makes the folder", 0),
        "os.remove": ("removes", 0),
        "os.rename": ("renames", 0),
        "os.rmdir": ("removes the folder", 0),
        "os.symlink": ("links", 0),
        "os.truncate": ("truncates", 0),
        "os.exec": ("starts", 0),
        "os.fork": ("starts a copy of itself", 0),
        "os.posix_spawn": ("starts", 0),
        "os.spawn": ("starts", 1),
        "os.system": ("starts", 0),
        "subprocess.Popen": ("starts", 0),
        "socket.connect": ("connects to", 1),
        "socket.getaddrinfo": ("looks up the host", 0),
        "socket.gethostbyname": ("looks up the host", 0),
        "socket.sendto": ("sends to", 1),
        "sqlite3.connect": ("opens the database", 0),
    }
)


def main(value: str, report: str) -> None:
    point = importlib.metadata.EntryPoint("watched", value, GROUP)
    seen: dict[str, None] = {}
    watching = True

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        described = describe_event(event, arguments) if watching else ""
        if described:
            seen[described] = None

    sys.addaudithook(audit)
    began = time.process_time()
    error = attempt(lambda: call_hooks(point.load()))
    seconds = time.process_time() - began
    watching = False
    found = {"seconds": seconds, "modules": sorted(sys.modules), "events": list(seen), "error": error}
    Path(report).write_text(json.dumps(found), encoding="utf-8")


def call_hooks(plugin: object) -> None:
    """Call the core's hooks without arguments. What these raise is reported elsewhere."""
    plugins = Plugins()
    plugins.register(plugin, Owner("watched"))
    for hook in HOOKS:
        if hook.gives and not hook.arguments:
            list(plugins.contribute(hook.name))


def attempt(action: Callable[[], None]) -> str:
    """The error that an action raised, in words; empty: none."""
    try:
        action()
    except (Exception, SystemExit) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def describe_event(event: str, arguments: tuple[Any, ...]) -> str:
    """What an audit event did to the computer, in words; empty: nothing."""
    if event == "open":
        path, mode, flags = arguments
        writes = bool(set("wax+") & set(mode)) if isinstance(mode, str) else bool(flags & WRITING)
        return f"writes {show(path)}" if writes and not isinstance(path, int) and path != os.devnull else ""
    if event not in EVENTS or arguments[:1] == (":memory:",):
        return ""
    word, place = EVENTS[event]
    return f"{word} {show(arguments[place])}" if len(arguments) > place else word


def show(thing: object) -> str:
    return os.fsdecode(thing) if isinstance(thing, (str, bytes, os.PathLike)) else str(thing)


if __name__ == "__main__":
    main(*sys.argv[1:])
