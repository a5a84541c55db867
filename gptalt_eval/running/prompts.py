"""The prompts of a run: built and checked before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gptalt_eval.contract.plan import PlannedTask
from gptalt_eval.running.lmeval import evaluation
from gptalt_eval.running.lmeval.evaluation import Requests
from gptalt_eval.running.lmeval.observed import can_stream
from gptalt_eval.running.lmeval.pictures import find_gallery
from gptalt_eval.running.lmeval.rehearsal import explain_errors
from gptalt_eval.running.loaded import LoadedRun
from gptalt_eval.running.runfiles import hash_value


def prepare_requests(run: LoadedRun) -> None:
    """Build the requests of all tasks if they are needed together.

    A prompt style that produces the same prompts as another one is refused, since there is nothing to
    compare. The log-likelihoods of all tasks are requested together, so that shared prefixes are computed
    only once.
    """
    refuse_tasks(run)
    several = len({cell.style for cell in run.plan.cells}) > 1
    resumed = bool(run.files.run.resumed)
    if not several and not can_stream(run.lm.lm):
        return
    kept = build_all(run, several or resumed)
    if can_stream(run.lm.lm):
        expect_loglikelihoods(run, kept, resumed)
        refuse_unscorable(run, kept)


def refuse_tasks(run: LoadedRun) -> None:
    """Mark the tasks that cannot be evaluated whatever their prompts are."""
    fit_examples(run)
    refuse_long_answers(run)
    refuse_dropped(run)


def build_all(run: LoadedRun, finished: bool) -> dict[str, Requests]:
    """The requests of each task, by label; without those whose prompts are the same as another style's.

    Args:
        run: the run.
        finished: whether those of finished tasks are built too.
    """
    requests: dict[str, Requests] = {}
    for cell, loaded in zip(run.plan.cells, run.tasks, strict=True):
        planned = {task.name: task for task in cell.tasks}
        for name, task in loaded.tasks.items():
            if finished or run.files.is_missing(cell.label(name)):
                digest = hash_task(planned.get(name), task)
                with explain_errors(run.plan, name):
                    built = evaluation.build_requests(run.lm, name, task, cell.spec, digest)
                requests[cell.label(name)] = built
    refused = find_same_prompts(run, requests)
    refuse(run, refused)
    return {name: built for name, built in requests.items() if name not in refused}


def refuse(run: LoadedRun, reasons: Mapping[str, str]) -> None:
    """Mark tasks, by label, that are not evaluated, with the reasons."""
    if reasons:
        run.display.refuse(reasons)
        run.files.save_failure(dict(reasons))


def fit_examples(run: LoadedRun) -> None:
    """Make prompts with pictures leave out whole examples if they are too long: half a picture is none."""
    lm = run.lm.lm
    for loaded in run.tasks:
        for gallery in filter(None, map(find_gallery, loaded.tasks.values())):
            if hasattr(lm, "has_room"):
                gallery.fits, gallery.dropped = lm.has_room, lm.note_dropped


def refuse_long_answers(run: LoadedRun) -> None:
    """Mark the tasks whose answers leave no room for a prompt, before anything is computed."""
    reasons: dict[str, str] = {}
    for cell, loaded in zip(run.plan.cells, run.tasks, strict=True):
        for name, task in loaded.tasks.items():
            reason = evaluation.explain_no_room(run.lm, task)
            if reason and run.files.is_missing(cell.label(name)):
                reasons[cell.label(name)] = reason
    refuse(run, reasons)


def refuse_dropped(run: LoadedRun) -> None:
    """Mark the tasks whose system message would not be in their prompts.

    lm-eval 0.4.13 removes it without a word if the chat template refuses it.
    """
    for cell, loaded in zip(run.plan.cells, run.tasks, strict=True):
        system = cell.spec.system_instruction
        if not (cell.spec.apply_chat_template and system):
            continue
        dropped = evaluation.drops_system_message(run.lm, system)
        reason = "the model's chat template drops the system message"
        labels = filter(run.files.is_missing, map(cell.label, loaded.tasks if dropped else ()))
        refuse(run, dict.fromkeys(labels, reason))


def refuse_unscorable(run: LoadedRun, requests: Mapping[str, Requests]) -> None:
    """Mark the tasks with a request that cannot be scored, before anything is computed."""
    reasons: dict[str, str] = {}
    for name, built in requests.items():
        reason = run.lm.find_unscorable(built)
        if run.lm.add_up(bool(reason)) and run.files.is_missing(name):
            reasons[name] = reason or "another process found a request that cannot be scored"
    refuse(run, reasons)


def expect_loglikelihoods(run: LoadedRun, requests: Mapping[str, Requests], resumed: bool) -> None:
    scored = [
        (request, name if run.files.is_missing(name) else "")
        for name, built in requests.items()
        for request in built
        if request.request_type == "loglikelihood"
    ]
    missing = {request.args for request, name in scored if name}
    run.display.share(len({name for _, name in scored if name}))
    run.lm.expect([request for request, _ in scored], missing if resumed else None)


def find_same_prompts(run: LoadedRun, requests: Mapping[str, Requests]) -> dict[str, str]:
    """The tasks whose prompts are the same as with another style, by label, and why they are refused."""
    refused: dict[str, str] = {}
    seen: dict[tuple[int | None, str], list[tuple[str, list[Any]]]] = {}
    for cell in run.plan.cells:
        if cell.style is None:
            continue
        for task in cell.tasks:
            label = cell.label(task.name)
            if label not in requests or label in run.files.run.failed:
                continue
            prompts = [request.args for request in requests[label]]
            others = seen.setdefault((cell.num_fewshot, task.name), [])
            same = [style for style, theirs in others if theirs == prompts]
            if same:
                refused[label] = f"its prompts are the same as with the style '{same[0]}'"
            others.append((cell.style.name, prompts))
    return refused


def hash_task(planned: PlannedTask | None, task: Any) -> str:
    """A hash of a task's YAML, functions and rows (their files, or their fingerprints from ``datasets``)."""
    parts = [split.sha256 for split in planned.data.splits.values()] if planned else []
    if not parts:
        splits = task.dataset.values() if isinstance(task.dataset, Mapping) else ()
        parts = [str(getattr(split, "_fingerprint", "")) for split in splits]
    return hash_value([parts, planned.config if planned else None])
