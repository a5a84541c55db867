"""The votes in a page's file, whatever version wrote it: nothing is changed, and no secret is needed."""

from __future__ import annotations

import sqlite3
from collections.abc import Container, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from gptalt_eval import GptaltError
from gptalt_eval_plugin_elo.voting.database import check_beside, explained, prepare

#: what votes cannot be read without; the key of each table identifies its rows
NEEDED = {
    "votes": ("id", "item", "annotator", "winner"),
    "items": ("id", "question", "model_a", "model_b"),
    "annotators": ("id", "name"),
}
#: of ``Judged``, in its order
FIELDS = (
    "items.question", "items.model_a", "items.model_b", "votes.winner", "items.category", "annotators.name",
    "votes.time", "items.language", "items.prompt", "items.answer_a", "items.answer_b", "votes.item",
    "votes.annotator",
)  # fmt: skip
WINNERS = ("a", "b", "tie", "skip")


class Judged(NamedTuple):
    """A vote, and what identifies it on its page.

    Attributes:
        question, model_a, model_b, winner, category, annotator, time, language: as in ``Vote``.
        prompt, answer_a, answer_b: the question and the answers.
        item, person: ids of the comparison and the annotator: one has voted on the other at most once.
    """

    question: str
    model_a: str
    model_b: str
    winner: str
    category: str
    annotator: str
    time: str
    language: str
    prompt: str
    answer_a: str
    answer_b: str
    item: int
    person: int


@dataclass(frozen=True)
class PageVotes:
    """The votes of a page.

    Attributes:
        page: the page's own name; empty: a file of an earlier version, which has none.
        revision: a number that grows with each vote and each undo.
        votes: in their order. At the end, a ``GptaltError`` says if some could not be read.
    """

    page: str
    revision: int
    votes: Iterator[Judged]


@contextmanager
def opened_votes(path: Path) -> Iterator[PageVotes]:
    """Open a page's file for reading.

    Raises:
        GptaltError: there is none, or it has no tables of votes.
    """
    check_beside(path)
    if not path.is_file():
        raise GptaltError(f"There is no file {path}.", "To create one: gptalt-eval votes serve")
    with explained(path):
        connection = open_unchanged(path)
    with closing(connection):
        with explained(path):
            found = select_votes(path, connection)
        yield found


def open_unchanged(path: Path) -> sqlite3.Connection:
    """A connection that writes nothing, also where nothing can be written."""
    address = f"file:{quote(str(path.resolve()))}?mode=ro"
    pending = path.with_name(f"{path.name}-wal")
    try:
        connection = sqlite3.connect(address, uri=True, timeout=30, check_same_thread=False)
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:  # a folder without room for the index of what is pending
        if pending.exists() and pending.stat().st_size:
            raise
        connection = sqlite3.connect(f"{address}&immutable=1", uri=True, check_same_thread=False)
    prepare(connection)
    connection.execute("BEGIN")  # all that is read is of one moment
    return connection


def select_votes(path: Path, connection: sqlite3.Connection) -> PageVotes:
    """The votes of a file that is open."""
    columns = list_columns(connection)
    for table, names in NEEDED.items():
        lacking = [name for name in names if name not in columns.get(table, {})]
        if lacking or not columns[table]["id"]:
            what = f"{table}.{lacking[0]}" if lacking else f"key of {table}"
            raise GptaltError(f"{path} is not a file of votes: it has no {what}.", "Choose another file.")
    page = ""
    if {"name", "value"} <= columns.get("facts", {}).keys():
        row = connection.execute("SELECT value FROM facts WHERE name = 'page'").fetchone()
        page = read_text(row[0]) if row else ""
    return PageVotes(page, find_revision(connection, columns), read_judged(path, connection, columns))


def find_revision(connection: sqlite3.Connection, tables: Container[str]) -> int:
    """Votes are numbered for ever, also those that were taken back."""
    (count,) = connection.execute("SELECT count(*) FROM votes").fetchone()
    number = "SELECT max(seq) FROM sqlite_sequence WHERE name = 'votes' AND typeof(seq) = 'integer'"
    last = connection.execute(number).fetchone()[0] if "sqlite_sequence" in tables else None
    return int(min(max(2 * (last or 0) - count, 0), 2**62))


def list_columns(connection: sqlite3.Connection) -> dict[str, Mapping[str, bool]]:
    """Table -> column -> whether it is the number of the row. Views are left out: they compute."""
    names = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE 'CREATE TABLE%'"
    ).fetchall()
    return {
        name: {
            row["name"]: row["pk"] == 1 and row["type"] == "INTEGER"
            for row in connection.execute("SELECT * FROM pragma_table_info(?)", (name,))
        }
        for (name,) in names
    }


def read_judged(
    path: Path, connection: sqlite3.Connection, columns: Mapping[str, Mapping[str, bool]]
) -> Iterator[Judged]:
    chosen = (
        field if name in columns[table] else "''"
        for field in FIELDS for table, name in [field.split(".")]
    )  # fmt: skip
    left_out = 0
    with explained(path):
        rows = connection.execute(
            f"SELECT {', '.join(chosen)} FROM votes LEFT JOIN items ON items.id = votes.item "
            "LEFT JOIN annotators ON annotators.id = votes.annotator ORDER BY votes.id"
        )
        for row in rows:
            *values, item, person = row
            if row[3] in WINNERS and {type(item), type(person)} == {int} and None not in values:
                yield Judged._make((*map(read_text, values), item, person))
            else:
                left_out += 1
        damage = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if left_out or damage != "ok":
        missing = f"{left_out:,} votes name no comparison or annotator, or no winner"
        raise GptaltError(
            f"{path} is damaged: {missing if left_out else damage:.200}.", "The other votes were read."
        )


def read_text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
