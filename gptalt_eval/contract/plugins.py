"""The plugins of one process: which plugin each contribution and each problem comes from.

A plugin that cannot be used is named and disabled, with its traceback in the log; the others still work.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any

import pluggy

from gptalt_eval.contract.errors import nearest
from gptalt_eval.contract.hooks import Hook, Problem
from gptalt_eval.contract.hookspecs import GROUP, HOOKS, hookspec
from gptalt_eval.contract.implementations import Fault, find_api_fault, find_fault, list_implementations
from gptalt_eval.contract.types import Owned, Owner
from gptalt_eval.machine.version import __version__

ALLOW_LIST = "GPTALT_EVAL_LOAD_PLUGINS"
CORE = Owner("gptalt-eval", __version__, "gptalt-eval")
OPTIONAL = "If it is the hook of a plugin that may not be installed, use '@hookimpl(optionalhook=True)'."
log = logging.getLogger(__name__)


class Plugins:
    """The plugins of one process. ``load_plugins`` makes it once, and it is passed on."""

    def __init__(self) -> None:
        self.manager = pluggy.PluginManager(GROUP)
        self.owners: dict[str, Owner] = {}
        self.hooks: dict[str, Owned[Hook]] = {}
        self._blamed: list[Problem] = []
        for hook in HOOKS:
            self._add_hook(hook, CORE)

    @property
    def problems(self) -> list[Problem]:
        """The problems so far. Unknown hooks are known only when all plugins are registered."""
        return [*self._list_unknown_hooks(), *self._blamed]

    def register(self, plugin: object, owner: Owner) -> None:
        """Add a plugin and the hooks that it defines; what is wrong with it is added to ``problems``."""
        try:
            fault = self._find_fault(plugin, owner)
        except Exception as error:  # a property of the object can raise
            self._blame_raise(owner, "looking for its hooks", error)
            return
        if fault:
            self.blame(owner, *fault)
            return
        try:
            self.manager.register(plugin, name=owner.plugin)
        except ValueError:
            registered = self.manager.get_name(plugin)  # the same module under another name
            other = self.owners.get(registered or owner.plugin)
            text = (
                f"it is already loaded as '{registered}'." if registered else f"the name is taken by {other}."
            )
            self.blame(owner, text, "Uninstall one of the two, or rename its entry point.")
            return
        self.owners[owner.plugin] = owner
        for _, hook in list(self._gather("register_hooks", owner.plugin)):
            if hook.name in self.hooks:
                text = (
                    f"it defines the hook '{hook.name}', which {self.hooks[hook.name].owner} already defines."
                )
                self._disable(owner, Fault(text, "Give the hook another name."))
                return
            self._add_hook(hook, owner)

    def contribute(self, hook: str) -> Iterator[tuple[Owner, Any]]:
        """Call a contributing hook of every plugin, in the order of registration (the core first).

        Those marked ``tryfirst`` come before all others, those marked ``trylast`` after them. If a plugin
        raises, or an item has the wrong type, this is reported as the plugin's problem, and the others are
        still called.
        """
        return self._gather(hook)

    def collect(self, hook: str, **arguments: object) -> Iterator[tuple[Owner, Any]]:
        """Call a contributing hook with arguments; yields (owner, the list that it returned)."""
        for owner, values in self._call(hook, arguments):
            yield owner, list(self._iterate(owner, hook, values))

    def observe(self, hook: str, **arguments: object) -> None:
        """Call an observing hook of every plugin."""
        for _ in self._call(hook, arguments):
            pass

    @contextlib.contextmanager
    def watched_by(self, observer: object, owner: Owner) -> Iterator[None]:
        """While this lasts, an object hears of runs as plugins do."""
        self.manager.register(observer, name=owner.plugin)
        self.owners[owner.plugin] = owner
        try:
            yield
        finally:
            self.manager.unregister(observer)
            del self.owners[owner.plugin]

    def blame(self, owner: Owner, what: str, cure: str) -> None:
        """Add a problem of this plugin, once."""
        problem = Problem(str(owner), what, cure)
        if problem not in self._blamed:
            self._blamed.append(problem)

    # ------------------------------------------------------------------ calls

    def _gather(self, hook: str, plugin: str | None = None) -> Iterator[tuple[Owner, Any]]:
        for owner, values in self._call(hook, {}, plugin):
            yield from ((owner, value) for value in self._iterate(owner, hook, values))

    def _call(
        self, hook: str, arguments: Mapping[str, object], plugin: str | None = None
    ) -> Iterator[tuple[Owner, Any]]:
        # pluggy's own call returns results in reverse order and without the plugin's name
        for implementation in self._sort(getattr(self.manager.hook, hook).get_hookimpls()):
            if plugin not in (None, implementation.plugin_name):
                continue
            owner = self.owners[implementation.plugin_name]
            try:
                result = implementation.function(*(arguments[name] for name in implementation.argnames))
            except (Exception, SystemExit) as error:
                self._blame_raise(owner, hook, error)
                continue
            if result is not None:
                yield owner, result

    def _sort(self, implementations: Iterable[pluggy.HookImpl]) -> list[pluggy.HookImpl]:
        """In the order of registration, except ``tryfirst`` and ``trylast``."""
        places = {name: place for place, name in enumerate(self.owners)}
        return sorted(implementations, key=lambda one: (one.trylast - one.tryfirst, places[one.plugin_name]))

    def _iterate(self, owner: Owner, hook: str, values: Iterable[Any]) -> Iterator[Any]:
        kind = self.hooks[hook].item.gives
        try:
            if isinstance(values, (str, bytes)):  # iterating would yield its characters
                raise TypeError("it returned a string instead of a list")
            for value in values:
                if kind is None or isinstance(value, kind):
                    yield value
                else:
                    name = kind.__name__
                    text = f"{hook} returned {value!r:.80}, which is not of type {name}."
                    self.blame(owner, text, f"Return a list of {name}.")
        except (Exception, SystemExit) as error:  # a generator raises here, not at the call
            self._blame_raise(owner, hook, error)

    def _blame_raise(self, owner: Owner, hook: str, error: BaseException) -> None:
        log.debug("plugin %s, hook %s", owner, hook, exc_info=error)
        text = f"{hook} raised {type(error).__name__}: {error}"
        self.blame(owner, text, report_cure(owner))

    # ------------------------------------------------------------------ hooks

    def _add_hook(self, hook: Hook, owner: Owner) -> None:
        """Add a hook. Plugins registered earlier whose implementation does not fit it are disabled."""
        waiting = getattr(self.manager.hook, hook.name, None)
        for implementation in waiting.get_hookimpls() if waiting else ():
            fault = find_fault(hook.name, implementation, hook)
            if fault and implementation.plugin_name in self.owners:
                self._disable(self.owners[implementation.plugin_name], fault)
        self.hooks[hook.name] = Owned(hook, owner)
        namespace = ModuleType(hook.name)
        setattr(namespace, hook.name, hookspec(hook.spec))
        self.manager.add_hookspecs(namespace)

    def _find_fault(self, plugin: object, owner: Owner) -> Fault | None:
        """The first reason why a plugin cannot be used."""
        faults = [find_api_fault(plugin, owner)]
        for name, implementation in list_implementations(plugin, owner.plugin):
            known = self.hooks.get(name)
            faults.append(find_fault(name, implementation, known.item if known else None))
        return next(filter(None, faults), None)

    def _disable(self, owner: Owner, fault: Fault) -> None:
        self.manager.unregister(name=owner.plugin)
        del self.owners[owner.plugin]
        self.blame(owner, *fault)

    def _list_unknown_hooks(self) -> Iterator[Problem]:
        for name, caller in vars(self.manager.hook).items():
            if name.startswith("_") or name in self.hooks:
                continue
            close = nearest(name, self.hooks, 1)
            cure = f"Rename it to '{close[0]}'." if close else f"The hooks are: {', '.join(self.hooks)}."
            for one in caller.get_hookimpls():
                if not one.optionalhook:
                    text = f"there is no hook '{name}', so it is never called."
                    yield Problem(str(self.owners[one.plugin_name]), text, f"{cure} {OPTIONAL}")


def report_cure(owner: Owner) -> str:
    name = owner.distribution or owner.plugin
    return (
        f"Update it (pip install -U {name}), or disable it: {ALLOW_LIST}=<the plugins you want>. "
        "GPTALT_EVAL_LOG=debug shows the traceback."
    )
