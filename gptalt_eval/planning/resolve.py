"""Turns a request into a plan: finds every name, locates and counts every dataset, loads no weights.

All problems of a request are found here and reported together.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from gptalt_eval.contract.errors import (
    GptaltError,
    RequestErrors,
    UnknownNameError,
    did_you_mean,
    raise_together,
)
from gptalt_eval.contract.faults import find_faults
from gptalt_eval.contract.handed import is_bare
from gptalt_eval.contract.models import PLACES, Model
from gptalt_eval.contract.plan import OF_SAMPLE, Cell, Plan, PlannedTask, label
from gptalt_eval.contract.provenance import describe_plugins
from gptalt_eval.contract.spec import RunSpec
from gptalt_eval.contract.types import Installed, Owned, PromptStyle
from gptalt_eval.data.locate import choose_data_dir
from gptalt_eval.planning.catalog import Catalog
from gptalt_eval.planning.consent.trust import describe_refusal
from gptalt_eval.planning.examples import find_pool
from gptalt_eval.planning.expand import TaskFinder
from gptalt_eval.planning.hub.obtain import list_fetched
from gptalt_eval.planning.local_files import list_files
from gptalt_eval.planning.lock import check_lock
from gptalt_eval.planning.models.editions import match_model
from gptalt_eval.planning.overrides import explain_overrides
from gptalt_eval.planning.places import find_place_faults
from gptalt_eval.planning.served.check import ask_servers
from gptalt_eval.planning.shared import explain_shared
from gptalt_eval.planning.task_data import NOWHERE, DataFinder, effective_shots
from gptalt_eval.planning.thinking import check_thinking
from gptalt_eval.planning.unsafe import find_unsafe
from gptalt_eval.planning.weights import (
    check_built,
    check_chat_template,
    check_weights,
    merge_model_args,
)

T = TypeVar("T")


class Faults:
    """Collects problems, so that all of them are reported together."""

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
        raise_together(self.found)


#: finds more problems of a request: (request, catalog, the user's own YAMLs, the tasks that were found)
Checker = Callable[[RunSpec, Catalog, Sequence[Path], Sequence[PlannedTask]], Iterable[GptaltError]]


def resolve(spec: RunSpec, plugins: Installed, check: Checker | None = None) -> Plan:
    """Find everything that a request names.

    Args:
        spec: the request.
        plugins: the plugins that provide names.
        check: what else is checked before a run; None: nothing will run or be saved.

    Raises:
        GptaltError: the only problem, or RequestErrors with all of them.
    """
    faults = Faults(find_faults(spec))
    catalog = make_catalog(spec, plugins, faults)
    model, matched = faults.attempt(lambda: find_model(catalog, spec)) or (None, "")
    if model is not None:
        found = model
        others = [owned.item for owned in catalog.models.values()]
        faults.attempt(lambda: check_weights(found.item, spec, others))
        faults.attempt(lambda: check_built(found.item, spec))
    faults.found.extend(find_place_faults(spec, model.item if model else None, check is not None))
    faults.attempt(lambda: check_packages(spec))
    styles = [faults.attempt(partial(catalog.find_prompt_style, name)) for name in spec.prompt_style]
    variants = apply_styles(spec, model.item if model else None, [style for style in styles if style])
    for _, variant in variants if model else ():
        faults.attempt(partial(check_chat_template, found.item, variant))
    finder = TaskFinder(catalog, spec)
    cells = faults.attempt(partial(finder.plan_cells, variants))
    faults.found.extend(finder.faults)
    tasks = {task.name: task for cell in cells or [] for task in cell.tasks}
    faults.found.extend(find_name_faults(tasks))
    faults.found.extend(find_sample_faults(spec, tasks, finder.data))
    if model is not None:
        faults.attempt(lambda: check_thinking(found.item, spec, [*tasks.values()]))
    if finder.refused:
        faults.found.append(describe_refusal(finder.refused))
    if check is not None:
        faults.found.extend(find_unsafe(spec, tasks))
        faults.found.extend(check(spec, catalog, tuple(finder.files), tuple(tasks.values())))
    served = faults.attempt(lambda: ask_servers(found.item, spec, cells or ())) if model and check else None
    loaded = describe_plugins(plugins.owners.values()) if check is not None else ()
    if spec.plugins_lock and check is not None:
        faults.attempt(partial(check_lock, Path(spec.plugins_lock).expanduser(), loaded))
    faults.raise_any()
    assert model is not None and cells  # otherwise an error was raised
    lacking = {
        label(name, shots, style): reason
        for (name, shots), reason in finder.lacking.items()
        for style, _ in variants
    }
    args = merge_model_args(model.item, spec) | (dict(served.args) if served else {})
    said = [*(served.notes if served else ()), *filter(None, (matched, *explain_system(model.item, cells)))]
    said += [*explain_overrides(catalog, model, cells), *finder.changes.values()]
    if check is not None:
        said += explain_shared(list_fetched(model.item, args), tasks.values())
    return Plan(
        spec, model, args, tuple(cells), finder.entries, (*said, *write_notes(cells)), lacking,
        plugins=loaded, trusted=finder.trusted, judged=finder.judged,
        rows=list_rows(finder, [*tasks.values()]),
    )  # fmt: skip


def find_model(catalog: Catalog, spec: RunSpec) -> tuple[Owned[Model], str] | None:
    """The model that a request names, or that its folder contains, and what to say about that."""
    return match_model(catalog, catalog.find_model(spec.model), spec) if spec.model else None


def explain_system(model: Model, cells: Iterable[Cell]) -> Iterator[str]:
    """Where the system message is put, if a model has no place for one."""
    asked = any(cell.spec.apply_chat_template and cell.spec.system_instruction for cell in cells)
    if asked and model.template and model.template.system_place == "first_user":
        yield f"The system message is put {PLACES['first_user']} ({model.name})."


def list_rows(finder: TaskFinder, tasks: Sequence[PlannedTask]) -> tuple[Path, ...]:
    """The folders below which rows may be read: the user's, those of YAMLs, and what installed YAMLs name."""
    installed = [task for task in tasks if task.file and finder.free.has_yaml(task.file)]
    files = [file for task in installed if task.data.origin == "files" for file in list_files(task.config)]
    own = (file.parent for file in (*finder.files, *files))
    return tuple(dict.fromkeys((*finder.free.installed, *finder.free.rows, *own)))


