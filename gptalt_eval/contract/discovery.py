"""Discovery of plugins: entry points of the group ``gptalt_eval`` that the allow-list includes."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import re
from collections.abc import Collection, Container, Mapping
from types import ModuleType
from typing import NamedTuple

from gptalt_eval.contract import hookspecs
from gptalt_eval.contract.errors import did_you_mean
from gptalt_eval.contract.plugins import ALLOW_LIST, Plugins, report_cure
from gptalt_eval.contract.types import Owner
from gptalt_eval.machine.version import __version__

PREFIX = "gptalt-eval-plugin-"
CORE_NAME = "gptalt-eval"
log = logging.getLogger(__name__)


def load_plugins(*core: ModuleType, environ: Mapping[str, str] | None = None) -> Plugins:
    """The core and every installed plugin that the allow-list includes.

    Args:
        core: modules with the core's own contributions.
        environ: the environment; ``GPTALT_EVAL_LOAD_PLUGINS`` is a comma-separated list of distributions
            (``gptalt-eval-plugin-medqa``, in short ``medqa``). Unset: all. Empty: only the core.
    """
    plugins = register_core(*core)
    listed = read_allow_list(os.environ if environ is None else environ)
    found = find_points(listed)
    for each in found:
        if each.is_allowed:
            load_plugin(plugins, each.point, each.owner)
        elif canonicalize(str(each.owner)) == CORE_NAME or each.owner.plugin in (listed or ()):
            plugins.blame(each.owner, *explain_impostor(each.owner))
    installed = {canonicalize(str(each.owner)) for each in found}
    names = {CORE_NAME, *plugins.owners, *installed, *(each.owner.plugin for each in found)}
    for name in sorted((listed or set()) - names):
        if complete_name(name, installed) not in installed:
            hint = did_you_mean(name, names) or f"Install it: gptalt-eval install {name}"
            plugins.blame(Owner(name), f"{ALLOW_LIST} lists it, but it is not installed.", hint)
    return plugins


class Found(NamedTuple):
    """An installed plugin, and whether the allow-list includes its distribution."""

    point: importlib.metadata.EntryPoint
    owner: Owner
    is_allowed: bool


def find_points(listed: Collection[str] | None) -> list[Found]:
    """Every installed plugin; of equal names, that of the distribution with this name first.

    Args:
        listed: the allow-list; None: all.
    """
    points = sorted(importlib.metadata.entry_points(group=hookspecs.GROUP), key=lambda each: not is_own(each))
    owners = [(point, find_owner(point)) for point in points]
    installed = {canonicalize(str(owner)) for _, owner in owners}
    allowed = installed if listed is None else {complete_name(name, installed) for name in listed}
    allowed = allowed - {CORE_NAME}  # the core needs no entry point, so this is somebody else
    return [Found(point, owner, canonicalize(str(owner)) in allowed) for point, owner in owners]


def is_own(point: importlib.metadata.EntryPoint) -> bool:
    """Whether an entry point has the name of its own distribution; others do not take it away."""
    return canonicalize(str(find_owner(point))) == PREFIX + canonicalize(point.name)


def canonicalize(name: str) -> str:
    """A distribution's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def complete_name(name: str, installed: Container[str]) -> str:
    """The distribution that a name stands for: ``medqa`` for ``gptalt-eval-plugin-medqa``.

    An installed distribution that is itself called ``medqa`` is meant only if there is no such plugin.
    """
    exact = canonicalize(name)
    full = PREFIX + exact.removeprefix(PREFIX)
    return exact if exact in installed and full not in installed else full


def explain_impostor(owner: Owner) -> tuple[str, str]:
    """What is said of a distribution that uses another one's name."""
    if canonicalize(str(owner)) == CORE_NAME:
        return "gptalt-eval has no plugin of this name, so it is somebody else's.", "It was not loaded."
    text = f"it calls itself '{owner.plugin}', which {ALLOW_LIST} lists for {PREFIX}{owner.plugin}."
    return text, f"It was not loaded. If you want it, list its distribution: {owner}"


def register_core(*core: ModuleType) -> Plugins:
    """A set of plugins that contains only the core's own modules."""
    plugins = Plugins()
    for module in core:
        name = module.__name__.rpartition(".")[2]
        plugins.register(module, Owner(name, __version__, "gptalt-eval"))
    return plugins


def read_allow_list(environ: Mapping[str, str]) -> set[str] | None:
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
        is_core = canonicalize(requirement.name) == CORE_NAME
        if is_core and not requirement.specifier.contains(__version__, prereleases=True):
            return f"it needs gptalt-eval{requirement.specifier}, but this is {__version__}."
    return None
