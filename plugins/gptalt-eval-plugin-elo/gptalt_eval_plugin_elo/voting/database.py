"""The SQLite file of one comparison: its tables, and transactions on them."""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gptalt_eval import GptaltError
from gptalt_eval_plugin_elo.plain import check_plain

VERSION = 1
SCHEMA = """
CREATE TABLE facts(name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE items(
  id INTEGER PRIMARY KEY, question TEXT NOT NULL, category TEXT NOT NULL, language TEXT NOT NULL,
  prompt TEXT NOT NULL, expected TEXT NOT NULL, model_a TEXT NOT NULL, model_b TEXT NOT NULL,
  answer_a TEXT NOT NULL, answer_b TEXT NOT NULL, wanted INTEGER NOT NULL,
  UNIQUE(question, model_a, model_b));
CREATE TABLE annotators(
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, token TEXT NOT NULL UNIQUE, language TEXT NOT NULL);
-- what an annotator has open, or had open and voted on. Each time it is shown again, turn is another number,
-- so that a late vote from before an undo does not count
CREATE TABLE given(
  annotator INTEGER NOT NULL, item INTEGER NOT NULL, turn INTEGER NOT NULL, time REAL NOT NULL,
  PRIMARY KEY(annotator, item));
CREATE TABLE votes(
  id INTEGER PRIMARY KEY AUTOINCREMENT, annotator INTEGER NOT NULL, item INTEGER NOT NULL,
  winner TEXT NOT NULL, time TEXT NOT NULL, UNIQUE(annotator, item));
CREATE INDEX votes_of_item ON votes(item);
CREATE INDEX given_of_item ON given(item);
"""


class Database:
    """The file; threads and processes may share it.

    Args:
        path: path of the SQLite file; created if missing, readable only by its owner.

    Attributes:
        facts: name -> value: the version, the salt for random choices, the organiser's token.

    Raises:
        GptaltError: the file is something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        check_plain(path, *(path.with_name(f"{path.name}-{end}") for end in ("wal", "shm", "journal")))
        self.lock = threading.Lock()
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        try:
            self.connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
            self.connection.row_factory = sqlite3.Row
            # triggers and views of somebody else's file call no function that reaches beyond it
            self.connection.execute("PRAGMA trusted_schema = OFF")
            self.connection.execute("PRAGMA journal_mode = WAL")
            self.connection.execute("PRAGMA synchronous = FULL")  # a commit is on disk when it returns
            with self.transaction() as run:
                tables = {row["name"] for row in run("SELECT name FROM sqlite_master WHERE type = 'table'")}
                if not tables:
                    for statement in SCHEMA.split(";"):
                        run(statement)
                    facts = {"version": str(VERSION), "salt": secrets.token_hex(16)}
                    facts["organiser"] = secrets.token_urlsafe(18)
                    for fact in facts.items():
                        run("INSERT INTO facts VALUES (?, ?)", fact)
                elif "facts" not in tables:
                    raise GptaltError(
                        f"{path} is not a file of votes.", "Choose another file: --database FILE"
                    )
                self.facts: dict[str, str] = {row["name"]: row["value"] for row in run("SELECT * FROM facts")}
        except sqlite3.Error as error:
            raise GptaltError(
                f"{path} cannot be used: {error}.", "Choose another file: --database FILE"
            ) from error
        lacking = {"version", "salt", "organiser"} - self.facts.keys()
        if lacking:
            raise GptaltError(
                f"{path} is damaged: it has no {', no '.join(sorted(lacking))}.",
                "Choose another file: --database FILE",
            )
        if self.facts["version"] != str(VERSION):
            raise GptaltError(f"{path} was written by another version of this plugin.")

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        """Run statements in one transaction."""
        with self.lock:
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection.execute
                self.connection.execute("COMMIT")
            except BaseException:
                self.connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        with self.lock:
            self.connection.close()
