"""What a plugin implements, looked at before it is registered: what of it cannot be called, and the cure."""

from __future__ import annotations

import inspect
from typing import NamedTuple

import pluggy

from gptalt_eval.contract.hooks import Hook
from gptalt_eval.contract.hookspecs import GROUP, HOOK_API
from gptalt_eval.contract.types import (
    Owner,
)
from gptalt_eval.machine.version import __version__

API_NAME = "gptalt_eval_api"
#: the version for which a plugin was written that does not say
FIRST_API = 1


class Fault(NamedTuple):
    """Why a plugin is set aside, and the cure."""

    what: str
    cure: str


def list_implementations(plugin: object, name: str) -> list[tuple[str, pluggy.HookImpl]]:
    """The hooks that a plugin implements, each by the hook's name (``specname`` gives one of its own)."""
    found = []
    for attribute, function in inspect.getmembers(plugin, inspect.isroutine):
        options = getattr(function, f"{GROUP}_impl", None)
        if options:
            hook = options["specname"] or attribute
            found.append((hook, pluggy.HookImpl(plugin, name, function, options)))
    return found


def find_api_fault(plugin: object, owner: Owner) -> Fault | None:
    """What is wrong with the version of the hook API for which a plugin says it was written."""
    wanted = getattr(plugin, API_NAME, FIRST_API)
    if wanted == HOOK_API:
        return None
    if not isinstance(wanted, int):
        text = f"its {API_NAME} is {wanted!r}, and versions of the hook API are whole numbers."
        return Fault(text, f"Write: {API_NAME} = {HOOK_API}")
    text = f"it is written for version {wanted} of the hook API; gptalt-eval {__version__} has {HOOK_API}."
    return Fault(text, f"Type: pip install -U {'gptalt-eval' if wanted > HOOK_API else owner}")


def find_fault(name: str, implementation: pluggy.HookImpl, hook: Hook | None) -> Fault | None:
    """Why an implementation cannot be called.

    Args:
        name: the hook's name.
        implementation: what a plugin implements it with.
        hook: the hook; None: nobody has brought it so far.
    """
    if implementation.wrapper or implementation.hookwrapper:
        return Fault(
            f"{name} is marked as a wrapper, and hooks are called one by one: there is nothing to wrap.",
            f"Write a plain '@hookimpl' above {name}; trylast=True has it called after all others.",
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
