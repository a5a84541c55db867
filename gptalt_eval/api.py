"""gptalt-eval from Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from gptalt_eval.catalog import Catalog
from gptalt_eval.display import Terminal
from gptalt_eval.execute import execute
from gptalt_eval.plan import Plan
from gptalt_eval.plugins import Plugins, load_plugins
from gptalt_eval.record import Record
from gptalt_eval.report import write_report
from gptalt_eval.resolve import resolve
from gptalt_eval.spec import RunSpec, make_spec


def evaluate(
    model: str, tasks: str | Sequence[str], *, plugins: Plugins | None = None, **settings: Any
) -> Record:
    """Evaluate a model on tasks, and save and return the run.

    Args:
        model: as after ``--model``.
        tasks: one name or several.
        plugins: those to use; None: every installed one.
        settings: any other flag of the command line, under its name: ``num_fewshot=5``,
            ``data_dir="sample"``, ``limit=100``, ``model_args={"dtype": "float32"}``, ...

    Returns:
        The run as it lies on disk; ``record.results[0]`` is lm-eval's result.

    Raises:
        GptaltError: something about the request is wrong; nothing was run.
        InterruptedRun: it ended early; what was finished is saved.
    """
    spec = make_spec({"model": model, "tasks": tasks, **settings})
    return run(spec, plugins or load_plugins(), Console(stderr=True))


def run(spec: RunSpec, plugins: Plugins, console: Console, earlier: Record | None = None) -> Record:
    """Resolve, execute and report one request; ``earlier`` is an interrupted run of it."""
    plan = plan_run(spec, plugins)
    record = execute(plan, plugins, Terminal(console), earlier)
    if record.results:
        write_report([record], record.folder / "report.html", plugins)
    return record


def plan_run(spec: RunSpec, plugins: Plugins) -> Plan:
    return resolve(spec, Catalog(plugins, [Path(spec.include_path)] if spec.include_path else []))
