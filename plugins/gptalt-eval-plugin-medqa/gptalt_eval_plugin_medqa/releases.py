"""Converts the publishers' files to the schema of the hub versions that the task YAMLs use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gptalt_eval import GptaltError, read_json

Row = dict[str, Any]
PUBMEDQA = ("ori_pqal.json", "test_ground_truth.json")
KEPT = ("QUESTION", "CONTEXTS", "LABELS", "MESHES", "final_decision", "LONG_ANSWER")


def convert_medqa(index: int, row: Row) -> Row:
    """A question of MedQA: its options become a list, since all rows of a table have the same columns."""
    options = [{"key": key, "value": value} for key, value in row["options"].items()]
    kept = {key: row[key] for key in ("meta_info", "question", "answer_idx", "answer")}
    return {**kept, "options": options}


def convert_medmcqa(index: int, row: Row) -> Row:
    """A question of MedMCQA: the release numbers the options from 1, the hub version from 0."""
    keys = ("id", "question", "opa", "opb", "opc", "opd")
    details = ("choice_type", "exp", "subject_name", "topic_name")
    return {
        **{key: row[key] for key in keys},
        "cop": row["cop"] - 1,
        **{key: row.get(key) for key in details},
    }


def read_pubmedqa(files: tuple[Path, ...], config: str | None) -> Iterator[Row]:
    """The 500 questions in the release's second file (the test set), or the 500 others.

    Both files are needed; the given one decides which half is read.
    """
    for file in files:
        folder = file.parent
        missing = [name for name in PUBMEDQA if not (folder / name).is_file()]
        if missing:
            raise GptaltError(
                f"PubMedQA: {folder / missing[0]} is missing; {file.name} alone is not enough.",
                "Both files are published at github.com/pubmedqa/pubmedqa.",
            )
        rows, test = (read_json(folder / name) for name in PUBMEDQA)
        is_test = file.name == PUBMEDQA[1]
        for name in test if is_test else [name for name in rows if name not in test]:
            try:
                row = rows[name]
                yield {key: row[key] for key in KEPT} | {"YEAR": row.get("YEAR")}
            except (KeyError, TypeError) as error:
                raise GptaltError(
                    f"{file}: the question {name} is not in the release's format ({error!r}).",
                    "Download both files again from github.com/pubmedqa/pubmedqa.",
                ) from error
