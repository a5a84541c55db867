"""The core as a plugin: gptalt-eval registers its own models, tasks, datasets and styles through hooks."""

from __future__ import annotations

from pathlib import Path

from gptalt_eval.contract.hookspecs import hookimpl
from gptalt_eval.contract.models import Model
from gptalt_eval.contract.types import Dataset, PromptStyle


@hookimpl
def register_models() -> list[Model]:
    from gptalt_eval.planning.smollm2 import make_model

    return [make_model()]


@hookimpl
def register_task_dirs() -> list[Path]:
    return [find_task_yamls()]


@hookimpl
def register_datasets() -> list[Dataset]:
    from gptalt_eval.data.standard import list_datasets

    return list_datasets()


@hookimpl
def register_prompt_styles() -> list[PromptStyle]:
    return [
        PromptStyle("standard", "the task's text alone"),
        PromptStyle(
            "system",
            "the model's chat template with its own system message",
            chat=True,
            system=lambda model: model.system_instruction,
        ),
    ]


def find_task_yamls() -> Path:
    """``task_yamls/``: inside the package in a wheel, next to it in an editable install."""
    package = Path(__file__).parents[1]
    inside = package / "task_yamls"
    return inside if inside.is_dir() else package.parent / "task_yamls"
