"""Who judges what, and how they judged: one SQLite file, which contains a vote before it is confirmed."""

from __future__ import annotations

import hashlib
import hmac
import random
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import combinations
from pathlib import Path

from gptalt_eval import GptaltError, read_secret
from gptalt_eval_plugin_elo.answers import Answer
from gptalt_eval_plugin_elo.voting.database import Database
from gptalt_eval_plugin_elo.voting.versions import Run, draw_id, is_swapped

LEASE = 1800.0  # seconds during which an open comparison is not shown to others
CHOICES = ("left", "right", "tie", "skip")
DONE = "SELECT count(*) FROM votes WHERE item = items.id AND winner != 'skip'"
# for each item: the number of its votes, without skipped ones, plus those that are expected
COVERED = f"""
SELECT items.id AS id, items.model_a, items.model_b, items.wanted, items.added,
  ({DONE}) +
  (SELECT count(*) FROM given WHERE given.item = items.id AND given.time > :fresh AND given.annotator != :who
     AND NOT EXISTS (SELECT 1 FROM votes WHERE votes.item = given.item AND votes.annotator = given.annotator)
  ) AS covered,
  EXISTS (SELECT 1 FROM votes WHERE votes.item = items.id AND votes.annotator = :who) AS judged
FROM items WHERE items.id NOT IN (SELECT item FROM temp.left_out)
"""
# what an annotator has open and has not judged
RELEASE = """
DELETE FROM given WHERE annotator = ?
  AND item NOT IN (SELECT item FROM votes WHERE votes.annotator = given.annotator)
"""


@dataclass(frozen=True)
class Annotator:
    """A person who votes; the token in their link is their only credential."""

    id: int
    name: str
    token: str
    language: str


@dataclass(frozen=True)
class Shown:
    """Two answers as an annotator sees them, without the models' names.

    Attributes:
        item, turn: identify a vote on them.
        language: the question's language; may be empty.
        expected: what a good answer contains; may be empty.
    """

    item: int
    turn: int
    language: str
    prompt: str
    expected: str
    left: str
    right: str


@dataclass(frozen=True)
class Progress:
    """An annotator's progress.

    Attributes:
        voted: their votes, skipped ones included.
        left: comparisons that they can still judge.
        last: their last vote, which they can undo; None: there is none.
    """

    voted: int
    left: int
    last: int | None


