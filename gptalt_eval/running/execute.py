"""Executes a plan: loads the weights, evaluates task by task, and saves every result at once.

Every finished task is saved before the next one starts, and so is every answer of the model: a kill only
loses what was being computed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from shlex import quote
from typing import TYPE_CHECKING

from gptalt_eval.contract.errors import InterruptedRun, ServerGone
from gptalt_eval.contract.plan import Plan
from gptalt_eval.contract.record import RUN_FILE, Record, load_record
from gptalt_eval.contract.types import Installed
from gptalt_eval.machine.waiting import waiting
from gptalt_eval.running.display import Display
from gptalt_eval.running.runfiles import RunFiles, is_error_in

if TYPE_CHECKING:  # importing lm-eval takes seconds
    from gptalt_eval.running.spreading.spread import Spread

STOPS = (signal.SIGINT, signal.SIGTERM)


def execute(
    plan: Plan,
    plugins: Installed,
    display: Display,
    earlier: Record | None = None,
    spread: Spread | None = None,
) -> Record:
    """Run a plan.

    Args:
        plan: the plan.
        plugins: the plugins that observe.
        display: shows the progress.
        earlier: an interrupted run of this plan; its finished results are kept.
        spread: what workers have answered; None: the model is loaded here.

    Returns:
        the saved run.

    Raises:
        InterruptedRun: stopped early; the message says what is saved, what is missing and how to continue.
        GptaltError: nothing could be evaluated.
    """
    files = spread.files if spread else RunFiles(plan, is_main_process(), earlier)
    plugins.observe("run_started", plan=plan)
    display.begin(plan)
    for sentence in files.run.explain_versions():
        display.note(sentence)
    with interrupt_once():
        try:
            files.save_run()
            with waiting("Importing lm-eval and torch"):
                from gptalt_eval.running.cells import evaluate_cells

            evaluate_cells(plan, plugins, display, files, spread)
            files.save_end("incomplete" if files.run.failed else "complete")
        except BaseException as error:
            early = end_early(files, error)
            if early is None:
                raise
            raise early from None
        finally:
            display.end()
            if files.main and (files.folder / RUN_FILE).is_file():
                plugins.observe("run_finished", record=load_record(files.folder))
    return load_record(files.folder)


def is_main_process() -> bool:
    """Whether this process saves and reports: only the first of several does."""
    return int(os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or 0) == 0


@contextlib.contextmanager
def interrupt_once() -> Iterator[None]:
    """The first Ctrl-C, or a scheduler's SIGTERM, stops the run; a second one cannot interrupt saving."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        for number in STOPS:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    earlier = {number: signal.signal(number, stop) for number in STOPS}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def end_early(files: RunFiles, error: BaseException) -> InterruptedRun | None:
    """Save how the run ended; returns what to tell the user, or None if the error is a bug."""
    by_user = isinstance(error, KeyboardInterrupt)
    with contextlib.suppress(OSError):  # the disk is full: existing files stay intact
        files.save_end("interrupted" if by_user else "failed")
    if isinstance(error, OSError) and is_error_in(error, files.folder):
        return explain_end(files, f"{files.folder} could not be written: {error.strerror}.", by_user)
    if isinstance(error, ServerGone):
        early = explain_end(files, f"{error.what[0].upper()}{error.what[1:]}", by_user)
        early.exit_code = error.exit_code
        return early
    return explain_end(files, "Stopped.", by_user) if by_user else None


def explain_end(files: RunFiles, reason: str, by_user: bool) -> InterruptedRun:
    """What is saved, what is missing, and how to continue."""
    done, missing = files.run.done, files.run.missing
    saved = f"{len(done)} of {len(done) + len(missing)} tasks are saved in {files.folder}"
    shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
    hint = f"To run what is missing: gptalt-eval resume {quote(str(files.folder))}"
    return InterruptedRun(f"{reason} {saved}; missing: {shown}.", hint, by_user)
