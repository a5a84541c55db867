"""Which plugins are loaded, and from which files."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import entry_points

from gptalt_eval.contract.discovery import CORE_NAME, find_owner
from gptalt_eval.contract.hookspecs import GROUP
from gptalt_eval.contract.run import RunPlugin
from gptalt_eval.contract.types import Owner
from gptalt_eval.machine.installed import hash_installation


def describe_plugins(owners: Iterable[Owner]) -> tuple[RunPlugin, ...]:
    """Every loaded plugin with the hash of its files, also those that only observe or have commands.

    Args:
        owners: the loaded plugins and the core, which is not a plugin.
    """
    points = {find_owner(point): point for point in entry_points(group=GROUP)}
    described = []
    for owner in owners:
        if owner.distribution == CORE_NAME:
            continue
        point = points.get(owner)
        digest = hash_installation(point.dist, point.module) if point and point.dist else ""
        described.append(RunPlugin(owner.plugin, owner.distribution or "", owner.version, digest))
    return tuple(described)
