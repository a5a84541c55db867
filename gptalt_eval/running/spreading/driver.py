"""Has workers answer the requests of runs, before the runs themselves find every answer in their files."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from shlex import quote

from rich.console import Console

from gptalt_eval.contract.errors import InterruptedRun
from gptalt_eval.contract.plan import Plan
from gptalt_eval.contract.record import Record
from gptalt_eval.contract.run import RunModel
from gptalt_eval.contract.types import Installed
from gptalt_eval.running.execute import interrupt_once
from gptalt_eval.running.experiments import mark_failed
from gptalt_eval.running.lmeval.fingerprint import describe_texts
from gptalt_eval.running.lmeval.model import ModelFacts
from gptalt_eval.running.opening import open_run, refuse_unknown
from gptalt_eval.running.runfiles import RunFiles, is_error_in
from gptalt_eval.running.spreading.journal import Journal
from gptalt_eval.running.spreading.member import Member
from gptalt_eval.running.spreading.pools import make_pool
from gptalt_eval.running.spreading.progress import Progress
from gptalt_eval.running.spreading.spread import Spread
from gptalt_eval.running.spreading.units import Cutter, Spool, open_spool
from gptalt_eval.running.spreading.watched_pool import WatchedPool
from gptalt_eval.running.spreading.worker import Job
from gptalt_eval.running.terminal import Terminal
from gptalt_eval.spread.cutting import MOST
from gptalt_eval.spread.loop import spread
from gptalt_eval.spread.work import Outcome, Pool, Report, Result, Unit

#: errors of a disk that takes nothing more
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def answer_by_workers(
    plans: Sequence[Plan | None],
    earlier: Sequence[Record | None],
    plugins: Installed,
    console: Console,
    workers: int | None,
    root: Path | None,
) -> dict[int, Spread | Record]:
    """Have workers answer the requests of runs: all models of an experiment are one queue.

    Args:
        plans: the runs; None: there is nothing to do.
        earlier: for each, the interrupted run that it continues.
        plugins: the plugins that observe.
        console: shows the progress.
        workers: processes on this computer; None: those of the request's cluster.
        root: the folder of the experiment; None: it is none.

    Returns:
        for each plan, by its index, what its run needs; or its record, if it is one of several and failed.

    Raises:
        InterruptedRun: stopped early; what was answered is saved.
        GptaltError: a run cannot begin, or there are no workers.
    """
    terminal = Terminal(console)
    with open_spool() as spool, contextlib.ExitStack() as opened:
        members: dict[str, Member] = {}
        failed: dict[int, Record] = {}
        try:
            with interrupt_once():
                pool = open_pool(
                    plans, earlier, spool, workers, terminal
                )  # before anything is read: it may be impossible
                opened.callback(pool.close)
                for index, plan in enumerate(plans):
                    if plan is not None:
                        try:
                            member = prepare(plan, earlier[index], plugins, terminal, spool, str(index))
                        except Exception as error:
                            if root is None or isinstance(error, InterruptedRun):
                                raise
                            failed[index] = mark_failed(plan, error, console)
                            continue
                        opened.callback(member.journal.close)
                        members[str(index)] = member
                terminal.end()
                outcome = run_loop(members, spool, console, pool, opened)
                for model, member in members.items():
                    member.finish(outcome, model, spool)
        except BaseException as error:
            terminal.end()
            if (stopped := stop_early(members, error, root)) is None:
                raise
            raise stopped from None
    return {**failed, **{int(model): member.spread for model, member in members.items()}}


def prepare(
    plan: Plan,
    earlier: Record | None,
    plugins: Installed,
    terminal: Terminal,
    spool: Spool,
    model: str,
) -> Member:
    """Build the prompts of a run, and cut its requests into units."""
    files = RunFiles(plan, True, earlier)
    found = Spread(files)
    if earlier is not None and earlier.run.model.fingerprint:
        found.facts = recall_facts(earlier.run.model)
        files.update(model=replace(earlier.run.model), scoring=earlier.run.scoring)
    else:
        refuse_unknown(files)
        files.drop_answers()
    for said in plan.surprises:
        terminal.note(said)
    terminal.refuse(plan.lacking)
    found.said = terminal.said
    files.save_run()
    with open_run(plan, plugins, terminal, files, found) as run:
        journal = Journal(files.answers, files.units)
        member = Member(found, plan, journal)
        try:
            member.texts = describe_texts(run.lm.lm)
            cutter = Cutter(run, model, MOST)
            member.units = list(cutter.cut_all(spool, journal.knows))
            member.asked = cutter.asked
            card = plan.model.item.card
            member.size = run.lm.lm.count_parameters() or (card.parameters if card else 0)
        except BaseException:
            journal.close()
            raise
    return member


def open_pool(
    plans: Sequence[Plan | None],
    earlier: Sequence[Record | None],
    spool: Spool,
    workers: int | None,
    terminal: Terminal,
) -> Pool:
    """The workers of a request, which can load the models of all its runs; none is started yet."""
    threads = max(1, (os.cpu_count() or 1) // workers) if workers else 0
    jobs = {}
    for index, (plan, before) in enumerate(zip(plans, earlier, strict=True)):
        if plan is not None:
            templates = tuple({cell.spec.apply_chat_template for cell in plan.cells})
            dtype = (before.run.model.dtype or "").removeprefix("torch.") if before else ""
            jobs[str(index)] = Job(plan.spec, templates, dtype, threads, str(Path.cwd()))
    spec = next(iter(jobs.values())).spec
    return make_pool(spec, jobs, spool.read, workers, spool.folder / "logs", terminal.note)


def recall_facts(model: RunModel) -> ModelFacts:
    """What an earlier part of a run recorded about its model."""
    return ModelFacts(model.fingerprint or "", model.parts, model.parameters, model.dtype, model.device)


def run_loop(
    members: Mapping[str, Member],
    spool: Spool,
    console: Console,
    bare: Pool,
    opened: contextlib.ExitStack,
) -> Outcome:
    """Hand all units to workers."""
    units = [unit for member in members.values() for unit in member.units]
    if not units:
        return Outcome()
    titles = {model: member.plan.title for model, member in members.items()}
    progress = Progress(console, titles)

    def note(model: str, said: str) -> None:
        progress.note(f"{titles[model]}: {said}" if len(titles) > 1 else said)

    pool = WatchedPool(bare, members, note)
    progress.begin(units, pool.count_places())
    opened.callback(progress.end)
    expected = {
        model: Report(member.spread.facts.fingerprint)
        for model, member in members.items()
        if member.spread.facts.fingerprint
    }

    def keep(unit: Unit, result: Result, worker: int) -> None:
        members[unit.model].keep(unit, spool.read_keys(unit), result, pool.where(worker))

    sizes = {model: member.size for model, member in members.items()}
    return spread(units, pool, keep, expected=expected, sizes=sizes, watch=progress.show, note=progress.note)


def stop_early(
    members: Mapping[str, Member], error: BaseException, root: Path | None
) -> InterruptedRun | None:
    """Save how the runs ended; returns what to tell the user, or None if the error speaks for itself."""
    by_user = isinstance(error, KeyboardInterrupt)
    for member in members.values():
        with contextlib.suppress(OSError):
            member.files.save_end("interrupted" if by_user else "failed")
    files = [member.files for member in members.values()]
    unwritten = isinstance(error, OSError) and any(is_error_in(error, each.folder) for each in files)
    if not files and getattr(error, "errno", None) in FULL:  # before anything of a run could be saved
        full = root or getattr(error, "filename", None) or "The folder of results"
        return InterruptedRun(
            f"{full} could not be written: {getattr(error, 'strerror', '')}.",
            "Make room, or name another folder: --output_path FOLDER",
            False,
        )
    if not files or not (by_user or unwritten):
        return None
    place = root or files[0].folder
    total = sum(unit.requests for member in members.values() for unit in member.units)
    done = sum(member.answered for member in members.values())
    reason = "Stopped." if by_user else f"{place} could not be written: {getattr(error, 'strerror', '')}."
    text = f"{reason} {done:,} of {total:,} requests were answered, and their answers are saved in {place}."
    return InterruptedRun(
        text, f"To compute what is missing: gptalt-eval resume {quote(str(place))}", by_user
    )
