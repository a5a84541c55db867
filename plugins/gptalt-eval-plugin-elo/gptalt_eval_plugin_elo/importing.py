"""Imports votes from files of any known format, and from the page, into one JSONL file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from gptalt_eval import GptaltError, check_plain, open_named
from gptalt_eval_plugin_elo.exports import (
    PageExport,
    check_complete,
    find_fault,
    find_page,
    parse_vote,
    read_export,
)
from gptalt_eval_plugin_elo.folders import written
from gptalt_eval_plugin_elo.formats import Answers
from gptalt_eval_plugin_elo.ledger import Ledger, dump
from gptalt_eval_plugin_elo.lines import Lines
from gptalt_eval_plugin_elo.recognition import explain_unknown, recognise
from gptalt_eval_plugin_elo.records import Step, Unreadable, read_records
from gptalt_eval_plugin_elo.votes import Vote, VoteFormat

VOTES, REJECTED, LOCK = "votes.jsonl", "rejected.jsonl", ".votes.lock"
DATABASE = "votes.sqlite"  # of the page
PATIENCE = 60.0  # seconds to wait for another import
Source = tuple[Path, VoteFormat | None]  # a file and its format; None: the page's database


@dataclass
class Counts:
    """The result of importing one file.

    Attributes:
        format: the name of its format.
        added, known, rejected: new votes, votes that were already known, records that are not votes.
        reasons: why records were rejected, with counts.
        changed: votes that were known with another verdict.
        taken_back: votes of the page that are no longer on it.
        older: why a page's votes were left alone.
    """

    format: str
    added: int = 0
    known: int = 0
    rejected: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    changed: int = 0
    taken_back: int = 0
    older: list[str] = field(default_factory=list)


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
        files: in any of the formats, the page's database, or a folder with one; the survey's table of answers
            comes before its annotators' files.
        folder: created if missing.
        formats: the known formats.
        name: name of the files' format; None: detected.
        columns: other names of the fields.
        step: called with the number of bytes read.

    Raises:
        GptaltError: a file does not exist, its format is unknown, it is a part of a page's export, or the
            folder cannot be written. No vote is added then.
    """
    chosen = choose_formats(files, formats, name, columns)
    with (
        written(folder, "--into"),
        locked(folder),
        closing(Ledger(folder / VOTES)) as votes,
        closing(Lines(folder / REJECTED)) as rejected,
    ):
        counts = {file: import_file(file, known, votes, rejected, step) for file, known in chosen}
        votes.write()
    return counts


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Only one import at a time writes into a folder.

    Raises:
        GptaltError: another one has been at it for a minute.
    """
    check_plain(folder / LOCK)
    try:
        with FileLock(folder / LOCK, timeout=PATIENCE):
            yield
    except Timeout as error:
        raise GptaltError(
            f"Another import is writing into {folder}.", "Import again when it has finished."
        ) from error


def choose_formats(
    files: Sequence[Path],
    formats: Sequence[VoteFormat],
    name: str | None,
    columns: Mapping[str, str] | None,
) -> list[Source]:
    """Each file with its format; the survey's table of answers applies to the files after it.

    Raises:
        GptaltError: a file does not exist, or its format is unknown.
    """
    answers: Answers | None = None
    tables: list[Path] = []
    chosen: list[Source] = []
    for file in dict.fromkeys(map(find_source, files)):
        if is_database(file):
            chosen.append((file, None))
            continue
        own = next((each for each in formats if each.name == "gptalt"), None)
        found = own if own and begins_with_export(file) else recognise(file, formats, name, columns, answers)
        if isinstance(found, Answers):
            answers = found
            tables.append(file)
        else:
            chosen.append((file, found))
    if tables and not any(each and each.name == "survey" for _, each in chosen):
        raise explain_unknown(tables[0], formats)  # a table with other columns looks like one of answers
    return chosen


def find_source(path: Path) -> Path:
    """The file that a path names: itself, or the one in its folder.

    Raises:
        GptaltError: there is none in the folder, or it could be either of two.
    """
    if not path.is_dir():
        return path
    there = [path / name for name in (VOTES, DATABASE) if (path / name).exists()]
    if len(there) == 2:
        raise GptaltError(
            f"{path} has both {VOTES} and {DATABASE}.",
            f"Name the one that you mean: {there[0]} or {there[1]}",
        )
    if not there:
        raise GptaltError(f"There are no votes in {path}.", "Import some: gptalt-eval votes import FILE...")
    check_plain(there[0])
    return there[0]


def is_database(file: Path) -> bool:
    if not file.is_file():
        return False
    with open_named(file, "rb") as stream:
        return bool(stream.read(16) == b"SQLite format 3\0")


def begins_with_export(file: Path) -> bool:
    """Whether a file is an export of the page, which need not have a vote."""
    try:
        first = next(read_records(file), None)
    except UnicodeError:
        return False
    return isinstance(first, tuple) and read_export(first[1]) is not None


def import_file(file: Path, known: VoteFormat | None, votes: Ledger, rejected: Lines, step: Step) -> Counts:
    """Add a file's votes to ``votes``, and its other records to ``rejected``."""
    counts = Counts(known.name if known else "page")
    exports: dict[str, PageExport] = {}
    for line, found in convert_file(file, known, step):
        if isinstance(found, Vote):
            votes.add(found, f"{file.name}:{line}")
        elif isinstance(found, PageExport):
            exports[found.page] = found
        else:
            counts.rejected += 1
            counts.reasons[generalise(found.reason)] += 1
            rejected.add(dump({"file": file.name, "line": line, "reason": found.reason, "text": found.text}))
    settled, older = votes.settle(file, exports)
    counts.added, counts.known = settled.added, settled.known
    counts.changed, counts.taken_back = settled.changed, settled.taken_back
    counts.older = [
        f"This export of {each.export.page} is older (revision {each.export.revision}) than the one that is "
        f"known (revision {each.known.revision}): its {each.export.votes:,} votes change nothing."
        for each in older
    ]
    return counts


