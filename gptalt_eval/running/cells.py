"""Evaluates the cells of a plan one after another: prompts, answers, scores, files."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.plan import Plan
from gptalt_eval.contract.run import RunCut, RunScoring
from gptalt_eval.contract.types import Installed
from gptalt_eval.machine import arithmetic, environment
from gptalt_eval.planning.hub.obtain import obtain_files
from gptalt_eval.results.rows import CLUSTERS
from gptalt_eval.running.display import Display
from gptalt_eval.running.lmeval import evaluation, fingerprint, guards, model, seams, tables, tasks
from gptalt_eval.running.lmeval.answers import Answers
from gptalt_eval.running.lmeval.built import build_tasks
from gptalt_eval.running.lmeval.logged import describe_clusters, dump_sample
from gptalt_eval.running.lmeval.model import ModelFacts
from gptalt_eval.running.lmeval.observed import ObservedLM
from gptalt_eval.running.lmeval.rehearsal import explain_errors
from gptalt_eval.running.lmeval.stops import add_stops
from gptalt_eval.running.lmeval.tasks import LoadedTasks
from gptalt_eval.running.loaded import LoadedRun, fold_groups
from gptalt_eval.running.prompts import hash_task, prepare_requests
from gptalt_eval.running.recognised import explain_several, explain_size, note_ends, recognise
from gptalt_eval.running.runfiles import RunFiles, describe_failure, is_error_in, log_failure


def evaluate_cells(plan: Plan, plugins: Installed, display: Display, files: RunFiles) -> None:
    """Load the model and evaluate every cell, saving task by task."""
    if plan.spec.cache_requests == "delete":
        evaluation.delete_request_cache()
    tasks.set_seeds(plan.spec, with_torch=plan.model.item.create is None)
    shown = plan.spec.verbosity or ("INFO" if plan.spec.write_out else None)
    with evaluation.quiet(None):
        tables.prepare_big_files(plan)
    with guards.guard_tasks(plan):
        with evaluation.quiet(shown):
            display.say("Reading the tasks and their rows")
            loaded = build_tasks(plan)
        with evaluation.quiet(None):
            note_tasks(loaded, files)
            plan, lm, facts = load_model(plan, plugins, display, files)
            note_ends(add_stops(plan, loaded, fingerprint.find_tokenizer(lm)), files)
        with evaluation.quiet(shown), contextlib.ExitStack() as opened:
            answers = open_answers(files, lm, facts.fingerprint)
            if answers:
                opened.callback(answers.close)
            if answers and plan.spec.use_cache:
                display.note(f"Answers are stored in {answers.path} and reused only for exactly this model.")
            observed = ObservedLM(lm, display, answers)
            report_scorer(lm, display, files)
            files.save_run()  # with the fingerprint, by which a resumed run checks its model
            display.say("Preparing the prompts")
            run = LoadedRun(plan, plugins, display, files, observed, facts, loaded)
            prepare_requests(run)
            note_tasks(loaded, files)
            for index in range(len(plan.cells)):
                evaluate_cell(run, index)
            note_tasks(loaded, files)  # without a tree, prompts are made task by task
            if files.run.scoring:
                files.update(scoring=observed.describe_work(files.run.scoring))
    if answers and not plan.spec.use_cache:
        answers.delete()  # they are in the samples and the results now


def note_tasks(loaded: Sequence[LoadedTasks], files: RunFiles) -> None:
    """Record, once, what the classes of tasks noted about their rows and examples."""
    notes = [note for each in loaded for task in each.tasks.values() for note in getattr(task, "notes", ())]
    for note in dict.fromkeys(notes):
        if note not in files.run.notes:
            files.update(notes=(*files.run.notes, note))


def load_model(
    plan: Plan, plugins: Installed, display: Display, files: RunFiles
) -> tuple[Plan, Any, ModelFacts]:
    """Load the plan's model (an lm-eval ``LM``) and note it in ``run.json``.

    Returns:
        the plan with the model that its files contain, the model, and facts about it.
    """
    obtained = obtain_files(plan.model.item, plan.model_args, display.say, display.note)
    files.update(model=replace(files.run.model, commits=obtained.commits))
    if "pretrained" in obtained.args:
        plan = recognise(plan, plugins, Path(obtained.args["pretrained"]), files)
    display.say(f"Getting the files of {plan.title}")
    fetched = dict(plan.model.item.fetch()) if plan.model.item.fetch else {}
    if "dtype" in fetched and "dtype" not in plan.model_args:
        fetched["dtype"] = pick_dtype(fetched["dtype"], files, display)
    display.say("Loading the model")
    began = time.perf_counter()
    lm = model.load_model(plan, fetched, obtained.args)
    facts = model.describe_model(lm, plan)
    check_same_model(files, facts)
    if said := explain_size(plan, lm, facts.parameters):
        display.note(said)
        files.update(notes=(*files.run.notes, said))
    seconds = round(time.perf_counter() - began, 1)
    files.update(
        model=replace(files.run.model, **asdict(facts), load_seconds=seconds),
        hardware=environment.describe_hardware(),
    )
    return plan, lm, facts


def pick_dtype(measured: str, files: RunFiles, display: Display) -> str:
    """The type of the weights if the user names none: the faster one, or that of the run that is resumed."""
    before = (files.run.model.dtype or "").removeprefix("torch.")
    if files.run.resumed and before and measured in arithmetic.NAMES:
        return before
    chosen = arithmetic.choose_dtype()
    if measured == chosen.name:
        display.note(f"The weights are in {measured}: {chosen.reason}. --model_args dtype=... changes it.")
    return measured


def open_answers(files: RunFiles, lm: Any, fingerprint: str) -> Answers | None:
    """The model's earlier answers: those of ``--use_cache``, or those before the run was interrupted.

    Unlike in lm-eval, the name of a shared file depends on the model and its settings.
    """
    plan = files.plan
    if plan.spec.use_cache:
        return Answers(Path(f"{plan.spec.use_cache}_{fingerprint[:16]}_rank{lm.rank}.jsonl"))
    if lm.world_size > 1:
        return None  # the processes could find different answers, but must make the same calls
    if not files.run.resumed:
        files.drop_answers()
    return Answers(files.answers)


def check_same_model(files: RunFiles, facts: ModelFacts) -> None:
    """Check that a resumed run has the same model as when it was started.

    Raises:
        GptaltError: it has another one, or its folder does not say which one its finished tasks are of.
    """
    before = files.run.model
    if before.fingerprint == facts.fingerprint:
        return
    if before.fingerprint is None and not files.run.done:
        files.drop_answers()  # we write none before the fingerprint
        return
    if before.fingerprint is None:
        text = f"{files.folder} does not say which model its finished tasks were computed with."
        raise GptaltError(text, "Start a new run: results of different models cannot be combined.")
    changed = sorted(part for part in before.parts if before.parts[part] != facts.parts.get(part))
    text = f"The model '{files.plan.spec.model}' has changed since {files.folder} was started"
    raise GptaltError(
        f"{text}: {', '.join(changed)}." if changed else f"{text}.",
        "Start a new run: results of different models cannot be combined.",
    )


def report_scorer(lm: Any, display: Display, files: RunFiles) -> None:
    """Record in ``run.json`` how log-likelihoods are computed; say so if not with the fastest method.

    Args:
        lm: an lm-eval ``LM``; only the tree scorer's has a ``choice``.
    """
    choice = getattr(lm, "choice", None)
    if choice is None:
        return
    way = choice.engine.way if choice.engine else "stock"
    files.update(scoring=RunScoring(way, choice.reason))
    if choice.engine is None:
        display.note(f"{lm.scorer_name} computes this model's log-likelihoods: {choice.reason}.")
    elif choice.reason:
        display.note(f"Prefixes are shared with the method '{way}': {choice.reason}.")
    shown: set[str] = set()

    def explain(sentence: str) -> None:
        if sentence not in shown:
            shown.add(sentence)
            display.note(f"{sentence}.")

    lm.explain = explain


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
    if said := explain_several(run.plan, label, samples):
        files.update(notes=(*files.run.notes, said))
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
        if is_only_one or (isinstance(error, OSError) and is_error_in(error, files.folder)):
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
