"""The cells of a plan, one after the other: prompts, answers, scores, saved."""

from __future__ import annotations

import hashlib
import json
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.plan import Plan, PlannedTask
from gptalt_eval.contract.run import RunScoring
from gptalt_eval.contract.types import Installed
from gptalt_eval.machine import environment
from gptalt_eval.running.display import Display
from gptalt_eval.running.lmeval import evaluation, model, seams, tables, tasks
from gptalt_eval.running.lmeval.answers import Answers
from gptalt_eval.running.lmeval.evaluation import Requests
from gptalt_eval.running.lmeval.logged import dump_sample
from gptalt_eval.running.lmeval.model import ModelFacts
from gptalt_eval.running.lmeval.observed import ObservedLM, can_stream
from gptalt_eval.running.lmeval.tasks import LoadedTasks
from gptalt_eval.running.runfiles import RunFiles, is_about


@dataclass(frozen=True)
class LoadedRun:
    """A plan whose weights are in memory and whose tasks are built.

    Attributes:
        plan: what runs.
        plugins: those that observe.
        display: shows how it goes on.
        files: where it is saved.
        lm: the model; its answers are counted and kept.
        facts: what was loaded.
        tasks: by cell, lm-eval's tasks.
    """

    plan: Plan
    plugins: Installed
    display: Display
    files: RunFiles
    lm: ObservedLM
    facts: ModelFacts
    tasks: Sequence[LoadedTasks]


def evaluate_cells(plan: Plan, plugins: Installed, display: Display, files: RunFiles) -> None:
    """Load the model and evaluate every cell, saving task by task."""
    if plan.spec.cache_requests == "delete":
        evaluation.delete_request_cache()
    tasks.set_seeds(plan.spec, with_torch=plan.model.item.create is None)
    with evaluation.quiet(None):
        tables.prepare_big_files(plan)
        lm, facts = load_model(plan, display, files)
    shown = plan.spec.verbosity or ("INFO" if plan.spec.write_out else None)
    with evaluation.quiet(shown), seams.compile_once():
        answers = open_answers(files, lm, facts.fingerprint)
        if answers and plan.spec.use_cache:
            display.note(f"Answers are kept in {answers.path}, for this very model only.")
        observed = ObservedLM(lm, display, answers)
        report_scorer(lm, display, files)
        files.save_run()  # with the fingerprint, by which a resumed run knows its model
        display.say("Preparing the prompts")
        loaded = [tasks.load_tasks(plan, cell) for cell in plan.cells]
        run = LoadedRun(plan, plugins, display, files, observed, facts, loaded)
        prepare_requests(run)
        for index in range(len(plan.cells)):
            evaluate_cell(run, index)
    if answers and not plan.spec.use_cache:
        answers.delete()  # the samples and the results have them


def load_model(plan: Plan, display: Display, files: RunFiles) -> tuple[Any, ModelFacts]:
    """Load the plan's model (an lm-eval ``LM``) and note it in ``run.json``."""
    fetched = plan.model.item.fetch() if plan.model.item.fetch else {}
    display.say("Loading the model")
    began = time.perf_counter()
    lm = model.load_model(plan, fetched)
    facts = model.describe_model(lm, plan)
    check_same_model(files, facts.fingerprint)
    seconds = round(time.perf_counter() - began, 1)
    files.update(
        model=replace(files.run.model, **asdict(facts), load_seconds=seconds),
        hardware=environment.describe_hardware(),
    )
    return lm, facts


def open_answers(files: RunFiles, lm: Any, fingerprint: str) -> Answers | None:
    """What the model answered before: to ``--use_cache``, or until the run was interrupted.

    Unlike lm-eval's, the name of a file that several runs share tells models, and their settings, apart.
    """
    plan = files.plan
    if plan.spec.use_cache:
        settings = json.dumps({key: str(value) for key, value in plan.model_args.items()}, sort_keys=True)
        name = hashlib.sha256(f"{fingerprint} {settings}".encode()).hexdigest()[:16]
        return Answers(Path(f"{plan.spec.use_cache}_{name}_rank{lm.rank}.jsonl"))
    if lm.world_size > 1:
        return None  # what each process would find could differ, and they must ask for the same together
    path = files.folder / f"{files.run.stem}answers.jsonl"
    if not files.run.resumed:
        path.unlink(missing_ok=True)
    return Answers(path)


def check_same_model(files: RunFiles, fingerprint: str) -> None:
    """See that a resumed run has the weights that it was begun with."""
    if files.run.model.fingerprint not in (None, fingerprint):
        text = f"The weights of '{files.plan.spec.model}' are not those with which {files.folder} was begun."
        raise GptaltError(text, "Begin a new run: results of different weights do not belong together.")


def report_scorer(lm: Any, display: Display, files: RunFiles) -> None:
    """Say which way log-likelihoods are computed where it is not the fastest, and note it in ``run.json``.

    Args:
        lm: an lm-eval ``LM``; only the tree scorer's has a ``choice``.
    """
    choice = getattr(lm, "choice", None)
    if choice is None:
        return
    way = choice.engine.way if choice.engine else "stock"
    files.update(scoring=RunScoring(way, choice.reason))
    if choice.engine is None:
        display.note(f"lm-eval's own loop computes the log-likelihoods of this model: {choice.reason}.")
    elif choice.reason:
        display.note(f"Prefixes are shared in the way '{way}': {choice.reason}.")
    told: set[str] = set()

    def explain(reason: str) -> None:
        if reason not in told:
            told.add(reason)
            display.note(f"lm-eval's own loop generates: {reason}.")

    lm.explain = explain