def generalise(reason: str) -> str:
    """A reason without its specific values, for counting."""
    return reason.split(":")[0].split("(")[0].split(";")[0].strip()


def convert_file(
    file: Path, known: VoteFormat | None, step: Step
) -> Iterator[tuple[int, Vote | PageExport | Unreadable]]:
    """A file's votes and other records, each with its line."""
    if known is None:
        yield from read_database(file)
        return
    for record in read_records(file, step):
        if isinstance(record, Unreadable):
            yield record.line, record
            continue
        line, values = record
        if "page" in values and (export := read_export(values)):
            yield line, export
            continue
        for vote in convert_record(known, values):
            reason = str(vote) if isinstance(vote, ValueError) else find_fault(vote)
            yield line, (Unreadable(line, reason, dump_text(values)) if reason else vote)  # type: ignore[misc]


def read_database(file: Path) -> Iterator[tuple[int, Vote | PageExport]]:
    """What an export of the page would say."""
    from gptalt_eval_plugin_elo.voting.export import read_page

    export, votes = read_page(file)
    if export:
        yield 1, export
    yield from enumerate(votes, 2)


def convert_record(known: VoteFormat, values: Mapping[str, Any]) -> Iterable[Vote | ValueError]:
    try:
        yield from known.convert(values)
    except ValueError as error:
        yield error
    except Exception as error:  # an unexpected error rejects one record, not the file
        yield ValueError(f"{type(error).__name__}: {error}")


def dump_text(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=True, default=str)[:2_000]


def read_votes(path: Path) -> Iterator[Vote]:
    """The votes of a ``votes.jsonl``, an export, the page's ``votes.sqlite``, or a folder with one of them.

    Raises:
        GptaltError: there are none, or a part of them is missing.
    """
    file = find_source(path)
    if not file.exists():
        raise GptaltError(f"There are no votes in {path}.", "Import some: gptalt-eval votes import FILE...")
    if is_database(file):
        yield from (found for _, found in read_database(file) if isinstance(found, Vote))
        return
    exports: dict[str, PageExport] = {}
    numbers: Counter[str] = Counter()
    for record in read_records(file):
        if isinstance(record, tuple) and "page" in record[1] and (export := read_export(record[1])):
            exports[export.page] = export
            continue
        try:
            if isinstance(record, Unreadable):
                raise ValueError(record.reason)
            vote = parse_vote(record[1])
        except ValueError as error:
            line = record.line if isinstance(record, Unreadable) else record[0]
            raise GptaltError(
                f"{file}, line {line} is not a vote.",
                "To import other files: gptalt-eval votes import FILE...",
            ) from error
        numbers[find_page(vote.id) if vote.id else ""] += 1
        yield vote
    check_complete(file, exports, {page: number for page, number in numbers.items() if page})
