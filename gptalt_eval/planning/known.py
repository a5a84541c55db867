"""Plugins of this project: a name of one that is not installed can say where it comes from.

What they bring is in ``known.json``, which ``plugins/list_known.py`` writes from the plugins themselves.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

FILE = Path(__file__).with_name("known.json")


@dataclass(frozen=True)
class KnownPlugin:
    """A plugin of this project.

    Attributes:
        summary: one line.
        tasks: task, group and tag names it brings.
        models: model names it brings.
        commands: subcommands it brings.
    """

    summary: str
    tasks: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()


def read_known(file: Path = FILE) -> dict[str, KnownPlugin]:
    """Plugin name -> what it brings."""
    plugins = json.loads(file.read_text(encoding="utf-8"))
    return {
        name: KnownPlugin(brings.pop("summary"), **{kind: tuple(names) for kind, names in brings.items()})
        for name, brings in plugins.items()
    }


KNOWN: Mapping[str, KnownPlugin] = MappingProxyType(read_known())


def find_provider(kind: str, name: str) -> str | None:
    """The known plugin that brings this ``tasks``, ``models`` or ``commands`` name."""
    return next((plugin for plugin, known in KNOWN.items() if name in getattr(known, kind)), None)


def say_where_from(kind: str, name: str, plugin: str) -> str:
    """The sentence for a name whose plugin is not installed."""
    noun = {"tasks": "Task", "models": "Model", "commands": "Command"}[kind]
    return f"{noun} '{name}' comes with gptalt-eval-plugin-{plugin}."
