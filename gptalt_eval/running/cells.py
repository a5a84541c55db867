"""One cell: prompts, answers, scores, saved."""

from __future__ import annotations

import hashlib
import json
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.plan import Plan, PlannedTask
from gptalt_eval.contract.types import Installed
from gptalt_eval.machine import environment
from gptalt_eval.running.display import Display
from gptalt_eval.running.runfiles import RunFiles, is_about


def evaluate_cells(plan: Plan, plugins: Installed, display: Display, files: RunFiles) -> None:
    from gptalt_eval.running.lmeval import evaluation, model, tasks
    from gptalt_eval.running.lmeval import tables as rows
    from gptalt_eval.running.lmeval.observed import ObservedLM

    if plan.spec.cache_requests == "delete":
        evaluation.delete_request_cache()
    if plan.spec.check_integrity:
        evaluation.check_integrity(plan.spec.tasks)
    tasks.set_seeds(plan.spec, with_torch=plan.model.item.create is None)
    with evaluation.quiet(None):
        rows.prepare_big_files(plan)
        fetched = plan.model.item.fetch() if plan.model.item.fetch else {}
        display.say("Loading the model")
        began = time.perf_counter()
        lm = model.load_model(plan, fetched)
        facts = model.describe_model(lm, plan)
        check_same_model(files, facts.fingerprint)
        files.run["model"] |= asdict(facts) | {"load_seconds": round(time.perf_counter() - began, 1)}
        files.run["hardware"] = environment.describe_hardware()
        files.run["environment"] = {
            str(owner): dict(facts) for owner, facts in plugins.collect("describe_environment")
        }
    shown = plan.spec.verbosity or ("INFO" if plan.spec.write_out else None)
    with evaluation.quiet(shown), tasks.compile_once():
        answers = open_answers(files, lm, facts.fingerprint)
        observed = ObservedLM(lm, display, answers)
        if answers and plan.spec.use_cache:
            display.note(f"Answers are kept in {answers.path}, for this very model only.")
        report_scorer(lm, display, files)
        files.save_run()  # with the fingerprint, by which a run that is gone on with knows its model
        display.say("Preparing the prompts")
        loaded = [tasks.load_tasks(plan, cell) for cell in plan.cells]
        prepare_requests(plan, loaded, observed, display, files)
        for index, cell_tasks in enumerate(loaded):
            evaluate_cell(plan, index, cell_tasks, observed, facts, plugins, display, files)
    if answers and not plan.spec.use_cache:
        answers.delete()  # the samples and the results have them


def open_answers(files: RunFiles, lm: Any, fingerprint: str) -> Any:
    """What the model answered before: to ``--use_cache``, or until the run was interrupted.

    Unlike lm-eval's, the name of a file that several runs share tells models, and their settings, apart.
    """
    from gptalt_eval.running.lmeval.answers import Answers

    plan = files.plan
    if plan.spec.use_cache:
        settings = json.dumps({key: str(value) for key, value in plan.model_args.items()}, sort_keys=True)
        name = hashlib.sha256(f"{fingerprint} {settings}".encode()).hexdigest()[:16]
        return Answers(Path(f"{plan.spec.use_cache}_{name}_rank{lm.rank}.jsonl"))
    if lm.world_size > 1:
        return None  # what each process would find could differ, and they must ask for the same together
    path = files.folder / f"{files.stem}answers.jsonl"
    if not files.run.get("resumed"):
        path.unlink(missing_ok=True)
    return Answers(path)


def check_same_model(files: RunFiles, fingerprint: str) -> None:
    """See that a run that is gone on with has the weights it was begun with."""
    if files.run["model"].get("fingerprint", fingerprint) != fingerprint:
        text = f"The weights of '{files.plan.spec.model}' are not those with which {files.folder} was begun."
        raise GptaltError(text, "Begin a new run: results of different weights do not belong together.")


def report_scorer(lm: Any, display: Display, files: RunFiles) -> None:
    """Say which way log-likelihoods are computed where it is not the fastest, and note it in ``run.json``."""
    choice = getattr(lm, "choice", None)
    if choice is None:
        return
    way = choice.engine.way if choice.engine else "stock"
    files.run["scoring"] = {"way": way, "reason": choice.reason}
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


