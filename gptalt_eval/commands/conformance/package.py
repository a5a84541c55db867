"""Checks of a plugin as a package: its names, versions and imports."""

from __future__ import annotations

import importlib.metadata
import sys

from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version

from gptalt_eval.commands.conformance.subject import Check, Subject
from gptalt_eval.commands.conformance.watch import Watched
from gptalt_eval.contract.discovery import PREFIX
from gptalt_eval.contract.hookspecs import HOOK_API
from gptalt_eval.contract.implementations import API_NAME, Fault
from gptalt_eval.machine.version import __version__

SECONDS = 0.5  # maximum processor time for importing a plugin
MODULE_PREFIX = PREFIX.replace("-", "_")


def check_distribution(subject: Subject) -> Check:
    """The names of the distribution, the entry point and the module match."""
    name, distribution = subject.point.name, subject.owner.distribution or ""
    module = subject.point.module.split(".")[0]
    faults = []
    if not distribution.startswith(PREFIX):
        text = f"'gptalt-eval install {name}' does not find the distribution '{distribution}'."
        faults.append(Fault(text, f'In pyproject.toml: name = "{PREFIX}{name}"'))
    elif distribution != PREFIX + name:
        text = f"the entry point '{name}' is not the name after '{PREFIX}' in '{distribution}'."
        faults.append(Fault(text, f'In pyproject.toml: {distribution.removeprefix(PREFIX)} = "{module}"'))
    if not module.startswith(MODULE_PREFIX):
        text = f"the module name '{module}' is too general."
        faults.append(Fault(text, f"Name it {MODULE_PREFIX}{name.replace('-', '_')}."))
    return Check("package", f"{distribution}: {name} = {subject.point.value}", tuple(faults))


def check_versions(subject: Subject) -> Check:
    """The plugin has a version, and states which hook API and which gptalt-eval it needs."""
    version, wanted = subject.owner.version, find_requirement(subject.point)
    faults = []
    try:
        Version(version)
    except InvalidVersion:
        text = f"{version!r} is not a valid version."
        faults.append(Fault(text, 'In pyproject.toml: version = "0.1.0"'))
    if wanted is None:
        text = "it does not require gptalt-eval, so pip may install it without or with an old version."
        release = ".".join(__version__.split(".")[:2])
        faults.append(Fault(text, f'In pyproject.toml: dependencies = ["gptalt-eval>={release}"]'))
    module = sys.modules.get(subject.point.module)
    if module is not None and not hasattr(module, API_NAME):
        text = f"{subject.point.module} does not state its version of the hook API."
        faults.append(Fault(text, f"Write at the top of the module: {API_NAME} = {HOOK_API}"))
    return Check("versions", f"{version}, hook API {HOOK_API}, {wanted or 'any gptalt-eval'}", tuple(faults))


def find_requirement(point: importlib.metadata.EntryPoint) -> Requirement | None:
    """The requirement of gptalt-eval in the plugin's metadata, extras aside."""
    for text in (point.dist.requires if point.dist else None) or []:
        requirement = Requirement(text)
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if applies and requirement.name.lower().replace("_", "-") == "gptalt-eval":
            return requirement
    return None


def check_imports(subject: Subject, watched: Watched) -> Check:
    """Importing it and calling its hooks is fast, since every command does that."""
    faults = []
    if watched.error:
        cure = f"For the traceback: python -c 'import {subject.point.module}'"
        faults.append(Fault(f"importing it fails: {watched.error}.", cure))
    if watched.heavy:
        text = f"importing it imports {', '.join(watched.heavy)}, and every command would wait for that."
        faults.append(Fault(text, "Import it inside the function that needs it."))
    elif watched.seconds > SECONDS:
        text = f"importing it takes {watched.seconds:.2f} s of processor time; up to {SECONDS} s is fine."
        cure = f"See what takes so long: python -X importtime -c 'import {subject.point.module}'"
        faults.append(Fault(text, cure))
    return Check("imports", f"{watched.seconds:.2f} s, nothing heavy", tuple(faults))


def check_side_effects(watched: Watched) -> Check:
    """Importing it and calling its hooks does not write, download, start or print anything."""
    faults = [
        Fault(f"importing it {event}.", "Do that in a function that is called when it is needed.")
        for event in watched.events
    ]
    if watched.printed:
        text = (
            f"importing it prints {watched.printed[:60]!r}, which would be mixed into the output of --json."
        )
        faults.append(Fault(text, "Use logging, or print only in your own commands."))
    return Check("side effects", "nothing written, downloaded, started or printed", tuple(faults))
