"""The files of one run, written as it goes on: see :mod:`gptalt_eval.contract.record` for their layout."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.plan import Plan, PlannedTask
from gptalt_eval.contract.record import RUN_FILE, Record, read_json, read_run
from gptalt_eval.contract.run import Checkout, Run, RunCell, RunData, RunModel, RunSplit, Status
from gptalt_eval.contract.spec import RunSpec, dump_spec, format_command
from gptalt_eval.contract.types import Model
from gptalt_eval.machine import environment
from gptalt_eval.machine.storage import write_atomically


def is_about(error: OSError, folder: Path) -> bool:
    # without a number it is no error of the system: transformers says so of weights that it cannot read
    return error.errno is not None and str(error.filename or folder).startswith(str(folder))


def name_run_folder(model: Model, args: Mapping[str, Any]) -> str:
    """The folder's name for this model's results, as lm-eval makes it from ``pretrained``."""
    named = (
        model.name
        if model.backend != model.name
        else args.get("peft") or args.get("pretrained") or model.name
    )
    return re.sub(r'["<>:/|\\?*\[\]]+', "__", str(named))


def write_run_file(folder: Path, run: Run) -> None:
    """Write ``run.json``; that of an earlier run in the same folder is kept under its time."""
    target = folder / RUN_FILE
    if target.is_file():
        try:
            earlier = read_run(target).started
        except GptaltError:
            earlier = "damaged"
        if earlier != run.started:
            target.replace(folder / f"run_{earlier.replace(':', '-')}.json")
    write_atomically(target, json.dumps(run.dump(), indent=2, ensure_ascii=False, default=str))


class RunFiles:
    """The files of one run, written as it goes on.

    Args:
        plan: what runs.
        main: whether this process writes (of several that work together only the first does).
        earlier: the interrupted run to be resumed, in its own folder.

    Raises:
        GptaltError: the data of the earlier run has changed since.
    """

    def __init__(self, plan: Plan, main: bool, earlier: Record | None = None) -> None:
        self.plan = plan
        self.main = main
        self.started = datetime.now().astimezone()
        begun = describe_plan(plan, self.started)
        if earlier is None:
            stem, self.folder = choose_folder(plan)
            self.run = replace(begun, stem=stem)
        else:
            self.folder = earlier.folder
            self.run = continue_run(begun, earlier)

    def update(self, **changes: Any) -> None:
        self.run = replace(self.run, **changes)

    def save_run(self, **changes: Any) -> None:
        self.update(**changes)
        if self.main:
            write_run_file(self.folder, self.run)

    def save_task(self, cell: int, name: str, samples: list[str], results: str) -> None:
        """One more task is finished: its samples, the results so far, and run.json."""
        file = self.run.cells[cell].results or self.begin_results(cell)
        stamp = file.removesuffix(".json").rpartition("results_")[2]
        if samples:
            write_atomically(self.folder / f"samples_{name}_{stamp}.jsonl", "\n".join(samples) + "\n")
        write_atomically(self.folder / file, results)
        self.leave(done=(*self.run.done, self.plan.cells[cell].label(name)))

    def begin_results(self, cell: int) -> str:
        """Name the file of a cell's results."""
        stamp = datetime.now().isoformat().replace(":", "-")
        file = f"{self.run.stem}results_{stamp}.json"
        cells = list(self.run.cells)
        cells[cell] = replace(cells[cell], results=file)
        self.update(cells=tuple(cells), results=(*self.run.results, file))
        return file

    def save_failure(self, failed: Mapping[str, str]) -> None:
        """Tasks that cannot be evaluated, by label, and why."""
        self.leave(failed={**self.run.failed, **failed})

    def leave(self, **changes: Any) -> None:
        self.update(**changes)
        left = {*self.run.done, *self.run.failed}
        self.save_run(missing=tuple(task for task in self.run.missing if task not in left))

    def is_missing(self, label: str) -> bool:
        return label in self.run.missing

    def read_results(self, cell: int) -> dict[str, Any]:
        """What is saved of a cell; empty: nothing yet."""
        name = self.run.cells[cell].results
        return read_json(self.folder / name) if name else {}

    def save_end(self, status: Status) -> None:
        finished = datetime.now().astimezone()
        seconds = round((finished - self.started).total_seconds(), 1)
        self.save_run(status=status, finished=finished.isoformat(timespec="seconds"), seconds=seconds)


