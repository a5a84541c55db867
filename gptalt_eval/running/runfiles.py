"""The files of a run, written while it runs; see :mod:`gptalt_eval.contract.record` for their layout."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import traceback
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.handed import check_folders, check_plain, is_bare, open_plain, read_json
from gptalt_eval.contract.plan import Cell, Plan, PlannedTask
from gptalt_eval.contract.record import RUN_FILE, Record, find_file, read_results
from gptalt_eval.contract.run import Checkout, Run, RunCell, RunCut, RunData, RunModel, RunSplit, Status
from gptalt_eval.contract.spec import dump_spec, format_command
from gptalt_eval.machine import environment
from gptalt_eval.machine.plain import show_plain
from gptalt_eval.machine.secrets import hide_text, hide_values
from gptalt_eval.machine.storage import hash_file, name_file, remove_leftovers, write_atomically
from gptalt_eval.planning.consent.code import find_module, list_sources, read_source
from gptalt_eval.planning.index import Function
from gptalt_eval.planning.local_files import list_files
from gptalt_eval.planning.places import RUNS
from gptalt_eval.running.continuing import continue_run
from gptalt_eval.running.thumbnails import Thumbnails

ERROR_FILE = "errors.log"
LARGE = 64 << 20  # bytes of a file of rows that is not read only to be recognised


def is_error_in(error: OSError, folder: Path) -> bool:
    """Whether an error is about a run's folder: all that writes there names the file (``name_file``).

    One without a name is of a pipe or a network, of a file elsewhere, or transformers' own.
    """
    named = isinstance(error.filename, str | os.PathLike)
    return named and Path(error.filename).is_relative_to(folder)


def describe_failure(error: BaseException) -> str:
    """An error in one line, as ``run.json`` has it."""
    reason = hide_text(" ".join(str(error).split()))
    if isinstance(error, GptaltError):
        return reason
    return f"{type(error).__name__}: {reason}" if reason else type(error).__name__


def log_failure(folder: Path, name: str, error: BaseException) -> None:
    """Append an error's traceback to ``errors.log``, next to the results."""
    with name_file(folder / ERROR_FILE), open_plain(folder / ERROR_FILE, "a") as log:
        log.write(show_plain(hide_text(f"{name}\n{''.join(traceback.format_exception(error))}\n")))


def name_run_folder(title: str) -> str:
    """The name of the folder for a model's results, derived from its title as in lm-eval."""
    return re.sub(r'["<>:/|\\?*\[\]]+', "__", title)


def write_run_file(folder: Path, run: Run) -> None:
    """Write ``run.json``; that of an earlier run in the same folder is renamed with its time."""
    target = folder / RUN_FILE
    if target.is_file() or target.is_symlink():
        try:
            earlier = str(read_json(target).get("started"))  # all of it would be checked after every task
        except GptaltError:
            earlier = "damaged"
        if earlier != run.started:
            name = f"run_{earlier.replace(':', '-')}.json"
            target.replace(folder / (name if is_bare(name) else "run_damaged.json"))
    write_atomically(target, json.dumps(run.dump(), indent=2, ensure_ascii=False, default=str))


class RunFiles:
    """The files of a run, written while it runs.

    Args:
        plan: the plan.
        main: whether this process writes (only the first of several does).
        earlier: the interrupted run to resume, in its own folder.

    Raises:
        GptaltError: the earlier run cannot be continued.
    """

    def __init__(self, plan: Plan, main: bool, earlier: Record | None = None) -> None:
        self.plan = plan
        self.main = main
        self.started = datetime.now().astimezone()
        fresh = describe_plan(plan, self.started)
        if earlier is None:
            stem, self.folder = choose_folder(plan)
            self.run = replace(fresh, stem=stem)
        else:
            self.folder = earlier.folder
            self.run = continue_run(fresh, plan, earlier)
        check_plain(self.folder / ERROR_FILE)  # before anything has been computed
        self.thumbnails = Thumbnails(self.folder)
        if main:
            remove_leftovers(self.folder)

    @property
    def answers(self) -> Path:
        """Where the model's answers are until the run is complete."""
        return self.folder / f"{self.run.stem}answers.jsonl"

    @property
    def units(self) -> Path:
        """Which worker computed what, until the run is complete."""
        return self.folder / f"{self.run.stem}units.jsonl"

    def drop_answers(self) -> None:
        """Delete answers of which it is not known which model gave them."""
        self.answers.unlink(missing_ok=True)
        self.units.unlink(missing_ok=True)

    def update(self, **changes: Any) -> None:
        self.run = replace(self.run, **changes)

    def note(self, text: str) -> None:
        """Add, once, what must be shown with the results; an empty text says nothing."""
        if text and text not in self.run.notes:
            self.update(notes=(*self.run.notes, text))

    def save_run(self, **changes: Any) -> None:
        self.update(**changes)
        if self.main:
            write_run_file(self.folder, self.run)

    def save_task(
        self, cell: int, name: str, samples: list[str], results: str, cut: RunCut | None = None
    ) -> None:
        """Save a finished task: its samples, the results so far, and run.json.

        Args:
            cut: how many of its requests were too long; None: none was.
        """
        file = self.run.cells[cell].results or self.begin_results(cell)
        stamp = file.removesuffix(".json").rpartition("results_")[2]
        if samples:
            write_atomically(self.folder / f"samples_{name}_{stamp}.jsonl", "\n".join(samples) + "\n")
        write_atomically(self.folder / file, results)
        label = self.plan.cells[cell].label(name)
        cuts = {**self.run.cut, **({label: cut} if cut else {})}
        self.save_progress(done=(*self.run.done, label), cut=cuts)

    def begin_results(self, cell: int) -> str:
        """Choose the name of a cell's results file."""
        stamp = datetime.now().isoformat().replace(":", "-")
        file = f"{self.run.stem}results_{stamp}.json"
        cells = list(self.run.cells)
        cells[cell] = replace(cells[cell], results=file)
        self.update(cells=tuple(cells), results=(*self.run.results, file))
        return file

    def save_failure(self, failed: Mapping[str, str]) -> None:
        """Save which tasks cannot be evaluated, by label, and why."""
        self.save_progress(failed={**self.run.failed, **failed})

    def save_progress(self, **changes: Any) -> None:
        self.update(**changes)
        closed = {*self.run.done, *self.run.failed}
        self.save_run(missing=tuple(task for task in self.run.missing if task not in closed))

    def is_missing(self, label: str) -> bool:
        return label in self.run.missing

    def read_results(self, cell: int) -> dict[str, Any]:
        """The saved results of a cell; empty: none yet, or the file was deleted."""
        file = find_file(self.folder, self.run.cells[cell].results)
        return read_results(file) if file else {}

    def save_end(self, status: Status) -> None:
        finished = datetime.now().astimezone()
        seconds = round((finished - self.started).total_seconds(), 1)
        self.save_run(status=status, finished=finished.isoformat(timespec="seconds"), seconds=seconds)


