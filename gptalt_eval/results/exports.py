"""Scores as tables for other programs: CSV for spreadsheets, Markdown for pages, LaTeX for papers."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from gptalt_eval.contract.record import Record
from gptalt_eval.machine.plain import show_plain
from gptalt_eval.results.analyse import list_headlines, list_scores
from gptalt_eval.results.arms import Arm, find_versions, name_models, walk_arms
from gptalt_eval.results.columns import Entry
from gptalt_eval.results.notes import list_marks
from gptalt_eval.results.overview import Overview, make_overview
from gptalt_eval.results.rows import Logged, read_logged

COLUMNS = (
    "model", "prompt_style", "task", "is_group", "shots", "metric", "filter", "value", "low", "high", "items",
    "available", "higher_is_better", "version",
)  # fmt: skip
FACTORS = {"prompt_style": "Prompt", "shots": "Shots"}
#: characters with which a text begins that a spreadsheet takes for a formula
FORMULAS = ("=", "+", "-", "@", "\t", "\r")
LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%",
    "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
}  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """A cell: its text, and whether it is the best of its column, or not significantly different from it."""

    text: str
    is_best: bool = False
    is_tied: bool = False


@dataclass(frozen=True)
class Grid:
    """A table for people.

    Attributes:
        headings: of the columns.
        texts: how many columns are text, from the left; the others are numbers.
        lines: the rows.
        ties: whether some cells are the best of their columns.
        marks: what makes the scores those of a part of the data.
    """

    headings: Sequence[str]
    texts: int
    lines: Sequence[Sequence[Cell]]
    ties: bool = False
    marks: Sequence[str] = ()


def export_scores(records: Sequence[Record], kind: str) -> str:
    """The scores of some runs in one of ``FORMATS``.

    CSV has every score, one a line, with all digits. The others have what the report begins with: arms by
    tasks, or of one arm its scores.
    """
    return FORMATS[kind](records, [read_logged(record) for record in records])


def write_csv(records: Sequence[Record], logged: Sequence[Logged]) -> str:
    arms = {(each.record, each.result, each.name): each.arm for each in walk_arms(records)}
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(COLUMNS)
    for place, (record, rows) in enumerate(zip(records, logged, strict=True)):
        for score in list_scores(record, rows):
            arm = arms[place, score.result, score.task]
            low, high = score.interval or ("", "")
            version = find_versions(record.results[score.result], score.task).get(score.task, "")
            values = (
                arm.model, arm.prompt_style, score.task, score.is_group, score.shots, score.metric,
                score.filter, score.value, low, high, score.items or None, score.available,
                score.higher_is_better, version,
            )  # fmt: skip
            writer.writerow([protect(value) for value in values])
    return written.getvalue()


def protect(value: object) -> object:
    """A value for a spreadsheet: control characters are shown, and what begins like a formula is quoted."""
    if not isinstance(value, str):
        return value
    return f"'{show_plain(value)}" if value.startswith(FORMULAS) else show_plain(value)


def write_markdown(records: Sequence[Record], logged: Sequence[Logged]) -> str:
    grid = make_grid(records, logged)

    def show(cell: Cell) -> str:
        text = escape_markdown(cell.text)
        return f"**{text}**" if cell.is_best else f"{text} ≈" if cell.is_tied else text

    rules = ["---" if place < grid.texts else "---:" for place in range(len(grid.headings))]
    lines = [
        [escape_markdown(each) for each in grid.headings],
        rules,
        *([*map(show, line)] for line in grid.lines),
    ]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    notes = ["**best**, ≈ not significantly different from it"] if grid.ties else []
    return "\n".join([table, *(f"{note}\n" for note in (*notes, *map(escape_markdown, grid.marks)))])


def escape_markdown(text: str) -> str:
    escaped = show_plain(text).replace("\\", "\\\\").replace("<", "&lt;")
    for mark in ("|", "*", "_", "`", "["):
        escaped = escaped.replace(mark, f"\\{mark}")
    return " ".join(escaped.split())


def write_latex(records: Sequence[Record], logged: Sequence[Logged]) -> str:
    grid = make_grid(records, logged)

    def show(cell: Cell) -> str:
        text = escape_latex(cell.text)
        return f"\\textbf{{{text}}}" if cell.is_best else f"\\underline{{{text}}}" if cell.is_tied else text

    columns = "l" * grid.texts + "r" * (len(grid.headings) - grid.texts)
    lines = [" & ".join(map(show, line)) + r" \\" for line in grid.lines]
    headings = " & ".join(map(escape_latex, grid.headings)) + r" \\"
    notes = ["% bold: the best; underlined: not significantly different from it"] if grid.ties else []
    notes += [f"% {' '.join(show_plain(mark).split())}" for mark in grid.marks]
    return "\n".join([
        r"% needs \usepackage{booktabs}", *notes, f"\\begin{{tabular}}{{@{{}}{columns}@{{}}}}", r"\toprule",
        headings, r"\midrule", *lines, r"\bottomrule", r"\end{tabular}", "",
    ])  # fmt: skip


def escape_latex(text: str) -> str:
    return "".join(LATEX.get(letter, letter) for letter in " ".join(show_plain(text).split()))


def make_grid(records: Sequence[Record], logged: Sequence[Logged]) -> Grid:
    overview = make_overview(records, logged)
    grid = lay_out_arms(overview) if len(overview.arms) > 1 else lay_out_scores(records, logged)
    return replace(grid, marks=list_marks(records, name_models(records), overview))


def lay_out_arms(overview: Overview) -> Grid:
    """Arms by tasks; what all arms have in common has no column."""
    factors = overview.factors[1:]
    names = ["Model", *(FACTORS[factor] for factor in factors)]
    headings = [f"{heading.title} ({heading.metric})" for heading in overview.headings]
    means = len(overview.averaged) > 1
    lines = [
        [
            Cell(arm.model),
            *(Cell(str(getattr(arm, factor))) for factor in factors),
            *([show_mean(overview, arm)] if means else []),
            *map(show_entry, entries),
        ]
        for arm, entries in zip(overview.arms, overview.entries, strict=True)
    ]
    named = [f"Mean of {len(overview.averaged)}"] if means else []
    return Grid([*names, *named, *headings], len(names), lines, ties=True)


def show_mean(overview: Overview, arm: Arm) -> Cell:
    return Cell(f"{overview.standings[arm].mean:.3f}", overview.is_best(arm), overview.is_tied(arm))


def show_entry(entry: Entry | None) -> Cell:
    return Cell("") if entry is None else Cell(f"{entry.score.value:.3f}", entry.is_best, entry.is_tied)


def lay_out_scores(records: Sequence[Record], logged: Sequence[Logged]) -> Grid:
    headings = ("Task", "Metric", "Shots", "Score", "95 % interval", "Items")
    lines = []
    for record, rows in zip(records, logged, strict=True):
        for score in list_headlines(record, list_scores(record, rows)):
            interval = f"{score.interval[0]:.3f}-{score.interval[1]:.3f}" if score.interval else ""
            shots = "" if score.shots is None else str(score.shots)
            values = (
                score.task,
                score.title,
                shots,
                f"{score.value:.3f}",
                interval,
                f"{score.items:,}" if score.items else "",
            )
            lines.append([Cell(value) for value in values])
    return Grid(headings, 2, lines)


FORMATS: Mapping[str, Callable[[Sequence[Record], Sequence[Logged]], str]] = MappingProxyType(
    {"csv": write_csv, "markdown": write_markdown, "latex": write_latex}
)