def continue_run(begun: Run, earlier: Record) -> Run:
    """The run that goes on where an earlier one ended.

    Args:
        begun: as it would be from the beginning.
        earlier: the interrupted one.

    Raises:
        GptaltError: its data has changed since, or it cannot be resumed.
    """
    run = earlier.run
    if not run.cells:
        raise GptaltError(f"{earlier.folder} was begun by an older version.", "Begin a new run.")
    for name, data in begun.data.items():
        if name in run.data and data.splits != run.data[name].splits:
            text = f"{name}: its data has changed since {earlier.folder} was begun."
            raise GptaltError(text, "Begin a new run: results on different rows do not belong together.")
    return replace(
        begun,
        started=run.started,
        results=run.results,
        done=run.done,
        cells=run.cells,
        stem=run.stem,
        resumed=(*run.resumed, datetime.now().astimezone().isoformat(timespec="seconds")),
        missing=tuple(task for task in begun.missing if task not in run.done),
        model=replace(begun.model, fingerprint=run.model.fingerprint),
    )


def choose_output(spec: RunSpec) -> Path:
    """``--output_path``, else a folder named by the time."""
    return Path(spec.output_path or Path("runs", datetime.now().strftime("%Y-%m-%d_%H-%M-%S"))).expanduser()


def choose_folder(plan: Plan) -> tuple[str, Path]:
    """The prefix of the results' name, and the run's folder, as lm-eval makes them of ``--output_path``."""
    path = choose_output(plan.spec)
    if path.suffix == ".json":
        return f"{path.stem}_", path.parent
    return "", path / name_run_folder(plan.model.item, plan.model_args)


def describe_plan(plan: Plan, started: datetime) -> Run:
    """The part of ``run.json`` that is known before the weights are."""
    model = plan.model.item
    tasks = {task.name: task for cell in plan.cells for task in cell.tasks}
    partial = {task.name: task.partial for cell in plan.cells for task in cell.tasks if task.partial}
    return Run(
        status="running",
        command=format_command(plan.spec),
        settings=dump_spec(plan.spec),
        started=started.isoformat(timespec="microseconds"),
        model=RunModel(
            name=model.name,
            owner=plan.model.owner,
            args={key: str(value) for key, value in plan.model_args.items()},
            licence=model.licence,
            home=model.home,
        ),
        data={name: describe_located(task, partial.get(name, "")) for name, task in tasks.items()},
        notes=plan.notes,
        seeds=plan.spec.seed,
        versions=environment.describe_versions(),
        git=Checkout(**environment.describe_git()),
        cells=tuple(
            RunCell(cell.style.name if cell.style else None, cell.num_fewshot) for cell in plan.cells
        ),
        failed=plan.lacking,
        missing=tuple(cell.label(task.name) for cell in plan.cells for task in cell.tasks),
    )


def describe_located(task: PlannedTask, partial: str) -> RunData:
    """Where a task's rows were found; ``partial`` says why they are not those of the whole release."""
    data, dataset = task.data, task.data.dataset
    licence = dataset.licence if dataset else ""
    if data.is_sample:
        licence = "that of the plugin that brings the sample"
        if dataset and dataset.sample and dataset.sample.is_relative_to(Path(__file__).parents[1]):
            licence = "Apache-2.0 (written for gptalt-eval)"
    return RunData(
        origin=data.origin,
        hub=data.hub,
        config=data.config,
        task_from=str(task.owner),
        partial=bool(partial),
        reason=partial,
        title=dataset.title if dataset else "",
        licence=licence,
        home=dataset.home if dataset else "",
        splits={
            name: RunSplit(split.rows, split.official, split.sha256, len(split.files))
            for name, split in data.splits.items()
        },
    )
