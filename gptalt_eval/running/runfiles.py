"""The files of one run, written as it goes on: see :mod:`gptalt_eval.record` for their layout."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.plan import Plan, PlannedTask
from gptalt_eval.contract.record import RUN_FILE, Record, read_json
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


def write_run_file(folder: Path, run: Mapping[str, Any]) -> None:
    """Write ``run.json``; that of an earlier run in the same folder is kept under its time."""
    target = folder / RUN_FILE
    if target.is_file():
        try:
            earlier = read_json(target).get("started", "")
        except GptaltError:
            earlier = "damaged"
        if earlier != run["started"]:
            target.replace(folder / f"run_{str(earlier).replace(':', '-')}.json")
    write_atomically(target, json.dumps(run, indent=2, ensure_ascii=False, default=str))


class RunFiles:
    """The files of one run, written as it goes on.

    Args:
        plan: what runs.
        main: whether this process writes (of several that work together only the first does).
        earlier: the run that is to be gone on with, in its own folder.

    Raises:
        GptaltError: the data of the earlier run has changed since.
    """

    def __init__(self, plan: Plan, main: bool, earlier: Record | None = None) -> None:
        self.plan = plan
        self.main = main
        self.started = datetime.now().astimezone()
        self.run: dict[str, Any] = describe_plan(plan, self.started)
        if earlier is None:
            self.stem, self.folder = choose_folder(plan)
        else:
            self.folder = earlier.folder
            self.stem = earlier.run.get("stem", "")
            self.take_up(earlier.run)
        self.run["stem"] = self.stem

    def take_up(self, run: Mapping[str, Any]) -> None:
        """Go on where an earlier run ended."""
        if "cells" not in run:
            raise GptaltError(f"{self.folder} was begun by an older version.", "Begin a new run.")
        for name, data in self.run["data"].items():
            if data["splits"] != run["data"].get(name, data)["splits"]:
                text = f"{name}: its data has changed since {self.folder} was begun."
                raise GptaltError(text, "Begin a new run: results on different rows do not belong together.")
        for key in ("started", "results", "done", "cells"):
            self.run[key] = run[key]
        self.run["resumed"] = [*run.get("resumed", []), self.started.isoformat(timespec="seconds")]
        self.run["missing"] = [task for task in self.run["missing"] if task not in run["done"]]
        if run["model"].get("fingerprint"):
            self.run["model"]["fingerprint"] = run["model"]["fingerprint"]

    def save_run(self, **changes: Any) -> None:
        self.run.update(changes)
        if self.main:
            write_run_file(self.folder, self.run)

    def save_task(self, cell: int, name: str, samples: list[str], results: str) -> None:
        """One more task is finished: its samples, the results so far, and run.json."""
        described = self.run["cells"][cell]
        if not described["results"]:
            stamp = datetime.now().isoformat().replace(":", "-")
            described["results"] = f"{self.stem}results_{stamp}.json"
            self.run["results"].append(described["results"])
        results_file = described["results"]
        stamp = results_file.removesuffix(".json").rpartition("results_")[2]
        if samples:
            write_atomically(self.folder / f"samples_{name}_{stamp}.jsonl", "\n".join(samples) + "\n")
        write_atomically(self.folder / results_file, results)
        self.leave(done=[*self.run["done"], self.plan.cells[cell].label(name)])

    def save_failure(self, failed: Mapping[str, str]) -> None:
        """Tasks that cannot be evaluated, by label, and why."""
        self.leave(failed={**self.run["failed"], **failed})

    def leave(self, **changes: Any) -> None:
        self.run.update(changes)
        left = {*self.run["done"], *self.run["failed"]}
        self.save_run(missing=[task for task in self.run["missing"] if task not in left])

    def is_missing(self, label: str) -> bool:
        return label in self.run["missing"]

    def read_results(self, cell: int) -> dict[str, Any]:
        """What is saved of a cell; empty: nothing yet."""
        name = self.run["cells"][cell]["results"]
        return read_json(self.folder / name) if name else {}

    def save_end(self, status: str) -> None:
        finished = datetime.now().astimezone()
        seconds = round((finished - self.started).total_seconds(), 1)
        self.save_run(status=status, finished=finished.isoformat(timespec="seconds"), seconds=seconds)


def choose_output(spec: RunSpec) -> Path:
    """``--output_path``, else a folder named by the time."""
    return Path(spec.output_path or Path("runs", datetime.now().strftime("%Y-%m-%d_%H-%M-%S"))).expanduser()


def choose_folder(plan: Plan) -> tuple[str, Path]:
    """The prefix of the results' name, and the run's folder, as lm-eval makes them of ``--output_path``."""
    path = choose_output(plan.spec)
    if path.suffix == ".json":
        return f"{path.stem}_", path.parent
    return "", path / name_run_folder(plan.model.item, plan.model_args)


def describe_plan(plan: Plan, started: datetime) -> dict[str, Any]:
    """The part of ``run.json`` that is known before the weights are."""
    model = plan.model.item
    tasks = {task.name: task for cell in plan.cells for task in cell.tasks}
    partial = {task.name: task.partial for cell in plan.cells for task in cell.tasks if task.partial}
    return {
        "format": 1,
        "status": "running",
        "command": format_command(plan.spec),
        "settings": dump_spec(plan.spec),
        "started": started.isoformat(timespec="microseconds"),
        "model": {
            "name": model.name,
            "owner": asdict(plan.model.owner),
            "args": {key: str(value) for key, value in plan.model_args.items()},
            "licence": model.licence,
            "home": model.home,
        },
        "data": {name: describe_data(task, partial.get(name, "")) for name, task in tasks.items()},
        "notes": list(plan.notes),
        "seeds": list(plan.spec.seed),
        "versions": environment.describe_versions(),
        "git": environment.describe_git(),
        "results": [],
        "cells": [
            {
                "prompt_style": cell.style.name if cell.style else None,
                "num_fewshot": cell.num_fewshot,
                "results": None,
            }
            for cell in plan.cells
        ],
        "done": [],
        "failed": dict(plan.lacking),
        "missing": [cell.label(task.name) for cell in plan.cells for task in cell.tasks],
    }


def describe_data(task: PlannedTask, partial: str) -> dict[str, Any]:
    data = task.data
    described: dict[str, Any] = {
        "origin": data.origin,
        "hub": data.hub,
        "config": data.config,
        "task_from": str(task.owner),
    }
    if partial:
        described |= {"partial": True, "reason": partial}
    if data.dataset:
        described |= {"title": data.dataset.title, "licence": data.dataset.licence, "home": data.dataset.home}
    if data.is_sample:
        described["licence"] = "that of the plugin that brings the sample"
        if (
            data.dataset
            and data.dataset.sample
            and data.dataset.sample.is_relative_to(Path(__file__).parents[1])
        ):
            described["licence"] = "Apache-2.0 (written for gptalt-eval)"
    described["splits"] = {
        name: {
            "rows": split.rows,
            "official_rows": split.official,
            "sha256": split.sha256,
            "files": len(split.files),
        }
        for name, split in data.splits.items()
    }
    return described
