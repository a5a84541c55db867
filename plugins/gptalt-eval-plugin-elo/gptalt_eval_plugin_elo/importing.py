"""Imports votes from files of any known format, and from the page, into one JSONL file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from filelock import FileLock, Timeout

from gptalt_eval import GptaltError, check_plain, open_named
from gptalt_eval_plugin_elo.conversion import REPEATED, convert_file, is_repeated, read_database
from gptalt_eval_plugin_elo.counts import Counts, explain_missing, generalise
from gptalt_eval_plugin_elo.exports import (
    PageExport,
    check_complete,
    find_page,
    parse_vote,
    read_export,
)
from gptalt_eval_plugin_elo.folders import written
from gptalt_eval_plugin_elo.formats.survey import Answers
from gptalt_eval_plugin_elo.ledger import Ledger, dump
from gptalt_eval_plugin_elo.lines import Lines
from gptalt_eval_plugin_elo.recognition import explain_unknown, recognise
from gptalt_eval_plugin_elo.records import Step, Unreadable, read_records
from gptalt_eval_plugin_elo.votes import Vote, VoteFormat
from gptalt_eval_plugin_elo.winners import Winners

VOTES, REJECTED, LOCK = "votes.jsonl", "rejected.jsonl", ".votes.lock"
DATABASE = "votes.sqlite"  # of the page
PATIENCE = 60.0  # seconds to wait for another import
Source = tuple[Path, VoteFormat | None]  # a file and its format; None: the page's database


def import_files(
    files: Sequence[Path],
    folder: Path,
    formats: Sequence[VoteFormat],
    name: str | None = None,
    columns: Mapping[str, str] | None = None,
    step: Step = lambda _: None,
    given: Mapping[str, str] | None = None,
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
        given: what words for the winner mean, by word.

    Raises:
        GptaltError: a file does not exist, its format or a word for the winner is unknown, it is a part of a
            page's export, or the folder cannot be written. Nothing is added then.
    """
    chosen = choose_formats(files, formats, name, columns)
    winners = Winners(given)
    with (
        removed_if_empty(folder),
        written(folder, "--into"),
        locked(folder),
        closing(Ledger(folder / VOTES)) as votes,
        TemporaryFile(dir=folder) as rejected,
    ):
        counts = {file: import_file(file, known, votes, rejected, winners, step) for file, known in chosen}
        winners.check()
        with closing(Lines(folder / REJECTED)) as lines:
            rejected.seek(0)
            for line in rejected:
                lines.add(line)
        votes.write()
    return counts


@contextmanager
def removed_if_empty(folder: Path) -> Iterator[None]:
    """A folder that was made for an import that was refused is removed again."""
    is_new = not folder.exists()
    try:
        yield
    except GptaltError:
        if is_new:
            with suppress(OSError):
                (folder / LOCK).unlink(missing_ok=True)
                folder.rmdir()
        raise


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
        raise explain_missing(path, path / REJECTED)
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


def import_file(
    file: Path, known: VoteFormat | None, votes: Ledger, rejected: IO[bytes], winners: Winners, step: Step
) -> Counts:
    """Add a file's votes to ``votes``, and its other records to ``rejected``."""
    counts = Counts(known.name if known else "page")
    exports: dict[str, PageExport] = {}
    for line, found in convert_file(file, known, winners, step):
        if isinstance(found, Vote):
            votes.add(found, f"{file.name}:{line}")
        elif isinstance(found, PageExport):
            exports[found.page] = found
        else:
            counts.rejected += 1
            counts.reasons[generalise(found.reason)] += 1
            rejected.write(
                dump({"file": file.name, "line": line, "reason": found.reason, "text": found.text})
            )
    settled, older = votes.settle(file, exports)
    counts.added, counts.known = settled.added, settled.known
    counts.changed, counts.taken_back = settled.changed, settled.taken_back
    counts.older = [
        f"This export of {each.export.page} is older (revision {each.export.revision}) than the one that is "
        f"known (revision {each.known.revision}): its {each.export.votes:,} votes change nothing."
        for each in older
    ]
    return counts


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
    seen: set[int] = set()
    for record in read_records(file):
        if isinstance(record, tuple) and "page" in record[1] and (export := read_export(record[1])):
            exports[export.page] = export
            continue
        try:
            if isinstance(record, Unreadable):
                raise ValueError(record.reason)
            vote = parse_vote(record[1])
            if is_repeated(record[1], seen):
                raise ValueError(REPEATED)
        except ValueError as error:
            line = record.line if isinstance(record, Unreadable) else record[0]
            raise GptaltError(
                f"{file}, line {line} is not a vote: {str(error)[:100]}.",
                "To import other files: gptalt-eval votes import FILE...",
            ) from error
        numbers[find_page(vote.id) if vote.id else ""] += 1
        yield vote
    check_complete(file, exports, {page: number for page, number in numbers.items() if page})
    rejected = file.with_name(REJECTED)
    if not numbers and not exports and rejected.is_file() and rejected.stat().st_size:
        raise explain_missing(path, rejected)