class Store(Database):
    """Who judges what. Every method is one transaction; threads and processes may share the file."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.secret = read_secret("voting")
        with self.transaction() as run:
            run("CREATE TEMP TABLE left_out(item INTEGER PRIMARY KEY)")

    @property
    def organiser(self) -> str:
        """The organiser's token."""
        return self.make_token("organiser")

    def renew_links(self) -> bool:
        """Whether the links are others than when they were last shown; notes that these are shown."""
        known, shown = self.facts.get("links"), hashlib.sha256(self.organiser.encode()).hexdigest()
        with self.transaction() as run:
            run("INSERT OR REPLACE INTO facts VALUES ('links', ?)", (shown,))
        return known not in (None, shown)

    def make_token(self, who: str) -> str:
        """The token of a link: the same while the file stays where it is, and not known to who sent it."""
        place = f"{self.path.resolve()}\0{self.facts['salt']}\0{who}"
        digest = hmac.digest(self.secret, place.encode("utf-8", "surrogateescape"), "sha256")
        return urlsafe_b64encode(digest[:18]).decode()

    def add_answers(self, answers: Sequence[Answer], judges: int, twice: float) -> int:
        """Add every pair of models on every question that both answered, in random order.

        Args:
            answers: the answers of all models.
            judges: number of judges for each comparison.
            twice: share of comparisons with one more judge, for measuring agreement.

        Returns:
            how many comparisons there are now.

        Raises:
            GptaltError: there are no pairs, or an answer differs from the one that people voted on.
        """
        questions: dict[str, dict[str, Answer]] = {}
        for answer in answers:
            questions.setdefault(answer.key, {})[answer.model] = answer
        pairs = [
            (found[a], found[b]) for found in questions.values() for a, b in combinations(sorted(found), 2)
        ]
        if not pairs:
            raise GptaltError(
                "No question was answered by two models.", "gptalt-eval answers --models FIRST,SECOND"
            )
        generator = random.Random(self.facts["salt"])
        generator.shuffle(pairs)  # an item's number must not reveal the models
        share = set(generator.sample(range(len(pairs)), round(twice * len(pairs))))
        with self.transaction() as run:
            added = int(run("SELECT ifnull(max(added) + 1, 0) FROM items").fetchone()[0])
            for number, (a, b) in enumerate(pairs):
                known = run(
                    "SELECT answer_a, answer_b FROM items WHERE question = ? AND model_a = ? AND model_b = ?",
                    (a.key, a.model, b.model),
                ).fetchone()
                if known and tuple(known) != (a.answer, b.answer):
                    raise GptaltError(
                        f"The answers of {a.model} or {b.model} to {a.key} differ from those in {self.path}.",
                        "Use another file for votes on other answers: --database FILE",
                    )
                if not known:
                    values = (draw_id(), a.key, a.category, a.language, a.prompt, a.expected, a.model,
                              b.model, a.answer, b.answer, judges + (number in share), added)  # fmt: skip
                    run(f"INSERT INTO items VALUES ({', '.join('?' * len(values))})", values)
            return int(run("SELECT count(*) FROM items").fetchone()[0])

    def leave_out(self, answers: Iterable[tuple[str, str]]) -> int:
        """Ask for no votes on some answers (the question's name, the model) until the file is opened again.

        Returns:
            the number of comparisons that are left out; votes on them stay.
        """
        with self.transaction() as run:
            for answer in answers:
                run(
                    "INSERT OR IGNORE INTO temp.left_out SELECT id FROM items "
                    "WHERE question = :question AND :model IN (model_a, model_b)",
                    dict(zip(("question", "model"), answer, strict=True)),
                )
            return int(run("SELECT count(*) FROM temp.left_out").fetchone()[0])

    def add_annotators(self, names: Sequence[str]) -> list[Annotator]:
        """Add annotators; known ones keep their links. Returns all of them."""
        with self.transaction() as run:
            for name in names:
                run("INSERT OR IGNORE INTO annotators VALUES (NULL, ?, '')", (name,))
        return self.list_annotators()

    def list_annotators(self) -> list[Annotator]:
        with self.transaction() as run:
            rows = run("SELECT id, name, language FROM annotators ORDER BY id").fetchall()
        return [
            Annotator(key, name, self.make_token(f"vote/{name}"), language) for key, name, language in rows
        ]

    def find_annotator(self, token: str) -> Annotator | None:
        given = token.encode("utf-8", "replace")
        return next(
            (each for each in self.list_annotators() if hmac.compare_digest(each.token.encode(), given)), None
        )

    def choose_language(self, who: Annotator, language: str) -> None:
        with self.transaction() as run:
            run("UPDATE annotators SET language = ? WHERE id = ?", (language, who.id))

    def show(self, who: Annotator, now: float | None = None) -> Shown | None:
        """What an annotator judges next; the same until they have voted. None: nothing is left for them."""
        now = time.time() if now is None else now
        about = {"who": who.id, "fresh": now - LEASE}
        with self.transaction() as run:
            opened = run(
                "SELECT item, turn, wanted, covered FROM given "
                f"JOIN ({COVERED}) AS state ON state.id = given.item "
                "WHERE annotator = :who AND NOT judged ORDER BY time DESC",
                about,
            ).fetchone()
            if opened and opened["covered"] < opened["wanted"]:
                item, turn = opened["item"], opened["turn"]
                run("UPDATE given SET time = ? WHERE annotator = ? AND item = ?", (now, who.id, item))
            else:
                # others were faster: release it and choose something else
                run(RELEASE, (who.id,))
                chosen = self.choose_item(run, about)
                if chosen is None:
                    return None
                item, turn = chosen, secrets.randbits(48)
                run("INSERT INTO given VALUES (?, ?, ?, ?)", (who.id, item, turn, now))
            row = run("SELECT * FROM items WHERE id = ?", (item,)).fetchone()
        answers = row["answer_a"], row["answer_b"]
        left, right = answers[::-1] if is_swapped(self.facts["salt"], who.id, item) else answers
        return Shown(item, turn, row["language"], row["prompt"], row["expected"], left, right)

    def choose_item(self, run: Run, about: Mapping[str, float]) -> int | None:
        """The next comparison for an annotator; None: nothing is left for them.

        Of those that were added together, pairs of models with the fewest votes come first, then those with
        the fewest votes of this annotator. Whether earlier or later ones come is drawn by how many are left:
        otherwise one would know a new model by being in everything that comes after it was added.
        """
        left = run(
            f"SELECT added, count(*) FROM ({COVERED}) WHERE NOT judged AND covered < wanted GROUP BY added",
            about,
        ).fetchall()
        if not left:
            return None
        (added,) = random.SystemRandom().choices([row[0] for row in left], [row[1] for row in left])
        return int(run(
            f"WITH state AS ({COVERED} AND added = :added), pairs AS (SELECT model_a, model_b, "
            "sum(covered) AS covered, sum(judged) AS judged FROM state GROUP BY model_a, model_b) "
            "SELECT state.id FROM state JOIN pairs USING (model_a, model_b) "
            "WHERE NOT state.judged AND state.covered < state.wanted "
            "ORDER BY pairs.covered, pairs.judged, state.id LIMIT 1",
            {**about, "added": added},
        ).fetchone()[0])  # fmt: skip

    def vote(self, who: Annotator, item: int, turn: int, choice: str) -> bool:
        """Save a vote; it is on disk when this returns.

        Returns:
            whether it counts: a second vote on the same answers does not, nor does one from before an undo.
        """
        swapped = is_swapped(self.facts["salt"], who.id, item)
        sides = ("b", "a") if swapped else ("a", "b")
        winner = {"left": sides[0], "right": sides[1]}.get(choice, choice)
        stamp = datetime.now(timezone.utc).isoformat(timespec="seconds")
        with self.transaction() as run:
            added = run(
                "INSERT OR IGNORE INTO votes SELECT NULL, annotator, item, ?, ?, ? FROM given "
                "WHERE annotator = ? AND item = ? AND turn = ?",
                (winner, stamp, swapped, who.id, item, turn),
            )
            return bool(added.rowcount > 0)

    def undo(self, who: Annotator, vote: int) -> bool:
        """Undo an annotator's last vote, and show its answers again.

        Returns:
            whether that was their last one: undoing it twice removes only one vote.
        """
        with self.transaction() as run:
            last = run(
                "SELECT id, item FROM votes WHERE annotator = ? ORDER BY id DESC LIMIT 1", (who.id,)
            ).fetchone()
            if last is None or last["id"] != vote:
                return False
            run(RELEASE, (who.id,))
            run("DELETE FROM votes WHERE id = ?", (vote,))
            run(
                "UPDATE given SET turn = ?, time = ? WHERE annotator = ? AND item = ?",
                (secrets.randbits(48), time.time(), who.id, last["item"]),
            )
            return True

    def find_progress(self, who: Annotator) -> Progress:
        about = {"who": who.id, "fresh": time.time() - LEASE}
        with self.transaction() as run:
            voted, last = run("SELECT count(*), max(id) FROM votes WHERE annotator = ?", (who.id,)).fetchone()
            left = run(
                f"SELECT count(*) FROM ({COVERED}) WHERE NOT judged AND covered < wanted", about
            ).fetchone()[0]
        return Progress(voted, left, last)
