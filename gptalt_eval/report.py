"""The self-contained HTML report of one run or several. Needs neither torch nor lm-eval.

The page loads nothing: style and figures are in it. All text that comes from a model or a dataset is
escaped (jinja2's autoescape).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from gptalt_eval.analyse import Score, list_headlines, list_scores
from gptalt_eval.overview import make_overview
from gptalt_eval.plugins import Plugins
from gptalt_eval.record import Record
from gptalt_eval.storage import write_atomically
from gptalt_eval.types import ReportSection

SHOWN_SAMPLES = 20


@dataclass(frozen=True)
class ShownSample:
    """One item as the page shows it.

    Attributes:
        number: its row in the split.
        is_right: whether the first metric calls it right; None where it is no yes-or-no metric.
        prompt: what the model was given.
        options: the continuations that were compared; empty for generation.
        chosen: index of the likeliest option; -1 for generation.
        gold: the target.
        answer: what was generated; empty for multiple choice.
        metrics: its metrics.
    """

    number: int
    is_right: bool | None
    prompt: str
    options: tuple[str, ...]
    chosen: int
    gold: str
    answer: str
    metrics: Mapping[str, Any]


@dataclass(frozen=True)
class RunView:
    """One run, ready for the page."""

    record: Record
    headlines: Sequence[Score]
    scores: Sequence[Score]
    samples: Sequence[tuple[str, Sequence[ShownSample]]]
    sections: Sequence[ReportSection]


def write_report(records: Sequence[Record], target: Path, plugins: Plugins) -> Path:
    """Write the page; returns where it lies."""
    write_atomically(target, render_report(records, plugins))
    return target


def render_report(records: Sequence[Record], plugins: Plugins) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("gptalt_eval", "pages"),
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


def view_run(record: Record, plugins: Plugins) -> RunView:
    scores = list_scores(record)
    sections = [
        section for _, given in plugins.collect("report_sections", record=record) for section in given
    ]
    return RunView(record, list_headlines(scores), scores, list(view_samples(record, scores)), sections)


def view_samples(record: Record, scores: Sequence[Score]) -> list[tuple[str, Sequence[ShownSample]]]:
    """The first items of each task, with what the model made of them."""
    views: list[tuple[str, Sequence[ShownSample]]] = []
    for result, task in dict.fromkeys((score.result, score.task) for score in scores if not score.is_group):
        logged = list(islice(record.read_samples(result, task), SHOWN_SAMPLES * 2))
        first_filter = logged[0]["filter"] if logged else ""
        shown = [view_sample(line) for line in logged if line["filter"] == first_filter][:SHOWN_SAMPLES]
        if shown:
            shots = record.results[result].get("n-shot", {}).get(task)
            views.append((f"{task}, {shots}-shot" if shots else task, shown))
    return views


def view_sample(line: Mapping[str, Any]) -> ShownSample:
    requests = [list(arguments.values()) for arguments in line["arguments"].values()]
    is_choice = len(requests) > 1 or (requests and isinstance(requests[0][-1], str))
    metrics = {name: line.get(name) for name in line.get("metrics", [])}
    options = tuple(str(request[-1]) for request in requests) if is_choice else ()
    if len(set(options)) == 1 and len(options) > 1:  # the options stand in the prompt, as in WinoGrande
        options = tuple(str(request[0]) for request in requests)
    return ShownSample(
        number=line["doc_id"],
        is_right=find_verdict(metrics),
        prompt=str(requests[0][0]) if requests else "",
        options=options,
        chosen=find_likeliest(line["filtered_resps"]) if is_choice else -1,
        gold=str(line["target"]),
        answer="" if is_choice else str(line["filtered_resps"][0]),
        metrics={name: value for name, value in metrics.items() if isinstance(value, (int, float))},
    )


def find_verdict(metrics: Mapping[str, Any]) -> bool | None:
    values = [value for value in metrics.values() if isinstance(value, (int, float))]
    return bool(values[0]) if values and values[0] in (0, 1) else None


def find_likeliest(answers: Sequence[Any]) -> int:
    """The option of the highest log-likelihood; lm-eval logs these as text."""
    likelihoods = [float(answer[0]) for answer in answers]
    return max(range(len(likelihoods)), key=likelihoods.__getitem__)
