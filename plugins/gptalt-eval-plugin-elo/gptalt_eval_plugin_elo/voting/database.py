"""The SQLite file of one comparison: its tables, and transactions on them."""

from __future__ import annotations

import os
import re
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shlex import quote

from gptalt_eval import GptaltError, check_plain
from gptalt_eval_plugin_elo.folders import written
from gptalt_eval_plugin_elo.voting.versions import (
    ENTRIES,
    SCHEMA,
    VERSION,
    Run,
    create_tables,
    list_earlier,
    list_entries,
    make_facts,
    raise_version,
)

#: votes that no comparison or annotator belongs to, or that say something else
STRAY = """
SELECT 1 FROM votes WHERE winner NOT IN ('a', 'b', 'tie', 'skip')
  OR item NOT IN (SELECT id FROM items) OR annotator NOT IN (SELECT id FROM annotators)
"""
TYPES = {"TEXT": "text", "INTEGER": "integer", "REAL": "real"}
FREE = "Free some space on the disk; the votes that were saved are safe."
OTHER = "Choose another file: --database FILE"


class Database:
    """The file; threads and processes may share it.

    Args:
        path: path of the SQLite file; created if missing, readable only by its owner.

    Attributes:
        facts: name -> value: the version, the salt for random choices, and the page's own name.

    Raises:
        GptaltError: the file is something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        check_beside(path)
        self.lock = threading.Lock()
        if not path.exists():
            with written(path.parent, "--database"):
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        with explained(self.path):
            self.connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
            prepare(self.connection)
            self.connection.execute("PRAGMA journal_mode = WAL")
            self.connection.execute("PRAGMA synchronous = FULL")  # a commit is on disk when it returns
            # and in this file itself, which people copy without the one beside it
            self.connection.execute("PRAGMA wal_autocheckpoint = 1")
        try:
            with self.transaction() as run:
                if not run(ENTRIES).fetchall():
                    fill(run)
                fault = find_fault(self.connection)
                if fault:
                    raise GptaltError(f"{path} {fault}.", suggest(fault, path))
                self.facts: dict[str, str] = {row["name"]: row["value"] for row in run("SELECT * FROM facts")}
        except BaseException:
            self.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[Run]:
        """Run statements in one transaction.

        Raises:
            GptaltError: the file is damaged, or the disk is full.
        """
        with self.lock, explained(self.path):
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection.execute
                self.connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self.connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        with self.lock:
            self.connection.close()


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """What SQLite complains about becomes ours."""
    try:
        yield
    except (sqlite3.Error, OverflowError, UnicodeDecodeError) as error:  # its message quotes the file
        is_full = "full" in str(error) or "I/O" in str(error)
        raise GptaltError(f"{path} cannot be used: {error}.", FREE if is_full else OTHER) from error


def suggest(fault: str, path: Path) -> str:
    if "not a file of votes" in fault:
        return OTHER
    return f"To read the votes in it: gptalt-eval votes export --database {quote(str(path))}"


def check_beside(path: Path) -> None:
    """Check that neither the file nor what SQLite has beside it is a link."""
    check_plain(path, *(path.with_name(f"{path.name}-{end}") for end in ("wal", "shm", "journal")))


def prepare(connection: sqlite3.Connection) -> None:
    connection.row_factory = sqlite3.Row
    connection.text_factory = lambda text: text.decode("utf-8", "replace")
    # what somebody else's file defines calls no function that reaches beyond it
    connection.execute("PRAGMA trusted_schema = OFF")


def fill(run: Run) -> None:
    """Make the tables."""
    create_tables(run)
    for fact in make_facts().items():
        run("INSERT INTO facts VALUES (?, ?)", fact)


def find_fault(connection: sqlite3.Connection) -> str:
    """Why a file cannot be one of ours; empty: it can. One of an earlier version is changed to this one."""
    run = connection.execute
    found = dict(map(tuple, run(ENTRIES)))
    if "facts" not in found:
        return "is not a file of votes"
    wanted = list_entries(SCHEMA)
    version = run("SELECT value FROM facts WHERE name = 'version'").fetchone()
    if version and re.fullmatch("[0-9]+", version[0]) and int(version[0][:9]) > VERSION:
        return describe_version(version[0])
    earlier = found in list_earlier()
    if found != wanted and not earlier:  # a trigger could change votes, a view could show others
        names = {name for name in {**found, **wanted} if found.get(name) != wanted.get(name)}
        return f"has other tables than a file of votes ({', '.join(sorted(names))[:60]})"
    odd = find_odd(run, found)
    if odd:
        return f"is damaged: {odd}"
    facts = dict(map(tuple, run("SELECT name, value FROM facts")))
    lacking = ({"version", "salt"} if earlier else {"version", "salt", "page"}) - facts.keys()
    if lacking:
        return f"is damaged: it has no {', no '.join(sorted(lacking))}"
    if earlier and facts["version"] in map(str, range(1, VERSION)):
        raise_version(connection)
        return ""
    return "" if facts["version"] == str(VERSION) else describe_version(facts["version"])


def describe_version(version: str) -> str:
    """What is said of a file of this version of the tables."""
    return f"was written by another version of this plugin (tables {version:.9}, here {VERSION})"


def find_odd(run: Run, tables: Iterable[str]) -> str:
    """A value of another type than its column, or a vote on nothing; empty: there is none."""
    if (checked := run("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":
        return " ".join(str(checked).split())[:100]
    for table in tables:
        columns = [(row["name"], TYPES[row["type"]]) for row in run(f"PRAGMA table_info({table})")]
        wrong = " OR ".join(f"typeof({name}) != '{kind}'" for name, kind in columns)
        if wrong and run(f"SELECT 1 FROM {table} WHERE {wrong} LIMIT 1").fetchone():
            return f"'{table}' has a value of another type"
    return "a vote belongs to no comparison" if run(f"{STRAY} LIMIT 1").fetchone() else ""
