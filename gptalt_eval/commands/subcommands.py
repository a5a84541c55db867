"""The core's own subcommands."""

from __future__ import annotations

import argparse
from pathlib import Path

from gptalt_eval.commands.install import run_install, run_uninstall
from gptalt_eval.commands.printing import warn
from gptalt_eval.commands.report import run_report
from gptalt_eval.commands.run import run_rerun, run_resume, run_run
from gptalt_eval.commands.site import run_site
from gptalt_eval.contract.hookspecs import hookimpl
from gptalt_eval.contract.settings import split_names
from gptalt_eval.contract.types import Command, Installed, Option
from gptalt_eval.machine.plain import print_plain as print
from gptalt_eval.planning.catalog import Catalog
from gptalt_eval.planning.places import list_included

KINDS = ("tasks", "groups", "models", "plugins", "datasets", "styles")
WORD = Option(("word",), {"nargs": "?", "default": "", "help": "show only entries that contain this"})
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
    Option(("kind",), {"choices": ("plugin", "task", "model")}),
    Option(("name",), {"metavar": "NAME"}),
    Option(("--into",), {"metavar": "FOLDER", "type": Path, "help": "where to write it"}),
)
DATA_DIR = Option(
    ("--data_dir",), {"metavar": "FOLDER", "help": "where release files are (default: $GPTALT_DATA)"}
)
CHECK = (Option(("names",), {"nargs": "*", "metavar": "NAME", "help": "datasets; none: all"}), DATA_DIR, JSON)
PREPARE = (
    Option(("names",), {"nargs": "+", "metavar": "NAME", "help": "datasets"}),
    Option(
        ("--from",),
        {"dest": "source", "metavar": "PATH", "type": Path, "required": True, "help": "what you downloaded"},
    ),
    DATA_DIR,
    JSON,
)
INCLUDE = Option(
    ("--include_path",), {"metavar": "FOLDER", "default": "", "help": "with YAMLs of your own, as for a run"}
)
LS = (
    Option(("kind",), {"choices": KINDS, "nargs": "?", "default": "tasks"}),
    WORD,
    JSON,
    Option(("--all",), {"action": "store_true", "help": "include lm-eval's own 14,000 names"}),
    Option(
        ("--data_dir",), {"metavar": "FOLDER", "help": "for datasets: show which splits are in this folder"}
    ),
    Option(("--language",), {"metavar": "CODE", "default": "", "help": "for models: such as zh or en"}),
    Option(("--size",), {"metavar": "SIZE", "default": "", "help": "for models: 7B, or in quotes '<10B'"}),
    Option(("--commercial",), {"action": "store_true", "help": "for models: commercial use is allowed"}),
    INCLUDE,
)
NAME = Option(("name",), {"metavar": "NAME"})
LOCK = Option(("file",), {"metavar": "FILE", "nargs": "?", "type": Path, "default": Path("gptalt-eval.lock")})
SHOW_TASK = (
    NAME,
    Option(
        ("--data_dir",), {"metavar": "FOLDER|sample", "help": "where the row of the shown prompt comes from"}
    ),
    Option(
        ("--num_fewshot",),
        {"type": int, "metavar": "N", "help": "number of few-shot examples in the shown prompt"},
    ),
    Option(
        ("--trust_task_code",),
        {"metavar": "FILE", "default": "", "help": "task YAMLs that may run the Python that they name"},
    ),
)
REPORT = (
    Option(("runs",), {"nargs": "+", "metavar": "RUN", "type": Path}),
    Option(
        ("--format",),
        {
            "choices": ("html", "csv", "markdown", "latex"),
            "default": "html",
            "help": "a page, or a table of the scores, printed (default: html)",
        },
    ),
    Option(
        ("--output", "-o"),
        {"type": Path, "metavar": "FILE", "help": "default: report.html in the folder; a table is printed"},
    ),
)
SITE = (
    Option(("runs",), {"nargs": "+", "metavar": "RUN", "type": Path, "help": "folders of runs, experiments"}),
    Option(
        ("--into",),
        {"metavar": "FOLDER", "type": Path, "required": True, "help": "where the pages go; new, or a site"},
    ),
)
TRUST = Option(
    ("--trust",),
    {
        "action": "store_true",
        "help": "allow what the file's settings ask for: code, hosts, other folders",
    },
)
RUN = (
    Option(
        ("experiment",),
        {"metavar": "EXPERIMENT.yaml", "nargs": "?", "help": "a YAML file of these flags, like --config"},
    ),
    TRUST,
)
RESUME = (
    Option(("run",), {"metavar": "RUN", "type": Path, "help": "the folder of a run or experiment"}),
    TRUST,
)
COMPARE = (
    Option(("runs",), {"nargs": "+", "metavar": "RUN", "type": Path}),
    Option(("--by",), {"choices": ("model", "prompt_style", "num_fewshot"), "help": "default: each of them"}),
    Option(("--metric",), {"metavar": "NAME", "help": "default: the first one of each task"}),
    Option(("--members",), {"action": "store_true", "help": "also compare the members of groups one by one"}),
    JSON,
)
RECOMMEND = (
    Option(("--language",), {"metavar": "CODE", "default": "", "help": "such as zh or en"}),
    Option(
        ("--task",), {"metavar": "NAME", "default": "", "help": "rank by your runs of this; several: A,B"}
    ),
    Option(("--memory",), {"metavar": "SIZE", "default": "", "help": "of the device, such as 16GB"}),
    Option(
        ("--license",), {"choices": ("commercial", "any"), "default": "any", "help": "what it must allow"}
    ),
    Option(
        ("--runs",),
        {"nargs": "+", "metavar": "RUN", "type": Path, "default": [], "help": "default: all below runs/"},
    ),
    INCLUDE,
    JSON,
)
INSTALL = (
    Option(("names",), {"nargs": "*", "metavar": "NAME", "help": "a plugin's name, a ./FOLDER or a wheel"}),
    Option(
        ("-r", "--requirement"),
        {"dest": "requirements", "action": "append", "default": [], "type": Path, "metavar": "FILE",
         "help": "a requirements file for pip"},
    ),
    Option(("--unknown",), {"action": "store_true", "help": "also what is not a plugin of this project"}),
)  # fmt: skip
UNINSTALL = (Option(("names",), {"nargs": "+", "metavar": "NAME"}),)
RERUN = (Option(("run",), {"metavar": "RUN", "type": Path, "help": "a run's folder"}), TRUST)


