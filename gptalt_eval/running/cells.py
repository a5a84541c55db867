"""Evaluates the cells of a plan one after another: prompts, answers, scores, files."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from gptalt_eval.contract.errors import GptaltError, ServerGone
from gptalt_eval.contract.plan import Plan
from gptalt_eval.contract.run import RunCut
from gptalt_eval.contract.types import Installed
from gptalt_eval.results.rows import CLUSTERS
from gptalt_eval.running.display import Display
from gptalt_eval.running.lmeval import evaluation, seams
from gptalt_eval.running.lmeval.logged import describe_clusters, dump_sample
from gptalt_eval.running.lmeval.rehearsal import explain_errors
from gptalt_eval.running.loaded import LoadedRun, fold_groups
from gptalt_eval.running.opening import note_tasks, open_run
from gptalt_eval.running.prompts import hash_task, prepare_requests
from gptalt_eval.running.recognised import explain_several
from gptalt_eval.running.runfiles import RunFiles, describe_failure, is_error_in, log_failure
from gptalt_eval.running.spreading.spread import Spread


def evaluate_cells(
    plan: Plan, plugins: Installed, display: Display, files: RunFiles, spread: Spread | None = None
) -> None:
    """Load the model and evaluate every cell, saving task by task.

    Args:
        spread: what workers have answered; None: the model is loaded here.
    """
    with open_run(plan, plugins, display, files, spread) as run:
        prepare_requests(run)
        note_tasks(run.tasks, files)
        for index in range(len(run.plan.cells)):
            evaluate_cell(run, index)
        note_tasks(run.tasks, files)  # without a tree, prompts are made task by task
        if files.run.scoring and spread is None:
            files.update(scoring=run.lm.describe_work(files.run.scoring))
        if usage := getattr(run.lm.lm, "usage", None):
            files.update(usage=dict(usage))
    lacks_answers = spread is not None and spread.reasons  # those that there are need not be computed again
    if run.lm.answers and not plan.spec.use_cache and not lacks_answers:
        run.lm.answers.delete()  # they are in the samples and the results now
        files.units.unlink(missing_ok=True)  # run.json says who computed what


def evaluate_cell(run: LoadedRun, index: int) -> None:
    """Evaluate the missing tasks of a cell; each is saved before the next starts."""
    cell, files = run.plan.cells[index], run.files
    started = time.time()
    described = evaluation.describe_run(run.plan, cell, run.lm.lm, run.facts, started)
    saved = files.read_results(index)
    hashes: dict[str, str] = dict(saved.get("task_hashes", {}))
    finished = read_finished(run, index, saved)
    clusters: dict[str, Any] = dict(saved.get(CLUSTERS, {}))
    planned = {task.name: task for task in cell.tasks}
    groups = fold_groups(run, index)
    for name, task in run.tasks[index].tasks.items():
        if not files.is_missing(cell.label(name)):
            continue
        result = evaluate_task(run, index, name, task, hash_task(planned.get(name), task))
        cut = count_cut(run, task)  # on all processes
        if result is None:
            run.display.end_task(cell.label(name), {}, {})
            continue
        samples = result.pop("samples")[name]
        requests = seams.list_requests(task)
        if cut and cut.requests == len(requests):  # all are of this process
            run.lm.mark_lost(requests, samples)
        style, shots = cell.style.name if cell.style else None, result["n-shot"][name]
        for sample in samples:
            observed = evaluation.make_sample(name, sample, run.plan.title, style, shots)
            run.plugins.observe("sample_scored", sample=observed)
        hashes[name] = evaluation.hash_samples(samples)
        finished[name] = result
        described["total_evaluation_time_seconds"] = str(time.time() - started)
        combined = evaluation.combine(finished, run.tasks[index]) | described | {"task_hashes": dict(hashes)}
        partial = {task: planned[task].partial for task in finished if task in planned}
        if any(partial.values()):
            combined["gptalt_partial_data"] = {task: reason for task, reason in partial.items() if reason}
        lines = [dump_sample(sample) for sample in samples] if run.plan.saves_samples else []
        note_pictures(run, cell.label(name), samples, bool(lines))
        if not lines:
            clusters |= describe_clusters(result, name, samples, files.run.data.get(name))
        if clusters:
            combined[CLUSTERS] = clusters
        files.save_task(index, name, lines, evaluation.dump_results(combined), cut)
        group = combined["results"].get(groups.get(name), {})
        run.display.end_task(cell.label(name), result["results"][name], group)


def note_pictures(run: LoadedRun, label: str, samples: Sequence[Mapping[str, Any]], saves: bool) -> None:
    """Save the pictures of a task's samples if these are saved, and say what is to be known about them."""
    files = run.files
    files.note(explain_several(run.plan, label, samples))
    if faults := files.thumbnails.save(samples) if saves else []:
        run.display.note(f"The report cannot show {len(faults):,} of the pictures: {faults[0].what}")


def read_finished(run: LoadedRun, index: int, saved: dict[str, Any]) -> dict[str, Any]:
    """The results of a cell's finished tasks, from its results file.

    Raises:
        GptaltError: lm-eval cannot combine them with others: the file was changed since.
    """
    try:
        found = {name: evaluation.extract_result(saved, name) for name in saved.get("task_hashes", {})}
        evaluation.combine(found, run.tasks[index])
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        name = run.files.run.cells[index].results
        raise GptaltError(
            f"{run.files.folder / str(name)} is damaged ({type(error).__name__}: {error}).",
            "Start a new run, or delete this file: its tasks are then evaluated again.",
        ) from error
    return found


def count_cut(run: LoadedRun, task: Any) -> RunCut | None:
    """How many of a task's requests lost the beginning of their prompt; None: none did."""
    requests = seams.list_requests(task)
    lost = run.lm.count_lost(requests)
    if not lost:
        return None
    lm = run.lm.lm
    most = getattr(lm, "most", sys.maxsize)  # pictures in a prompt
    return RunCut(lost, lm.add_up(len(requests)), lm.max_length, most if most < sys.maxsize else 0)


def evaluate_task(run: LoadedRun, index: int, name: str, task: Any, task_hash: str) -> dict[str, Any] | None:
    """lm-eval's result for one task (an lm-eval ``Task``), including its samples.

    None if it failed, which is noted, and on all processes except the one that gathers the answers.
    """
    cell, files = run.plan.cells[index], run.files
    run.display.begin_task(cell.label(name), evaluation.count_items(task, name, cell.spec))
    try:
        with explain_errors(run.plan, name):
            return evaluation.evaluate_task(run.lm, name, task, cell.spec, task_hash)
    except Exception as error:
        is_only_one = sum(len(cell.tasks) for cell in run.plan.cells) < 2
        is_on_disk = isinstance(error, OSError) and is_error_in(error, files.folder)
        if is_only_one or is_on_disk or isinstance(error, ServerGone):
            raise
        note_failure(files, cell.label(name), error, run.display)
        return None


def note_failure(files: RunFiles, name: str, error: Exception, display: Display) -> None:
    """Mark a task as failed; the others are still run, and the traceback is saved next to the results."""
    reason = describe_failure(error)
    files.save_failure({name: reason})
    display.note(f"{name} failed: {reason}")
    if files.main:
        log_failure(files.folder, name, error)
