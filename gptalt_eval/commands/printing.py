"""Prints rows, JSON, and problems of plugins."""

from __future__ import annotations

import json
import sys

from gptalt_eval.contract.types import Installed
from gptalt_eval.machine.plain import print_plain as print
from gptalt_eval.machine.plain import show_plain


def print_json(value: object) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def warn(plugins: Installed, shown: int = 0) -> int:
    """Print the problems of plugins, except the first ``shown``; returns how many there are."""
    for problem in plugins.problems[shown:]:
        print(f"gptalt-eval: {problem}\n", file=sys.stderr)
    return len(plugins.problems)


def print_rows(rows: list[dict[str, str]]) -> None:
    """Columns, plain enough for grep and fast enough for `ls`."""
    rows = [{key: show_plain(value) for key, value in row.items()} for row in rows]
    if not rows:
        return
    widths = {key: max(len(row[key]) for row in rows) for key in rows[0]}
    for row in rows:
        print("  ".join(value.ljust(widths[key]) for key, value in row.items()).rstrip())
