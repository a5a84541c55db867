"""gptalt-eval from Python, and the one function that runs a request."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, overload

from rich.console import Console

from gptalt_eval.contract.discovery import load_plugins
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.models import Model
from gptalt_eval.contract.plan import Plan
from gptalt_eval.contract.record import EXPERIMENT_FILE, RUN_FILE, Record, find_experiment, load_record
from gptalt_eval.contract.settings import split_names
from gptalt_eval.contract.spec import RunSpec, make_spec
from gptalt_eval.contract.types import Installed
from gptalt_eval.machine.consoles import make_console
from gptalt_eval.machine.secrets import remember_secrets
from gptalt_eval.machine.waiting import waiting
from gptalt_eval.planning import builtin
from gptalt_eval.planning.catalog import Catalog
from gptalt_eval.planning.consent.permits import remember_own
from gptalt_eval.planning.models.editions import match_folder
from gptalt_eval.results.report import write_report
from gptalt_eval.running.execute import is_main_process
from gptalt_eval.running.experiments import (
    begin_experiment,
    plan_models,
    refuse_member,
    run_member,
    sends_samples,
)
from gptalt_eval.running.locking import claim_output, lock_folders
from gptalt_eval.running.resuming import find_earlier, is_finished, run_plan
from gptalt_eval.running.runfiles import choose_folder
from gptalt_eval.running.spreading.choice import check_spread, choose_workers


@overload
def evaluate(
    model: str, tasks: str | Sequence[str], *, plugins: Installed | None = ..., resume: bool = ...,
    **settings: Any,
) -> Record: ...  # fmt: skip
@overload
def evaluate(
    model: Sequence[str], tasks: str | Sequence[str], *, plugins: Installed | None = ..., resume: bool = ...,
    **settings: Any,
) -> list[Record]: ...  # fmt: skip
def evaluate(
    model: str | Sequence[str],
    tasks: str | Sequence[str],
    *,
    plugins: Installed | None = None,
    resume: bool = False,
    **settings: Any,
) -> Record | list[Record]:
    """Evaluate one or several models on tasks; save and return the runs.

    Args:
        model: a ``--model`` name, or a list of names: an experiment.
        tasks: one name or several.
        plugins: the plugins to use; None: all installed ones.
        resume: continue the run or experiment with the same settings in ``output_path``, or start it if there
            is none. Finished results are kept.
        settings: any other flag of the command line, by its name: ``num_fewshot=5``,
            ``data_dir="sample"``, ``limit=100``, ``model_args={"dtype": "float32"}``, ...

    Returns:
        The saved run, or a list with one for each model; ``record.results[0]`` is lm-eval's
        result.

    Raises:
        GptaltError: the request has a problem; nothing was run.
        InterruptedRun: it ended early; what was finished is saved.
    """
    is_one = isinstance(model, str)
    if is_one and len(split_names(model)) > 1:
        raise GptaltError(f"'{model}' names several models.", "Give a list: evaluate(['a', 'b'], ...)")
    spec = make_spec({"model": model, "tasks": tasks, **settings})
    runs = run(spec, plugins or load_plugins(builtin), make_console(stderr=True), resume)
    return runs.records[0] if is_one else runs.records


def find_model(name: str, plugins: Installed, folder: Path | None = None) -> Model:
    """The model with a name, as ``--model`` takes it, or the one that a run would load from a folder instead.

    Args:
        name: its name.
        plugins: the plugins that provide names.
        folder: where its files are; None: its name alone counts.

    Raises:
        UnknownNameError: there is none; the message suggests the nearest one.
        GptaltError: the folder contains a model of another kind.
    """
    catalog = Catalog(plugins)
    owned = catalog.find_model(name)
    if folder is not None:
        spec = RunSpec(model=name, model_args={"pretrained": str(folder)})
        owned, _ = match_folder(catalog, owned, spec, folder)
    return owned.item


def remember_request(spec: RunSpec, plans: Sequence[Plan], root: Path | None, folder: Path | None) -> None:
    """Remember that the user asked for this, so that to resume or repeat it needs no consent."""
    if not is_main_process():
        return
    if root is not None:
        remember_own(spec, root / EXPERIMENT_FILE)
    for plan in plans:
        remember_own(plan.spec, (folder or choose_folder(plan)[1]) / RUN_FILE)


def spread_plans(
    spec: RunSpec,
    plans: Sequence[Plan],
    found: Sequence[Record | None],
    plugins: Installed,
    console: Console,
    root: Path | None,
) -> Mapping[int, Any]:
    """Have workers answer, if the request is to be spread; returns by index what each run needs for that.

    A model of an experiment whose prompts cannot be built has the record that says why.
    """
    workers = choose_workers(spec, plans)
    open_ones = [
        None if is_finished(plan, earlier) else plan for plan, earlier in zip(plans, found, strict=True)
    ]
    if workers == 0 or not any(open_ones):
        return {}
    for plan in plans:
        check_spread(plan)
    with waiting("Importing lm-eval and torch"):
        from gptalt_eval.running.spreading.driver import answer_by_workers

    return answer_by_workers(open_ones, found, plugins, console, workers, root)


class Runs(NamedTuple):
    """The runs of a request.

    Attributes:
        records: a run for each model.
        folder: the folder with the runs and the report.
    """

    records: list[Record]
    folder: Path


def run(spec: RunSpec, plugins: Installed, console: Console, resume: bool | Record = False) -> Runs:
    """Plan, execute and report a request; every run goes through here.

    Each of several models is a run below one folder. A model that cannot be loaded is marked with the reason,
    and the others are still run.

    Args:
        spec: the request.
        plugins: the plugins that provide names and observe.
        console: shows the progress.
        resume: True: continue the run in the request's folder; a record: continue this run. Finished results
            are not computed again.

    Raises:
        GptaltError: the request has a problem, or the folder contains another run, or one writes there now.
        InterruptedRun: it ended early; what was finished is saved.
    """
    remember_secrets(vars(spec))
    folder = resume.folder if isinstance(resume, Record) else None
    with claim_output(spec, folder) as output:
        root = output if len(split_names(spec.model)) > 1 else None
        if root is not None:
            spec = replace(spec, output_path=str(root))
        with waiting("Finding the model, the tasks and their rows"):
            plans = [replace(plan, output=output) for plan in plan_models(spec, plugins)]
        folders = [folder] if folder else [root, *(choose_folder(plan)[1] for plan in plans)]
        with lock_folders(each for each in folders if each and is_main_process()):
            again = load_record(folder) if folder else resume
            return run_plans(spec, plans, plugins, console, again, root)


def run_plans(
    spec: RunSpec,
    plans: list[Plan],
    plugins: Installed,
    console: Console,
    resume: bool | Record,
    root: Path | None,
) -> Runs:
    """Execute and report a request of which everything was found.

    Args:
        root: the folder of the experiment; None: it is none.
    """
    folder = resume.folder if isinstance(resume, Record) else None
    if root is not None:
        begin_experiment(root, spec, bool(resume))
    elif folder is None:
        refuse_member(plans[0])
    if root is not None or (folder is not None and find_experiment(folder)):
        plans = [replace(plan, in_experiment=True) for plan in plans]
    sends = sends_samples(spec, folder)
    found = [
        resume if isinstance(resume, Record) else find_earlier(plan) if resume else None for plan in plans
    ]
    remember_request(spec, plans, root, folder)
    spreads = spread_plans(spec, plans, found, plugins, console, root)
    records = []
    for index, (plan, earlier) in enumerate(zip(plans, found, strict=True)):
        spread = spreads.get(index)
        if isinstance(spread, Record):
            records.append(spread)
        elif root is None:
            records.append(run_plan(plan, plugins, console, earlier, sends, spread))
        else:
            records.append(run_member(plan, plugins, console, earlier, root, sends, spread))
        gc.collect()  # free one model's weights before the next loads
    place = root or records[0].folder
    reported = [record for record in records if record.results]
    if reported:
        with waiting("Writing the report"):
            write_report(reported, place / "report.html", plugins)
    return Runs(records, place)
