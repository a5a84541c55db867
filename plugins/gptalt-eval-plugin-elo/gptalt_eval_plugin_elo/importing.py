"""Imports votes from files of any known format into one JSONL file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gptalt_eval import GptaltError, check_plain
from gptalt_eval_plugin_elo.folders import written
from gptalt_eval_plugin_elo.formats import FIELDS, WINNERS, Answers
from gptalt_eval_plugin_elo.lines import Lines
from gptalt_eval_plugin_elo.recognition import explain_unknown, recognise
from gptalt_eval_plugin_elo.records import Step, Unreadable, read_records
from gptalt_eval_plugin_elo.votes import Vote, VoteFormat

VOTES, REJECTED = "votes.jsonl", "rejected.jsonl"
LONGEST_NAME = 2_000  # characters of a question, a model or an annotator


@dataclass
class Counts:
    """The result of importing one file.

    Attributes:
        format: the name of its format.
        added, known, rejected: new votes, votes that were already known, records that are not votes.
        reasons: why records were rejected, with counts.
    """

    format: str
    added: int = 0
    known: int = 0
    rejected: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


def import_files(
    files: Sequence[Path],
    folder: Path,
    formats: Sequence[VoteFormat],
    name: str | None = None,
    columns: Mapping[str, str] | None = None,
    step: Step = lambda _: None,
) -> dict[Path, Counts]:
    """Add the votes of files to ``votes.jsonl`` in a folder, and other records to ``rejected.jsonl``.

    Args:
        files: in any of the formats; the survey's table of answers comes before its annotators' files.
        folder: created if missing.
        formats: the known formats.
        name: name of the files' format; None: detected.
        columns: other names of the fields.
        step: called with the number of bytes read.

    Raises:
        GptaltError: a file does not exist, its format is unknown, or the folder cannot be written.
    """
    chosen = choose_formats(files, formats, name, columns)
    with (
        written(folder, "--into"),
        closing(Lines(folder / VOTES)) as votes,
        closing(Lines(folder / REJECTED)) as rejected,
    ):
        return {file: import_file(file, known, votes, rejected, step) for file, known in chosen}


def choose_formats(
    files: Sequence[Path],
    formats: Sequence[VoteFormat],
    name: str | None,
    columns: Mapping[str, str] | None,
) -> list[tuple[Path, VoteFormat]]:
    """Each file with its format; the survey's table of answers applies to the files after it.

    Raises:
        GptaltError: a file does not exist, or its format is unknown.
    """
    answers: Answers | None = None
    tables: list[Path] = []
    chosen: list[tuple[Path, VoteFormat]] = []
    for file in files:
        found = recognise(file, formats, name, columns, answers)
        if isinstance(found, Answers):
            answers = found
            tables.append(file)
        else:
            chosen.append((file, found))
    if tables and not any(each.name == "survey" for _, each in chosen):
        raise explain_unknown(tables[0], formats)  # a table with other columns looks like one of answers
    return chosen


def import_file(file: Path, known: VoteFormat, votes: Lines, rejected: Lines, step: Step) -> Counts:
    """Add a file's votes to ``votes``, and its other records to ``rejected``."""
    counts = Counts(known.name)
    before, total = votes.count, 0
    for line, vote in convert_file(file, known, step):
        if isinstance(vote, Unreadable):
            counts.rejected += 1
            counts.reasons[generalise(vote.reason)] += 1
            rejected.add(dump({"file": file.name, "line": line, "reason": vote.reason, "text": vote.text}))
        else:
            total += 1
            votes.add(dump(vote.describe() | {"source": f"{file.name}:{line}"}))
    votes.flush()
    counts.added = votes.count - before
    counts.known = total - counts.added
    return counts


def dump(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def generalise(reason: str) -> str:
    """A reason without its specific values, for counting."""
    return reason.split(":")[0].split("(")[0].split(";")[0].strip()


def convert_file(file: Path, known: VoteFormat, step: Step) -> Iterator[tuple[int, Vote | Unreadable]]:
    """A file's votes and other records, each with its line."""
    for record in read_records(file, step):
        if isinstance(record, Unreadable):
            yield record.line, record
            continue
        line, values = record
        for vote in convert_record(known, values):
            reason = str(vote) if isinstance(vote, ValueError) else find_fault(vote)
            yield line, (Unreadable(line, reason, dump_text(values)) if reason else vote)  # type: ignore[misc]


def convert_record(known: VoteFormat, values: Mapping[str, Any]) -> Iterable[Vote | ValueError]:
    try:
        yield from known.convert(values)
    except ValueError as error:
        yield error
    except Exception as error:  # an unexpected error rejects one record, not the file
        yield ValueError(f"{type(error).__name__}: {error}")


def find_fault(vote: Vote) -> str:
    """The problem with a vote; empty: none."""
    if vote.winner not in WINNERS:
        return f"unknown winner {vote.winner!r:.60}"
    if vote.model_a == vote.model_b:
        return f"a model against itself: {vote.model_a[:60]}"
    for name in FIELDS:
        value = getattr(vote, name)
        if len(value) > LONGEST_NAME and name != "question":
            return f"'{name}' is {len(value)} characters long"
        if "\0" in value:
            return f"'{name}' contains a NUL byte"
        if not value.isascii():
            try:
                value.encode("utf-8")
            except UnicodeEncodeError:
                return f"'{name}' contains an unpaired surrogate"
    return ""


def dump_text(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=True, default=str)[:2_000]


def read_votes(path: Path) -> Iterator[Vote]:
    """The votes in a ``votes.jsonl`` or in its folder.

    Raises:
        GptaltError: there are none.
    """
    file = path / VOTES if path.is_dir() else path
    if path.is_dir():
        check_plain(file)
    if not file.exists():
        raise GptaltError(f"There are no votes in {path}.", "Import some: gptalt-eval votes import FILE...")
    for record in read_records(file):
        if isinstance(record, tuple):
            fields = [record[1].get(name, "") for name in FIELDS]
            if not all(isinstance(value, str) for value in fields) or find_fault(Vote(*fields)):
                raise GptaltError(
                    f"{file}, line {record[0]} is not a vote.",
                    "To import other files: gptalt-eval votes import FILE...",
                )
            yield Vote(*fields)
