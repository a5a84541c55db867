"""Which votes are the same one: what was judged, by whom and when, wherever it stands in a file.

A vote is known by its source's own id, if it has one; else by question, models, annotator and time; and if it
has neither annotator nor time of day, by all that it says. Equal ones within a file are different votes. The
columns of hashes take 30 MB for a million votes.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import datetime, timezone

import numpy as np
import numpy.typing as npt

from gptalt_eval_plugin_elo.votes import Vote

Hashes = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]
Places = npt.NDArray[np.intp]
VERDICTS = {"a": 0, "b": 1, "tie": 2, "skip": 3}
DAY = re.compile(r"\d{4}-\d\d-\d\d")  # on which many may have judged the same
MILLISECONDS = 1e11  # a larger number of seconds would be after the year 5000
CONTENT = "content "  # begins an id that is only what the vote says, which others may say too
ODD = np.uint64(0x9E3779B97F4A7C15)  # multiples of an odd number are different for 2^64 times


@dataclass(frozen=True)
class Identities:
    """What votes are known by, one number for each.

    Attributes:
        own: [N] hash of the source's id and of what was judged; 0: it has no id.
        content: [N] hash of what was judged, by whom, when and in which language.
        loose: [N] the same without the language.
        told: [N] whether the language is known.
        verdict: [N] 0: the model whose name comes first won, 1: the other, 2: a tie, 3: skipped.
        page: [N] number of the page that it is from; -1: from none.
        named: [N] whether its id is its own, and not only what it says.
        moment: [N] hash of who judged when; 0: one of them is not known.
    """

    own: Hashes
    content: Hashes
    loose: Hashes
    told: Mask
    verdict: npt.NDArray[np.int8]
    page: npt.NDArray[np.int32]
    named: Mask
    moment: Hashes

    def __len__(self) -> int:
        return len(self.own)

    @property
    def group(self) -> Hashes:
        """What equal votes share."""
        return np.where(self.own != 0, self.own, self.content)

    def choose(self, which: Places | Mask) -> Identities:
        return Identities(*(getattr(self, each.name)[which] for each in fields(self)))

    def join(self, other: Identities) -> Identities:
        names = [each.name for each in fields(self)]
        return Identities(*(np.concatenate([getattr(self, name), getattr(other, name)]) for name in names))


class IdentityColumns:
    """Gathers identities vote by vote."""

    def __init__(self) -> None:
        self.hashes = [array("Q") for _ in range(3)]
        self.told, self.verdict, self.page = array("b"), array("b"), array("i")
        self.named, self.moment = array("b"), array("Q")

    def __len__(self) -> int:
        return len(self.page)

    def add(self, vote: Vote, page: int) -> None:
        for column, value in zip(self.hashes, hash_vote(vote), strict=True):
            column.append(value)
        swapped = vote.model_a > vote.model_b
        verdict = VERDICTS[vote.winner]
        self.told.append(vote.language != "")
        self.verdict.append(1 - verdict if swapped and verdict < 2 else verdict)
        self.page.append(page)
        self.named.append(vote.id != "" and not vote.id.startswith(CONTENT))
        timed = vote.annotator != "" and vote.time != "" and not DAY.fullmatch(vote.time)
        self.moment.append(hash_texts(vote.annotator, mend_time(vote.time)) if timed else 0)

    def finish(self) -> Identities:
        own, content, loose = (np.array(column, np.uint64) for column in self.hashes)
        told, named = (np.array(column, bool) for column in (self.told, self.named))
        verdict, page = np.array(self.verdict, np.int8), np.array(self.page, np.int32)
        return Identities(own, content, loose, told, verdict, page, named, np.array(self.moment, np.uint64))


def hash_vote(vote: Vote) -> tuple[int, int, int]:
    """Hashes of the source's id, of what was judged by whom, and of the latter without the language."""
    first, second = sorted((vote.model_a, vote.model_b))
    # earlier versions had a conversation's question without the turn
    question = mend_number(vote.question.removesuffix("/turn 1"))
    judged = (question, first, second, mend_number(vote.annotator))
    rest = [mend_time(vote.time)]
    if not vote.annotator and (not vote.time or DAY.fullmatch(vote.time)):
        winner = {"a": vote.model_a, "b": vote.model_b}.get(vote.winner, "")
        rest += ["won" if winner else vote.winner, winner, vote.category, vote.kind, str(vote.blind)]
    loose = hash_texts(*judged, *rest)
    content = hash_texts(*judged, *rest, "in", vote.language) if vote.language else loose
    return (hash_texts(*judged, "named", vote.id) if vote.id else 0), content, loose


def mend_number(text: str) -> str:
    """A number that passed through a spreadsheet (``7.0``) as it was before."""
    return text[:-2] if text.endswith(".0") and text[:-2].isdecimal() else text


