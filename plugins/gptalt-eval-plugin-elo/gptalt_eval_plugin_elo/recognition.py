"""Recognises the format of a file of votes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from gptalt_eval import GptaltError
from gptalt_eval_plugin_elo.formats import (
    Answers,
    is_survey,
    make_columns_format,
    make_survey_format,
    read_answers,
)
from gptalt_eval_plugin_elo.records import TABLES, read_records
from gptalt_eval_plugin_elo.votes import VoteFormat

EXAMINED = 20  # records, to recognise a format


def recognise(
    file: Path,
    formats: Sequence[VoteFormat],
    name: str | None,
    columns: Mapping[str, str] | None,
    answers: Answers | None,
) -> VoteFormat | Answers:
    """The format of a file, or the survey's answers.

    Raises:
        GptaltError: it cannot be opened, or its format is unknown.
    """
    try:
        start = [record for record in islice(read_records(file), EXAMINED * 5) if isinstance(record, tuple)]
    except UnicodeError:
        start = []
    start = start[:EXAMINED]
    if columns:
        return make_columns_format(columns)
    if any(is_survey(record) for _, record in start):
        if answers is None:
            raise GptaltError(
                f"{file} refers to models by number; the table of their names is missing.",
                "Give the survey's CSV of answers before it: "
                f"gptalt-eval votes import ANSWERS.csv {file.name}",
            )
        return make_survey_format(answers, file.stem)
    scores = {each.name: sum(matches(each, record) for _, record in start) for each in formats}
    if name is not None:
        named = {each.name: each for each in formats}
        if name not in named:
            raise GptaltError(f"There is no format '{name}'.", f"Available: {', '.join(named)}.")
        return named[name]
    best = max(formats, key=lambda each: scores[each.name])
    if scores[best.name]:
        return best
    if file.suffix.lower() in TABLES and start:
        found = read_table_of(file)
        if found:
            return found
    raise explain_unknown(file, formats)


def explain_unknown(file: Path, formats: Sequence[VoteFormat]) -> GptaltError:
    return GptaltError(
        f"{file} has an unknown format (not {', '.join(each.name for each in formats)}).",
        "Name its columns: --columns question=prompt,model_a=left,model_b=right,winner=choice",
    )


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
