"""``gptalt-eval scienceqa score``."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptalt_eval import Command, GptaltError, Option
from gptalt_eval import print_plain as print
from gptalt_eval_plugin_scienceqa.leaderboard import COLUMNS, POLICIES, Scored, read_questions, score
from gptalt_eval_plugin_scienceqa.predictions import read_predictions

if TYPE_CHECKING:
    from gptalt_eval import Installed

SCORE = (
    Option(
        ("predictions",),
        {
            "nargs": "+",
            "type": Path,
            "metavar": "PREDICTIONS",
            "help": "result files, answer lines, run folders",
        },
    ),
    Option(
        ("--data_dir",),
        {"metavar": "FOLDER", "help": "with scienceqa/problems.json of the release (default: $GPTALT_DATA)"},
    ),
    Option(
        ("--missing",),
        {
            "choices": POLICIES,
            "default": "refuse",
            "help": "questions without a prediction: refused (default), wrong, or left out",
        },
    ),
    Option(
        ("--unknown",),
        {
            "choices": ("refuse", "leave_out"),
            "default": "refuse",
            "help": "predictions for questions that are not in the test set: refused (default), or left out",
        },
    ),
    Option(("--json",), {"action": "store_true", "help": "print JSON"}),
)


def make_command() -> Command:
    summary = "score predictions of others and of our own runs, as the leaderboard does"
    examples = (
        "gptalt-eval scienceqa score predictions.json --data_dir ~/data",
        "gptalt-eval scienceqa score runs/2026-01-31_12-00-00 --missing wrong",
    )
    score = Command("score", summary, run_score, SCORE, examples=examples)
    return Command("scienceqa", "ScienceQA's leaderboard", commands=(score,))


def run_score(arguments: argparse.Namespace, plugins: Installed) -> int:
    folder = arguments.data_dir or os.environ.get("GPTALT_DATA")
    if not folder or not Path(folder).is_dir():
        text = f"There is no folder {folder}." if folder else "Where the test set is, is not said."
        raise GptaltError(text, "Give the folder of release files: --data_dir FOLDER")
    questions = read_questions(Path(folder).expanduser())
    lines = [
        score(predictions, questions, arguments.missing, arguments.unknown)
        for path in arguments.predictions
        for predictions in read_predictions(path, questions)
    ]
    if arguments.json:
        print(json.dumps([describe(line) for line in lines], indent=2, ensure_ascii=False), as_is=True)
    else:
        show(lines)
    return 0


def describe(line: Scored) -> dict[str, Any]:
    columns = {
        name: {"accuracy": share.right / share.questions if share.questions else None, **vars(share)}
        for name, share in line.columns.items()
    }
    return {"name": line.name, "columns": columns, "no_answer": line.no_answer, "notes": line.notes}


def show(lines: Sequence[Scored]) -> None:
    """Print a table of at most 80 columns: below each name percents, and of how many questions."""
    print(write_line("", [*COLUMNS, "none"]))
    for line in lines:
        shares = [line.columns[name] for name in COLUMNS]
        percents = ["" if share.percent is None else f"{share.percent:.2f}" for share in shares]
        print(line.name)
        print(write_line("percent", [*percents, f"{100 * line.no_answer / shares[-1].questions:.2f}"]))
        print(write_line("questions", [*(f"{share.questions:,}" for share in shares), f"{line.no_answer:,}"]))
    print("none: replies that choose no option, which count as wrong")
    for note in (note for line in lines for note in line.notes):
        print(f"Note: {note}")


def write_line(label: str, cells: Sequence[str]) -> str:
    return f"{label:<10}" + "".join(f"{cell:>7}" for cell in cells)
