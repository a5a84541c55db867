"""The plugins of this project, so that an unknown name can say which plugin to install.

``plugins/list_known.py`` writes ``known.json`` from the plugins themselves.
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
        tasks: its task, group and tag names.
        models: its model names.
        commands: its subcommands.
    """

    summary: str
    tasks: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()


def read_known(file: Path = FILE) -> dict[str, KnownPlugin]:
    """Plugin name -> the plugin."""
    plugins = json.loads(file.read_text(encoding="utf-8"))
    return {
        name: KnownPlugin(brings.pop("summary"), **{kind: tuple(names) for kind, names in brings.items()})
        for name, brings in plugins.items()
    }


KNOWN: Mapping[str, KnownPlugin] = MappingProxyType(read_known())


def find_provider(kind: str, name: str) -> str | None:
    """The known plugin with this ``tasks``, ``models`` or ``commands`` name."""
    return next((plugin for plugin, known in KNOWN.items() if name in getattr(known, kind)), None)


def describe_provider(kind: str, name: str, plugin: str) -> str:
    """The sentence for a name whose plugin is not installed."""
    noun = {"tasks": "Task", "models": "Model", "commands": "Command"}[kind]
    return f"{noun} '{name}' comes with gptalt-eval-plugin-{plugin}."
