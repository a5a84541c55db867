"""gptalt-eval from Python."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from gptalt_eval.contract.discovery import load_plugins
from gptalt_eval.contract.plan import Plan
from gptalt_eval.contract.record import RUN_FILE, Record, load_record
from gptalt_eval.contract.spec import RunSpec, dump_spec, make_spec
from gptalt_eval.contract.types import Installed
from gptalt_eval.planning import builtin
from gptalt_eval.planning.resolve import resolve
from gptalt_eval.results.report import write_report
from gptalt_eval.running.execute import execute
from gptalt_eval.running.runfiles import choose_folder
from gptalt_eval.running.terminal import Terminal


def evaluate(
    model: str,
    tasks: str | Sequence[str],
    *,
    plugins: Installed | None = None,
    resume: bool = False,
    **settings: Any,
) -> Record:
    """Evaluate a model on tasks, and save and return the run.

    Args:
        model: as after ``--model``.
        tasks: one name or several.
        plugins: those to use; None: every installed one.
        resume: keep what a run with the very same settings has finished in ``output_path``.
        settings: any other flag of the command line, under its name: ``num_fewshot=5``,
            ``data_dir="sample"``, ``limit=100``, ``model_args={"dtype": "float32"}``, ...

    Returns:
        The run as it lies on disk; ``record.results[0]`` is lm-eval's result.

    Raises:
        GptaltError: something about the request is wrong; nothing was run.
        InterruptedRun: it ended early; what was finished is saved.
    """
    spec = make_spec({"model": model, "tasks": tasks, **settings})
    plugins = plugins or load_plugins(builtin)
    earlier = find_earlier(plan_run(spec, plugins)) if resume else None
    if earlier and not earlier.run.missing:
        return earlier
    return run(spec, plugins, Console(stderr=True), earlier)


def find_earlier(plan: Plan) -> Record | None:
    """The run that lies where a plan's will, if it was asked for with the same settings."""
    folder = choose_folder(plan)[1]
    if not (folder / RUN_FILE).is_file():
        return None
    record = load_record(folder)
    settings = json.loads(json.dumps(dump_spec(plan.spec), default=str))
    return record if record.run.settings == settings else None


def run(spec: RunSpec, plugins: Installed, console: Console, earlier: Record | None = None) -> Record:
    """Resolve, execute and report one request; ``earlier`` is an interrupted run of it."""
    plan = plan_run(spec, plugins)
    record = execute(plan, plugins, Terminal(console), earlier)
    if record.results:
        write_report([record], record.folder / "report.html", plugins)
    return record


def plan_run(spec: RunSpec, plugins: Installed) -> Plan:
    return resolve(spec, plugins)