def prepare_requests(plan: Plan, loaded: Sequence[Any], lm: Any, display: Display, files: RunFiles) -> None:
    """Build the requests of all tasks where they are looked at together.

    Prompt styles that come to the same prompts are no comparison, and refused. The log-likelihoods of all
    tasks are asked for at once, so that whatever they share is computed once.
    """
    from gptalt_eval.running.lmeval import evaluation
    from gptalt_eval.running.lmeval.observed import can_stream

    several = len({cell.style for cell in plan.cells}) > 1
    resumed = bool(files.run.get("resumed"))
    if not several and not can_stream(lm.lm):
        return
    requests: dict[str, list[Any]] = {}
    for cell, cell_tasks in zip(plan.cells, loaded, strict=True):
        planned = {task.name: task for task in cell.tasks}
        for name, task in cell_tasks.tasks.items():
            if several or resumed or files.is_missing(cell.label(name)):
                digest = hash_data(planned.get(name))
                requests[cell.label(name)] = evaluation.build_requests(lm, name, task, cell.spec, digest)
    refused = find_same_prompts(plan, requests, lm)
    for name, reason in refused.items():
        display.note(f"{name} is not evaluated: {reason}.")
        files.save_failure({name: reason})
    if can_stream(lm.lm):
        scored = [
            (request, files.is_missing(name))
            for name, built in requests.items()
            for request in built
            if request.request_type == "loglikelihood" and name not in refused
        ]
        missing = {request.args for request, is_missing in scored if is_missing}
        lm.expect([request for request, _ in scored], missing if resumed else None)


def find_same_prompts(plan: Plan, requests: Mapping[str, Sequence[Any]], lm: Any) -> dict[str, str]:
    """The tasks whose prompts are those of another style, by label, and why."""
    from gptalt_eval.running.lmeval import evaluation

    refused: dict[str, str] = {}
    seen: dict[tuple[int | None, str], list[tuple[str, list[Any]]]] = {}
    for cell in plan.cells:
        if cell.style is None:
            continue
        system = cell.spec.system_instruction
        dropped = cell.style.chat and system and evaluation.drops_system_message(lm, system)
        for task in cell.tasks:
            built = requests.get(cell.label(task.name))
            if built is None:
                continue
            if dropped:
                refused[cell.label(task.name)] = "the model's chat template drops the system message"
                continue
            prompts = [request.args for request in built]
            others = seen.setdefault((cell.num_fewshot, task.name), [])
            same = [style for style, theirs in others if theirs == prompts]
            if same:
                refused[cell.label(task.name)] = f"its prompts are those of the style '{same[0]}'"
            others.append((cell.style.name, prompts))
    return refused


def evaluate_cell(
    plan: Plan,
    index: int,
    loaded: Any,
    lm: Any,
    facts: Any,
    plugins: Installed,
    display: Display,
    files: RunFiles,
) -> None:
    from gptalt_eval.running.lmeval import evaluation

    cell = plan.cells[index]
    started = time.time()
    described = evaluation.describe_run(plan, cell, lm.lm, facts, started)
    saved = files.read_results(index)
    finished = {name: evaluation.take_result(saved, name) for name in saved.get("task_hashes", {})}
    hashes: dict[str, str] = dict(saved.get("task_hashes", {}))
    planned = {task.name: task for task in cell.tasks}
    for name, task in loaded.tasks.items():
        if not files.is_missing(cell.label(name)):
            continue
        display.begin_task(cell.label(name), evaluation.count_items(task, name, cell.spec))
        try:
            result = evaluation.evaluate_task(lm, name, task, cell.spec, hash_data(planned.get(name)))
        except Exception as error:
            if len(files.run["missing"]) + len(files.run["done"]) < 2 or is_disk_full(error, files.folder):
                raise
            note_failure(files, cell.label(name), error, display)
            continue
        if result is None:
            continue  # another process gathers the answers
        samples = result.pop("samples")[name]
        hashes[name] = evaluation.hash_samples(samples)
        lines = [evaluation.dump_sample(sample) for sample in samples] if plan.spec.saves_samples else []
        style, shots = cell.style.name if cell.style else None, result["n-shot"][name]
        for sample in samples:
            seen = evaluation.make_sample(name, sample, plan.model.item.name, style, shots)
            plugins.observe("sample_scored", sample=seen)
        finished[name] = result
        described["total_evaluation_time_seconds"] = str(time.time() - started)
        combined = evaluation.combine(finished, loaded) | described | {"task_hashes": dict(hashes)}
        partial = {
            task: planned[task].partial for task in finished if task in planned and planned[task].partial
        }
        if partial:
            combined["gptalt_partial_data"] = partial
        files.save_task(index, name, lines, evaluation.dump_results(combined))
        display.end_task(cell.label(name), result["results"][name])


def is_disk_full(error: Exception, folder: Path) -> bool:
    return isinstance(error, OSError) and is_about(error, folder)


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
