"""What the organiser sees: how far it is, and how each annotator votes, with signs of carelessness."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby, pairwise
from statistics import median
from typing import Any

from gptalt_eval_plugin_elo.voting.store import DONE, LEASE, Store

VOTES = """
SELECT annotators.id AS person, annotators.name, votes.winner, swapped,
  CAST(strftime('%s', votes.time) AS INTEGER) AS time
FROM annotators LEFT JOIN votes ON votes.annotator = annotators.id ORDER BY annotators.name, votes.id
"""
#: each annotator's votes beside another's on the same comparison: 1 if equal, 0.5 if one is a tie, else 0
BESIDE = """
SELECT mine.annotator AS person, count(*) AS shared, avg(CASE
  WHEN mine.winner = other.winner THEN 1.0 WHEN 'tie' IN (mine.winner, other.winner) THEN 0.5 ELSE 0.0 END)
  AS agreement
FROM votes AS mine JOIN votes AS other ON other.item = mine.item AND other.annotator != mine.annotator
WHERE mine.winner != 'skip' AND other.winner != 'skip' GROUP BY mine.annotator
"""


@dataclass(frozen=True)
class Voter:
    """How an annotator votes.

    Attributes:
        name: the annotator's.
        votes: their number, with skipped ones.
        left, right, tie, skip: how many chose what.
        seconds: median time from one vote to the next, without breaks of half an hour; None: unknown.
        shared: pairs of a vote of theirs and another's on the same comparison.
        agreement: tie-discounted, over these pairs, from 0 to 1; None: there are none.
    """

    name: str
    votes: int
    left: int
    right: int
    tie: int
    skip: int
    seconds: float | None
    shared: int
    agreement: float | None

    def share(self, choice: str) -> str:
        """The share of a choice in percent; empty: there are no votes."""
        return f"{getattr(self, choice) / self.votes:.0%}" if self.votes else ""


@dataclass(frozen=True)
class Overview:
    """How far it is.

    Attributes:
        voters: the annotators, by name.
        done, wanted: votes that were needed and are there, and all that are needed.
    """

    voters: tuple[Voter, ...]
    done: int
    wanted: int


def gather_overview(store: Store) -> Overview:
    with store.transaction() as run:
        rows = run(VOTES).fetchall()
        beside = {row["person"]: (row["shared"], row["agreement"]) for row in run(BESIDE)}
        done, wanted = run(
            f"SELECT sum(min(wanted, ({DONE}))), sum(wanted) FROM items "
            "WHERE id NOT IN (SELECT item FROM temp.left_out)"
        ).fetchone()
    voters = (
        describe_voter(name, list(own), beside.get(person, (0, None)))
        for (person, name), own in groupby(rows, lambda row: (row["person"], row["name"]))
    )
    return Overview(tuple(voters), done or 0, wanted or 0)


def describe_voter(name: str, rows: Iterable[Any], beside: tuple[int, float | None]) -> Voter:
    votes = [row for row in rows if row["winner"] is not None]
    sides = [name_side(row["winner"], row["swapped"]) for row in votes]
    return Voter(
        name, len(votes), sides.count("left"), sides.count("right"), sides.count("tie"), sides.count("skip"),
        measure_seconds([row["time"] for row in votes]), *beside,
    )  # fmt: skip


def name_side(winner: str, swapped: int) -> str:
    """``left``, ``right``, ``tie`` or ``skip``."""
    if winner not in ("a", "b"):
        return winner
    return "right" if (winner == "a") == bool(swapped) else "left"


def measure_seconds(times: Iterable[int | None]) -> float | None:
    known = [each for each in times if each is not None]
    gaps = [after - before for before, after in pairwise(known) if 0 <= after - before < LEASE]
    return float(median(gaps)) if gaps else None
