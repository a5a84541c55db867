"""The hooks. A plugin implements only those that it needs, decorated with ``@hookimpl``.

Hooks either contribute (they return items, and the core records which plugin each comes from) or observe
(they return nothing). All arguments are frozen. A hook is called with the arguments that it names: omit
those that you do not use. docs/plugins.md has an example of each.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pluggy

from gptalt_eval.contract.hooks import Hook
from gptalt_eval.contract.models import Loader, Model
from gptalt_eval.contract.types import Command, Dataset, Option, PromptStyle, ReportSection, Sample

if TYPE_CHECKING:
    from gptalt_eval.contract.plan import Plan
    from gptalt_eval.contract.record import Record

GROUP = "gptalt_eval"
#: Increased when a hook is removed or its arguments or results change; new hooks do not increase it.
HOOK_API = 1
hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


def register_hooks() -> Iterable[Hook]:  # type: ignore[empty-body]
    """Contribute your own hooks, for others to implement. Called once, when the plugin is loaded."""


def register_models() -> Iterable[Model]:  # type: ignore[empty-body]
    """Contribute models. Called once, when a command first needs names; import nothing heavy."""


def register_model_dirs() -> Iterable[Path]:  # type: ignore[empty-body]
    """Contribute folders of model YAMLs: facts, chat templates, and the loader of each model."""


def register_loaders() -> Iterable[Loader]:  # type: ignore[empty-body]
    """Contribute loaders, which model YAMLs name, for models that transformers cannot load itself."""


def register_task_dirs() -> Iterable[Path]:  # type: ignore[empty-body]
    """Contribute folders of lm-eval task YAMLs; subfolders are searched too."""


def register_datasets() -> Iterable[Dataset]:  # type: ignore[empty-body]
    """Contribute datasets: readers for release files, licences, row counts, samples."""


def register_prompt_styles() -> Iterable[PromptStyle]:  # type: ignore[empty-body]
    """Contribute prompt styles, for ``--prompt_style``."""


def register_commands() -> Iterable[Command]:  # type: ignore[empty-body]
    """Contribute subcommands of ``gptalt-eval``."""


def register_run_options() -> Iterable[Option]:  # type: ignore[empty-body]
    """Contribute flags of a run for your own tasks, which find the values in their ``metadata``."""


def run_started(plan: Plan) -> None:
    """Observe a run before its weights load.

    Args:
        plan: what will run: the model, the tasks, where each dataset was found.
    """


def sample_scored(sample: Sample) -> None:
    """Observe each scored item, task by task, as soon as its task's metrics are known.

    Args:
        sample: the item with its prompt, answers and metrics.
    """


def run_finished(record: Record) -> None:
    """Observe a run after it was saved, including an interrupted one.

    Args:
        record: the saved run.
    """


def report_sections(record: Record) -> Iterable[ReportSection]:  # type: ignore[empty-body]
    """Contribute sections to the HTML report, below the core's own.

    Args:
        record: the run in the report.
    """


HOOKS = (
    Hook(register_hooks, Hook),
    Hook(register_models, Model),
    Hook(register_model_dirs, Path),
    Hook(register_loaders, Loader),
    Hook(register_task_dirs, Path),
    Hook(register_datasets, Dataset),
    Hook(register_prompt_styles, PromptStyle),
    Hook(register_commands, Command),
    Hook(register_run_options, Option),
    Hook(run_started),
    Hook(sample_scored),
    Hook(run_finished),
    Hook(report_sections, ReportSection),
)
