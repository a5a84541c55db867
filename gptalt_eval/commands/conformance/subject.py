"""The plugin to check, and the result of a check."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gptalt_eval.contract.discovery import PREFIX, find_points, read_allow_list
from gptalt_eval.contract.errors import UnknownNameError, did_you_mean
from gptalt_eval.contract.hooks import Problem
from gptalt_eval.contract.implementations import Fault
from gptalt_eval.contract.plugins import ALLOW_LIST
from gptalt_eval.contract.types import Installed, Owner


@dataclass(frozen=True)
class Check:
    """The result for one aspect of a plugin.

    Attributes:
        name: the aspect, in one word.
        found: what was checked, in a few words.
        faults: the problems, each with its cure; empty: none.
    """

    name: str
    found: str
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True)
class Subject:
    """The plugin to check.

    Attributes:
        point: its entry point.
        owner: the plugin as the owner of its contributions.
        plugins: all loaded plugins.
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
        """The plugin's own contributions through a hook."""
        for owner, thing in self.plugins.contribute(hook):
            if owner == self.owner:
                yield thing


def find_subject(name: str, plugins: Installed) -> Subject:
    """The installed plugin with this name, or whose distribution or module has it.

    Raises:
        UnknownNameError: no such plugin is installed, or the allow-list does not include it.
    """
    found = find_points(read_allow_list(os.environ))
    for point, owner, is_allowed in found:
        if name in (point.name, owner.distribution, point.module):
            subject = Subject(point, owner, plugins)
            if not subject.is_loaded and not (is_allowed and subject.problems):
                text = f"{ALLOW_LIST} does not include the plugin '{owner}'."
                raise UnknownNameError(text, f"Type: {ALLOW_LIST}={owner} gptalt-eval plugins check {name}")
            return subject
    if name in plugins.owners or name == "gptalt-eval":
        raise UnknownNameError(f"'{name}' is part of gptalt-eval itself.", "Installed: gptalt-eval plugins")
    hint = did_you_mean(name, [each.point.name for each in found])
    raise UnknownNameError(
        f"No plugin '{name}' is installed.",
        hint or f"Type: gptalt-eval install {name.removeprefix(PREFIX)}, or in its folder: pip install -e .",
    )
