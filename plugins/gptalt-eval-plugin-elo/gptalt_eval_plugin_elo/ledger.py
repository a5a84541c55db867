"""The file ``votes.jsonl``: which votes are in it, and how other files change it.

Nothing is written until everything has been read and understood. Then a complete new file is written next to
the old one and replaces it. An interrupted or killed import, or a full disk, leaves the old file unchanged.
"""

from __future__ import annotations

import codecs
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO

import numpy as np

from gptalt_eval import GptaltError, check_plain, open_named
from gptalt_eval_plugin_elo.exports import (
    PageExport,
    check_complete,
    describe_vote,
    find_id,
    find_key,
    find_page,
    parse_vote,
    read_export,
)
from gptalt_eval_plugin_elo.identity import Hashes, Identities, IdentityColumns, Mask, mix, rank_equal
from gptalt_eval_plugin_elo.records import LONGEST
from gptalt_eval_plugin_elo.settling import Settlement, count_differences, settle_votes
from gptalt_eval_plugin_elo.votes import Vote


@dataclass(frozen=True)
class Older:
    """An export that changed nothing, as a newer one of its page is known."""

    export: PageExport
    known: PageExport


class Ledger:
    """The votes of a folder, to which those of other files are added.

    Args:
        path: the ``votes.jsonl``; it need not exist, but its folder must.

    Raises:
        GptaltError: it is a link, or a line of it is not a vote.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.beside = path.with_name(f"{path.name}.new")
        check_plain(path, self.beside)
        self.beside.unlink(missing_ok=True)  # of an import that was killed
        self.exports: dict[str, PageExport] = {}  # by page
        self.pages: dict[str, int] = {}  # the pages' numbers
        self.others: set[int] = set()  # lines of the file that are not votes
        self.is_changed = False
        self.batch = IdentityColumns()
        #: the ids in the file; 0: a line without one
        self.keys: Hashes = np.fromiter(self.load(), np.uint64)
        self.rows = self.batch.finish()
        self.alive: Mask = np.ones(len(self.rows), bool)
        self.batch = IdentityColumns()
        self.spool: BinaryIO = TemporaryFile(dir=path.parent)  # noqa: SIM115

    def close(self) -> None:
        self.spool.close()

    def load(self) -> Iterator[int]:
        """Read the file; yields the id of each vote."""
        if not self.path.exists():
            return
        with open_named(self.path, "rb") as stream:
            seen: set[int] = set()
            for number, line in enumerate(iter(partial(stream.readline, LONGEST), b"")):
                vote, key = self.read_line(number, line)
                if key and key in seen:  # two files were put together
                    vote, self.is_changed = None, True
                seen.add(key)
                if vote is None:
                    self.others.add(number)
                    continue
                self.batch.add(vote, self.number_page(vote.id))
                yield key

    def read_line(self, number: int, line: bytes) -> tuple[Vote | None, int]:
        """A line's vote and its id; None: it says something else."""
        finished = line.endswith(b"\n")
        self.is_changed |= not finished
        if not line.strip():
            return None, 0
        try:
            if len(line) >= LONGEST:
                raise ValueError(f"it is longer than {LONGEST >> 20} MiB")
            record = json.loads(line)
            if not isinstance(record, dict):
                raise ValueError("it is not an object")
            export = read_export(record) if "page" in record else None
            if export is None:
                return parse_vote(record), find_key(record)
            self.exports[export.page] = export
        except (ValueError, RecursionError) as error:
            if finished or len(line) >= LONGEST:  # else an earlier version's import was killed here
                raise GptaltError(
                    f"{self.path}, line {number + 1} is not a vote: {str(error)[:100]}.",
                    "Repair or remove the line, or import into another folder: --into FOLDER",
                ) from error
        return None, 0

    def number_page(self, vote_id: str) -> int:
        page = find_page(vote_id) if vote_id else ""
        return self.pages.setdefault(page, len(self.pages)) if page else -1

    def add(self, vote: Vote, source: str) -> None:
        """Add a vote to those that ``settle`` settles."""
        self.batch.add(vote, self.number_page(vote.id))
        self.spool.write(dump(describe_vote(vote) | {"source": source}))

    def settle(self, file: Path, exports: Mapping[str, PageExport]) -> tuple[Settlement, list[Older]]:
        """Find out what a file changes, all of whose votes were added.

        Args:
            file: for messages.
            exports: what the file says about pages, by page.

        Raises:
            GptaltError: it is only a part of a page's export.
        """
        new, self.batch = self.batch.finish(), IdentityColumns()
        numbers = np.bincount(new.page[new.page >= 0], minlength=len(self.pages))
        counts = {page: int(numbers[number]) for page, number in self.pages.items() if numbers[number]}
        check_complete(file, exports, counts, self.exports)
        older: list[Older] = []
        newer: list[PageExport] = []
        same: list[PageExport] = []
        for page, export in exports.items():
            known = self.exports.get(page)
            if known:
                self.refuse_copy(file, new, export, known)
            if known and known.revision > export.revision:
                older.append(Older(export, known))
            else:
                (same if known and known[:3] == export[:3] else newer).append(export)
        at = np.flatnonzero(self.alive)
        numbered = map(self.find_numbers, (newer, same, [each.export for each in older]))
        found = settle_votes(new, self.rows.choose(at), *numbered)
        self.exports |= {export.page: export for export in newer}
        self.is_changed |= bool(newer or found.kept.any() or found.dropped.any())
        self.alive[at[found.dropped]] = False
        self.alive = np.concatenate([self.alive, found.kept])
        self.rows = self.rows.join(new)
        return found, older

    def refuse_copy(self, file: Path, new: Identities, export: PageExport, known: PageExport) -> None:
        """Raise if people voted on two copies of a page: there are more other votes than votes and undos.

        An export that somebody changed has the revision and the time of the one that it was.
        """
        number = self.pages.get(export.page, -1)
        mine = self.rows.choose(self.alive & (self.rows.page == number))
        is_same = (export.revision, export.exported) == (known.revision, known.exported)
        if is_same or None in (export.left_out, known.left_out) or len(mine) != known.votes:
            return
        most = abs(export.revision - known.revision) + (export.left_out or 0) + (known.left_out or 0)
        lost, fresh, changed = count_differences(new.choose(new.page == number), mine)
        if lost + fresh + 2 * changed > most:
            raise GptaltError(
                f"{file} is from a copy of {export.page}, and people voted on both: {lost:,} of the known "
                f"votes are not in it, {fresh:,} are new and {changed:,} are different, but there were fewer "
                "votes and undos from the one to the other.",
                "Import only the copy whose votes count, or each into a folder of its own: --into FOLDER",
            )

    def find_numbers(self, exports: Iterable[PageExport]) -> list[int]:
        return [self.pages[export.page] for export in exports if export.page in self.pages]

    def write(self) -> None:
        """Replace the file, if anything has changed.

        Raises:
            OSError: the disk is full, or access is denied; the file is as it was.
        """
        if not self.is_changed and self.path.exists():
            return
        try:
            with self.beside.open("wb") as stream:
                for export in self.exports.values():
                    stream.write(dump(export._asdict()))
                stream.writelines(self.list_lines())
                stream.flush()
                os.fsync(stream.fileno())
            with suppress(OSError):  # there was none: a file that is replaced is never opened wider
                self.beside.chmod(self.beside.stat().st_mode & self.path.stat().st_mode & 0o777)
            self.beside.replace(self.path)
        except BaseException:
            with suppress(OSError):
                self.beside.unlink()
            raise

    def list_lines(self) -> Iterator[bytes]:
        """The lines of all votes, each with its id."""
        keys = number_votes(self.rows.group, self.keys, self.alive)
        columns = zip(self.alive.tolist(), keys.tolist(), self.read_lines(), strict=True)
        for place, (alive, key, line) in enumerate(columns):
            if alive and key is None:
                yield line
            elif alive:  # those of the file may be from an earlier version, or from elsewhere
                yield self.add_key(line, key) if place < len(self.keys) else prefix_key(line, key)

    def add_key(self, line: bytes, key: int) -> bytes:
        record = json.loads(line)
        own = find_id(record)
        record.pop("id", None)
        more = {"source_id": own} if own else {}
        return prefix_key(dump({"source": self.path.name} | record | more), key)

    def read_lines(self) -> Iterator[bytes]:
        """The line of each vote, first of the file, then of those that were added."""
        if self.path.exists():
            with open_named(self.path, "rb") as stream:
                for number, line in enumerate(stream):
                    if number not in self.others:
                        yield line.removeprefix(codecs.BOM_UTF8).rstrip(b"\r\n") + b"\n"
        self.spool.seek(0)
        yield from self.spool


def number_votes(groups: Hashes, keys: Hashes, alive: Mask) -> np.ndarray[Any, np.dtype[np.object_]]:
    """[N] an id for each vote without one, all of them different; None: it has one, or is not wanted."""
    bare = alive.copy()
    bare[: len(keys)] &= keys == 0
    known = keys[alive[: len(keys)]]
    at = np.flatnonzero(alive)
    ids = np.zeros(len(groups), np.uint64)
    ids[at] = mix(groups[at], rank_equal(groups[at]))
    while (clash := bare & np.isin(ids, known)).any():  # an earlier one of its kind has gone
        ids[clash] = mix(ids[clash], np.full(clash.sum(), len(groups)))
    found = ids.astype(object)
    found[~bare] = None
    return found


def prefix_key(line: bytes, key: int) -> bytes:
    return b'{"id": "%016x", ' % key + line[1:]


def dump(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
