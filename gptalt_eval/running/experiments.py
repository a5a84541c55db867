"""Experiments: several models on the same tasks, each a run below one folder, which can be resumed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from rich.console import Console

from gptalt_eval.contract.errors import GptaltError, InterruptedRun
from gptalt_eval.contract.handed import read_json
from gptalt_eval.contract.plan import Plan
from gptalt_eval.contract.record import (
    DAMAGED,
    EXPERIMENT_FILE,
    RUN_FILE,
    Record,
    find_experiment,
    find_file,
    load_record,
)
from gptalt_eval.contract.settings import split_names
from gptalt_eval.contract.spec import RunSpec, make_spec
from gptalt_eval.contract.types import Installed
from gptalt_eval.machine.consoles import print_wrapped
from gptalt_eval.machine.storage import remove_leftovers, write_atomically
from gptalt_eval.planning.resolve import Faults, resolve
from gptalt_eval.running.resuming import dump_settings, list_changes, run_plan
from gptalt_eval.running.runfiles import (
    ERROR_FILE,
    choose_folder,
    describe_failure,
    log_failure,
    write_run_file,
)
from gptalt_eval.validation.requests import check_request

if TYPE_CHECKING:
    from gptalt_eval.running.spreading.spread import Spread


def plan_models(spec: RunSpec, plugins: Installed) -> list[Plan]:
    """A plan for each model; the problems of all of them are reported before anything runs."""
    faults = Faults([])
    names = dict.fromkeys(split_names(spec.model)) or [""]
    found = [
        faults.attempt(partial(resolve, replace(spec, model=name), plugins, check_request)) for name in names
    ]
    plans = [plan for plan in found if plan]
    folders: dict[Path, str] = {}
    for plan in plans if len(plans) > 1 else ():
        other = folders.setdefault(choose_folder(plan)[1], plan.spec.model)
        if other != plan.spec.model:
            text = f"The results of '{other}' and '{plan.spec.model}' would go to the same folder."
            faults.found.append(GptaltError(text, "Run them one by one, each with its own --output_path."))
    faults.raise_any()
    return plans


def run_member(
    plan: Plan,
    plugins: Installed,
    console: Console,
    earlier: Record | None,
    root: Path,
    sends_samples: bool,
    spread: Spread | None = None,
) -> Record:
    """Run one model of an experiment; if it fails, it is marked with the reason."""
    try:
        return run_plan(plan, plugins, console, earlier, sends_samples, spread)
    except InterruptedRun as stopped:
        hint = f"To run what is missing: gptalt-eval resume {quote(str(root))}"
        raise InterruptedRun(stopped.what, hint, stopped.by_user) from None
    except (Exception, SystemExit) as error:  # the code of a model may call exit()
        return mark_failed(plan, error, console)


def mark_failed(plan: Plan, error: BaseException, console: Console) -> Record:
    """Mark what is missing of a model's run with the reason; the traceback is saved next to it.

    Raises:
        BaseException: the error itself, if there is no run to mark.
    """
    folder = choose_folder(plan)[1]
    if find_file(folder, RUN_FILE) is None:
        raise error
    record = load_record(folder)
    reason = describe_failure(error)
    log_failure(folder, plan.title, error)
    failed = {**record.run.failed, **dict.fromkeys(record.run.missing, reason)}
    write_run_file(folder, replace(record.run, status="incomplete", failed=failed, missing=()))
    print_wrapped(console, reason, f"{plan.title} failed:", "red")
    print_wrapped(console, f"The traceback is in {folder / ERROR_FILE}")
    return load_record(folder)


def begin_experiment(root: Path, spec: RunSpec, resume: bool) -> None:
    """Save the request in its folder.

    Raises:
        GptaltError: the folder already contains an experiment, which is another one or not to be resumed; or
            it cannot be written.
    """
    settings = dump_settings(spec)
    known = read_experiment(root)
    changed = list_changes(known, settings) if known is not None else []
    if changed or (known is not None and not resume):
        what = f"another experiment (it differs in {', '.join(changed)})" if changed else "this experiment"
        raise GptaltError(
            f"{root} already contains {what}.",
            f"Choose another --output_path, or continue that one: gptalt-eval resume {quote(str(root))}",
        )
    root.mkdir(parents=True, exist_ok=True)
    remove_leftovers(root)
    write_atomically(root / EXPERIMENT_FILE, json.dumps(settings, indent=2, ensure_ascii=False))


def read_experiment(root: Path) -> Mapping[str, Any] | None:
    """The settings of the experiment in a folder; None: there is none."""
    file = find_file(root, EXPERIMENT_FILE)
    return read_json(file, DAMAGED) if file else None


def refuse_member(plan: Plan) -> None:
    """Check that a single run would not displace that of an experiment's model.

    Raises:
        GptaltError: its folder belongs to an experiment.
    """
    experiment = find_experiment(choose_folder(plan)[1])
    if experiment is not None:
        again = f"gptalt-eval resume {quote(str(experiment))}"
        raise GptaltError(
            f"{experiment} contains an experiment, and this run would displace results of it.",
            f"Choose another --output_path, or continue the experiment: {again}",
        )


def sends_samples(spec: RunSpec, folder: Path | None) -> bool:
    """Whether the request asks for samples; what is saved only to be compared is not sent to others.

    Args:
        folder: the folder of a run that is resumed; the request of its experiment counts.
    """
    root = find_experiment(folder) if folder else None
    if root is not None:
        spec = make_spec(read_experiment(root) or {})
    return spec.log_samples or spec.predict_only
