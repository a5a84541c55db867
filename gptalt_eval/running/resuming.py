"""Resuming: whether a folder contains the same run, and what is kept of it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from shlex import quote
from typing import TYPE_CHECKING, Any

from rich.console import Console

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.plan import Plan
from gptalt_eval.contract.record import RUN_FILE, Record, find_file, load_record
from gptalt_eval.contract.spec import RunSpec, dump_spec
from gptalt_eval.contract.types import Installed, Owner
from gptalt_eval.machine.consoles import print_wrapped
from gptalt_eval.running.continuing import find_vanished
from gptalt_eval.running.execute import execute, is_main_process
from gptalt_eval.running.runfiles import choose_folder
from gptalt_eval.running.terminal import Terminal

if TYPE_CHECKING:
    from gptalt_eval.running.spreading.spread import Spread

#: who computes: that changes no answer
WORKERS = ("workers", "cluster", "gpus_per_worker")
SERVICES = Owner("services", distribution="gptalt-eval")


def run_plan(
    plan: Plan,
    plugins: Installed,
    console: Console,
    earlier: Record | None,
    sends_samples: bool,
    spread: Spread | None = None,
) -> Record:
    """Execute a plan, or the part that an earlier run of it has not finished.

    Args:
        sends_samples: whether logging services get the samples too.
        spread: what workers have answered; None: the model is loaded here.
    """
    vanished = find_vanished(plan, earlier) if earlier else set()
    if earlier and is_finished(plan, earlier):
        print_wrapped(console, f"{plan.title}: already finished, in {earlier.folder}")
        return earlier
    terminal = Terminal(console)
    if spread is not None:
        terminal.said |= spread.said
    if earlier and vanished:
        names = ", ".join(sorted(vanished)[:5]) + (", ..." if len(vanished) > 5 else "")
        terminal.note(f"Files are missing from {earlier.folder}; evaluated again: {names}.")
    with contextlib.ExitStack() as stack:
        if names_services(plan.spec) and is_main_process():
            from gptalt_eval.running.lmeval.loggers import Loggers

            observer = Loggers(plan.spec, sends_samples, terminal.note)
            stack.enter_context(plugins.watched_by(observer, SERVICES))
        return execute(plan, plugins, terminal, earlier, spread)


def is_finished(plan: Plan, earlier: Record | None) -> bool:
    """Whether an earlier run has all of a plan's results; what failed is tried again."""
    if earlier is None:
        return False
    planned = {cell.label(task.name) for cell in plan.cells for task in cell.tasks}
    return planned <= {*earlier.run.done} - find_vanished(plan, earlier)


def names_services(spec: RunSpec) -> bool:
    return bool(spec.wandb_args or spec.trackio_args or spec.hf_hub_log_args)


def find_earlier(plan: Plan) -> Record | None:
    """The run in the folder of a plan; None: there is none.

    Raises:
        GptaltError: it has other settings.
    """
    folder = choose_folder(plan)[1]
    if find_file(folder, RUN_FILE) is None:
        return None
    record = load_record(folder)
    changed = list_changes(record.run.settings, dump_settings(plan.spec))
    if changed:
        raise GptaltError(
            f"{folder} contains another run (it differs in {', '.join(changed)}).",
            f"Choose another --output_path, or continue that one: gptalt-eval resume {quote(str(folder))}",
        )
    return record


def place_settings(record: Record) -> dict[str, Any]:
    """The settings of a run to resume, with its results where its folder is now.

    ``output_path`` in the file may be another computer's, or lead elsewhere.
    """
    settings = dict(record.run.settings)
    if settings.get("output_path"):
        stem = record.run.stem.removesuffix("_")
        settings["output_path"] = str(record.folder / f"{stem}.json" if stem else record.folder.parent)
    return settings


def dump_settings(spec: RunSpec) -> dict[str, Any]:
    """The settings of a request, as read from a JSON file."""
    settings: dict[str, Any] = json.loads(json.dumps(dump_spec(spec), default=str))
    return settings


def list_changes(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """The settings that differ, except the folder, which may have been moved, and who computes."""
    changed = {key for key in {*first, *second} if first.get(key) != second.get(key)}
    return sorted(changed - {"output_path", *WORKERS})
