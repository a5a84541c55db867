"""Discovery of plugins: entry points of the group ``gptalt_eval`` that the allow-list includes."""

from __future__ import annotations

import importlib.metadata
import logging
import os
from collections.abc import Mapping
from types import ModuleType

from gptalt_eval.contract import hookspecs
from gptalt_eval.contract.errors import did_you_mean
from gptalt_eval.contract.plugins import ALLOW_LIST, Plugins, report_cure
from gptalt_eval.contract.types import Owner
from gptalt_eval.machine.version import __version__

PREFIX = "gptalt-eval-plugin-"
log = logging.getLogger(__name__)


def load_plugins(*core: ModuleType, environ: Mapping[str, str] | None = None) -> Plugins:
    """The core and every installed plugin that the allow-list includes.

    Args:
        core: modules with the core's own contributions.
        environ: the environment; ``GPTALT_EVAL_LOAD_PLUGINS`` is a comma-separated list of plugin
            names (``medqa`` or ``gptalt-eval-plugin-medqa``). Unset: all. Empty: only the core.
    """
    plugins = register_core(*core)
    allowed = read_allow_list(os.environ if environ is None else environ)
    installed: set[str | None] = {"gptalt-eval", *plugins.owners}
    for entry_point in importlib.metadata.entry_points(group=hookspecs.GROUP):
        owner = find_owner(entry_point)
        installed |= {owner.plugin, owner.distribution}
        if allowed is None or allowed & {owner.plugin, owner.distribution}:
            load_plugin(plugins, entry_point, owner)
    for name in sorted(str(name) for name in (allowed or set()) - installed):
        hint = did_you_mean(name, map(str, installed)) or f"Install it: gptalt-eval install {name}"
        plugins.blame(Owner(name), f"{ALLOW_LIST} lists it, but it is not installed.", hint)
    return plugins


def register_core(*core: ModuleType) -> Plugins:
    """A set of plugins that contains only the core's own modules."""
    plugins = Plugins()
    for module in core:
        name = module.__name__.rpartition(".")[2]
        plugins.register(module, Owner(name, __version__, "gptalt-eval"))
    return plugins


def read_allow_list(environ: Mapping[str, str]) -> set[str | None] | None:
    value = environ.get(ALLOW_LIST)
    if value is None:
        return None
    return {name.strip() for name in value.split(",") if name.strip()}


def find_owner(entry_point: importlib.metadata.EntryPoint) -> Owner:
    distribution = entry_point.dist
    if distribution is None:
        return Owner(entry_point.name)
    return Owner(entry_point.name, distribution.version, distribution.name)


def load_plugin(plugins: Plugins, entry_point: importlib.metadata.EntryPoint, owner: Owner) -> None:
    """Import one entry point and register it, or record why that is impossible."""
    wanted = find_core_requirement(entry_point)
    if wanted is not None:
        plugins.blame(owner, wanted, f"Type: pip install -U gptalt-eval {owner.distribution}")
        return
    try:
        plugin = entry_point.load()
    except (Exception, SystemExit) as error:
        log.debug("plugin %s", owner, exc_info=error)
        text = f"importing {entry_point.value} raised {type(error).__name__}: {error}"
        plugins.blame(owner, text, report_cure(owner))
        return
    plugins.register(plugin, owner)


def find_core_requirement(entry_point: importlib.metadata.EntryPoint) -> str | None:
    """A sentence, if the plugin's metadata excludes this version of the core; else None."""
    from packaging.requirements import Requirement

    if entry_point.dist is None:
        return None
    for text in entry_point.dist.requires or []:
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue  # for an extra, or for another system
        name = requirement.name.lower().replace("_", "-")
        if name == "gptalt-eval" and not requirement.specifier.contains(__version__, prereleases=True):
            return f"it needs gptalt-eval{requirement.specifier}, but this is {__version__}."
    return None
