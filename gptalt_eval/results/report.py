"""The self-contained HTML report of one or several runs. Needs neither torch nor lm-eval.

The page loads nothing: style and figures are embedded. All text from a model or a dataset is
escaped (jinja2's autoescape).
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
from gptalt_eval.results.arms import find_style
from gptalt_eval.results.overview import make_overview
from gptalt_eval.results.samples import ShownItem, view_item

SHOWN_SAMPLES = 20


@dataclass(frozen=True)
class RunView:
    """One run, ready for the page.

    Attributes:
        styles: by results file, its prompt style.
        prompts: by prompt style, its chat template and system message.
    """

    record: Record
    styles: Sequence[str]
    prompts: Mapping[str, str]
    headlines: Sequence[Score]
    scores: Sequence[Score]
    samples: Sequence[tuple[str, Sequence[ShownItem]]]
    sections: Sequence[ReportSection]


def write_report(records: Sequence[Record], target: Path, plugins: Installed) -> Path:
    """Write the page and return its path."""
    write_atomically(target, render_report(records, plugins))
    return target


def render_report(records: Sequence[Record], plugins: Installed) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("gptalt_eval.results", "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    views = [view_run(record, plugins) for record in records]
    overview = make_overview(records)
    return environment.get_template("report.html.j2").render(
        views=views, overview=overview, shown=SHOWN_SAMPLES
    )


def view_run(record: Record, plugins: Installed) -> RunView:
    scores = list_scores(record)
    sections = [
        section for _, given in plugins.collect("report_sections", record=record) for section in given
    ]
    styles = [find_style(results) for results in record.results]
    prompts = {style: describe_prompt(results) for style, results in zip(styles, record.results, strict=True)}
    samples = view_samples(record, scores, styles)
    return RunView(record, styles, prompts, list_headlines(scores), scores, samples, sections)


def describe_prompt(results: Mapping[str, Any]) -> str:
    """The chat template and the system message around a task's text."""
    template = results.get("chat_template_sha")
    system = results.get("system_instruction")
    parts = [f"the model's chat template (SHA-256 {template[:12]})" if template else "no chat template"]
    parts.append(f"system message: {system}" if system else "no system message")
    return ", ".join(parts)


def view_samples(
    record: Record, scores: Sequence[Score], styles: Sequence[str]
) -> list[tuple[str, Sequence[ShownItem]]]:
    """The first items of each task, with the model's answers."""
    views: list[tuple[str, Sequence[ShownItem]]] = []
    for result, task in dict.fromkeys((score.result, score.task) for score in scores if not score.is_group):
        logged = list(islice(record.read_samples(result, task), SHOWN_SAMPLES * 2))
        first_filter = logged[0]["filter"] if logged else ""
        shown = [view_item(line) for line in logged if line["filter"] == first_filter][:SHOWN_SAMPLES]
        if shown:
            shots = record.results[result].get("n-shot", {}).get(task)
            style = styles[result] if len(set(styles)) > 1 else ""
            views.append((", ".join(filter(None, (task, style, f"{shots}-shot" if shots else ""))), shown))
    return views
