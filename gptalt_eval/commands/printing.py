"""Rows, JSON, plugin problems."""

from __future__ import annotations

import json
import sys

from gptalt_eval.contract.types import Installed


def print_json(value: object) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def warn(plugins: Installed, said: int = 0) -> int:
    """Say what is wrong with plugins, beyond the first ``said`` problems; returns how many there are."""
    for problem in plugins.problems[said:]:
        print(f"gptalt-eval: {problem}\n", file=sys.stderr)
    return len(plugins.problems)


def print_rows(rows: list[dict[str, str]]) -> None:
    """Columns, plain enough for grep and fast enough for `ls`."""
    if not rows:
        return
    widths = {key: max(len(row[key]) for row in rows) for key in rows[0]}
    for row in rows:
        print("  ".join(value.ljust(widths[key]) for key, value in row.items()).rstrip())
