"""A run that is ready to be evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gptalt_eval.contract.plan import Plan
from gptalt_eval.contract.types import Installed
from gptalt_eval.running.display import Display
from gptalt_eval.running.lmeval import evaluation
from gptalt_eval.running.lmeval.model import ModelFacts
from gptalt_eval.running.lmeval.observed import ObservedLM
from gptalt_eval.running.lmeval.tasks import LoadedTasks
from gptalt_eval.running.runfiles import RunFiles


@dataclass(frozen=True)
class LoadedRun:
    """A plan with the model in memory and the tasks built.

    Attributes:
        plan: what runs.
        plugins: the plugins that observe.
        display: shows the progress.
        files: the run's files.
        lm: the model; its answers are counted and stored.
        facts: about the loaded model.
        tasks: lm-eval's tasks, by cell.
    """

    plan: Plan
    plugins: Installed
    display: Display
    files: RunFiles
    lm: ObservedLM
    facts: ModelFacts
    tasks: Sequence[LoadedTasks]


def fold_groups(run: LoadedRun, index: int) -> dict[str, str]:
    """Have the display show each group with a score of its own as one; returns the group of each task."""
    label, groups = run.plan.cells[index].label, evaluation.list_scored_groups(run.tasks[index])
    for group in dict.fromkeys(groups.values()):
        members = [label(name) for name in groups if groups[name] == group]
        run.display.fold(label(group), {each: run.files.is_missing(each) for each in members})
    return groups