def hash_value(value: object) -> str:
    """SHA-256 of settings; a ``!function`` counts with its name and the source files next to its YAML."""
    text = json.dumps(name_keys(value), sort_keys=True, default=describe_value)
    return hashlib.sha256(text.encode()).hexdigest()


def name_keys(value: object) -> object:
    """A value with keys that JSON has; a YAML can have others."""
    if isinstance(value, Mapping):
        plain = (str, int, float, type(None))
        return {key if isinstance(key, plain) else str(key): name_keys(inner) for key, inner in value.items()}
    return [name_keys(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def describe_value(value: object) -> object:
    if not isinstance(value, Function):
        return str(value)
    sources = [read_source(file) for file in list_sources(find_module(value))]
    return [value.name, *(sources or [""])]


def choose_folder(plan: Plan) -> tuple[str, Path]:
    """The prefix of the results file's name, and the run's folder, as lm-eval derives them."""
    path = plan.output or Path(plan.spec.output_path or RUNS).expanduser()
    if path.suffix == ".json":
        return f"{path.stem}_", path.parent
    return "", check_folders(path, name_run_folder(plan.title))


def describe_plan(plan: Plan, started: datetime) -> Run:
    """The part of ``run.json`` that is known before the weights are loaded."""
    model = plan.model.item
    tasks = {task.name: task for cell in plan.cells for task in cell.tasks}
    partial = {task.name: task.partial for cell in plan.cells for task in cell.tasks if task.partial}
    return Run(
        status="running",
        command=format_command(plan.spec),
        settings=dump_spec(plan.spec),
        started=started.isoformat(timespec="microseconds"),
        model=RunModel(
            name=plan.title,
            owner=plan.model.owner,
            args={key: str(value) for key, value in hide_values(dict(plan.model_args)).items()},
            licence=model.licence,
            home=model.home,
            system_place=plan.template.system_place if plan.template else "",
            stop=plan.template.stop if plan.template else (),
            stop_token_ids=plan.template.stop_token_ids if plan.template else (),
        ),
        data={name: describe_located(task, partial.get(name, "")) for name, task in tasks.items()},
        notes=plan.notes,
        seeds=plan.spec.seed,
        versions=environment.describe_versions(),
        plugins=plan.plugins,
        git=Checkout(**environment.describe_git()),
        cells=tuple(
            RunCell(cell.style.name if cell.style else None, cell.num_fewshot, prompts=hash_style(cell))
            for cell in plan.cells
        ),
        failed=plan.lacking,
        task_code=plan.trusted,
        missing=tuple(cell.label(task.name) for cell in plan.cells for task in cell.tasks),
    )


def hash_style(cell: Cell) -> str:
    """A hash of what a prompt style adds to prompts; empty: no style was requested."""
    if cell.style is None:
        return ""
    return hash_value([cell.style.instruction, cell.spec.system_instruction, cell.spec.apply_chat_template])


def hash_files(task: PlannedTask) -> str:
    """SHA-256 of the local files that a task's YAML names; empty: it names none.

    Of a large file, size and time of change count: a folder of images has as many bytes as a disk.
    """
    found: list[object] = []
    with contextlib.suppress(OSError):  # that it cannot be read is said when the task is built
        for file in list_files(task.config):
            state = file.stat()
            is_large = state.st_size > LARGE
            found.append([state.st_size, state.st_mtime_ns] if is_large else hash_file(file))
    return hash_value(found) if found else ""


def describe_located(task: PlannedTask, partial: str) -> RunData:
    """Where a task's rows were found; ``partial`` says why they are not those of the complete release."""
    data, dataset = task.data, task.data.dataset
    licence = dataset.licence if dataset else ""
    if data.is_sample:
        licence = "that of the plugin with the sample"
        if dataset and dataset.sample and dataset.sample.is_relative_to(Path(__file__).parents[1]):
            licence = "Apache-2.0 (written for gptalt-eval)"
    return RunData(
        origin=data.origin,
        hub=data.hub,
        config=data.config,
        task_from=str(task.owner),
        yaml=hash_value(task.config),
        partial=bool(partial),
        reason=partial,
        title=dataset.title if dataset else "",
        licence=licence,
        home=dataset.home if dataset else "",
        cluster=dataset.cluster if dataset else "",
        files=hash_files(task) if data.origin == "files" else "",
        splits={
            name: RunSplit(split.rows, split.official, split.sha256, len(split.files))
            for name, split in data.splits.items()
        },
    )
