"""The core's own subcommands."""

from __future__ import annotations

import argparse
from shlex import quote

from gptalt_eval.commands.examples import add_examples
from gptalt_eval.commands.install import run_install, run_uninstall
from gptalt_eval.commands.options import (
    CHECK,
    COMPARE,
    DATA_DIR,
    DATASET,
    INCLUDE,
    INSTALL,
    JSON,
    LOCK,
    LS,
    MODEL,
    NAME,
    NEW,
    PREPARE,
    RECOMMEND,
    REPORT,
    RERUN,
    RESUME,
    RUN,
    SHOW_TASK,
    SITE,
    UNINSTALL,
    VALIDATE,
)
from gptalt_eval.commands.printing import warn
from gptalt_eval.commands.report import run_report
from gptalt_eval.commands.run import run_rerun, run_resume, run_run
from gptalt_eval.commands.site import run_site
from gptalt_eval.contract.hookspecs import hookimpl
from gptalt_eval.contract.settings import split_names
from gptalt_eval.contract.types import Command, Installed
from gptalt_eval.machine.plain import print_plain as print
from gptalt_eval.planning.catalog import Catalog
from gptalt_eval.planning.places import list_included


@hookimpl
def register_commands() -> list[Command]:
    return [add_examples(command) for command in list_commands()]


def list_commands() -> list[Command]:
    return [
        Command("run", "evaluate models on tasks (also without the word 'run')", run_run, RUN),
        Command("ls", "list tasks, groups, models, plugins, datasets or prompt styles", run_ls, LS),
        Command(
            "show", "show the details of a task, model or dataset: 'show NAME'", commands=list_show_commands()
        ),
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
        Command("compare", "compare models, prompt styles or shots on the same rows", run_compare, COMPARE),
        Command("recommend", "models that fit, ranked by your own runs", run_recommend, RECOMMEND),
        Command("rerun", "repeat a run with its recorded settings", run_rerun, RERUN),
        Command("validate", "find problems in task YAMLs, with line numbers", run_validate, VALIDATE),
        Command("new", "create a plugin, a task, a model or a job from a working template", run_new, NEW),
        Command("data", "check release files, or put a download in place", commands=list_data_commands()),
    ]


def list_show_commands() -> tuple[Command, ...]:
    return (
        Command("task", "a task's source and its first prompt", show_task, SHOW_TASK),
        Command("model", "a model's licence, size and arguments", show_model, (MODEL, INCLUDE)),
        Command("dataset", "a dataset's files, licence and home page", show_dataset, (DATASET, DATA_DIR)),
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
    text = show.describe_task(plugins, arguments.name, arguments.data_dir, arguments.num_fewshot, trusted)
    print(text, as_is=True)  # a prompt shows where its own lines end
    return 0


def show_model(arguments: argparse.Namespace, plugins: Installed) -> int:
    from gptalt_eval.commands import show

    catalog = Catalog(plugins, list_included(arguments.include_path))
    print(show.describe_model(catalog, arguments.name), as_is=True)
    return 0


def show_dataset(arguments: argparse.Namespace, plugins: Installed) -> int:
    from gptalt_eval.commands import show
    from gptalt_eval.data.locate import choose_data_dir

    catalog = Catalog(plugins, data_dir=choose_data_dir(arguments.data_dir))
    print(show.describe_dataset(catalog, arguments.name), as_is=True)
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
    print(f"To run with exactly these: gptalt-eval run --plugins_lock {quote(str(arguments.file))} ...")
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
