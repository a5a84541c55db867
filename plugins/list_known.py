"""Lists the names in the plugins of this folder, so that the core can say which plugin to install.

Run it after adding a plugin, or a name to a plugin:

    python plugins/list_known.py
"""

from __future__ import annotations

import importlib
import json
from dataclasses import asdict
from importlib.metadata import metadata
from pathlib import Path

from gptalt_eval.commands.cli import gather_commands
from gptalt_eval.contract.types import Installed
from gptalt_eval.planning.catalog import Catalog
from gptalt_eval.planning.known import FILE, KnownPlugin
from gptalt_eval.testing import make_plugin_set

FOLDER = Path(__file__).parent
PREFIX = "gptalt-eval-plugin-"


def list_plugins() -> list[str]:
    return sorted(folder.name.removeprefix(PREFIX) for folder in FOLDER.glob(f"{PREFIX}*"))


def list_known() -> dict[str, KnownPlugin]:
    core = make_plugin_set()
    return {name: describe(name, core) for name in list_plugins()}


def describe(name: str, core: Installed) -> KnownPlugin:
    """A plugin and the names that it adds to the core's."""
    distribution = PREFIX + name
    module = importlib.import_module(distribution.replace("-", "_"))
    both = make_plugin_set(module)
    if both.problems:
        raise SystemExit(str(both.problems[0]))
    before, after = (list_names(plugins) for plugins in (core, both))
    added = {kind: tuple(sorted(names - before[kind])) for kind, names in after.items()}
    return KnownPlugin(metadata(distribution)["Summary"], **added)


def list_names(plugins: Installed) -> dict[str, set[str]]:
    catalog = Catalog(plugins)
    return {
        "tasks": set(catalog.tasks),
        "models": set(catalog.model_names),
        "commands": set(gather_commands(plugins)),
    }


def render(known: dict[str, KnownPlugin]) -> str:
    rows = {
        name: {key: value for key, value in asdict(each).items() if value} for name, each in known.items()
    }
    return json.dumps(rows, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(render(list_known()), encoding="utf-8")
