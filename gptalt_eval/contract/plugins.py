"""Discovery of plugins: allow-list, provenance and blame.

A plugin is a module (or object) behind an entry point of the group ``gptalt_eval``. One that cannot
be used is named, set aside with its traceback in the log, and the others go on.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import pluggy

from gptalt_eval.contract import hookspecs
from gptalt_eval.contract.errors import did_you_mean, nearest
from gptalt_eval.contract.types import (
    Command,
    Dataset,
    Model,
    Owner,
    Problem,
    PromptStyle,
    ReportSection,
    VoteFormat,
)

ALLOW_LIST = "GPTALT_EVAL_LOAD_PLUGINS"
PREFIX = "gptalt-eval-plugin-"
#: what the hooks that give several things give
KINDS: Mapping[str, type] = MappingProxyType(
    {
        "register_models": Model,
        "register_task_dirs": Path,
        "register_datasets": Dataset,
        "register_prompt_styles": PromptStyle,
        "register_vote_formats": VoteFormat,
        "register_commands": Command,
        "report_sections": ReportSection,
    }
)
log = logging.getLogger(__name__)


@dataclass
class Plugins:
    """The plugins of one process. Made once by :func:`load_plugins` and passed on."""

    manager: pluggy.PluginManager
    owners: dict[str, Owner] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def register(self, plugin: object, owner: Owner) -> None:
        """Add a plugin; what is wrong with it lands in ``problems``."""
        try:
            self.manager.register(plugin, name=owner.plugin)
        except pluggy.PluginValidationError as error:
            self.manager.unregister(name=owner.plugin)
            self.blame(owner, f"a hook has the wrong arguments: {error}", hook_cure(str(error)))
            return
        except ValueError:
            registered = self.manager.get_name(plugin)  # the same module under another name
            other = self.owners.get(registered or owner.plugin)
            text = (
                f"it is there already, as '{registered}'." if registered else f"the name is taken by {other}."
            )
            self.blame(owner, text, "Uninstall one of the two, or give the entry point another name.")
            return
        self.owners[owner.plugin] = owner
        self._report_misspelt_hooks(plugin, owner)

    def contribute(self, hook: str) -> Iterator[tuple[Owner, Any]]:
        """Call a contributing hook of every plugin, in the order of registration (the core first).

        A plugin that raises is blamed and gives nothing more, and so is each thing of another kind than
        the hook's; the others go on.
        """
        for owner, values in self._call(hook, {}):
            yield from ((owner, value) for value in self._iterate(owner, hook, values))

    def collect(self, hook: str, **arguments: object) -> Iterator[tuple[Owner, Any]]:
        """Call a contributing hook with arguments; yields (owner, the list that it returned)."""
        for owner, values in self._call(hook, arguments):
            yield owner, list(self._iterate(owner, hook, values))

    def observe(self, hook: str, **arguments: object) -> None:
        """Call an observing hook of every plugin."""
        for _ in self._call(hook, arguments):
            pass

    def _call(self, hook: str, arguments: Mapping[str, object]) -> Iterator[tuple[Owner, Any]]:
        # pluggy's own call returns results in reverse order and without the plugin's name
        for implementation in getattr(self.manager.hook, hook).get_hookimpls():
            owner = self.owners[implementation.plugin_name]
            try:
                result = implementation.function(*(arguments[name] for name in implementation.argnames))
            except (Exception, SystemExit) as error:
                self._blame_raise(owner, hook, error)
                continue
            if result is not None:
                yield owner, result

    def _iterate(self, owner: Owner, hook: str, values: Iterable[Any]) -> Iterator[Any]:
        try:
            if isinstance(values, (str, bytes)):  # whose characters would each be taken for something
                raise TypeError("it gave a string instead of a list")
            for value in values:
                if isinstance(value, KINDS[hook]):
                    yield value
                else:
                    name = KINDS[hook].__name__
                    self.blame(
                        owner, f"{hook} gave {value!r:.80}, which is no {name}.", f"Return a list of {name}."
                    )
        except (Exception, SystemExit) as error:  # a generator raises here, not at the call
            self._blame_raise(owner, hook, error)

    def _blame_raise(self, owner: Owner, hook: str, error: BaseException) -> None:
        log.debug("plugin %s, hook %s", owner, hook, exc_info=error)
        text = f"{hook} raised {type(error).__name__}: {error}"
        self.blame(owner, text, report_cure(owner))

    def blame(self, owner: Owner, what: str, cure: str) -> None:
        problem = Problem(str(owner), what, cure)
        if problem not in self.problems:
            self.problems.append(problem)

    def _report_misspelt_hooks(self, plugin: object, owner: Owner) -> None:
        known = [name for name, value in vars(hookspecs).items() if hasattr(value, f"{hookspecs.GROUP}_spec")]
        for name, value in inspect.getmembers(plugin, inspect.isroutine):
            if hasattr(value, f"{hookspecs.GROUP}_impl") and name not in known:
                close = nearest(name, known, 1)
                cure = f"Rename it to '{close[0]}'." if close else f"The hooks are: {', '.join(known)}."
                self.blame(owner, f"there is no hook '{name}', so it is never called.", cure)


def hook_cure(message: str) -> str:
    """The signature of the hook that pluggy's message names."""
    match = re.search(r"hook '(\w+)'", message)
    function = getattr(hookspecs, match[1], None) if match else None
    signature = str(inspect.signature(function)).replace("'", "") if function else ""
    return f"The hook is {match[1]}{signature}." if match and function else ""


def report_cure(owner: Owner) -> str:
    name = owner.distribution or owner.plugin
    return (
        f"Update it (pip install -U {name}), or leave it out: {ALLOW_LIST}=<the plugins you want>. "
        "GPTALT_EVAL_LOG=debug shows the traceback."
    )


def load_plugins(*core: ModuleType, environ: Mapping[str, str] | None = None) -> Plugins:
    """The core and every installed plugin that the allow-list admits.

    Args:
        core: modules with the core's own contributions.
        environ: the environment; ``GPTALT_EVAL_LOAD_PLUGINS`` is a comma-separated list of plugin
            names (``medqa`` or ``gptalt-eval-plugin-medqa``). Unset: all. Empty: none but the core.
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
        hint = did_you_mean(name, map(str, installed)) or f"Get it: gptalt-eval install {name}"
        plugins.blame(Owner(name), f"{ALLOW_LIST} names it, and it is not installed.", hint)
    return plugins


def register_core(*core: ModuleType) -> Plugins:
    """A set of plugins with the core's own modules in it."""
    from gptalt_eval.machine.version import __version__

    plugins = Plugins(pluggy.PluginManager(hookspecs.GROUP))
    plugins.manager.add_hookspecs(hookspecs)
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
    """Import one entry point and register it, or record why not."""
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
    """A sentence, where the plugin's own metadata rules this version of the core out."""
    from packaging.requirements import Requirement

    from gptalt_eval.machine.version import __version__

    if entry_point.dist is None:
        return None
    for text in entry_point.dist.requires or []:
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue  # an extra's, or another system's
        name = requirement.name.lower().replace("_", "-")
        if name == "gptalt-eval" and not requirement.specifier.contains(__version__, prereleases=True):
            return f"it needs gptalt-eval{requirement.specifier}, and this is {__version__}."
    return None