def mend_time(text: str) -> str:
    """A moment in one form, however a tool writes it: seconds since 1970, or else the text as it is.

    What is not said is taken to be UTC. Fractions of a millisecond do not count.
    """
    if not text or DAY.fullmatch(text):
        return text
    try:
        number = float(text)
        moment = datetime.fromtimestamp(number / 1000 if number > MILLISECONDS else number, timezone.utc)
    except (ValueError, OverflowError, OSError):
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return text
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return f"{moment.timestamp():.3f}"


def hash_texts(*texts: str) -> int:
    joined = "\0".join(texts).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(joined, digest_size=8).digest(), "little")


def pair_votes(new: Identities, old: Identities) -> tuple[Places, Places]:
    """The same votes in two lists: their places in the one and in the other.

    Where equal votes stand in a list several times, as many are paired as both have, those with the same
    verdict first. A vote with an id may be one that was known without, and one with a language one without.
    """
    free_new, free_old = np.ones(len(new), bool), np.ones(len(old), bool)
    found = [(np.zeros(0, np.intp), np.zeros(0, np.intp))]
    for name, some, others in list_rounds(new, old):
        at_new, at_old = np.flatnonzero(free_new & some), np.flatnonzero(free_old & others)
        if not len(at_new) or not len(at_old):
            continue
        places = pair_keys(getattr(new, name)[at_new], new.verdict[at_new],
                           getattr(old, name)[at_old], old.verdict[at_old])  # fmt: skip
        found.append((at_new[places[0]], at_old[places[1]]))
        free_new[found[-1][0]] = free_old[found[-1][1]] = False
    return np.concatenate([new for new, _ in found]), np.concatenate([old for _, old in found])


def find_copies(votes: Identities) -> Mask:
    """[N] which votes are certainly copies of an earlier one in the same file.

    Those with the same id and verdict are; and so are those by one person at one moment, unless that person
    judged anything else at the same moment: then the times are those of a day, or of a whole file.
    """
    verdicts = tell_apart(votes.group, votes.verdict)
    timed = votes.moment != 0
    said = np.unique(np.stack([votes.moment[timed], verdicts[timed]]), axis=1)
    is_time = len(np.unique(said[0])) == said.shape[1]
    at = np.flatnonzero(votes.named | (timed & is_time))
    copies = np.zeros(len(votes), bool)
    copies[at[rank_equal(verdicts[at]) > 0]] = True
    return copies


def list_rounds(new: Identities, old: Identities) -> Iterator[tuple[str, Mask, Mask]]:
    """By which column votes are compared, and which of the new ones with which of the old ones."""
    named_new, named_old = new.own != 0, old.own != 0
    yield "own", named_new, named_old
    kinds = ((~named_new, ~named_old), (~named_new, named_old), (named_new, ~named_old))
    for some, others in kinds:
        yield "content", some, others
    for some, others in kinds:
        yield "loose", some & new.told, others & ~old.told
        yield "loose", some & ~new.told, others & old.told


def pair_keys(
    new: Hashes, verdicts: npt.NDArray[np.int8], old: Hashes, known: npt.NDArray[np.int8]
) -> tuple[Places, Places]:
    """Pairs of equal keys, each used once: first those whose verdicts are equal too, then the others."""
    same_new, same_old = pair_equal(tell_apart(new, verdicts), tell_apart(old, known))
    rest_new = np.setdiff1d(np.arange(len(new)), same_new, assume_unique=True)
    rest_old = np.setdiff1d(np.arange(len(old)), same_old, assume_unique=True)
    other_new, other_old = pair_equal(new[rest_new], old[rest_old])
    return np.concatenate([same_new, rest_new[other_new]]), np.concatenate([same_old, rest_old[other_old]])


def pair_equal(new: Hashes, old: Hashes) -> tuple[Places, Places]:
    """The first of a key with the first, the second with the second."""
    keys, known = mix(new, rank_equal(new)), mix(old, rank_equal(old))
    _, at_new, at_old = np.intersect1d(keys, known, assume_unique=True, return_indices=True)
    return at_new, at_old


def tell_apart(keys: Hashes, verdicts: npt.NDArray[np.int8]) -> Hashes:
    """Other keys for other verdicts; they are further apart than equal ones are ever numbered."""
    return mix(keys, verdicts.astype(np.int64) << 40)


def mix(keys: Hashes, numbers: npt.NDArray[np.int64]) -> Hashes:
    """Other keys for other numbers."""
    mixed: Hashes = keys + numbers.astype(np.uint64) * ODD
    return mixed


def rank_equal(keys: Hashes) -> npt.NDArray[np.int64]:
    """[N] how many equal ones come before each."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    begins = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(keys) else order
    ranks = np.empty(len(keys), np.int64)
    ranks[order] = np.arange(len(keys)) - np.repeat(begins, np.diff(np.append(begins, len(keys))))
    return ranks
