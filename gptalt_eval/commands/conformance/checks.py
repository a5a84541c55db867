"""``gptalt-eval plugins check NAME``: whether a plugin keeps the rules in docs/plugins.md."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from gptalt_eval.commands.conformance import contributions, package
from gptalt_eval.commands.conformance.subject import Check, find_subject
from gptalt_eval.commands.conformance.watch import watch
from gptalt_eval.contract.types import Installed
from gptalt_eval.machine.plain import print_plain as print

EXIT_OF_FAULTY_PLUGIN = 1


def run_check(arguments: argparse.Namespace, plugins: Installed) -> int:
    """Print a line for each check. Returns 1 if something is wrong, else 0."""
    checks = check_plugin(arguments.name, plugins)
    print(format_checks(checks))
    return EXIT_OF_FAULTY_PLUGIN if any(check.faults for check in checks) else 0


def check_plugin(name: str, plugins: Installed) -> list[Check]:
    """Check an installed plugin.

    Args:
        name: the name of the plugin, its distribution or its module.
        plugins: all loaded plugins, whose names must not clash with its own.

    Raises:
        UnknownNameError: no such plugin is loaded.
    """
    subject = find_subject(name, plugins)
    watched = watch(subject.point.value)
    checks = [
        package.check_distribution(subject),
        package.check_versions(subject),
        package.check_imports(subject, watched),
        package.check_side_effects(watched),
        contributions.check_hooks(subject),
    ]
    if subject.is_loaded:  # otherwise, one of the checks above says why
        checks += [
            contributions.check_names(subject),
            contributions.check_help(subject),
            contributions.check_licences(subject),
            contributions.check_samples(subject),
            contributions.check_yamls(subject),
            contributions.check_prompts(subject),
        ]
    return checks


def format_checks(checks: Iterable[Check]) -> str:
    """One line for each check without problems, and two lines for each problem."""
    lines = []
    for check in checks:
        if not check.faults:
            lines.append(f"ok     {check.name:<14}{check.found}")
        for fault in check.faults:
            lines.append(f"wrong  {check.name:<14}{fault.what}")
            lines += [f"{'':<21}{line}" for line in fault.cure.splitlines()]
    return "\n".join(lines)
