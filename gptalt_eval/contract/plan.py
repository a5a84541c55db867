"""A request in which everything was found, and nothing has run yet."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gptalt_eval.contract.located import LocatedData
from gptalt_eval.contract.spec import RunSpec
from gptalt_eval.contract.types import Model, Owned, Owner, PromptStyle


@dataclass(frozen=True)
class PlannedTask:
    """One task that will run.

    Attributes:
        name: its name.
        file: its YAML, or None for one that a group's YAML defines in place.
        owner: who brought it.
        config: the merged YAML, functions unexecuted.
        data: where its rows are.
        eval_split: the split that is scored.
        fewshot_split: the split that examples are drawn from, if it has one.
        partial: why its results are not those of the whole benchmark; empty: they are.
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
        """How many rows will be scored; None where the data is not on this disk yet."""
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
    """What is evaluated in one go: some tasks at one number of shots, in one style of prompt.

    Attributes:
        spec: the request, with the style's template and system message in it.
        style: the prompt style; None: what the request itself says.
        num_fewshot: the shots; None: each task's own default.
        names: the task, group and tag names (or YAML paths) as lm-eval's task manager takes them.
        tasks: the tasks that these come down to.
    """

    spec: RunSpec
    style: PromptStyle | None
    num_fewshot: int | None
    names: tuple[str, ...]
    tasks: tuple[PlannedTask, ...]

    def label(self, task: str) -> str:
        return label(task, self.num_fewshot, self.style)


@dataclass(frozen=True)
class Plan:
    """A request in which everything was found.

    Attributes:
        spec: the request.
        model: the model and who brought it.
        model_args: its arguments, the user's own laid over the model's.
        cells: what runs, in order; the model is loaded once for all of them.
        folders: the task folders that lm-eval has to read.
        notes: what the user should know about these results (a sample, partial data).
        lacking: what cannot be evaluated, by label, and why; the rest can.
    """

    spec: RunSpec
    model: Owned[Model]
    model_args: Mapping[str, Any]
    cells: tuple[Cell, ...]
    folders: tuple[Path, ...]
    notes: tuple[str, ...] = ()
    lacking: Mapping[str, str] = field(default_factory=dict)


def label(name: str, shots: int | None, style: PromptStyle | None) -> str:
    """What a task is called in one cell."""
    details = [style.name if style else "", "" if shots is None else f"{shots}-shot"]
    return f"{name} ({', '.join(filter(None, details))})" if any(details) else name
