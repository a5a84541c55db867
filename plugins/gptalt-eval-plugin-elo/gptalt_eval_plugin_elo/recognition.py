"""Recognises the format of a file of votes."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from gptalt_eval import GptaltError
from gptalt_eval_plugin_elo.formats.judged import is_review
from gptalt_eval_plugin_elo.formats.labelstudio import is_labelstudio, make_labelstudio
from gptalt_eval_plugin_elo.formats.own import NEEDED, make_columns_format
from gptalt_eval_plugin_elo.formats.survey import Answers, is_survey, make_survey_format, read_answers
from gptalt_eval_plugin_elo.formats.values import fold
from gptalt_eval_plugin_elo.records import TABLES, Unreadable, read_records
from gptalt_eval_plugin_elo.votes import Vote, VoteFormat

EXAMINED = 20  # records, to recognise a format
ANSWER = {"prompt", "model", "answer"}  # what each line of a file of answers has
LISTED = 40  # columns in a message
FILE_NAME = "{file}"  # in --columns: the file's name without its ending
SAME = ("question", "model_a", "model_b", "category", "annotator", "time", "language")
EXAMPLE = "question=prompt,model_a=left,model_b=right,winner=choice"
CONSTANT = "@"  # in --columns: what follows is the value itself
Columns = Mapping[str, str]


def recognise(
    file: Path,
    formats: Sequence[VoteFormat],
    name: str | None,
    columns: Columns | None,
    answers: Answers | None,
) -> VoteFormat | Answers:
    """The format of a file, or the survey's answers.

    Raises:
        GptaltError: it cannot be opened, its format is unknown, or it has no column that was named.
    """
    start, _ = read_start(file)
    named, constants = split_columns(columns or {}, file)
    if named:
        return use_columns(file, named, constants, start)
    known = choose_format(file, formats, name, answers, start)
    if isinstance(known, VoteFormat):
        return add_constants(known, constants)
    if known is not None and not constants:
        return known
    own = make_columns_format({}, constants)
    if constants and any(matches(own, record) for record in start):
        return own
    raise explain_unknown(file, formats)


def read_start(file: Path) -> tuple[list[Mapping[str, Any]], str]:
    """The first records of a file, and what is wrong with the first one that cannot be read."""
    try:
        found = list(islice(read_records(file), EXAMINED * 5))
    except UnicodeError:
        found = []
    faults = [each.reason for each in found if isinstance(each, Unreadable)]
    records = [record for _, record in [each for each in found if isinstance(each, tuple)][:EXAMINED]]
    return records, faults[0] if faults else ""


def choose_format(
    file: Path,
    formats: Sequence[VoteFormat],
    name: str | None,
    answers: Answers | None,
    start: Sequence[Mapping[str, Any]],
) -> VoteFormat | Answers | None:
    """The format that was named, or the one that most of the first records have; None: unknown."""
    if any(is_survey(record) for record in start):
        if answers is None:
            raise GptaltError(
                f"{file} refers to models by number; the table of their names is missing.",
                "Give the survey's CSV of answers before it: "
                f"gptalt-eval votes import ANSWERS.csv {shlex.quote(file.name)}",
            )
        return make_survey_format(answers, file.stem)
    if name is not None:
        named = {each.name: each for each in formats}
        if name not in named:
            raise GptaltError(f"There is no format '{name}'.", f"Available: {', '.join(named)}.")
        return named[name]
    scores = {each.name: sum(matches(each, record) for record in start) for each in formats}
    best = max(formats, key=lambda each: scores[each.name])
    if scores[best.name]:
        is_tasks = best.recognise is is_labelstudio
        return replace(best, convert=make_labelstudio()) if is_tasks else best
    return read_table_of(file) if file.suffix.lower() in TABLES and start else None


def split_columns(columns: Columns, file: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Fields with the names of their columns, and fields with a value of their own."""
    named, constants = {}, {}
    for field, column in columns.items():
        if column == FILE_NAME:
            constants[field] = file.stem
        elif column.startswith(CONSTANT):
            constants[field] = column.removeprefix(CONSTANT)
        else:
            named[field] = column
    return named, constants


