"""The plugin that is checked, and what a check of it found."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gptalt_eval.contract.discovery import PREFIX, find_owner
from gptalt_eval.contract.errors import UnknownNameError, did_you_mean
from gptalt_eval.contract.hooks import Problem
from gptalt_eval.contract.hookspecs import GROUP
from gptalt_eval.contract.implementations import Fault
from gptalt_eval.contract.plugins import ALLOW_LIST
from gptalt_eval.contract.types import Installed, Owner


@dataclass(frozen=True)
class Check:
    """One aspect of a plugin.

    Attributes:
        name: the aspect, in a word.
        found: what was looked at, in a few words.
        faults: what is wrong, each with its cure; empty: nothing.
    """

    name: str
    found: str
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True)
class Subject:
    """The plugin that is checked.

    Attributes:
        point: its entry point.
        owner: the plugin, as the owner of what it brings.
        plugins: it and all others that are loaded.
    """

    point: importlib.metadata.EntryPoint
    owner: Owner
    plugins: Installed

    @property
    def is_loaded(self) -> bool:
        return self.owner in self.plugins.owners.values()

    @property
    def problems(self) -> list[Problem]:
        return [problem for problem in self.plugins.problems if problem.plugin == str(self.owner)]

    def contribute(self, hook: str) -> Iterator[Any]:
        """What the plugin itself contributes through a hook."""
        for owner, thing in self.plugins.contribute(hook):
            if owner == self.owner:
                yield thing


def find_subject(name: str, plugins: Installed) -> Subject:
    """The installed plugin of that name; its distribution's or its module's serves as well.

    Raises:
        UnknownNameError: no such plugin is installed, or the allow-list leaves it out.
    """
    points = importlib.metadata.entry_points(group=GROUP)
    for point in points:
        owner = find_owner(point)
        if name in (point.name, owner.distribution, point.module):
            subject = Subject(point, owner, plugins)
            if not subject.is_loaded and not subject.problems:
                text = f"The plugin '{point.name}' is left out by {ALLOW_LIST}."
                raise UnknownNameError(
                    text, f"Type: {ALLOW_LIST}={point.name} gptalt-eval plugins check {name}"
                )
            return subject
    if name in plugins.owners or name == "gptalt-eval":
        raise UnknownNameError(f"'{name}' is part of gptalt-eval itself.", "Installed: gptalt-eval plugins")
    hint = did_you_mean(name, [point.name for point in points])
    raise UnknownNameError(
        f"No plugin '{name}' is installed.",
        hint or f"Type: gptalt-eval install {name.removeprefix(PREFIX)}, or in its folder: pip install -e .",
    )
