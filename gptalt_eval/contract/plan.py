"""A request after everything was found and before anything runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from gptalt_eval.contract.located import LocatedData
from gptalt_eval.contract.models import Model, Template
from gptalt_eval.contract.run import RunPlugin, label_task
from gptalt_eval.contract.spec import RunSpec
from gptalt_eval.contract.types import Owned, Owner, PromptStyle
from gptalt_eval.machine.storage import follow_links

#: the arguments that name a model, in lm-eval's order
NAMING = ("peft", "delta", "pretrained", "model", "path", "engine")
#: of the data that ``--data_dir sample`` asks for
OF_SAMPLE = (
    "These are results on an embedded sample (a few items written for trying things out), "
    "not results on the benchmarks themselves."
)

Kind = Literal["task", "group", "tag"]


@dataclass(frozen=True)
class TaskEntry:
    """A name for ``--tasks``.

    Attributes:
        name: the name.
        kind: task, group (aggregated) or tag (a list of tasks).
        file: the YAML that defines it; None for a tag.
        members: the tasks with the tag.
    """

    name: str
    kind: Kind
    file: Path | None = None
    members: tuple[str, ...] = ()


@dataclass(frozen=True)
class PlannedTask:
    """One task that will run.

    Attributes:
        name: its name.
        file: its YAML, or None if a group's YAML defines it inline.
        owner: the plugin that contributed it.
        config: the merged YAML; functions are not executed.
        data: where its rows are.
        eval_split: the split that is scored.
        fewshot_split: the split of the few-shot examples, if there is one.
        partial: why its results are not those of the complete benchmark; empty: they are.
    """

    name: str
    file: Path | None
    owner: Owner
    config: Mapping[str, Any]
    data: LocatedData
    eval_split: str
    fewshot_split: str | None
    partial: str = ""

    def count_items(self, spec: RunSpec) -> int | None:
        """How many rows will be scored; None if the data is not on this computer yet."""
        if spec.samples and self.name in spec.samples:
            return len(spec.samples[self.name])
        split = self.data.splits.get(self.eval_split)
        if split is None:
            return None
        if spec.limit is None:
            return split.rows
        return min(split.rows, math.ceil(split.rows * spec.limit) if spec.limit < 1 else int(spec.limit))


@dataclass(frozen=True)
class Cell:
    """What is evaluated together: some tasks with one prompt style and one number of shots.

    Attributes:
        spec: the request, with the style's chat template and system message.
        style: the prompt style; None: none was requested.
        num_fewshot: the shots; None: each task's own default.
        names: the task, group and tag names (or YAML paths) for lm-eval's task manager.
        tasks: the single tasks of these names.
    """

    spec: RunSpec
    style: PromptStyle | None
    num_fewshot: int | None
    names: tuple[str, ...]
    tasks: tuple[PlannedTask, ...]

    @property
    def is_rendered(self) -> bool:
        """Whether its prompts are rendered with the model's chat template, not with one that was named."""
        return self.spec.apply_chat_template is True

    def label(self, task: str) -> str:
        return label(task, self.num_fewshot, self.style)


@dataclass(frozen=True)
class Plan:
    """A request in which everything was found and nothing has run yet.

    Attributes:
        spec: the request.
        model: the model and the plugin that contributed it.
        model_args: the model's arguments, overridden by the user's.
        cells: what runs, in order; the model is loaded once for all of them.
        entries: all names that lm-eval may look up, and the YAMLs that it may read.
        notes: what the user should know about these results (a sample, partial data).
        lacking: tasks that cannot be evaluated, by label, and why; all others can.
        output: the folder of results, or the JSON file; None: what ``--output_path`` says.
        in_experiment: whether this is one model of an experiment, whose answers are compared.
        plugins: all that are loaded.
        trusted: path -> SHA-256 of the YAMLs and Python files that the user trusted.
        judged: path -> SHA-256 of all files by which it was judged what the YAMLs from outside do.
        rows: the folders below which rows may be read.
    """

    spec: RunSpec
    model: Owned[Model]
    model_args: Mapping[str, Any]
    cells: tuple[Cell, ...]
    entries: Mapping[str, TaskEntry]
    notes: tuple[str, ...] = ()
    lacking: Mapping[str, str] = field(default_factory=dict)
    output: Path | None = None
    in_experiment: bool = False
    plugins: tuple[RunPlugin, ...] = ()
    trusted: Mapping[str, str] = field(default_factory=dict)
    judged: Mapping[str, str] = field(default_factory=dict)
    rows: tuple[Path, ...] = ()

    @property
    def saves_samples(self) -> bool:
        """Whether the answers are saved: on request, and where they are compared."""
        return self.spec.saves_samples or self.in_experiment

    @property
    def surprises(self) -> tuple[str, ...]:
        """The notes for which one may want to stop: not those on data that the user asked for."""
        asked = {task.partial for cell in self.cells for task in cell.tasks} | {OF_SAMPLE}
        return tuple(note for note in self.notes if note not in asked)

    @property
    def template(self) -> Template | None:
        """The chat template of the model's YAML; None: it has none, or no prompt is rendered with it."""
        return self.model.item.template if any(cell.is_rendered for cell in self.cells) else None

    @property
    def title(self) -> str:
        """What the model is called in results."""
        return title_model(self.model.item, self.model_args)


def title_model(model: Model, args: Mapping[str, Any]) -> str:
    """What a model is called in results: its name, or what the arguments of one of lm-eval's classes name.

    A path is named by its last two parts, without the dots and slashes that it begins with.
    """
    named = model.name
    if model.backend == model.name:
        named = next((str(args[key]) for key in NAMING if args.get(key)), named)
    if not named.startswith((".", "/", "~")):
        return named
    path = Path(named).expanduser()
    parts = [part for part in path.parts if part not in ("..", path.anchor)]
    return "/".join(parts[-2:]).lstrip(".") or follow_links(path).name or named


def label(name: str, shots: int | None, style: PromptStyle | None) -> str:
    """The name of a task in one cell, with prompt style and shots."""
    return label_task(name, shots, style.name if style else "")
