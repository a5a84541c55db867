"""The self-contained HTML report of one or several runs. Needs neither torch nor lm-eval.

The page loads nothing: style and figures are embedded. All text from a model or a dataset is escaped, and a
browser would not run it anyway.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from gptalt_eval.contract.record import Record
from gptalt_eval.contract.types import Installed, ReportSection
from gptalt_eval.machine.storage import write_atomically
from gptalt_eval.results.analyse import Score, list_headlines, list_scores
from gptalt_eval.results.groups import find_shots, find_style
from gptalt_eval.results.overview import make_overview
from gptalt_eval.results.page import render_page
from gptalt_eval.results.rows import Logged, find_judged, list_faults, list_gaps, read_logged, say_clusters
from gptalt_eval.results.samples import ShownItem, view_item

SHOWN_SAMPLES = 20


@dataclass(frozen=True)
class RunView:
    """One run, ready for the page.

    Attributes:
        styles: by results file, its prompt style.
        prompts: by prompt style, its chat template and system message.
        notes: what must be shown with the results.
    """

    record: Record
    styles: Sequence[str]
    prompts: Mapping[str, str]
    notes: Sequence[str]
    headlines: Sequence[Score]
    scores: Sequence[Score]
    samples: Sequence[tuple[str, Sequence[ShownItem]]]
    sections: Sequence[ReportSection]


def write_report(records: Sequence[Record], target: Path, plugins: Installed) -> Path:
    """Write the page and return its path."""
    write_atomically(target, render_report(records, plugins))
    return target


def render_report(records: Sequence[Record], plugins: Installed) -> str:
    logged = [read_logged(record) for record in records]
    views = [view_run(record, each, plugins) for record, each in zip(records, logged, strict=True)]
    overview = make_overview(records, logged)
    return render_page(
        "gptalt_eval.results", "report", views=views, overview=overview, shown=SHOWN_SAMPLES,
        say_clusters=say_clusters,
    )  # fmt: skip


def view_run(record: Record, logged: Logged, plugins: Installed) -> RunView:
    scores = list_scores(record, logged)
    sections = [
        section for _, given in plugins.collect("report_sections", record=record) for section in given
    ]
    styles = [find_style(results) for results in record.results]
    prompts = {style: describe_prompt(results) for style, results in zip(styles, record.results, strict=True)}
    samples = view_samples(record, logged, styles)
    notes = [*record.notes, *list_faults([logged]), *list_gaps(logged)]
    headlines = list_headlines(record, scores)
    return RunView(record, styles, prompts, notes, headlines, scores, samples, sections)


def describe_prompt(results: Mapping[str, Any]) -> str:
    """The chat template and the system message around a task's text."""
    template = results.get("chat_template_sha")
    system = results.get("system_instruction")
    parts = [f"the model's chat template (SHA-256 {template[:12]})" if template else "no chat template"]
    parts.append(f"system message: {system}" if system else "no system message")
    return ", ".join(parts)


def view_samples(
    record: Record, logged: Logged, styles: Sequence[str]
) -> list[tuple[str, Sequence[ShownItem]]]:
    """The first items of each task, with the model's answers."""
    views: list[tuple[str, Sequence[ShownItem]]] = []
    for result, task in logged.rows:
        judged = find_judged(record.results[result], task, [logged.first(result, task)])
        first: list[Any] = []
        shown: list[ShownItem] = []
        for line in islice(record.read_samples(result, task), SHOWN_SAMPLES * 2):
            first = first or [line.get("filter")]
            if [line.get("filter")] == first and len(shown) < SHOWN_SAMPLES:
                shown.append(view_item(line, judged))  # which cuts long texts: a line may have 30 MB
        if shown:
            shots = find_shots(record.results[result], task)
            style = styles[result] if len(set(styles)) > 1 else ""
            views.append((", ".join(filter(None, (task, style, f"{shots}-shot" if shots else ""))), shown))
    return views
