"""From a request to a plan: every name found, every dataset located and counted, and no weights loaded.

Whatever can be wrong with a request is found here, all of it at once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from gptalt_eval.contract.errors import GptaltError, RequestErrors
from gptalt_eval.contract.faults import find_faults
from gptalt_eval.contract.plan import Cell, Plan, label
from gptalt_eval.contract.spec import RunSpec
from gptalt_eval.contract.types import Installed, Model, PromptStyle
from gptalt_eval.data.locate import choose_data_dir
from gptalt_eval.planning.catalog import Catalog
from gptalt_eval.planning.expand import TaskFinder
from gptalt_eval.planning.task_data import NOWHERE
from gptalt_eval.planning.weights import check_chat_template, check_weights, merge_model_args

T = TypeVar("T")


class Faults:
    """Collects what is wrong, so that one look finds everything."""

    def __init__(self, found: list[GptaltError]) -> None:
        self.found = found

    def attempt(self, action: Callable[[], T]) -> T | None:
        try:
            return action()
        except RequestErrors as errors:
            self.found.extend(errors.errors)
        except GptaltError as error:
            self.found.append(error)
        return None

    def raise_any(self) -> None:
        distinct = list({str(error): error for error in self.found}.values())
        if len(distinct) == 1:
            raise distinct[0]
        if distinct:
            raise RequestErrors(distinct)


def resolve(spec: RunSpec, plugins: Installed) -> Plan:
    """Find everything that a request names.

    Raises:
        GptaltError: the one thing that is wrong, or RequestErrors with all of them.
    """
    faults = Faults(find_faults(spec))
    catalog = make_catalog(spec, plugins, faults)
    model = faults.attempt(lambda: catalog.find_model(spec.model)) if spec.model else None
    if model is not None:
        found = model
        faults.attempt(lambda: check_weights(found.item, spec))
    faults.attempt(lambda: check_paths(spec))
    styles = [faults.attempt(partial(catalog.find_prompt_style, name)) for name in spec.prompt_style]
    variants = lay_styles(spec, model.item if model else None, [style for style in styles if style])
    for _, variant in variants if model else ():
        faults.attempt(partial(check_chat_template, found.item, variant))
    finder = TaskFinder(catalog, spec)
    cells = faults.attempt(partial(finder.plan_cells, variants))
    faults.found.extend(finder.faults)
    faults.raise_any()
    assert model is not None and cells  # else a fault was raised
    lacking = {
        label(name, shots, style): reason
        for (name, shots), reason in finder.lacking.items()
        for style, _ in variants
    }
    folders = sorted(finder.folders, key=lambda path: (not finder.is_lm_evals(path), str(path)))
    args = merge_model_args(model.item, spec)
    notes = tuple(write_notes(cells))
    return Plan(spec, model, args, tuple(cells), drop_nested(tuple(folders)), notes, lacking)


def make_catalog(spec: RunSpec, plugins: Installed, faults: Faults) -> Catalog:
    """The names that a request can use; without data where what it says of data is wrong."""
    folders = [Path(spec.include_path)] if spec.include_path else []
    chosen = faults.attempt(lambda: Catalog(plugins, folders, choose_data_dir(spec.data_dir)))
    if chosen is None or faults.attempt(lambda: chosen.datasets) is None:
        return Catalog(plugins, folders, NOWHERE)
    return chosen


def lay_styles(
    spec: RunSpec, model: Model | None, styles: list[PromptStyle]
) -> list[tuple[PromptStyle | None, RunSpec]]:
    """The request once for each prompt style, with its template and system message."""
    if not styles or model is None:
        return [(None, spec)]
    return [
        (
            style,
            replace(
                spec,
                apply_chat_template=style.chat,
                system_instruction=style.system(model) if style.system else None,
            ),
        )
        for style in styles
    ]


def check_paths(spec: RunSpec) -> None:
    """See whether ``--include_path`` is there, and whether results can be saved at all."""
    if spec.include_path and not Path(spec.include_path).is_dir():
        raise GptaltError(
            f"--include_path: there is no folder {spec.include_path}.", "Give a folder of task YAMLs."
        )
    if not spec.output_path:
        return
    path = Path(spec.output_path).expanduser()
    folder = path.parent if path.suffix == ".json" else path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        text = f"--output_path {spec.output_path}: nothing can be written there ({reason})."
        raise GptaltError(text, "Give a folder you may write to.") from error


def drop_nested(folders: tuple[Path, ...]) -> tuple[Path, ...]:
    """Without the folders that lie in another one of them, which lm-eval reads anyway."""
    return tuple(
        folder
        for folder in folders
        if not any(folder != other and folder.is_relative_to(other) for other in folders)
    )


def write_notes(cells: list[Cell]) -> list[str]:
    """What has to be said wherever these results are shown."""
    tasks = {task.name: task for cell in cells for task in cell.tasks}
    notes = []
    if any(task.data.is_sample for task in tasks.values()):
        notes.append(
            "These are results on an embedded sample (a few items written for trying things out), "
            "not results on the benchmarks themselves."
        )
    parts = {task.partial: None for cell in cells for task in cell.tasks if task.partial}
    overruled = [
        task.name
        for task in tasks.values()
        if task.config.get("num_fewshot") == 0 and any(cell.num_fewshot for cell in cells)
    ]
    if overruled:
        notes.append(
            f"{', '.join(overruled)}: the YAML says 0 examples, and lm-eval would keep to it; "
            "here --num_fewshot wins."
        )
    return [*notes, *parts]