def make_catalog(spec: RunSpec, plugins: Installed, faults: Faults) -> Catalog:
    """The names that a request can use; without data if its data folder has a problem."""
    folders = [Path(spec.include_path)] if spec.include_path else []
    chosen = faults.attempt(lambda: Catalog(plugins, folders, choose_data_dir(spec.data_dir)))
    if chosen is None or faults.attempt(lambda: chosen.datasets) is None:
        return Catalog(plugins, folders, NOWHERE)
    return chosen


def apply_styles(
    spec: RunSpec, model: Model | None, styles: list[PromptStyle]
) -> list[tuple[PromptStyle | None, RunSpec]]:
    """One request for each prompt style, with its chat template and system message."""
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


def find_name_faults(tasks: Iterable[str]) -> Iterator[GptaltError]:
    """Names of tasks that cannot be part of a file's name: a YAML can name its task ``../../task``."""
    for name in tasks:
        if not is_bare(f"samples_{name}_.jsonl") or not is_bare(name):
            text = f"{name!r:.80} cannot be a task's name: its results would be saved elsewhere."
            yield GptaltError(text, "Rename it in its YAML: letters, digits and underscores.")


def find_sample_faults(
    spec: RunSpec, tasks: Mapping[str, PlannedTask], data: DataFinder
) -> Iterator[GptaltError]:
    """Rows of ``--samples`` that do not exist, or whose task does not run."""
    for name, rows in (spec.samples or {}).items() if tasks else ():
        if name not in tasks:
            hint = did_you_mean(name, tasks) or f"Available: {', '.join(list(tasks)[:5])}."
            yield UnknownNameError(f"--samples: the task '{name}' is not run.", hint)
            continue
        count = data.count_rows(tasks[name], tasks[name].eval_split)
        if count is not None and rows and rows[-1] >= count:
            text = f"--samples: {name} has no row {rows[-1]}."
            yield GptaltError(text, f"Its {count:,} rows are 0 to {count - 1}.")


def check_packages(spec: RunSpec) -> None:
    """Check that the packages of the requested services are installed."""
    for settings, package in ((spec.wandb_args, "wandb"), (spec.trackio_args, "trackio")):
        if settings and importlib.util.find_spec(package) is None:
            text = f"--{package}_args: the package {package} is not installed."
            raise GptaltError(text, f"Type: pip install {package}")


def write_notes(cells: list[Cell]) -> list[str]:
    """The notes that must be shown with these results."""
    tasks = {task.name: task for cell in cells for task in cell.tasks}
    notes = []
    if any(task.data.is_sample for task in tasks.values()):
        notes.append(OF_SAMPLE)
    parts = {task.partial: None for cell in cells for task in cell.tasks if task.partial}
    overridden = [
        task.name
        for task in tasks.values()
        if task.config.get("num_fewshot") == 0 and any(cell.num_fewshot for cell in cells)
    ]
    if overridden:
        notes.append(
            f"{', '.join(overridden)}: the task's YAML sets num_fewshot to 0, which lm-eval would keep; "
            "--num_fewshot overrides it here."
        )
    leaking = [name for name, task in tasks.items() if shows_own_answer(task, cells)]
    if leaking:
        notes.append(
            f"{', '.join(leaking)}: the examples are drawn from the scored rows, and lm-eval does not leave "
            "out the row itself: some prompts contain their own answer."
        )
    return [*notes, *parts]


def shows_own_answer(task: PlannedTask, cells: list[Cell]) -> bool:
    has_examples = any(
        task.name == other.name and effective_shots(task.config, cell.num_fewshot)
        for cell in cells
        for other in cell.tasks
    )
    return has_examples and find_pool(task.config).shows_own_answer