def use_columns(
    file: Path, named: Columns, constants: Columns, start: Sequence[Mapping[str, Any]]
) -> VoteFormat:
    """The format with these columns; in Label Studio's files, ``winner`` names a tag.

    Raises:
        GptaltError: the file has no such column.
    """
    if set(named) == {"winner"} and any(is_labelstudio(record) for record in start):
        known = VoteFormat("labelstudio", "", is_labelstudio, make_labelstudio(named["winner"]))
        return add_constants(known, constants)
    there = list_columns(start)
    folded = {fold(column) for column in there}
    for field, column in named.items():
        if start and fold(column) not in folded:
            near = difflib.get_close_matches(column, there, 1)
            raise GptaltError(
                f"{file} has no column '{column}' for {field}. Its columns: {show_columns(there)}.",
                f"Did you mean '{near[0]}'?" if near else "Name one of them.",
            )
    return make_columns_format(named, constants)


def add_constants(known: VoteFormat, constants: Columns) -> VoteFormat:
    """The format with the same values in every vote."""
    if not constants:
        return known
    wrong = [field for field in constants if field not in SAME]
    if wrong:
        raise GptaltError(
            f"--columns: '{wrong[0]}' cannot be the same for all votes of the format {known.name}.",
            f"Available: {', '.join(SAME)}.",
        )
    changes: dict[str, Any] = dict(constants)

    def convert(record: Mapping[str, Any]) -> Iterator[Vote | ValueError]:
        for vote in known.convert(record):
            yield vote._replace(**changes) if isinstance(vote, Vote) else vote

    return replace(known, convert=convert)


def list_columns(start: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(str(name) for record in start for name in record if name))


def show_columns(columns: Sequence[str]) -> str:
    shown = ", ".join(column[:40] for column in columns[:LISTED])
    return shown + (f" and {len(columns) - LISTED} more" if len(columns) > LISTED else "")


def explain_unknown(file: Path, formats: Sequence[VoteFormat]) -> GptaltError:
    """What is said of a file in no known format: its columns, and those that a vote needs."""
    start, fault = read_start(file)
    if any(is_review(record) for record in start):
        return GptaltError(
            f"{file} has FastChat's reviews by a model: scores of answers that it knows by id, not votes.",
            "Write a table with question, model_a, model_b, winner and kind=judge; the models of the answers "
            "are in FastChat's answer files.",
        )
    if start and file.suffix == ".jsonl" and all(set(record) >= ANSWER for record in start):
        return GptaltError(
            f"{file} has answers, not votes.",
            f"To vote on them: gptalt-eval votes serve --answers {shlex.quote(str(file))}",
        )
    columns = list_columns(start)
    text = f"{file} has an unknown format (not {', '.join(each.name for each in formats)})."
    if columns:
        text += f" Its columns: {show_columns(columns)}."
    elif fault:
        text += f" It cannot be read: {fault}."
    folded = {fold(column): column for column in columns}
    missing = [field for field in NEEDED if field not in folded]
    if not columns or not missing:
        return GptaltError(text, f"Name its columns: --columns {EXAMPLE}")
    near = [find_near(field, list(folded)) for field in missing]
    # a column that is near two names is neither
    found = [folded[column] if column and near.count(column) == 1 else "COLUMN" for column in near]
    pairs = [f"{field}={column}" for field, column in zip(missing, found, strict=True)]
    return GptaltError(text, f"Name its columns: --columns {shlex.quote(','.join(pairs))}")


def find_near(field: str, columns: Sequence[str]) -> str:
    """The only column whose name is near; empty: none is, or several, which could be the other model's."""
    plain = field.replace("_", "")
    near = [column for column in columns if column.replace("_", "") == plain]
    near = near or difflib.get_close_matches(field, columns, 2)
    return near[0] if len(near) == 1 else ""


def matches(known: VoteFormat, record: Mapping[str, Any]) -> bool:
    try:
        return bool(known.recognise(record))
    except Exception:  # a plugin's format can raise on another format's record
        return False


def read_table_of(file: Path) -> Answers | None:
    """The survey's answers in a CSV; None: it is another table."""
    try:
        return read_answers(record[1] for record in read_records(file) if isinstance(record, tuple))
    except ValueError:
        return None
