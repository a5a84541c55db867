"""The headline scores of a run as a table for the terminal."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from gptalt_eval.contract.record import Record
from gptalt_eval.results.analyse import Score, list_headlines, list_scores


def make_table(record: Record, scores: list[Score] | None = None) -> Table:
    """The headline scores of a run, as the terminal shows them."""
    notes = Text("\n".join(f"Note: {note}" for note in record.notes), "yellow") if record.notes else None
    table = Table(
        title=escape(record.model), title_justify="left", header_style="bold",
        caption=notes, caption_justify="left",
    )  # fmt: skip
    styles = [results.get("config", {}).get("prompt_style") for results in record.results]
    left = ("Task", "Prompt", "Metric")
    for heading in (
        "Task",
        *(["Prompt"] if any(styles) else []),
        "Shots",
        "Metric",
        "Score",
        "95 % interval",
        "Items",
    ):
        # long names wrap: if they were cut, two tasks could look the same
        table.add_column(heading, justify="left" if heading in left else "right", overflow="fold")
    previous: tuple[int, str] | None = None
    for score in list_headlines(scores if scores is not None else list_scores(record)):
        is_new = (score.result, score.task) != previous
        previous = (score.result, score.task)
        interval = f"{score.interval[0]:.3f} - {score.interval[1]:.3f}" if score.interval else ""
        shots = "" if score.shots is None else str(score.shots)
        name = "  " * score.depth + score.alias if is_new else ""
        metric = score.metric if score.filter == "none" else f"{score.metric} ({score.filter})"
        items = f"{score.items:,}" if is_new else ""
        prompt = [(styles[score.result] or "") if is_new else ""] if any(styles) else []
        row = [escape(name), *prompt, shots if is_new else "", metric, f"{score.value:.3f}", interval, items]
        table.add_row(*row)
    return table
