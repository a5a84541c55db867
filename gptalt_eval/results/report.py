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
from gptalt_eval.results.arms import name_models
from gptalt_eval.results.columns import Entry
from gptalt_eval.results.figures.choice import draw_figures
from gptalt_eval.results.groups import find_style
from gptalt_eval.results.items.build import make_items
from gptalt_eval.results.notes import list_marks, list_notes
from gptalt_eval.results.overview import make_overview
from gptalt_eval.results.page import render_page
from gptalt_eval.results.rows import Logged, read_logged
from gptalt_eval.results.site.places import Place
from gptalt_eval.results.tree import make_tree

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
        tree=tree, figures=draw_figures(overview, tree), as_entry=Entry,
        items=make_items(records, logged, order=overview.arms),
        marks=list_marks(records, names, overview),
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
