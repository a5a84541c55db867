"""Experiments: several models on the same tasks, each a run below one folder, which can be resumed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from gptalt_eval.contract.errors import GptaltError, InterruptedRun
from gptalt_eval.contract.plan import Plan
from gptalt_eval.contract.record import Record, load_record, read_json
from gptalt_eval.contract.settings import split_names
from gptalt_eval.contract.spec import RunSpec
from gptalt_eval.contract.types import Installed
from gptalt_eval.machine.storage import write_atomically
from gptalt_eval.planning.resolve import Faults, resolve
from gptalt_eval.running.resuming import dump_settings, list_changes, run_plan
from gptalt_eval.running.runfiles import RunFiles, choose_folder
from gptalt_eval.validation.requests import check_request

EXPERIMENT_FILE = "experiment.json"


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
) -> Record:
    """Run one model of an experiment; if it fails, it is marked with the reason."""
    try:
        return run_plan(plan, plugins, console, earlier, sends_samples)
    except InterruptedRun as stopped:
        hint = f"To run what is missing: gptalt-eval resume {root}"
        raise InterruptedRun(stopped.what, hint, stopped.by_user) from None
    except Exception as error:
        folder = choose_folder(plan)[1]
        files = RunFiles(plan, main=True, earlier=load_record(folder))
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        files.save_failure(dict.fromkeys(files.run.missing, reason))
        files.save_end("incomplete")
        console.print(f"[red]{plan.title} failed:[/] {reason}", highlight=False)
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
            f"Choose another --output_path, or continue that one: gptalt-eval resume {root}",
        )
    root.mkdir(parents=True, exist_ok=True)
    write_atomically(root / EXPERIMENT_FILE, json.dumps(settings, indent=2, ensure_ascii=False))


def read_experiment(root: Path) -> Mapping[str, Any] | None:
    """The settings of the experiment in a folder; None: there is none."""
    file = root / EXPERIMENT_FILE
    return read_json(file) if file.is_file() else None
