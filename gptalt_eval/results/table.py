"""The headline scores of a run as a table for the terminal, with what must be known about them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from rich.cells import chop_cells
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gptalt_eval.contract.record import Record
from gptalt_eval.machine.consoles import print_wrapped
from gptalt_eval.machine.plain import show_plain
from gptalt_eval.machine.words import count_things, list_names
from gptalt_eval.machine.wrapping import measure
from gptalt_eval.results.analyse import Score, list_headlines, list_scores
from gptalt_eval.results.rows import Logged, list_faults, list_gaps, read_logged

DIRECTIONS = {True: " ↑", False: " ↓", None: ""}
FILTERED = re.compile(r"(\S+) (\(.*\))( [↑↓])?$")  # a metric, lm-eval's filter, the direction
SHORTEST_NAME = 12  # of a task, in columns
SUBJECT = re.compile(r"(?P<subject>[^\s:]+(?: \([^()]*\))?): (?P<rest>.+)", re.DOTALL)


@dataclass(frozen=True)
class Grid:
    """A table before it is drawn.

    Attributes:
        title: what stands above it.
        headings: of its columns.
        rows: their texts; one with line ends takes several lines.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def measure(self) -> list[int]:
        """The width of each column."""
        columns = zip(self.headings, *self.rows, strict=True)
        return [max(measure(line) for cell in column for line in cell.split("\n")) for column in columns]

    @property
    def width(self) -> int:
        """That of the drawn table: a line and two spaces for each column, and a line at the end."""
        return sum(self.measure()) + 3 * len(self.headings) + 1

    def place(self, heading: str) -> int:
        return self.headings.index(heading)

    def change(self, heading: str, change: Callable[[str], str]) -> Grid:
        place = self.place(heading)
        rows = ((*row[:place], change(row[place]), *row[place + 1 :]) for row in self.rows)
        return replace(self, rows=tuple(rows))

    def drop(self, heading: str) -> Grid:
        place = self.place(heading)
        rows = tuple((*row[:place], *row[place + 1 :]) for row in (self.headings, *self.rows))
        return Grid(self.title, rows[0], rows[1:])


def print_scores(console: Console, records: Sequence[Record]) -> None:
    """Print a table for each run, and then what must be known about the results, each note once."""
    width = console.width if console.is_terminal else None
    shown = [record for record in records if record.results]
    logged = [read_logged(record) for record in shown]
    for record, rows in zip(shown, logged, strict=True):
        grid = fit(make_grid(record, rows, console.options.ascii_only), width)
        print_wrapped(console, grid.title)
        console.print(draw(grid), soft_wrap=True)
    for note in list_notes(shown, logged):
        print_wrapped(console, note, "Note:", "yellow")


def draw(grid: Grid) -> Table:
    table = Table(header_style="bold", width=grid.width)
    for heading in grid.headings:
        is_text = heading in ("Task", "Prompt", "Metric")
        table.add_column(heading, justify="left" if is_text else "right", no_wrap=True)
    for rows in list_tasks(grid):
        table.add_row(*map(Text, stack(rows)))
    return table


def list_tasks(grid: Grid) -> Iterator[list[tuple[str, ...]]]:
    """The rows of each task: the first one has its name."""
    rows: list[tuple[str, ...]] = []
    for row in grid.rows:
        if row[0] and rows:
            yield rows
            rows = []
        rows.append(row)
    if rows:
        yield rows


