"""Reads the release: questions in problems.json, their splits, captions, and pictures in files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gptalt_eval import DataError, read_json

Row = dict[str, Any]
LETTERS = "ABCDE"  # the release's, and as many options as a question has at most
REPLACE = "Download the release again; 'gptalt-eval show dataset scienceqa' says where it is published."


def read_train(files: tuple[Path, ...], config: str | None) -> Iterator[Row]:
    return read_release(files[0], "train")


def read_validation(files: tuple[Path, ...], config: str | None) -> Iterator[Row]:
    return read_release(files[0], "val")


def read_test(files: tuple[Path, ...], config: str | None) -> Iterator[Row]:
    return read_release(files[0], "test")


def read_release(file: Path, split: str) -> Iterator[Row]:
    """The questions of a split, in the order of the release's list.

    Args:
        file: ``problems.json``; ``pid_splits.json``, ``captions.json`` and ``images`` are beside it.
        split: ``train``, ``val`` or ``test``.

    Raises:
        DataError: a file is damaged, or lacks a question of the split.
    """
    problems = read_mapping(file)
    listed = file.with_name("pid_splits.json")
    names = read_mapping(listed).get(split) if listed.is_file() else None
    if names is None:
        names = [name for name, problem in problems.items() if problem.get("split") == split]
    captions = file.with_name("captions.json")
    texts = read_mapping(captions).get("captions", {}) if captions.is_file() else {}
    for name in names:
        if name not in problems:
            raise DataError(f"{file}: question {name}, which {listed.name} lists, is missing.", REPLACE)
        yield make_row(str(name), problems[name], f"images/{split}/{name}", str(texts.get(name) or ""))


def read_mapping(file: Path) -> Mapping[str, Any]:
    found = read_json(file)
    if not isinstance(found, dict):
        raise DataError(f"{file}: a JSON object was expected.", REPLACE)
    return found


def make_row(name: str, problem: Mapping[str, Any], folder: str, caption: str) -> Row:
    """A question in the schema of the hub version, with its number and caption; its picture is a path.

    A question with a fault is a row too, so that it can be named and counted.
    """
    choices = problem.get("choices")
    listed = [str(choice) for choice in choices] if isinstance(choices, list) else []
    answer = problem.get("answer")
    is_number = isinstance(answer, int) and not isinstance(answer, bool)
    file = problem.get("image")
    texts = ("hint", "task", "grade", "subject", "topic", "category", "skill", "lecture", "solution")
    return {
        "id": name,
        "image": f"{folder}/{file}" if file else None,
        "question": str(problem.get("question") or ""),
        "choices": listed,
        "answer": answer if is_number else -1,
        **{text: str(problem.get(text) or "") for text in texts},
        "caption": caption,
    }


def find_fault(row: Mapping[str, Any]) -> str:
    """What is wrong with a question, without its picture; empty: nothing."""
    choices = row["choices"]
    if not choices:
        return "has no options"
    if len(choices) > len(LETTERS):
        return f"has {len(choices)} options, more than letters"
    if not row["question"].strip():
        return "has no text"
    if not 0 <= row["answer"] < len(choices):
        return "has an answer that is not one of its options"
    return ""
