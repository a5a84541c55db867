"""Votes from files of any known format, into one JSONL."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from gptalt_eval import GptaltError
from gptalt_eval_plugin_elo.formats import (
    FIELDS,
    WINNERS,
    Answers,
    has,
    is_survey,
    make_columns_format,
    make_survey_format,
    read_answers,
)
from gptalt_eval_plugin_elo.records import TABLES, Step, Unreadable, read_records
from gptalt_eval_plugin_elo.votes import Vote, VoteFormat

VOTES, REJECTED = "votes.jsonl", "rejected.jsonl"
LOOKED_AT = 20  # records, to recognise a format
LONGEST_NAME = 2_000  # characters of a question, a model or an annotator
BATCH = 50_000


@dataclass
class Counts:
    """What became of one file.

    Attributes:
        format: its name.
        added, known, rejected: votes that are new, that were there, and records that are none.
        reasons: of the rejected, with how often.
    """

    format: str
    added: int = 0
    known: int = 0
    rejected: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


class Lines:
    """A file of lines, each in it once; remembered by a hash of eight bytes."""

    def __init__(self, path: Path) -> None:
        self.known = np.zeros(0, np.uint64)
        self.fresh: dict[int, bytes] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            cut_last_line(path)
            with path.open("rb") as stream:
                self.known = np.fromiter(map(hash_line, stream), np.uint64)
                self.known.sort()
        self.stream: BinaryIO = path.open("ab")
        self.count = 0  # lines that were new

    def add(self, line: bytes) -> None:
        self.fresh.setdefault(hash_line(line), line)
        if len(self.fresh) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Write what is new."""
        if not self.fresh:
            return
        hashes = np.fromiter(self.fresh, np.uint64, len(self.fresh))
        places = np.searchsorted(self.known, hashes)
        new = places == len(self.known)
        new[~new] = self.known[places[~new]] != hashes[~new]
        lines = self.fresh.values()
        self.stream.writelines(line for line, is_new in zip(lines, new, strict=True) if is_new)
        self.stream.flush()
        self.known = np.union1d(self.known, hashes[new])
        self.fresh = {}
        self.count += int(new.sum())

    def close(self) -> None:
        self.flush()
        self.stream.close()


def hash_line(line: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(line, digest_size=8).digest(), "little")


def cut_last_line(path: Path) -> None:
    """Remove a line that an import which was killed has not finished."""
    with path.open("rb+") as stream:
        end = size = stream.seek(0, 2)
        while end:
            begin = max(0, end - 4096)
            stream.seek(begin)
            place = stream.read(end - begin).rfind(b"\n")
            if place >= 0:
                end = begin + place + 1
                break
            end = begin
        if end != size:
            stream.truncate(end)


