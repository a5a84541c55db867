"""Reads the release: questions in problems.json, their splits, captions, and pictures in files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

from gptalt_eval import DataError, read_json

Row = dict[str, Any]
LETTERS = "ABCDE"  # the release's, and as many options as a question has at most
REPLACE = "Download the release again; 'gptalt-eval show dataset scienceqa' says where it is published."
TEXTS = ("hint", "task", "grade", "subject", "topic", "category", "skill", "lecture", "solution")
TEST, WITH_PICTURE = 4241, 2017  # questions of the whole test set, and how many of them have a picture


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
        DataError: a file is damaged, lacks a question of the split or lists it twice, names a picture
            outside its folder, or the whole test set has another number of pictures.
    """
    problems = read_mapping(file)
    captions = read_captions(file.with_name("captions.json"))
    names = list_names(file, problems, split)
    pictures = 0
    for name in names:
        if not isinstance(problems.get(name), dict):
            what = "is not a JSON object" if name in problems else "is missing"
            raise DataError(f"{file}: question {name} of the {split} set {what}.", REPLACE)
        row = make_row(name, problems[name], f"images/{split}", str(captions.get(name) or ""))
        pictures += row["image"] is not None
        yield row
    if split == "test" and len(names) == TEST and pictures != WITH_PICTURE:
        text = (
            f"{file}: {pictures:,} of the {TEST:,} test questions have a picture, {WITH_PICTURE:,} expected."
        )
        raise DataError(text, REPLACE)


def list_names(file: Path, problems: Mapping[str, Any], split: str) -> list[str]:
    """The numbers of a split's questions: those of the list beside the file, else by what each says."""
    listed = file.with_name("pid_splits.json")
    if not listed.is_file():
        found = {name: problem for name, problem in problems.items() if isinstance(problem, dict)}
        return [name for name, problem in found.items() if problem.get("split") == split]
    names = read_mapping(listed).get(split, [])
    if not isinstance(names, list):
        raise DataError(f"{listed}: '{split}' is not a list.", REPLACE)
    texts = [str(name) for name in names]
    if len(set(texts)) < len(texts):
        twice = next(name for name in texts if texts.count(name) > 1)
        raise DataError(f"{listed}: question {twice} is twice in '{split}'.", REPLACE)
    return texts


def read_captions(file: Path) -> Mapping[str, Any]:
    """Captions by question; none if the file is missing."""
    captions = read_mapping(file).get("captions", {}) if file.is_file() else {}
    if not isinstance(captions, dict):
        raise DataError(f"{file}: 'captions' is not a JSON object.", REPLACE)
    return captions


def read_mapping(file: Path) -> Mapping[str, Any]:
    found = read_json(file)
    if not isinstance(found, dict):
        raise DataError(f"{file}: a JSON object was expected.", REPLACE)
    return found


def make_row(name: str, problem: Mapping[str, Any], folder: str, caption: str) -> Row:
    """A question in the schema of the hub version, with its number and caption; its picture is a path.

    A question with a fault is a row too, so that it can be named and counted.

    Raises:
        DataError: its picture would be outside its folder.
    """
    choices = problem.get("choices")
    answer = problem.get("answer")
    is_number = isinstance(answer, int) and not isinstance(answer, bool)
    file = str(problem.get("image") or "")
    if file and not (is_bare(name) and is_bare(file)):
        raise DataError(f"The picture of question {name!r:.60} is outside its folder: {file!r:.60}.", REPLACE)
    return {
        "id": name,
        "image": f"{folder}/{name}/{file}" if file else None,
        "question": str(problem.get("question") or ""),
        "choices": [str(choice) for choice in choices] if isinstance(choices, list) else [],
        "answer": answer if is_number else -1,
        **{text: str(problem.get(text) or "") for text in TEXTS},
        "caption": caption,
    }


def is_bare(name: str) -> bool:
    return name not in (".", "..") and PureWindowsPath(name).name == name
