"""The headline scores of a run as a table for the terminal."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from gptalt_eval.contract.record import Record
from gptalt_eval.results.analyse import Score, list_headlines, list_scores
from gptalt_eval.results.rows import list_faults, list_gaps, read_logged, say_clusters


def make_table(record: Record) -> Table:
    """The headline scores of a run, as the terminal shows them."""
    logged = read_logged(record)
    lines = [f"Note: {note}" for note in (*record.notes, *list_faults([logged]), *list_gaps(logged))]
    notes = Text("\n".join(lines), "yellow") if lines else None
    table = Table(
        title=Text(record.model), title_justify="left", header_style="bold",
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
    previous: Score | None = None
    first: Score | None = None  # of the task
    for score in list_headlines(record, list_scores(record, logged)):
        is_new = previous is None or (score.result, score.task) != (previous.result, previous.task)
        interval = f"{score.interval[0]:.3f} - {score.interval[1]:.3f}" if score.interval else ""
        shots = "" if score.shots is None else str(score.shots)
        name = "  " * score.depth + score.alias if is_new else ""
        metric = score.metric if score.filter == "none" else f"{score.metric} ({score.filter})"
        items = f"{score.items:,}{say_clusters(score.clusters, score.cluster)}"
        first = score if is_new or first is None else first
        if not is_new and score.items == first.items:
            items = ""  # those of the task
        previous = score
        prompt = [(styles[score.result] or "") if is_new else ""] if any(styles) else []
        row = [name, *prompt, shots if is_new else "", metric, f"{score.value:.3f}", interval, items]
        table.add_row(*map(Text, row))
    return table