@hookimpl
def register_commands() -> list[Command]:
    return [
        Command("run", "evaluate models on tasks (also without the word 'run')", run_run, RUN),
        Command("ls", "list tasks, groups, models, plugins, datasets or prompt styles", run_ls, LS),
        Command("show", "show the details of a task, model or dataset", commands=list_show_commands()),
        Command(
            "plugins",
            "list plugins, what they add, and their problems",
            run_plugins,
            (JSON,),
            (
                Command("check", "check whether a plugin keeps the rules", check_plugin, (NAME,)),
                Command("lock", "write a lock file, for --plugins_lock", lock_plugins, (LOCK,)),
            ),
        ),
        Command("install", "install plugins: 'install medqa'", run_install, INSTALL),
        Command("uninstall", "uninstall plugins", run_uninstall, UNINSTALL),
        Command(
            "report",
            "write report.html for runs, or print their scores as a table",
            run_report,
            REPORT,
        ),
        Command("site", "write a site of many runs, for a web server", run_site, SITE),
        Command("resume", "finish an interrupted run or experiment", run_resume, RESUME),
        Command("compare", "compare arms that scored the same rows", run_compare, COMPARE),
        Command("recommend", "models that fit, ranked by your own runs", run_recommend, RECOMMEND),
        Command("rerun", "repeat a run with its recorded settings", run_rerun, RERUN),
        Command("validate", "find problems in task YAMLs, with line numbers", run_validate, VALIDATE),
        Command("new", "create a plugin, a task or a model from a working template", run_new, NEW),
        Command("data", "check release files, or put a download in place", commands=list_data_commands()),
    ]


