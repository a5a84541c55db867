"""Run, grid, resume, rerun, report."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gptalt_eval.commands.printing import warn
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.record import Record
from gptalt_eval.contract.spec import RunSpec
from gptalt_eval.contract.types import Installed


def run_run(arguments: argparse.Namespace, plugins: Installed) -> int:
    spec = read_request(arguments)
    if "," in spec.model:
        return run_experiment_and_print(spec, plugins)
    return evaluate_and_print(spec, plugins)


def evaluate_and_print(spec: Any, plugins: Installed, earlier: Record | None = None) -> int:
    from rich.console import Console

    from gptalt_eval.running.api import run

    known = warn(plugins)
    record = run(spec, plugins, Console(stderr=True), earlier)
    warn(plugins, known)
    print_records([record], record.folder, spec)
    return 1 if record.failed else 0


def run_experiment_and_print(spec: Any, plugins: Installed) -> int:
    from rich.console import Console

    from gptalt_eval.running.experiments import run_experiment

    known = warn(plugins)
    records, root = run_experiment(spec, plugins, Console(stderr=True))
    warn(plugins, known)
    print_records(records, root, spec)
    return 1 if any(record.failed for record in records) else 0


def print_records(records: list[Record], folder: Path, spec: Any) -> None:
    from rich.console import Console

    from gptalt_eval.results.table import make_table

    for record in records:
        if record.results:
            Console().print(make_table(record))
        for name, reason in record.failed.items():
            print(f"Not evaluated: {name}: {reason}")
    if not any(record.results for record in records):
        return
    if spec.show_config:
        from gptalt_eval.commands.printing import print_json

        print_json([dict(result) for record in records for result in record.results])
    print(f"Results: {folder}")
    print(f"Report:  {folder / 'report.html'}")
    if len(records) > 1 or any(len(record.results) > 1 for record in records):
        print(f"Compare: gptalt-eval compare {folder}")


def run_grid(arguments: argparse.Namespace, plugins: Installed) -> int:
    arguments.config = vars(arguments).pop("experiment", None) or arguments.config
    return run_experiment_and_print(read_request(arguments), plugins)


def read_request(arguments: argparse.Namespace) -> RunSpec:
    from gptalt_eval.contract.spec import read_argv

    return read_argv(arguments)


def run_resume(arguments: argparse.Namespace, plugins: Installed) -> int:
    from gptalt_eval.contract.spec import make_spec
    from gptalt_eval.running.experiments import read_experiment

    settings = read_experiment(arguments.run)
    if settings is not None:
        return run_experiment_and_print(make_spec({**settings, "output_path": str(arguments.run)}), plugins)
    record = find_one_run(arguments.run)
    if not record.run.missing:
        print(f"{record.folder} is finished: nothing is missing.")
        return 0
    return evaluate_and_print(make_spec(record.run.settings), plugins, record)


def run_rerun(arguments: argparse.Namespace, plugins: Installed) -> int:
    from gptalt_eval.contract.spec import make_spec

    return evaluate_and_print(make_spec(find_one_run(Path(arguments.run)).run.settings), plugins)


def find_one_run(path: Path) -> Record:
    """The one run at or below a path, with its settings."""
    from gptalt_eval.contract.record import find_runs, load_record

    folders = find_runs(path)
    if len(folders) > 1:
        raise GptaltError(f"{path} holds {len(folders)} runs.", f"Name one: {folders[0]}")
    record = load_record(folders[0])
    if not record.run.settings:
        raise GptaltError(f"{folders[0]} was not written by gptalt-eval: its settings are not recorded.")
    return record


def run_report(arguments: argparse.Namespace, plugins: Installed) -> int:
    from gptalt_eval.contract.record import find_runs, load_record
    from gptalt_eval.results.report import write_report

    records = [load_record(folder) for run in arguments.runs for folder in find_runs(run)]
    target = arguments.output or records[0].folder / "report.html"
    try:
        print(write_report(records, target, plugins))
    except OSError as error:
        raise GptaltError(
            f"{target} cannot be written: {error.strerror}.", "Choose another place with --output."
        ) from error
    return 0
