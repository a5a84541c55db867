"""Run, resume, rerun."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Any

from gptalt_eval.commands.printing import warn
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.record import EXPERIMENT_FILE, RUN_FILE, Record
from gptalt_eval.contract.spec import RunSpec
from gptalt_eval.contract.types import Installed
from gptalt_eval.machine.plain import print_plain as print
from gptalt_eval.machine.waiting import waiting
from gptalt_eval.machine.words import list_names


def run_run(arguments: argparse.Namespace, plugins: Installed) -> int:
    from gptalt_eval.contract.spec import read_argv
    from gptalt_eval.planning.consent.permits import check_settings

    if "experiment" in arguments:
        if "config" in arguments:
            raise GptaltError(
                "The experiment and --config are both files of flags.", "Give only one of them."
            )
        arguments.config = arguments.experiment
    trusted = getattr(arguments, "trust", False)
    if trusted and "config" not in arguments:
        raise GptaltError(
            "--trust is for the settings in a file, and none is given.",
            "What you type yourself needs no consent. Give a file, or omit --trust.",
        )
    return run_and_print(read_argv(arguments, partial(check_settings, trusted=trusted)), plugins)


def run_and_print(spec: RunSpec, plugins: Installed, resume: bool | Record = False) -> int:
    """Run a request and print its scores. Returns 1 if something could not be evaluated, else 0."""
    with waiting("Starting"):
        from gptalt_eval.machine.consoles import make_console
        from gptalt_eval.running.api import run

    known = warn(plugins)
    records, folder = run(spec, plugins, make_console(stderr=True), resume)
    warn(plugins, known)
    print_records(records, folder, spec)
    return 1 if any(record.failed for record in records) else 0


def print_records(records: list[Record], folder: Path, spec: RunSpec) -> None:
    from gptalt_eval.machine.consoles import make_console
    from gptalt_eval.results.table import print_scores

    print_scores(make_console(), records)
    reasons: dict[str, list[str]] = {}
    for record in records:
        whose = f" ({record.model})" if len(records) > 1 else ""
        for name, reason in record.failed.items():
            reasons.setdefault(reason, []).append(name + whose)
    for reason, names in reasons.items():
        print(f"Not evaluated: {list_names(names)}: {reason}")
    if not any(record.results for record in records):
        return
    if spec.show_config:
        from gptalt_eval.commands.printing import print_json

        print_json([dict(result) for record in records for result in record.results])
    print(f"Results: {folder}")
    print(f"Report:  {folder / 'report.html'}")
    if len(records) > 1 or any(len(record.results) > 1 for record in records):
        print(f"Compare: gptalt-eval compare {quote(str(folder))}")


def run_resume(arguments: argparse.Namespace, plugins: Installed) -> int:
    from gptalt_eval.contract.spec import make_spec
    from gptalt_eval.planning.consent.permits import check_settings
    from gptalt_eval.running.experiments import read_experiment
    from gptalt_eval.running.resuming import place_settings

    settings = read_experiment(arguments.run)
    if settings is not None:
        file = arguments.run / EXPERIMENT_FILE
        kept, typed = choose_workers(settings, arguments)
        check_settings(file, kept, typed, arguments.trust, writes_there=True)
        spec = make_spec({**kept, **typed, "output_path": str(arguments.run)})
        return run_and_print(spec, plugins, resume=True)
    record = find_one_run(arguments.run)
    kept, typed = choose_workers(record.run.settings, arguments)
    check_settings(record.folder / RUN_FILE, kept, typed, arguments.trust, writes_there=True)
    kept, typed = choose_workers(place_settings(record), arguments)
    return run_and_print(make_spec({**kept, **typed}), plugins, resume=record)


def choose_workers(
    settings: Mapping[str, Any], arguments: argparse.Namespace
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of a run to resume, and the workers that were typed, which replace those before."""
    from gptalt_eval.running.resuming import WORKERS

    typed = {name: getattr(arguments, name) for name in WORKERS if name in arguments}
    return {name: value for name, value in settings.items() if not typed or name not in WORKERS}, typed


def run_rerun(arguments: argparse.Namespace, plugins: Installed) -> int:
    from gptalt_eval.contract.spec import make_spec
    from gptalt_eval.planning.consent.permits import check_settings

    record = find_one_run(arguments.run)
    check_settings(record.folder / RUN_FILE, record.run.settings, {}, arguments.trust)
    return run_and_print(make_spec(record.run.settings), plugins)


def find_one_run(path: Path) -> Record:
    """The one run at or below a path, with its settings."""
    from gptalt_eval.contract.record import find_runs, load_record

    folders = find_runs(path)
    if len(folders) > 1:
        raise GptaltError(f"{path} contains {len(folders)} runs.", f"Choose one, such as {folders[0]}")
    record = load_record(folders[0])
    if not record.run.settings:
        raise GptaltError(f"{folders[0]} was not written by gptalt-eval: its settings are not recorded.")
    return record
