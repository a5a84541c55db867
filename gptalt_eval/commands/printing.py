"""Prints rows, JSON, and problems of plugins."""

from __future__ import annotations

import json
import sys

from gptalt_eval.contract.types import Installed


def print_json(value: object) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def warn(plugins: Installed, shown: int = 0) -> int:
    """Print the problems of plugins, except the first ``shown``; returns how many there are."""
    for problem in plugins.problems[shown:]:
        print(f"gptalt-eval: {problem}\n", file=sys.stderr)
    return len(plugins.problems)


def print_rows(rows: list[dict[str, str]]) -> None:
    """Columns, plain enough for grep and fast enough for `ls`."""
    if not rows:
        return
    widths = {key: max(len(row[key]) for row in rows) for key in rows[0]}
    for row in rows:
        print("  ".join(value.ljust(widths[key]) for key, value in row.items()).rstrip())
