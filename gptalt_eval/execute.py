"""Carry a plan out: load the weights, evaluate task by task, save as it goes.

What is finished is on disk before the next task begins: a full disk or Ctrl-C costs the task at hand.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from gptalt_eval import environment
from gptalt_eval.errors import InterruptedRun
from gptalt_eval.plan import Plan, PlannedTask
from gptalt_eval.plugins import Plugins
from gptalt_eval.record import Record, load_record
from gptalt_eval.runfiles import RunFiles, label


class Display(Protocol):
    """Shows how a run goes on."""

    def begin(self, plan: Plan) -> None: ...
    def say(self, text: str) -> None: ...
    def note(self, text: str) -> None: ...
    def begin_task(self, name: str, items: int) -> None: ...
    def asked(self, requests: int) -> None: ...
    def answered(self, requests: int) -> None: ...
    def computed(self, tokens: int, total: int, asked: int, seconds: float) -> None: ...
    def end_task(self, name: str, result: Mapping[str, Any]) -> None: ...
    def end(self) -> None: ...


def execute(plan: Plan, plugins: Plugins, display: Display) -> Record:
    """Run a plan.

    Returns:
        the run as it lies on disk.

    Raises:
        InterruptedRun: stopped early; the message says what is saved, what is missing and how to go on.
        GptaltError: nothing could be evaluated.
    """
    rank = int(os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or 0)
    files = RunFiles(plan, main=rank == 0)
    plugins.observe("run_started", plan=plan)
    display.begin(plan)
    with interrupt_once():
        try:
            files.save_run()
            evaluate_cells(plan, plugins, display, files)
            files.save_end("complete")
        except BaseException as error:
            early = end_early(files, error)
            if early is None:
                raise
            raise early from None
        finally:
            display.end()
            if files.main and (files.folder / "run.json").is_file():
                plugins.observe("run_finished", record=load_record(files.folder))
    return load_record(files.folder)


@contextlib.contextmanager
def interrupt_once() -> Iterator[None]:
    """The first Ctrl-C stops the run; a second one cannot stop what the first has to save."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    earlier = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, earlier)


def is_about(error: OSError, folder: Path) -> bool:
    return error.filename is None or str(error.filename).startswith(str(folder))


def end_early(files: RunFiles, error: BaseException) -> InterruptedRun | None:
    """Save how the run ended; what to tell the user, or None where it is a bug's own traceback."""
    by_user = isinstance(error, KeyboardInterrupt)
    with contextlib.suppress(OSError):  # the disk is full: the files that are there stay whole
        files.save_end("interrupted" if by_user else "failed")
    if isinstance(error, OSError) and is_about(error, files.folder):
        return explain_end(files, f"{files.folder} could not be written: {error.strerror}.", by_user)
    return explain_end(files, "Stopped.", by_user) if by_user else None


def explain_end(files: RunFiles, reason: str, by_user: bool) -> InterruptedRun:
    """What is saved, what is missing, and how to go on."""
    done, missing = files.run["done"], files.run["missing"]
    saved = f"{len(done)} of {len(done) + len(missing)} tasks are saved in {files.folder}"
    shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
    hint = f"Run it again: gptalt-eval rerun {files.folder}"
    if not files.plan.spec.use_cache:
        hint += "\nWith --use_cache PATH, answers that were given are not asked for again."
    return InterruptedRun(f"{reason} {saved}; missing: {shown}.", hint, by_user)


def evaluate_cells(plan: Plan, plugins: Plugins, display: Display, files: RunFiles) -> None:
    from gptalt_eval.lmeval import evaluation, model, rows, tasks
    from gptalt_eval.lmeval.observed import ObservedLM

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
        files.run["model"] |= asdict(facts) | {"load_seconds": round(time.perf_counter() - began, 1)}
        files.run["hardware"] = environment.describe_hardware()
        files.run["environment"] = {
            str(owner): dict(facts) for owner, facts in plugins.collect("describe_environment")
        }
    with evaluation.quiet(plan.spec.verbosity or ("INFO" if plan.spec.write_out else None)):
        observed = ObservedLM(lm, display, plan.spec.use_cache, facts.fingerprint)
        if observed.cache is not None:
            display.note(f"Answers are kept in {observed.cache}, for this very model only.")
        report_scorer(lm, display, files)
        display.say("Preparing the prompts")
        loaded = [tasks.load_tasks(plan, cell) for cell in plan.cells]
        expect_answers(plan, loaded, observed)
        for index, cell_tasks in enumerate(loaded):
            evaluate_cell(plan, index, cell_tasks, observed, facts, plugins, display, files)


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


def expect_answers(plan: Plan, loaded: Sequence[Any], lm: Any) -> None:
    """Ask for the log-likelihoods of all tasks at once, so that whatever they share is computed once."""
    from gptalt_eval.lmeval import evaluation
    from gptalt_eval.lmeval.observed import can_stream

    if not can_stream(lm.lm):
        return
    requests = []
    for cell, cell_tasks in zip(plan.cells, loaded, strict=True):
        planned = {task.name: task for task in cell.tasks}
        for name, task in cell_tasks.tasks.items():
            requests += evaluation.build_requests(lm, name, task, plan.spec, hash_data(planned.get(name)))
    lm.expect(requests)


def evaluate_cell(
    plan: Plan,
    index: int,
    loaded: Any,
    lm: Any,
    facts: Any,
    plugins: Plugins,
    display: Display,
    files: RunFiles,
) -> None:
    from gptalt_eval.lmeval import evaluation

    cell = plan.cells[index]
    planned = {task.name: task for task in cell.tasks}
    started = time.time()
    described = evaluation.describe_run(plan, cell, lm.lm, facts, started)
    finished: dict[str, dict[str, Any]] = {}
    hashes: dict[str, str] = {}
    for name, task in loaded.tasks.items():
        display.begin_task(label(cell, name), evaluation.count_items(task, name, plan.spec))
        result = evaluation.evaluate_task(lm, name, task, plan.spec, hash_data(planned.get(name)))
        if result is None:
            continue  # another process gathers the answers
        samples = result.pop("samples")[name]
        hashes[name] = evaluation.hash_samples(samples)
        lines = [evaluation.dump_sample(sample) for sample in samples] if saves_samples(plan) else []
        for sample in samples:
            plugins.observe("sample_scored", sample=evaluation.view_sample(name, sample))
        finished[name] = result
        described["total_evaluation_time_seconds"] = str(time.time() - started)
        combined = evaluation.combine(finished, loaded) | described | {"task_hashes": dict(hashes)}
        partial = {
            task: planned[task].partial for task in finished if task in planned and planned[task].partial
        }
        if partial:
            combined["gptalt_partial_data"] = partial
        files.save_task(index, name, lines, evaluation.dump_results(combined))
        display.end_task(label(cell, name), result["results"][name])


def saves_samples(plan: Plan) -> bool:
    """lm-eval saves samples on request; a run in a folder of our own always has them."""
    return plan.spec.log_samples or plan.spec.predict_only or not plan.spec.output_path


def hash_data(task: PlannedTask | None) -> str:
    parts = [split.sha256 for split in task.data.splits.values()] if task else []
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()
