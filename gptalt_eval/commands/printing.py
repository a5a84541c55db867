"""Prints rows, JSON, and problems of plugins."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence

from gptalt_eval.contract.types import Installed
from gptalt_eval.machine.plain import print_plain as print
from gptalt_eval.machine.plain import show_plain
from gptalt_eval.machine.wrapping import GLUE, find_width, measure, wrap

WIDEST = 24  # of a column that others stand beside
INDENT = 4  # of what stands below


def print_json(value: object) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False), as_is=True)


def warn(plugins: Installed, shown: int = 0) -> int:
    """Print the problems of plugins, except the first ``shown``; returns how many there are."""
    for problem in plugins.problems[shown:]:
        print(f"gptalt-eval: {problem}\n", file=sys.stderr)
    return len(plugins.problems)


def print_rows(rows: list[dict[str, str]], below: str = "") -> None:
    """Columns, plain enough for grep and fast enough for `ls`; on a narrow terminal, rows of several lines.

    Args:
        rows: their cells, by column.
        below: the column that goes below the others first.
    """
    rows = [{key: show_plain(value) for key, value in row.items()} for row in rows]
    if not rows:
        return
    texts = [list(row.values()) for row in rows]
    width = find_width(sys.stdout)
    lines = align(texts)
    if width and max(map(measure, lines)) > width:
        order = sorted(rows[0], key=below.__eq__)
        lines = [*fold_rows([[row[key] for key in order] for row in rows], width)]
    for line in lines:
        print(line, as_is=True)


def align(rows: Sequence[Sequence[str]], widest: int = sys.maxsize) -> list[str]:
    """The rows as lines with aligned columns; what is wider than the widest column moves the rest."""
    widths = [min(widest, max(map(measure, column))) for column in zip(*rows, strict=True)]
    cells = (
        (value + " " * (width - measure(value)) for value, width in zip(row, widths, strict=True))
        for row in rows
    )
    return ["  ".join(row).rstrip() for row in cells]


def fold_rows(rows: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """The rows in the width of a terminal: what has no room beside the first columns goes below them."""
    widths = [min(WIDEST, max(map(measure, column))) for column in zip(*rows, strict=True)]
    first = max(1, sum(sum(widths[:count]) + 2 * (count - 1) <= width for count in range(1, len(widths) + 1)))
    for row, line in zip(rows, align([row[:first] for row in rows], WIDEST), strict=True):
        yield wrap(line, width, INDENT)
        below = "  ".join(
            value.replace(" ", GLUE) if measure(value) <= width // 3 else value
            for value in row[first:]
            if value
        )
        if below:
            yield wrap(" " * INDENT + below, width, 0)


def format_facts(facts: Mapping[str, str]) -> str:
    """Names and what they are, in two columns; what is empty is left out."""
    column = max(len(key) for key in facts) + 2
    lines = [f"{key + ':':<{column}}{show_plain(value)}" for key, value in facts.items() if value]
    width = find_width(sys.stdout)
    return "\n".join(wrap(line, width, column) if width else line for line in lines)