def list_show_commands() -> tuple[Command, ...]:
    return (
        Command("task", "a task's source and its first prompt", show_task, SHOW_TASK),
        Command("model", "a model's licence, size and arguments", show_model, (NAME, INCLUDE)),
        Command("dataset", "a dataset's files, licence and home page", show_dataset, (NAME, DATA_DIR)),
    )


def list_data_commands() -> tuple[Command, ...]:
    return (
        Command("check", "check row counts and SHA-256 of every split", run_data_check, CHECK),
        Command("prepare", "copy a download to its place in the data folder", run_data_prepare, PREPARE),
    )


def run_compare(arguments: argparse.Namespace, plugins: Installed) -> int:
    from gptalt_eval.commands import compare

    return compare.run_compare(arguments)


def run_recommend(arguments: argparse.Namespace, plugins: Installed) -> int:
    from gptalt_eval.commands import recommend

    return recommend.run_recommend(arguments, plugins)


def show_task(arguments: argparse.Namespace, plugins: Installed) -> int:
    from gptalt_eval.commands import show

    trusted = tuple(split_names(arguments.trust_task_code))
    print(show.describe_task(plugins, arguments.name, arguments.data_dir, arguments.num_fewshot, trusted))
    return 0


def show_model(arguments: argparse.Namespace, plugins: Installed) -> int:
    from gptalt_eval.commands import show

    print(show.describe_model(Catalog(plugins, list_included(arguments.include_path)), arguments.name))
    return 0


def show_dataset(arguments: argparse.Namespace, plugins: Installed) -> int:
    from gptalt_eval.commands import show
    from gptalt_eval.data.locate import choose_data_dir

    catalog = Catalog(plugins, data_dir=choose_data_dir(arguments.data_dir))
    print(show.describe_dataset(catalog, arguments.name))
    return 0


def run_ls(arguments: argparse.Namespace, plugins: Installed) -> int:
    from gptalt_eval.commands import listing

    printed = listing.run_ls(arguments, plugins)
    warn(plugins)
    return printed


def run_plugins(arguments: argparse.Namespace, plugins: Installed) -> int:
    from gptalt_eval.commands import listing

    printed = listing.run_plugins(arguments, plugins)
    if not arguments.json:
        warn(plugins)
    return printed


def check_plugin(arguments: argparse.Namespace, plugins: Installed) -> int:
    from gptalt_eval.commands.conformance import checks

    return checks.run_check(arguments, plugins)


def lock_plugins(arguments: argparse.Namespace, plugins: Installed) -> int:
    from gptalt_eval.contract.provenance import describe_plugins
    from gptalt_eval.planning.lock import write_lock

    lock = write_lock(arguments.file, describe_plugins(plugins.owners.values()))
    for name, locked in lock.packages.items():
        print(f"{name} {locked.version}  {locked.sha256}")
    print(f"To run with exactly these: gptalt-eval run --plugins_lock {arguments.file} ...")
    warn(plugins)
    return 0


def run_validate(arguments: argparse.Namespace, plugins: Installed) -> int:
    from gptalt_eval.commands import validate

    return validate.run_validate(arguments, plugins)


def run_new(arguments: argparse.Namespace, plugins: Installed) -> int:
    from gptalt_eval.commands import new as scaffold

    return scaffold.run_new(arguments, plugins)


def run_data_check(arguments: argparse.Namespace, plugins: Installed) -> int:
    from gptalt_eval.commands import data

    return data.run_check(arguments, plugins)


def run_data_prepare(arguments: argparse.Namespace, plugins: Installed) -> int:
    from gptalt_eval.commands import data

    return data.run_prepare(arguments, plugins)
