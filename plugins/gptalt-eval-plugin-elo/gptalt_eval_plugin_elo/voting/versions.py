"""The tables of a file of votes, in this version and the earlier ones, and the way from those to this one."""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from collections.abc import Callable
from contextlib import closing

VERSION = 3
SCHEMA = """
CREATE TABLE facts(name TEXT PRIMARY KEY, value TEXT NOT NULL);
-- ids are random: they do not tell which models came later. added: the number of the time when it came
CREATE TABLE items(
  id INTEGER PRIMARY KEY, question TEXT NOT NULL, category TEXT NOT NULL, language TEXT NOT NULL,
  prompt TEXT NOT NULL, expected TEXT NOT NULL, model_a TEXT NOT NULL, model_b TEXT NOT NULL,
  answer_a TEXT NOT NULL, answer_b TEXT NOT NULL, wanted INTEGER NOT NULL, added INTEGER NOT NULL,
  UNIQUE(question, model_a, model_b));
CREATE TABLE annotators(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, language TEXT NOT NULL);
-- what an annotator has open, or had open and voted on. Each time it is shown again, turn is another number,
-- so that a late vote from before an undo does not count
CREATE TABLE given(
  annotator INTEGER NOT NULL, item INTEGER NOT NULL, turn INTEGER NOT NULL, time REAL NOT NULL,
  PRIMARY KEY(annotator, item));
-- swapped: whether the second model's answer was on the left
CREATE TABLE votes(
  id INTEGER PRIMARY KEY AUTOINCREMENT, annotator INTEGER NOT NULL, item INTEGER NOT NULL,
  winner TEXT NOT NULL, time TEXT NOT NULL, swapped INTEGER NOT NULL, UNIQUE(annotator, item));
CREATE INDEX votes_of_item ON votes(item);
CREATE INDEX given_of_item ON given(item);
"""
#: the tables that were others: of version 2, whose ids of items were in the order in which they were added
EARLIER_ITEMS = """
CREATE TABLE items(
  id INTEGER PRIMARY KEY, question TEXT NOT NULL, category TEXT NOT NULL, language TEXT NOT NULL,
  prompt TEXT NOT NULL, expected TEXT NOT NULL, model_a TEXT NOT NULL, model_b TEXT NOT NULL,
  answer_a TEXT NOT NULL, answer_b TEXT NOT NULL, wanted INTEGER NOT NULL,
  UNIQUE(question, model_a, model_b));
CREATE TABLE votes(
  id INTEGER PRIMARY KEY AUTOINCREMENT, annotator INTEGER NOT NULL, item INTEGER NOT NULL,
  winner TEXT NOT NULL, time TEXT NOT NULL, UNIQUE(annotator, item));
"""
#: and of version 1, in which the file had the tokens of all links, which its sender knew
EARLIER_ANNOTATORS = """
CREATE TABLE annotators(
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, token TEXT NOT NULL UNIQUE, language TEXT NOT NULL);
"""
ENTRIES = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name != 'sqlite_sequence'"
#: how each table is filled from the earlier one, whose rows are in "old"
MOVES = (
    ("facts", "name, value", "name, value"),
    ("items", "id, question, category, language, prompt, expected, model_a, model_b, answer_a, answer_b, "
     "wanted, added", "renumber(id), question, category, language, prompt, expected, model_a, model_b, "
     "answer_a, answer_b, wanted, 0"),
    ("annotators", "id, name, language", "id, name, language"),
    ("given", "annotator, item, turn, time", "annotator, renumber(item), turn, time"),
    ("votes", "id, annotator, item, winner, time, swapped",
     "id, annotator, renumber(item), winner, time, is_swapped(annotator, item)"),
)  # fmt: skip
Run = Callable[..., sqlite3.Cursor]


def list_entries(*schemas: str) -> dict[str, str]:
    """The tables and indexes of a schema, as SQLite notes them; those of later ones replace earlier ones."""
    found: dict[str, str] = {}
    for schema in schemas:
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.executescript(schema)
            found |= dict(connection.execute(ENTRIES))
    return found


def list_earlier() -> list[dict[str, str]]:
    """The tables and indexes of the earlier versions, the first one first."""
    return [
        list_entries(SCHEMA, EARLIER_ITEMS, EARLIER_ANNOTATORS),
        list_entries(SCHEMA, EARLIER_ITEMS),
    ]


def create_tables(run: Run) -> None:
    for statement in SCHEMA.split(";"):
        run(statement)


def make_facts() -> dict[str, str]:
    """What each file has of its own: the salt of its random choices, and the name of its votes' page."""
    return {"version": str(VERSION), "salt": secrets.token_hex(16), "page": secrets.token_hex(8)}


def draw_id() -> int:
    """A number for a comparison, below 2^48: a browser's numbers are exact."""
    return secrets.randbits(48)


def is_swapped(salt: str, annotator: int, item: int) -> bool:
    """Whether the second model's answer is on the left: random, but always the same for an annotator."""
    digest = hashlib.sha256(f"{salt}/{annotator}/{item}".encode()).digest()
    return bool(digest[0] & 1)


def raise_version(connection: sqlite3.Connection) -> None:
    """Change the tables of an earlier version to this one's, inside a transaction; every vote stays."""
    run = connection.execute
    (salt,) = run("SELECT value FROM facts WHERE name = 'salt'").fetchone()
    ids: dict[int, int] = {}
    connection.create_function("renumber", 1, lambda item: ids.setdefault(item, draw_id()))
    connection.create_function("is_swapped", 2, lambda *about: is_swapped(salt, *about))
    counts = {table: run(f"SELECT count(*) FROM {table}").fetchone()[0] for table, _, _ in MOVES}
    for table, _, _ in MOVES:
        run(f"CREATE TEMP TABLE old_{table} AS SELECT * FROM {table}")
        run(f"DROP TABLE {table}")
    create_tables(run)
    for table, columns, values in MOVES:
        moved = run(f"INSERT INTO {table}({columns}) SELECT {values} FROM old_{table} ORDER BY rowid")
        if moved.rowcount != counts[table]:
            raise sqlite3.DataError(f"{table} would lose rows")
        run(f"DROP TABLE old_{table}")
    run("DELETE FROM facts WHERE name = 'organiser'")  # version 1's link
    for name, value in make_facts().items():
        run("INSERT OR IGNORE INTO facts VALUES (?, ?)", (name, value))
    run("UPDATE facts SET value = ? WHERE name = 'version'", (str(VERSION),))
