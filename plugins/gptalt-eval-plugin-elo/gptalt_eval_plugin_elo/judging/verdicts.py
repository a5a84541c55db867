"""What a judge's replies say, as votes, and how far the verdict depends on the order of the answers."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gptalt_eval_plugin_elo.judging.prompts import Match
from gptalt_eval_plugin_elo.markdown import measure_style
from gptalt_eval_plugin_elo.votes import Vote

LETTERS = {"A": "a", "B": "b", "C": "tie"}
NONE = "skip"  # the winner of a vote without a verdict
OPENING, CLOSING = r"[\s*_`(\[（【「\"“]*", r"[\s*_`)\]）】」\"”.。]*"
STATED = re.compile(rf"(?:verdict|判定)[*_`]*\s*[:：]{OPENING}([A-Z])(?![A-Za-z0-9])([^\n]*)", re.IGNORECASE)
ALONE = re.compile(rf"{OPENING}([ABC]){CLOSING}")
OTHER = re.compile(r"(?<![A-Za-z0-9])[ABC](?![A-Za-z0-9])")


def choose_likeliest(likelihoods: Sequence[float]) -> str:
    """The verdict with the highest log-likelihood of ``LETTERS``; none if two share it or one is nan."""
    best = max(likelihoods)
    if any(map(math.isnan, likelihoods)) or list(likelihoods).count(best) > 1:
        return NONE
    return list(LETTERS.values())[list(likelihoods).index(best)]


def read_verdict(reply: str) -> str:
    """The verdict that a text states, or consists of; none if there is none or several that differ."""
    text = reply.rpartition("</think>")[2]
    if "<think>" in text:  # it was cut off before it came to a verdict
        return NONE
    alone = ALONE.fullmatch(text)
    if alone:
        return LETTERS[alone[1]]
    stated = {(found[1].upper(), bool(OTHER.search(found[2]))) for found in STATED.finditer(text)}
    if len(stated) != 1:
        return NONE
    letter, is_open = stated.pop()
    return NONE if is_open else LETTERS.get(letter, NONE)


def make_vote(match: Match, winner: str, judge: str, page: str, prompt: str) -> Vote:
    """A verdict as a vote.

    Args:
        match: what was judged.
        winner: the verdict.
        judge: who judged.
        page: where its votes are from; with everything that the judge read, it makes the vote's id.
        prompt: what the judge read.
    """
    first, second = match
    read = "\0".join((judge, first.key, first.model, second.model, prompt))
    number = int(hashlib.sha256(read.encode()).hexdigest()[:16], 16)
    return Vote(
        first.key, first.model, second.model, winner, first.category, judge, language=first.language,
        id=f"{page}/{number}/0", kind="judge", style_a=measure_style(first.answer),
        style_b=measure_style(second.answer),
    )  # fmt: skip


@dataclass(frozen=True)
class Summary:
    """A judge's votes, counted.

    Attributes:
        first, second, ties: what the verdicts say, by the order in which the answers were shown.
        without: votes without a verdict.
        comparisons: pairs of answers with a verdict in both orders.
        flipped: of these, how many prefer the answer in the same place both times.
        flipped_first: of these, how many prefer the first.
    """

    first: int
    second: int
    ties: int
    without: int
    comparisons: int
    flipped: int
    flipped_first: int

    @property
    def verdicts(self) -> int:
        return self.first + self.second + self.ties

    def describe(self) -> list[str]:
        decided = self.first + self.second
        lines = [
            f"{self.verdicts:,} verdicts: {decided:,} for an answer, {self.ties:,} ties; "
            f"no verdict: {self.without:,}."
        ]
        if decided:
            share = 100 * self.first / decided
            lines.append(f"The first answer shown won {self.first:,} of {decided:,} ({share:.1f} %).")
        if self.comparisons:
            lines.append(
                f"Inconsistent: {self.flipped:,} of {self.comparisons:,} comparisons change with the order, "
                f"{self.flipped_first:,} of them for the first answer shown; they count as ties."
            )
        return lines


def summarise(votes: Iterable[Vote]) -> Summary:
    """Count a judge's votes, of which each pair of answers has one in each order."""
    given = {(vote.question, vote.model_a, vote.model_b): vote.winner for vote in votes}
    counts = {winner: list(given.values()).count(winner) for winner in ("a", "b", "tie", NONE)}
    both = [pair for pair in list_pairs(given) if NONE not in pair]
    flipped = [pair for pair in both if pair in (("a", "a"), ("b", "b"))]
    return Summary(
        counts["a"], counts["b"], counts["tie"], counts[NONE],
        len(both), len(flipped), flipped.count(("a", "a")),
    )  # fmt: skip


def list_pairs(given: Mapping[tuple[str, str, str], str]) -> list[tuple[str, str]]:
    """The winners in the two orders, by place."""
    return [
        (winner, given[question, second, first])
        for (question, first, second), winner in given.items()
        if first < second and (question, second, first) in given
    ]
