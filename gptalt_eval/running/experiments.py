"""Several models on the same tasks: a run folder for each below one folder, which can be gone on with."""

from __future__ import annotations

import gc
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from gptalt_eval.contract.errors import GptaltError, InterruptedRun, RequestErrors
from gptalt_eval.contract.plan import Plan
from gptalt_eval.contract.record import RUN_FILE, Record, load_record, read_json
from gptalt_eval.contract.spec import RunSpec, dump_spec
from gptalt_eval.contract.types import Installed
from gptalt_eval.machine.storage import write_atomically
from gptalt_eval.results.report import write_report
from gptalt_eval.running.api import plan_run
from gptalt_eval.running.execute import execute
from gptalt_eval.running.runfiles import RunFiles, choose_folder, choose_output
from gptalt_eval.running.terminal import Terminal

EXPERIMENT_FILE = "experiment.json"


def run_experiment(spec: RunSpec, plugins: Installed, console: Console) -> tuple[list[Record], Path]:
    """Run a request for each of its models, and report them together.

    What is finished in the folder, of the same request, is kept. A model that cannot be loaded is marked with
    the reason, and the others go on.

    Returns:
        the runs, and the folder that they lie in.

    Raises:
        GptaltError: something about the request is wrong, or the folder is another experiment's.
        InterruptedRun: it ended early; what was finished is saved.
    """
    root = choose_output(spec)
    spec = replace(spec, output_path=str(root), log_samples=True)  # models are compared row by row
    plans = plan_models(spec, plugins)
    begin_experiment(root, spec)
    records = []
    for plan in plans:
        records.append(run_model(plan, plugins, console, root))
        gc.collect()  # the weights of one model go before those of the next come
    records = [record for record in records if record.results]
    if records:
        write_report(records, root / "report.html", plugins)
    return records, root


def plan_models(spec: RunSpec, plugins: Installed) -> list[Plan]:
    """A plan for each model; what is wrong with any of them is said before anything runs."""
    plans: list[Plan] = []
    faults: list[GptaltError] = []
    for name in dict.fromkeys(name.strip() for name in spec.model.split(",") if name.strip()):
        try:
            plans.append(plan_run(replace(spec, model=name), plugins))
        except RequestErrors as errors:
            faults += errors.errors
        except GptaltError as error:
            faults.append(error)
    distinct = list({str(fault): fault for fault in faults}.values())
    if distinct:
        raise distinct[0] if len(distinct) == 1 else RequestErrors(distinct)
    return plans


def run_model(plan: Plan, plugins: Installed, console: Console, root: Path) -> Record:
    folder = choose_folder(plan)[1]
    earlier = load_record(folder) if (folder / RUN_FILE).is_file() else None
    if earlier and not earlier.run.missing:
        console.print(f"{plan.model.item.name}: finished before, in {folder}", highlight=False)
        return earlier
    try:
        return execute(plan, plugins, Terminal(console), earlier)
    except InterruptedRun as stopped:
        hint = f"Go on with what is missing: gptalt-eval resume {root}"
        raise InterruptedRun(stopped.what, hint, stopped.by_user) from None
    except Exception as error:
        files = RunFiles(plan, main=True, earlier=load_record(folder))
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        files.save_failure(dict.fromkeys(files.run.missing, reason))
        files.save_end("incomplete")
        console.print(f"[red]{plan.model.item.name} failed:[/] {reason}", highlight=False)
        return load_record(folder)


def begin_experiment(root: Path, spec: RunSpec) -> None:
    """Note the request in its folder.

    Raises:
        GptaltError: the folder holds another experiment, or cannot be written.
    """
    settings = json.loads(json.dumps({**dump_spec(spec), "output_path": str(root)}, default=str))
    known = read_experiment(root) or settings
    changed = sorted(key for key in {*known, *settings} if known.get(key) != settings.get(key))
    if set(changed) - {"output_path"}:
        raise GptaltError(
            f"{root} holds another experiment (it differs in {', '.join(changed)}).",
            "Choose another --output_path, or go on with that one: gptalt-eval resume " + str(root),
        )
    root.mkdir(parents=True, exist_ok=True)
    write_atomically(root / EXPERIMENT_FILE, json.dumps(settings, indent=2, ensure_ascii=False))


def read_experiment(root: Path) -> Mapping[str, Any] | None:
    """The settings of the experiment in a folder; None: it holds none."""
    file = root / EXPERIMENT_FILE
    return read_json(file) if file.is_file() else None