def prepare_requests(run: LoadedRun) -> None:
    """Build the requests of all tasks where they are looked at together.

    Prompt styles that come to the same prompts are no comparison, and refused. The log-likelihoods of all
    tasks are asked for at once, so that whatever they share is computed once.
    """
    several = len({cell.style for cell in run.plan.cells}) > 1
    resumed = bool(run.files.run.resumed)
    if not several and not can_stream(run.lm.lm):
        return
    requests: dict[str, Requests] = {}
    for cell, loaded in zip(run.plan.cells, run.tasks, strict=True):
        planned = {task.name: task for task in cell.tasks}
        for name, task in loaded.tasks.items():
            if several or resumed or run.files.is_missing(cell.label(name)):
                digest = hash_data(planned.get(name))
                requests[cell.label(name)] = evaluation.build_requests(run.lm, name, task, cell.spec, digest)
    refused = find_same_prompts(run, requests)
    for name, reason in refused.items():
        run.display.note(f"{name} is not evaluated: {reason}.")
        run.files.save_failure({name: reason})
    if can_stream(run.lm.lm):
        kept = {name: built for name, built in requests.items() if name not in refused}
        expect_loglikelihoods(run, kept, resumed)


def expect_loglikelihoods(run: LoadedRun, requests: Mapping[str, Requests], resumed: bool) -> None:
    scored = [
        (request, run.files.is_missing(name))
        for name, built in requests.items()
        for request in built
        if request.request_type == "loglikelihood"
    ]
    missing = {request.args for request, is_missing in scored if is_missing}
    run.lm.expect([request for request, _ in scored], missing if resumed else None)


def find_same_prompts(run: LoadedRun, requests: Mapping[str, Requests]) -> dict[str, str]:
    """The tasks whose prompts are those of another style, by label, and why."""
    refused: dict[str, str] = {}
    seen: dict[tuple[int | None, str], list[tuple[str, list[Any]]]] = {}
    for cell in run.plan.cells:
        if cell.style is None:
            continue
        system = cell.spec.system_instruction
        dropped = cell.style.chat and system and evaluation.drops_system_message(run.lm, system)
        for task in cell.tasks:
            label = cell.label(task.name)
            if label not in requests:
                continue
            if dropped:
                refused[label] = "the model's chat template drops the system message"
                continue
            prompts = [request.args for request in requests[label]]
            others = seen.setdefault((cell.num_fewshot, task.name), [])
            same = [style for style, theirs in others if theirs == prompts]
            if same:
                refused[label] = f"its prompts are those of the style '{same[0]}'"
            others.append((cell.style.name, prompts))
    return refused


def evaluate_cell(run: LoadedRun, index: int) -> None:
    """Evaluate the missing tasks of a cell; each is on disk before the next begins."""
    cell, files = run.plan.cells[index], run.files
    started = time.time()
    described = evaluation.describe_run(run.plan, cell, run.lm.lm, run.facts, started)
    saved = files.read_results(index)
    hashes: dict[str, str] = dict(saved.get("task_hashes", {}))
    finished = {name: evaluation.take_result(saved, name) for name in hashes}
    planned = {task.name: task for task in cell.tasks}
    for name, task in run.tasks[index].tasks.items():
        if not files.is_missing(cell.label(name)):
            continue
        result = evaluate_task(run, index, name, task, hash_data(planned.get(name)))
        if result is None:
            continue
        samples = result.pop("samples")[name]
        style, shots = cell.style.name if cell.style else None, result["n-shot"][name]
        for sample in samples:
            seen = evaluation.make_sample(name, sample, run.plan.model.item.name, style, shots)
            run.plugins.observe("sample_scored", sample=seen)
        hashes[name] = evaluation.hash_samples(samples)
        finished[name] = result
        described["total_evaluation_time_seconds"] = str(time.time() - started)
        combined = evaluation.combine(finished, run.tasks[index]) | described | {"task_hashes": dict(hashes)}
        partial = {task: planned[task].partial for task in finished if task in planned}
        if any(partial.values()):
            combined["gptalt_partial_data"] = {task: reason for task, reason in partial.items() if reason}
        lines = [dump_sample(sample) for sample in samples] if run.plan.spec.saves_samples else []
        files.save_task(index, name, lines, evaluation.dump_results(combined))
        run.display.end_task(cell.label(name), result["results"][name])


def evaluate_task(run: LoadedRun, index: int, name: str, task: Any, data_hash: str) -> dict[str, Any] | None:
    """lm-eval's result for one task (an lm-eval ``Task``), its samples included.

    None where it failed, which is noted, and on all processes but the one that gathers the answers.
    """
    cell, files = run.plan.cells[index], run.files
    run.display.begin_task(cell.label(name), evaluation.count_items(task, name, cell.spec))
    try:
        return evaluation.evaluate_task(run.lm, name, task, cell.spec, data_hash)
    except Exception as error:
        is_only_one = len(files.run.missing) + len(files.run.done) < 2
        if is_only_one or (isinstance(error, OSError) and is_about(error, files.folder)):
            raise
        note_failure(files, cell.label(name), error, run.display)
        return None


def note_failure(files: RunFiles, name: str, error: Exception, display: Display) -> None:
    """Mark a task that failed; the others go on, and the traceback is kept beside the results."""
    reason = " ".join(str(error).split()) or type(error).__name__
    reason = reason if isinstance(error, GptaltError) else f"{type(error).__name__}: {reason}"
    files.save_failure({name: reason})
    display.note(f"{name} failed: {reason}")
    if files.main:
        with (files.folder / "errors.log").open("a", encoding="utf-8") as log:
            log.write(f"{name}\n{''.join(traceback.format_exception(error))}\n")


def hash_data(task: PlannedTask | None) -> str:
    parts = [split.sha256 for split in task.data.splits.values()] if task else []
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()
