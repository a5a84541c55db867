"""Continuing an interrupted run: what is kept of it, and what forbids that."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.plan import Plan
from gptalt_eval.contract.record import Record, find_file, read_results
from gptalt_eval.contract.run import Run

PROMPT_MAKER = "lm_eval"  # the package whose other releases make other prompts and compute other metrics


def continue_run(fresh: Run, plan: Plan, earlier: Record) -> Run:
    """The run that continues an earlier one.

    Args:
        fresh: the run as it would start from scratch.
        plan: its plan.
        earlier: the interrupted one.

    Raises:
        GptaltError: its prompts, data or release of lm-eval have changed since, or it cannot be resumed.
    """
    run = earlier.run
    if not run.cells:
        raise GptaltError(f"{earlier.folder} was started by an older version.", "Start a new run.")
    check_same_prompts(fresh, plan, earlier)
    check_same_data(fresh, earlier)
    check_same_release(fresh, earlier)
    vanished = find_vanished(plan, earlier)
    done = tuple(task for task in run.done if task not in vanished)
    versions = (run.versions,) if run.versions and dict(run.versions) != dict(fresh.versions) else ()
    return replace(
        fresh,
        started=run.started,
        results=run.results,
        done=done,
        cut={task: cut for task, cut in run.cut.items() if task in done},
        cells=run.cells,
        stem=run.stem,
        resumed=(*run.resumed, datetime.now().astimezone().isoformat(timespec="seconds")),
        earlier_versions=(*run.earlier_versions, *versions),
        earlier_plugins=tuple(
            plugin
            for plugin in dict.fromkeys((*run.earlier_plugins, *run.plugins))
            if plugin not in fresh.plugins
        ),
        missing=tuple(task for task in fresh.missing if task not in done),
        model=replace(
            fresh.model, fingerprint=run.model.fingerprint, parts=run.model.parts, dtype=run.model.dtype
        ),
    )


def check_same_prompts(fresh: Run, plan: Plan, earlier: Record) -> None:
    """Check that a resumed run has the same tasks, shots and finished prompts as when it was started."""
    run = earlier.run
    changed = sorted({*fresh.missing, *fresh.failed} ^ {*run.done, *run.missing, *run.failed})
    for cell, other in zip(fresh.cells, run.cells, strict=False):
        named = (cell.prompt_style, cell.num_fewshot) != (other.prompt_style, other.num_fewshot)
        if named or (other.results and other.prompts not in ("", cell.prompts)):
            changed.append(str(cell.prompt_style or f"{cell.num_fewshot}-shot"))
    done = {task.name for cell in plan.cells for task in cell.tasks if cell.label(task.name) in run.done}
    for name, data in fresh.data.items():
        if name in done and name in run.data and run.data[name].yaml not in ("", data.yaml):
            changed.append(name)
    if run.done and fresh.model.stop and fresh.model.stop != run.model.stop:
        changed.append("what ends an answer")
    if changed:
        what = f"What {earlier.folder} evaluates has changed since it was started: {', '.join(changed)}."
        raise GptaltError(what, "Start a new run: results on different prompts cannot be combined.")


def check_same_data(fresh: Run, earlier: Record) -> None:
    for name, data in fresh.data.items():
        before = earlier.run.data.get(name)
        if before is None:
            continue
        if data.splits != before.splits or before.files not in ("", data.files):
            text = f"{name}: its data has changed since {earlier.folder} was started."
            raise GptaltError(text, "Start a new run: results on different rows cannot be combined.")


def check_same_release(fresh: Run, earlier: Record) -> None:
    """Check that what is finished was computed with the installed release of lm-eval."""
    before, now = (run.versions.get(PROMPT_MAKER, "") for run in (earlier.run, fresh))
    if earlier.run.done and before and before != now:
        raise GptaltError(
            f"{earlier.folder} was started with lm-eval {before}, and {now or 'none'} is installed.",
            f"Start a new run, or install that release: pip install lm-eval=={before}",
        )


def find_vanished(plan: Plan, earlier: Record) -> set[str]:
    """Finished tasks, by label, whose results or samples are no longer in the folder."""
    vanished: set[str] = set()
    for cell, saved in zip(plan.cells, earlier.run.cells, strict=False):
        file = find_file(earlier.folder, saved.results)
        results = read_results(file).get("results", {}) if file else {}
        for task in cell.tasks:
            has_samples = file is not None and earlier.find_samples(file.name, task.name) is not None
            if task.name not in results or (plan.saves_samples and not has_samples):
                vanished.add(cell.label(task.name))
    return vanished & {*earlier.run.done}