def stack(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows of a task as one, so that a name of several lines stands beside several metrics."""
    heights = [max(cell.count("\n") for cell in row[1:]) + 1 for row in rows]
    stacked = [rows[0][0]]
    for column in [*zip(*rows, strict=True)][1:]:
        padded = (
            cell + "\n" * (height - cell.count("\n") - 1)
            for cell, height in zip(column, heights, strict=True)
        )
        stacked.append("\n".join(padded).rstrip("\n"))
    return stacked


def make_grid(record: Record, logged: Logged, ascii_only: bool = False) -> Grid:
    """The headline scores of a run.

    Args:
        record: the run.
        logged: its rows.
        ascii_only: whether the terminal has no arrows, for the direction of a metric.
    """
    scores = list_headlines(record, list_scores(record, logged))
    styles = [results.get("config", {}).get("prompt_style") for results in record.results]
    rows = []
    for _, group in groupby(scores, key=lambda score: (score.result, score.task)):
        first, *others = group
        style, shots = styles[first.result] or "", "" if first.shots is None else str(first.shots)
        items = first.counted
        rows.append(("  " * first.depth + first.alias, style, shots, *write_score(first, ascii_only), items))
        for score in others:
            again = "" if score.items == first.items else score.counted
            rows.append(("", "", "", *write_score(score, ascii_only), again))
    headings = ("Task", "Prompt", "Shots", "Metric", "Score", "95 % interval", "Items")
    grid = Grid(record.model, headings, tuple(tuple(map(show_plain, row)) for row in rows))
    return grid if any(styles) else grid.drop("Prompt")


def write_score(score: Score, ascii_only: bool) -> tuple[str, str, str]:
    """The metric with its direction, the value, and the interval unless it says no more than the value."""
    low, high = (f"{bound:.3f}" for bound in score.interval or (score.value, score.value))
    arrow = "" if ascii_only else DIRECTIONS[score.higher_is_better]
    return score.title + arrow, f"{score.value:.3f}", f"{low} - {high}" if low != high else ""


def fit(grid: Grid, width: int | None) -> Grid:
    """A table shortened, step by step, until it has at most a number of columns; no figure is cut."""
    for shorten in list_steps(width or 0):
        if width and grid.width > width:
            grid = shorten(grid)
    return grid


def list_steps(width: int) -> Iterator[Callable[[Grid], Grid]]:
    yield move_up("Prompt", "{}")
    yield move_up("Shots", "{}-shot")
    yield drop_filters
    yield lambda grid: grid.change("Metric", lambda text: FILTERED.sub(r"\1\3\n\2", text))
    yield lambda grid: grid.change("95 % interval", lambda text: re.sub(r"(?<=\d) - (?=\d)", "-", text))
    yield lambda grid: grid.change("Items", lambda text: text.replace(" in ", "\nin "))
    yield describe_below
    yield lambda grid: break_names(grid, width)
    yield lambda grid: grid.change("Items", lambda text: text.replace(" of ", "\nof "))
    yield lambda grid: grid.change("Metric", lambda name: break_name(name, SHORTEST_NAME))
    yield lambda grid: break_names(grid, width)
    yield lambda grid: grid.drop("95 % interval")


def move_up(heading: str, form: str) -> Callable[[Grid], Grid]:
    """Move what all tasks have in common from a column to the title."""

    def move(grid: Grid) -> Grid:
        if heading not in grid.headings:
            return grid
        task, place = grid.place("Task"), grid.place(heading)
        found = {row[place] for row in grid.rows if row[task]}
        if len(found) != 1 or not (common := found.pop()):
            return grid
        return replace(grid.drop(heading), title=f"{grid.title}, {form.format(common)}")

    return move


def drop_filters(grid: Grid) -> Grid:
    """Leave out the filter of a metric that its task has only once."""
    place = grid.place("Metric")
    rows = []
    for task in list_tasks(grid):
        names = [FILTERED.sub(r"\1\3", row[place]) for row in task]
        for row, name in zip(task, names, strict=True):
            metric = name if names.count(name) == 1 else row[place]
            rows.append((*row[:place], metric, *row[place + 1 :]))
    return replace(grid, rows=tuple(rows))


def describe_below(grid: Grid) -> Grid:
    """Move prompt style and shots from their columns below the names of the tasks."""
    forms = {"Prompt": "{}", "Shots": "{}-shot"}
    places = [(grid.place(heading), form) for heading, form in forms.items() if heading in grid.headings]
    rows = []
    for row in grid.rows:
        said = ", ".join(form.format(row[place]) for place, form in places if row[place])
        rows.append((f"{row[0]}\n({said})" if said else row[0], *row[1:]))
    described = replace(grid, rows=tuple(rows))
    for heading in forms:
        described = described.drop(heading) if heading in described.headings else described
    return described


def break_names(grid: Grid, width: int) -> Grid:
    """Break the names of tasks, as little as necessary: cut short, two could look the same."""
    room = grid.measure()[grid.place("Task")] - (grid.width - width)
    return grid.change("Task", lambda name: break_name(name, max(room, SHORTEST_NAME)))


def break_name(name: str, room: int) -> str:
    """A name in lines of at most a number of columns, if possible broken after a space or an underscore."""
    if "\n" in name:
        return "\n".join(break_name(line, room) for line in name.split("\n"))
    indent = " " * (len(name) - len(name.lstrip()))
    lines = [""]
    for part in re.findall(r"[^\s_/.-]*[\s_/.-]*", name.strip()):
        # rich's chop_cells leaves out text without a width
        is_long = measure(part) > room - len(indent)
        for piece in chop_cells(part, room - len(indent)) if is_long else (part,):
            if measure(lines[-1] + piece.rstrip()) > room - len(indent):
                lines.append("")
            lines[-1] += piece
    return "\n".join(indent + line.rstrip() for line in lines)


def list_notes(records: Sequence[Record], logged: Sequence[Logged]) -> list[str]:
    """What must be shown with the results of some runs, each sentence once, with the tasks or models."""
    models: dict[str, list[str]] = {}
    for record, rows in zip(records, logged, strict=True):
        for note in dict.fromkeys((*record.notes, *list_faults([rows]), *list_gaps(rows))):
            models.setdefault(note, []).append(record.model)
    whose = {note: f" ({list_names(named)})" for note, named in models.items() if len(named) < len(records)}
    return list(join_notes([note + whose.get(note, "") for note in models]))


def join_notes(notes: Sequence[str]) -> Iterator[str]:
    """Notes of which those that differ only in their task and in numbers are one."""
    alike: dict[str, list[tuple[str, str]]] = {}
    for note in notes:
        found = SUBJECT.fullmatch(note)
        key = re.sub(r"\d[\d,.]*", "0", found["rest"]) if found else note
        alike.setdefault(key, []).append((found["subject"] if found else "", note))
    for (subject, note), *others in alike.values():
        rest = note.removeprefix(f"{subject}: ")
        if not others:
            yield note
        elif all(other == f"{named}: {rest}" for named, other in others):
            yield f"{list_names([subject, *(named for named, _ in others)])}: {rest}"
        else:
            named = list_names([named for named, _ in others])
            yield f"{note} Likewise {count_things(len(others), 'other task')}: {named}."
