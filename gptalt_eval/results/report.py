"""The self-contained HTML report of one or several runs. Needs neither torch nor lm-eval.

The page loads nothing: style and figures are embedded. All text from a model or a dataset is escaped, and a
browser would not run it anyway.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptalt_eval.contract.record import Record
from gptalt_eval.contract.types import Installed, ReportSection
from gptalt_eval.machine.storage import write_atomically
from gptalt_eval.results.analyse import Score, list_headlines, list_scores
from gptalt_eval.results.groups import find_shots, find_style
from gptalt_eval.results.items import SHOWN, ShownTask, view_task
from gptalt_eval.results.overview import make_overview
from gptalt_eval.results.page import render_page
from gptalt_eval.results.pictures import Album
from gptalt_eval.results.plots import draw_figures
from gptalt_eval.results.rows import Logged, find_judged, list_faults, list_gaps, read_logged, say_clusters

#: what has a style sheet or a script of its own
PARTS = ("address", "leaderboard", "figures", "items")


@dataclass(frozen=True)
class RunView:
    """One run, ready for the page.

    Attributes:
        styles: by results file, its prompt style.
        prompts: by prompt style, its chat template and system message.
        notes: what must be shown with the results.
        tasks: some items of each task, by its title.
    """

    record: Record
    styles: Sequence[str]
    prompts: Mapping[str, str]
    notes: Sequence[str]
    headlines: Sequence[Score]
    scores: Sequence[Score]
    tasks: Sequence[tuple[str, ShownTask]]
    sections: Sequence[ReportSection]


def write_report(records: Sequence[Record], target: Path, plugins: Installed) -> Path:
    """Write the page and return its path."""
    write_atomically(target, render_report(records, plugins))
    return target


def render_report(records: Sequence[Record], plugins: Installed) -> str:
    logged = [read_logged(record) for record in records]
    album = Album()
    views = [view_run(record, each, plugins, album) for record, each in zip(records, logged, strict=True)]
    overview = make_overview(records, logged, album)
    return render_page(
        "gptalt_eval.results", "report", PARTS, views=views, overview=overview, shown=SHOWN, album=album,
        figures=draw_figures(overview) if overview else [], say_clusters=say_clusters,
    )  # fmt: skip


def view_run(record: Record, logged: Logged, plugins: Installed, album: Album) -> RunView:
    scores = list_scores(record, logged)
    sections = [
        section for _, given in plugins.collect("report_sections", record=record) for section in given
    ]
    styles = [find_style(results) for results in record.results]
    prompts = {style: describe_prompt(results) for style, results in zip(styles, record.results, strict=True)}
    tasks = view_tasks(record, logged, styles, album)
    notes = [*record.notes, *list_faults([logged]), *list_gaps(logged)]
    headlines = list_headlines(record, scores)
    return RunView(record, styles, prompts, notes, headlines, scores, tasks, sections)


def describe_prompt(results: Mapping[str, Any]) -> str:
    """The chat template and the system message around a task's text."""
    template = results.get("chat_template_sha")
    system = results.get("system_instruction")
    parts = [f"the model's chat template (SHA-256 {template[:12]})" if template else "no chat template"]
    parts.append(f"system message: {system}" if system else "no system message")
    return ", ".join(parts)


def view_tasks(
    record: Record, logged: Logged, styles: Sequence[str], album: Album
) -> list[tuple[str, ShownTask]]:
    """Some items of each task, with the model's answers."""
    views: list[tuple[str, ShownTask]] = []
    for result, task in logged.rows:
        judged = find_judged(record.results[result], task, [logged.first(result, task)])
        shown = view_task(record, result, task, judged, album)
        if shown.items:
            shots = find_shots(record.results[result], task)
            style = styles[result] if len(set(styles)) > 1 else ""
            title = ", ".join(filter(None, (task, style, f"{shots}-shot" if shots else "")))
            views.append((title, shown))
    return views
