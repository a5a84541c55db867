"""The self-contained HTML report of one or several runs. Needs neither torch nor lm-eval.

The page loads nothing: style and figures are embedded. All text from a model or a dataset is escaped, and a
browser would not run it anyway.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptalt_eval.contract.located import SAMPLE
from gptalt_eval.contract.plan import OF_SAMPLE
from gptalt_eval.contract.record import Record
from gptalt_eval.contract.types import Installed, ReportSection
from gptalt_eval.machine.storage import write_atomically
from gptalt_eval.results.arms import name_models
from gptalt_eval.results.columns import Entry
from gptalt_eval.results.groups import find_style, list_tasks
from gptalt_eval.results.items import make_items
from gptalt_eval.results.overview import Overview, make_overview
from gptalt_eval.results.page import render_page
from gptalt_eval.results.places import Place
from gptalt_eval.results.plots import draw_figures
from gptalt_eval.results.rows import Logged, list_faults, list_gaps, read_logged
from gptalt_eval.results.tree import make_tree

NOT_SAVED = (
    "The items were not saved: they are not shown here, and cannot be compared. To save them: --log_samples."
)
#: what has a style sheet or a script of its own
PARTS = (
    "address",
    "tables",
    "exports",
    "figures",
    "items-data",
    "items-list",
    "items-view",
    "items",
    "site_nav",
)


@dataclass(frozen=True)
class RunView:
    """One run, ready for the page.

    Attributes:
        name: its model; with the end of its folder's path if several runs have the same one.
        prompts: by prompt style, its chat template and system message.
    """

    record: Record
    name: str
    prompts: Mapping[str, str]
    sections: Sequence[ReportSection]


def write_report(records: Sequence[Record], target: Path, plugins: Installed) -> Path:
    """Write the page and return its path."""
    write_atomically(target, render_report(records, plugins))
    return target


def render_report(
    records: Sequence[Record],
    plugins: Installed,
    logged: Sequence[Logged] = (),
    site: Place | None = None,
) -> str:
    """The page of some runs.

    Args:
        records: the runs.
        plugins: what adds sections.
        logged: the rows of each run, if they have been read.
        site: the page's place in a site; None: it is on its own.
    """
    logged = logged or [read_logged(record) for record in records]
    overview = make_overview(records, logged)
    names = name_models(records)
    views = [view_run(record, name, plugins) for record, name in zip(records, names, strict=True)]
    tree = make_tree(records, overview)
    return render_page(
        "gptalt_eval.results", "report", PARTS, models=names, views=views, overview=overview,
        tree=tree, figures=draw_figures(overview, tree), items=make_items(records, logged),
        marks=list_marks(records, names, overview), as_entry=Entry,
        notes=list_notes(records, names, logged, overview),
        show_seconds=show_seconds, show_count=show_count, site=site,
    )  # fmt: skip


def view_run(record: Record, name: str, plugins: Installed) -> RunView:
    sections = [
        section for _, given in plugins.collect("report_sections", record=record) for section in given
    ]
    styles = [find_style(results) for results in record.results]
    prompts = {style: describe_prompt(results) for style, results in zip(styles, record.results, strict=True)}
    return RunView(record, name, prompts, sections)


def list_marks(records: Sequence[Record], names: Sequence[str], overview: Overview) -> list[str]:
    """What makes the scores those of a part of the data, or of a part of the tasks."""
    marks = []
    sampled = list_sampled(records, names, overview)
    if sampled:
        marks.append(f"Scored on a small embedded sample, not on the benchmark: {join_some(sampled)}.")
    parts = [f"{heading.title} {heading.items}" for heading in overview.headings if heading.is_partial]
    if parts:
        marks.append(f"Not all items were scored: {join_some(parts)}.")
    unfinished: dict[str, list[str]] = {}
    for record, name in zip(records, names, strict=True):
        if not record.is_complete:
            missing = f": {join_some(record.run.missing)} not evaluated yet" if record.run.missing else ""
            unfinished.setdefault(f"{record.run.status}{missing}", []).append(name)
    for status, found in unfinished.items():
        marks.append(
            f"{join_some(found)}: {'this run is' if len(found) == 1 else 'these runs are'} {status}."
        )
    return marks


def list_sampled(records: Sequence[Record], names: Sequence[str], overview: Overview) -> list[str]:
    """The tasks and groups scored on the embedded sample; with the models, if others used other data."""
    found = []
    for task in dict.fromkeys(column.task for column in overview.scores):
        used: dict[bool, dict[str, None]] = {True: {}, False: {}}
        for record, name in zip(records, names, strict=True):
            for results in record.results:
                data = [record.run.data.get(task) for task in list_tasks(results, task)]
                if data:
                    used[any(each is not None and each.origin == SAMPLE for each in data)][name] = None
        if used[True]:
            found.append(f"{task} ({', '.join(used[True])})" if used[False] else task)
    return found


def list_notes(
    records: Sequence[Record], names: Sequence[str], logged: Sequence[Logged], overview: Overview
) -> list[str]:
    """What must be shown with the results, each sentence once, with the models that it is about."""
    found: dict[str, list[str]] = {}
    for record, name, each in zip(records, names, logged, strict=True):
        lost = [NOT_SAVED] if record.results and not any(each.rows.values()) else []
        for note in dict.fromkeys((*record.notes, *lost, *list_faults([each]), *list_gaps(each))):
            found.setdefault(note, []).append(name)
    found.pop(OF_SAMPLE, None)  # it is among the marks
    notes = [
        note if len(about) == len(records) else f"{join_some(about)}: {note}" for note, about in found.items()
    ]
    gaps = [
        f"{task}: {count:,} {'item is' if count == 1 else 'items are'} not compared: some arm has no score."
        for task, count in overview.left_out.items()
    ]
    reasons: dict[str, list[str]] = {}
    for name, reason in overview.failed.items():
        reasons.setdefault(reason, []).append(name)
    failed = [f"Not evaluated: {join_some(about)}: {reason}" for reason, about in reasons.items()]
    return [*failed, *overview.packages, *gaps, *notes]


def join_some(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def show_seconds(seconds: float) -> str:
    """``3.2 s``, ``4 min 12 s`` or ``2 h 5 min``."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left} min" if hours else f"{minutes} min {rest} s"


def show_count(count: int) -> str:
    """A large number, rounded: ``6.7 B``, ``135 M``."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= 0.9995 * size:  # 999,885,952 is 1 B
            return f"{count / size:.3g} {letter}"
    return str(count)


def describe_prompt(results: Mapping[str, Any]) -> str:
    """The chat template and the system message around a task's text."""
    template = results.get("chat_template_sha")
    system = results.get("system_instruction")
    parts = [f"the model's chat template (SHA-256 {template[:12]})" if template else "no chat template"]
    parts.append(f"system message: {system}" if system else "no system message")
    return ", ".join(parts)
