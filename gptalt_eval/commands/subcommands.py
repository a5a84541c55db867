"""The core's own subcommands."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

from gptalt_eval.catalog import Catalog
from gptalt_eval.errors import GptaltError, did_you_mean
from gptalt_eval.plugins import PREFIX, Plugins
from gptalt_eval.record import Record
from gptalt_eval.spec import RunSpec
from gptalt_eval.types import Command, Option

KINDS = ("tasks", "groups", "models", "plugins", "datasets", "styles")
WORD = Option(("word",), {"nargs": "?", "default": "", "help": "show only names with this in them"})
JSON = Option(("--json",), {"action": "store_true", "help": "print JSON"})


VALIDATE = (
    Option(
        ("targets",), {"nargs": "+", "metavar": "PATH_OR_NAME", "help": "YAML files, folders, task names"}
    ),
    JSON,
    Option(("--sarif",), {"action": "store_true", "help": "print SARIF 2.1.0, for editors and code hosts"}),
    Option(("--data_dir",), {"metavar": "FOLDER|sample", "help": "rows to try the templates on"}),
)
NEW = (
    Option(("kind",), {"choices": ("plugin", "task")}),
    Option(("name",), {"metavar": "NAME"}),
    Option(("--into",), {"metavar": "FOLDER", "type": Path, "help": "where to write it"}),
)
DATA = (
    Option(("verb",), {"metavar": "ls|check|where|prepare", "help": "what to do"}),
    Option(("names",), {"nargs": "*", "metavar": "NAME", "help": "datasets; for ls, a word"}),
    Option(
        ("--from",),
        {"dest": "source", "metavar": "PATH", "type": Path, "help": "for prepare: what you downloaded"},
    ),
    Option(("--data_dir",), {"metavar": "FOLDER", "help": "where release files are (default: $GPTALT_DATA)"}),
    JSON,
)


LS = (
    Option(("kind",), {"choices": KINDS, "nargs": "?", "default": "tasks"}),
    WORD,
    JSON,
    Option(("--all",), {"action": "store_true", "help": "with the 14,000 names of lm-eval's own"}),
)
SHOW = (
    Option(("kind",), {"choices": ("task", "model", "dataset")}),
    Option(("name",)),
    Option(("--data_dir",), {"metavar": "FOLDER|sample", "help": "where the shown prompt's row comes from"}),
    Option(("--num_fewshot",), {"type": int, "metavar": "N", "help": "examples in the shown prompt"}),
)
REPORT = (
    Option(("runs",), {"nargs": "+", "metavar": "RUN", "type": Path}),
    Option(("--output", "-o"), {"type": Path, "metavar": "FILE", "help": "default: report.html in the run"}),
)
GRID = (
    Option(("experiment",), {"metavar": "EXPERIMENT", "nargs": "?", "help": "a YAML file of these flags"}),
)
RESUME = (Option(("run",), {"metavar": "RUN", "type": Path, "help": "the folder of a run or experiment"}),)
COMPARE = (
    Option(("runs",), {"nargs": "+", "metavar": "RUN", "type": Path}),
    Option(
        ("--by",), {"choices": ("model", "prompt_style", "num_fewshot"), "help": "default: whatever differs"}
    ),
    Option(("--metric",), {"metavar": "NAME", "help": "default: each task's first"}),
    JSON,
)
INSTALL = (Option(("names",), {"nargs": "+", "metavar": "NAME"}),)
RERUN = (Option(("run",), {"metavar": "RUN", "help": "a run's folder"}),)


def list_commands() -> list[Command]:
    return [
        Command("run", "evaluate a model on tasks (also without the word 'run')", run_run),
        Command("ls", "list tasks, groups, models, plugins, datasets or prompt styles", run_ls, LS),
        Command("show", "all about one task, model or dataset", run_show, SHOW),
        Command(
            "plugins", "what is installed, what each brings, what is wrong with it", run_plugins, (JSON,)
        ),
        Command("install", "'install medqa' is pip install gptalt-eval-plugin-medqa", run_install, INSTALL),
        Command("report", "write report.html of one run or several", run_report, REPORT),
        Command("grid", "evaluate models x prompt styles x shots as one experiment", run_grid, GRID),
        Command(
            "resume", "go on with what an interrupted run or experiment has not finished", run_resume, RESUME
        ),
        Command("compare", "test what differs between arms that scored the same rows", run_compare, COMPARE),
        Command("rerun", "repeat a run with the settings that it recorded", run_rerun, RERUN),
        Command("validate", "find what is wrong with task YAMLs, line by line", run_validate, VALIDATE),
        Command("new", "start a plugin or a task from a template that runs", run_new, NEW),
        Command("data", "list and check release files, put a download in its place", run_data, DATA),
    ]


def run_run(arguments: argparse.Namespace, plugins: Plugins) -> int:
    spec = read_request(arguments)
    if "," in spec.model:
        return run_experiment_and_print(spec, plugins)
    return evaluate_and_print(spec, plugins)


def evaluate_and_print(spec: Any, plugins: Plugins, earlier: Record | None = None) -> int:
    from rich.console import Console

    from gptalt_eval.api import run

    known = warn(plugins)
    record = run(spec, plugins, Console(stderr=True), earlier)
    warn(plugins, known)
    print_records([record], record.folder, spec)
    return 1 if record.failed else 0


def run_experiment_and_print(spec: Any, plugins: Plugins) -> int:
    from rich.console import Console

    from gptalt_eval.experiments import run_experiment

    known = warn(plugins)
    records, root = run_experiment(spec, plugins, Console(stderr=True))
    warn(plugins, known)
    print_records(records, root, spec)
    return 1 if any(record.failed for record in records) else 0


def print_records(records: list[Record], folder: Path, spec: Any) -> None:
    from rich.console import Console

    from gptalt_eval.display import make_table

    for record in records:
        if record.results:
            Console().print(make_table(record))
        for name, reason in record.failed.items():
            print(f"Not evaluated: {name}: {reason}")
    if not any(record.results for record in records):
        return
    if spec.show_config:
        from gptalt_eval.cli import print_json

        print_json([dict(result) for record in records for result in record.results])
    print(f"Results: {folder}")
    print(f"Report:  {folder / 'report.html'}")
    if len(records) > 1 or any(len(record.results) > 1 for record in records):
        print(f"Compare: gptalt-eval compare {folder}")


def run_grid(arguments: argparse.Namespace, plugins: Plugins) -> int:
    arguments.config = vars(arguments).pop("experiment", None) or arguments.config
    return run_experiment_and_print(read_request(arguments), plugins)


def read_request(arguments: argparse.Namespace) -> RunSpec:
    from gptalt_eval.spec import read_argv

    for name in ("command", "subparser"):
        vars(arguments).pop(name, None)
    return read_argv(arguments)


def run_resume(arguments: argparse.Namespace, plugins: Plugins) -> int:
    from gptalt_eval.experiments import read_experiment
    from gptalt_eval.spec import make_spec

    settings = read_experiment(arguments.run)
    if settings is not None:
        return run_experiment_and_print(make_spec({**settings, "output_path": str(arguments.run)}), plugins)
    record = find_one_run(arguments.run)
    if not record.run.get("missing"):
        print(f"{record.folder} is finished: nothing is missing.")
        return 0
    return evaluate_and_print(make_spec(record.run["settings"]), plugins, record)


def run_compare(arguments: argparse.Namespace, plugins: Plugins) -> int:
    from gptalt_eval import compare

    return compare.run_compare(arguments)


def warn(plugins: Plugins, said: int = 0) -> int:
    """Say what is wrong with plugins, beyond the first ``said`` problems; returns how many there are."""
    for problem in plugins.problems[said:]:
        print(f"gptalt-eval: {problem}\n", file=sys.stderr)
    return len(plugins.problems)


def run_rerun(arguments: argparse.Namespace, plugins: Plugins) -> int:
    from gptalt_eval.spec import make_spec

    return evaluate_and_print(make_spec(find_one_run(Path(arguments.run)).run["settings"]), plugins)


def find_one_run(path: Path) -> Record:
    """The one run at or below a path, with its settings."""
    from gptalt_eval.record import find_runs, load_record

    folders = find_runs(path)
    if len(folders) > 1:
        raise GptaltError(f"{path} holds {len(folders)} runs.", f"Name one: {folders[0]}")
    record = load_record(folders[0])
    if "settings" not in record.run:
        raise GptaltError(f"{folders[0]} was not written by gptalt-eval: its settings are not recorded.")
    return record


def run_report(arguments: argparse.Namespace, plugins: Plugins) -> int:
    from gptalt_eval.record import find_runs, load_record
    from gptalt_eval.report import write_report

    records = [load_record(folder) for run in arguments.runs for folder in find_runs(run)]
    target = arguments.output or records[0].folder / "report.html"
    try:
        print(write_report(records, target, plugins))
    except OSError as error:
        raise GptaltError(
            f"{target} cannot be written: {error.strerror}.", "Choose another place with --output."
        ) from error
    return 0


def run_install(arguments: argparse.Namespace, plugins: Plugins) -> int:
    packages = [name if name.startswith(PREFIX) else PREFIX + name for name in arguments.names]
    command = [sys.executable, "-m", "pip", "install", *packages]
    print(" ".join(["pip", *command[3:]]))
    if subprocess.run(command, check=False).returncode:
        from gptalt_eval.known_plugins import KNOWN

        unknown = [name for name in arguments.names if name.removeprefix(PREFIX) not in KNOWN]
        hint = did_you_mean(unknown[0], KNOWN) if unknown else ""
        raise GptaltError(
            f"pip could not install {', '.join(packages)}; its own words are above.",
            hint or "Known plugins: gptalt-eval plugins",
        )
    return 0


def run_show(arguments: argparse.Namespace, plugins: Plugins) -> int:
    from gptalt_eval import show

    catalog = Catalog(plugins)
    if arguments.kind == "task":
        print(show.describe_task(catalog, arguments.name, arguments.data_dir, arguments.num_fewshot))
    elif arguments.kind == "model":
        print(show.describe_model(catalog, arguments.name))
    else:
        print(show.describe_dataset(catalog, arguments.name, arguments.data_dir))
    return 0


def run_ls(arguments: argparse.Namespace, plugins: Plugins) -> int:
    from gptalt_eval import listing

    printed = listing.run_ls(arguments, plugins)
    warn(plugins)
    return printed


def run_plugins(arguments: argparse.Namespace, plugins: Plugins) -> int:
    from gptalt_eval import listing

    printed = listing.run_plugins(arguments, plugins)
    if not arguments.json:
        warn(plugins)
    return printed


def run_validate(arguments: argparse.Namespace, plugins: Plugins) -> int:
    from gptalt_eval import validate

    return validate.run_validate(arguments, plugins)


def run_new(arguments: argparse.Namespace, plugins: Plugins) -> int:
    from gptalt_eval import scaffold

    return scaffold.run_new(arguments, plugins)


def run_data(arguments: argparse.Namespace, plugins: Plugins) -> int:
    from gptalt_eval import datacommand

    return datacommand.run_data(arguments, plugins)
