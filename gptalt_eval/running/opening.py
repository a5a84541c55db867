"""Makes a plan ready to be evaluated: builds its tasks, loads its model, reads its earlier answers."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.plan import Plan
from gptalt_eval.contract.types import Installed
from gptalt_eval.machine import arithmetic, environment
from gptalt_eval.planning.hub.obtain import obtain_files
from gptalt_eval.running.display import Display
from gptalt_eval.running.lmeval import evaluation, fingerprint, guards, model, tables, tasks
from gptalt_eval.running.lmeval.answers import Answers
from gptalt_eval.running.lmeval.built import build_tasks
from gptalt_eval.running.lmeval.model import ModelFacts
from gptalt_eval.running.lmeval.observed import ObservedLM
from gptalt_eval.running.lmeval.stops import add_stops
from gptalt_eval.running.lmeval.tasks import LoadedTasks
from gptalt_eval.running.loaded import LoadedRun
from gptalt_eval.running.recognised import (
    describe_scorer,
    explain_dtype,
    explain_scorer,
    explain_size,
    note_ends,
    recognise,
)
from gptalt_eval.running.runfiles import RunFiles
from gptalt_eval.running.spreading.spread import Recall, Spread


@contextlib.contextmanager
def open_run(
    plan: Plan, plugins: Installed, display: Display, files: RunFiles, spread: Spread | None = None
) -> Iterator[LoadedRun]:
    """A plan with its tasks built and its model in memory, for as long as the block lasts.

    Args:
        plan: the plan.
        plugins: the plugins that observe.
        display: shows the progress.
        files: the run's files.
        spread: what workers compute; then the model has no weights here.
    """
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
            plan, fetched, folders = obtain_model(plan, plugins, display, files)
            if spread is None:
                lm, facts = load_model(plan, fetched, folders, display, files)
            else:
                display.say("Loading the tokenizer")
                lm, facts = model.load_model(plan, fetched, folders, weightless=True), spread.facts
            note_ends(add_stops(plan, loaded, fingerprint.find_tokenizer(lm)), files)
        with evaluation.quiet(shown), contextlib.ExitStack() as opened:
            answers = open_answers(files, lm, facts.fingerprint, spread)
            if answers:
                opened.callback(answers.close)
            if spread is not None:
                lm.recall = Recall(answers, spread, lm.lost)
            if answers and plan.spec.use_cache:
                display.note(f"Answers are stored in {answers.path} and reused only for exactly this model.")
            observed = ObservedLM(lm, display, answers)
            if spread is None:
                report_scorer(lm, display, files)
            files.save_run()  # with the fingerprint, by which a resumed run checks its model
            display.say("Preparing the prompts")
            yield LoadedRun(plan, plugins, display, files, observed, facts, loaded)


def note_tasks(loaded: Sequence[LoadedTasks], files: RunFiles) -> None:
    """Record, once, what the classes of tasks noted about their rows and examples."""
    notes = [note for each in loaded for task in each.tasks.values() for note in getattr(task, "notes", ())]
    for note in notes:
        files.note(note)


def obtain_model(
    plan: Plan, plugins: Installed, display: Display, files: RunFiles
) -> tuple[Plan, dict[str, Any], Mapping[str, str]]:
    """Get the files of a plan's model.

    Returns:
        the plan with the model that its files contain, what its ``fetch`` returned, and the folders of the
        repositories that its arguments name.
    """
    obtained = obtain_files(plan.model.item, plan.model_args, display.say, display.note)
    files.update(model=replace(files.run.model, commits=obtained.commits))
    if "pretrained" in obtained.args:
        plan, said = recognise(plan, plugins, Path(obtained.args["pretrained"]))
        files.note(said)
    display.say(f"Getting the files of {plan.title}")
    fetched = dict(plan.model.item.fetch()) if plan.model.item.fetch else {}
    if "dtype" in fetched and "dtype" not in plan.model_args:
        fetched["dtype"] = pick_dtype(fetched["dtype"], files, display)
    return plan, fetched, obtained.args


def load_model(
    plan: Plan, fetched: Mapping[str, Any], folders: Mapping[str, str], display: Display, files: RunFiles
) -> tuple[Any, ModelFacts]:
    """Load the plan's model (an lm-eval ``LM``) and note it in ``run.json``; returns facts about it too."""
    display.say("Loading the model")
    began = time.perf_counter()
    lm = model.load_model(plan, fetched, folders)
    facts = model.describe_model(lm, plan)
    check_same_model(files, facts)
    if said := explain_size(plan, lm, facts.parameters):
        display.note(said)
        files.note(said)
    seconds = round(time.perf_counter() - began, 1)
    files.update(
        model=replace(files.run.model, **asdict(facts), load_seconds=seconds),
        hardware=environment.describe_hardware(),
    )
    return lm, facts


def pick_dtype(measured: str, files: RunFiles, display: Display) -> str:
    """The type of the weights if the user names none: the faster one, or that of the run that is resumed."""
    before = (files.run.model.dtype or "").removeprefix("torch.")
    if files.run.resumed and before and measured in arithmetic.NAMES:
        return before
    chosen = arithmetic.choose_dtype()
    if measured == chosen.name:
        display.note(explain_dtype(chosen))
    return measured


def open_answers(files: RunFiles, lm: Any, fingerprint: str, spread: Spread | None) -> Answers | None:
    """The answers that there are: those of ``--use_cache``, of workers, or from before an interruption.

    Unlike in lm-eval, the name of a shared file depends on the model and its settings.
    """
    plan = files.plan
    if spread is not None:
        return spread.answers
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
    if before.fingerprint is None:
        refuse_unknown(files)
        files.drop_answers()  # we write none before the fingerprint
        return
    changed = sorted(part for part in before.parts if before.parts[part] != facts.parts.get(part))
    text = f"The model '{files.plan.spec.model}' has changed since {files.folder} was started"
    raise GptaltError(
        f"{text}: {', '.join(changed)}." if changed else f"{text}.",
        "Start a new run: results of different models cannot be combined.",
    )


def refuse_unknown(files: RunFiles) -> None:
    """Check that a resumed run has no results of a model that it does not know.

    Raises:
        GptaltError: it has.
    """
    if files.run.done:
        text = f"{files.folder} does not say which model its finished tasks were computed with."
        raise GptaltError(text, "Start a new run: results of different models cannot be combined.")


def report_scorer(lm: Any, display: Display, files: RunFiles) -> None:
    """Record in ``run.json`` how log-likelihoods are computed; say so if not with the fastest method.

    Args:
        lm: an lm-eval ``LM``; only the tree scorer's has a ``choice``.
    """
    scoring = describe_scorer(lm)
    if scoring is None:
        return
    files.update(scoring=scoring)
    if said := explain_scorer(lm):
        display.note(said)
    shown: set[str] = set()

    def explain(sentence: str) -> None:
        if sentence not in shown:
            shown.add(sentence)
            display.note(f"{sentence}.")

    lm.explain = explain