def import_files(
    files: Sequence[Path],
    folder: Path,
    formats: Sequence[VoteFormat],
    name: str | None = None,
    columns: Mapping[str, str] | None = None,
    step: Step = lambda _: None,
) -> dict[Path, Counts]:
    """Add the votes of files to ``votes.jsonl`` in a folder, what is none to ``rejected.jsonl``.

    Args:
        files: in any of the formats; the survey's table of answers goes before its annotators' files.
        folder: made where it is missing.
        formats: those that are known.
        name: of the files' format; None: it is recognised.
        columns: fields' other names.
        step: told of each bytes read.

    Raises:
        GptaltError: a file is not there, or of no known format.
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
        raise explain_unknown(tables[0], formats)  # a table of other columns looks like one of answers
    votes, rejected = Lines(folder / VOTES), Lines(folder / REJECTED)
    counts = {}
    try:
        for file, chosen_format in chosen:
            counts[file] = Counts(chosen_format.name)
            before = votes.count
            total = 0
            for line, vote in convert_file(file, chosen_format, step):
                if isinstance(vote, Unreadable):
                    counts[file].rejected += 1
                    counts[file].reasons[generalise(vote.reason)] += 1
                    rejected.add(
                        dump({"file": file.name, "line": line, "reason": vote.reason, "text": vote.text})
                    )
                else:
                    total += 1
                    votes.add(dump(vote._asdict() | {"source": f"{file.name}:{line}"}))
            votes.flush()
            counts[file].added = votes.count - before
            counts[file].known = total - counts[file].added
    finally:
        votes.close()
        rejected.close()
    return counts


def dump(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, ensure_ascii=False).encode("utf-8") + b"\n"


def generalise(reason: str) -> str:
    """A reason without the values of its case, to be counted."""
    return reason.split(":")[0].split("(")[0].split(";")[0].strip()


def recognise(
    file: Path,
    formats: Sequence[VoteFormat],
    name: str | None,
    columns: Mapping[str, str] | None,
    answers: Answers | None,
) -> VoteFormat | Answers:
    """The format of a file, or the survey's answers.

    Raises:
        GptaltError: it cannot be opened, or is of no known format.
    """
    try:
        start = [record for record in islice(read_records(file), LOOKED_AT * 5) if isinstance(record, tuple)]
    except OSError as error:
        raise GptaltError(
            f"{file} cannot be read: {error.strerror}.", "Give the path of a file of votes."
        ) from None
    except UnicodeError:
        start = []
    start = start[:LOOKED_AT]
    if columns:
        return make_columns_format(columns)
    if any(is_survey(record) for _, record in start):
        if answers is None:
            raise GptaltError(
                f"{file} holds numbers of models; the table that names them is missing.",
                "Give the survey's CSV of answers before it: "
                f"gptalt-eval votes import ANSWERS.csv {file.name}",
            )
        return make_survey_format(answers, file.stem)
    scores = {each.name: sum(is_of(each, record) for _, record in start) for each in formats}
    if name is not None:
        named = {each.name: each for each in formats}
        if name not in named:
            raise GptaltError(f"There is no format '{name}'.", f"There are: {', '.join(named)}.")
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
        f"{file}: none of {', '.join(each.name for each in formats)} is its format.",
        "Say which columns hold what: --columns question=prompt,model_a=left,model_b=right,winner=choice",
    )


def is_of(known: VoteFormat, record: Mapping[str, Any]) -> bool:
    try:
        return bool(known.recognise(record))
    except Exception:  # a plugin's format, shown another's record
        return False


def read_table_of(file: Path) -> VoteFormat | Answers | None:
    """What a CSV is: votes under our own names, or the survey's answers."""
    rows = [record for record in read_records(file) if isinstance(record, tuple)]
    if rows and has("question", "model_a", "model_b", "winner")(rows[0][1]):
        return make_columns_format({})
    try:
        return read_answers(row for _, row in rows)
    except ValueError:
        return None


def convert_file(file: Path, known: VoteFormat, step: Step) -> Iterator[tuple[int, Vote | Unreadable]]:
    """A file's votes, and what is none, each with its line."""
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
    except Exception as error:  # what a plugin's format does not expect is one record's fault, not the file's
        yield ValueError(f"{type(error).__name__}: {error}")


def find_fault(vote: Vote) -> str:
    """What is wrong with a vote; empty: nothing."""
    if vote.winner not in WINNERS:
        return f"unknown winner {vote.winner!r:.60}"
    if vote.model_a == vote.model_b:
        return f"a model against itself: {vote.model_a[:60]}"
    for name in FIELDS:
        value = getattr(vote, name)
        if len(value) > LONGEST_NAME and name != "question":
            return f"'{name}' is {len(value)} characters long"
        if "\0" in value:
            return f"'{name}' holds a NUL byte"
        if not value.isascii():
            try:
                value.encode("utf-8")
            except UnicodeEncodeError:
                return f"'{name}' holds half a character"
    return ""


def dump_text(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=True, default=str)[:2_000]


def read_votes(path: Path) -> Iterator[Vote]:
    """The votes of a ``votes.jsonl``, or of the folder it lies in.

    Raises:
        GptaltError: there is none.
    """
    file = path / VOTES if path.is_dir() else path
    if not file.exists():
        raise GptaltError(f"There are no votes in {path}.", "Import some: gptalt-eval votes import FILE...")
    for record in read_records(file):
        if isinstance(record, tuple):
            fields = [record[1].get(name, "") for name in FIELDS]
            if not all(isinstance(value, str) for value in fields) or find_fault(Vote(*fields)):
                raise GptaltError(
                    f"{file}, line {record[0]} is no vote.", "gptalt-eval votes import reads other files."
                )
            yield Vote(*fields)
