"""Checks a plugin's hook implementations before it is registered."""

from __future__ import annotations

import inspect
from typing import NamedTuple

import pluggy

from gptalt_eval.contract.hooks import Hook
from gptalt_eval.contract.hookspecs import GROUP, HOOK_API
from gptalt_eval.contract.types import Owner
from gptalt_eval.machine.version import __version__

API_NAME = "gptalt_eval_api"
#: the version of plugins that do not state one
FIRST_API = 1


class Fault(NamedTuple):
    """Why a plugin is disabled, and how to fix it."""

    what: str
    cure: str


def list_implementations(plugin: object, name: str) -> list[tuple[str, pluggy.HookImpl]]:
    """The hooks that a plugin implements: (name, implementation). ``specname`` overrides the name."""
    found = []
    for attribute, function in inspect.getmembers(plugin, inspect.isroutine):
        options = getattr(function, f"{GROUP}_impl", None)
        if options:
            hook = options["specname"] or attribute
            found.append((hook, pluggy.HookImpl(plugin, name, function, options)))
    return found


def find_api_fault(plugin: object, owner: Owner) -> Fault | None:
    """What is wrong with the version of the hook API that a plugin states."""
    wanted = getattr(plugin, API_NAME, FIRST_API)
    if wanted == HOOK_API:
        return None
    if not isinstance(wanted, int):
        text = f"its {API_NAME} is {wanted!r}, but versions of the hook API are integers."
        return Fault(text, f"Write: {API_NAME} = {HOOK_API}")
    text = f"it needs version {wanted} of the hook API; gptalt-eval {__version__} has version {HOOK_API}."
    return Fault(text, f"Type: pip install -U {'gptalt-eval' if wanted > HOOK_API else owner}")


def find_fault(name: str, implementation: pluggy.HookImpl, hook: Hook | None) -> Fault | None:
    """Why an implementation cannot be called.

    Args:
        name: the hook's name.
        implementation: the plugin's implementation.
        hook: the hook; None: no plugin has defined it so far.
    """
    if implementation.wrapper or implementation.hookwrapper:
        return Fault(
            f"{name} is a wrapper, but hooks are called one by one, so there is nothing to wrap.",
            f"Use a plain '@hookimpl' for {name}; with trylast=True it is called after all others.",
        )
    if hook is None:
        return None
    unknown = [argument for argument in implementation.argnames if argument not in hook.arguments]
    if not unknown:
        return None
    return Fault(
        f"{name} has the wrong arguments: there is no {' or '.join(map(repr, unknown))}.",
        f"The hook is {name}{inspect.signature(hook.spec)}.".replace("'", ""),
    )
