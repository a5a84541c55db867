"""The columns of the report's tables: a task or group, its scores in all arms, the best of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isclose, isnan

from gptalt_eval.results.analyse import CHOICES, Score
from gptalt_eval.results.arms import Arm, TaskRows
from gptalt_eval.results.ranking import SIGNIFICANT, compare_with
from gptalt_eval.results.stats import TINY, adjust_holm

RIGHT = (*CHOICES, "exact_match")  # of which more is better, even where a results file does not say so


@dataclass(frozen=True)
class Column:
    """A task or group, in arms that evaluated the same version of it.

    Attributes:
        task: its name.
        versions: which version, where arms have several; empty: all have the same.
    """

    task: str
    versions: str = ""

    @property
    def title(self) -> str:
        return f"{self.task} ({self.versions})" if self.versions else self.task


@dataclass(frozen=True)
class Entry:
    """One cell of the table.

    Attributes:
        score: the score, its interval, its items.
        is_best: whether it is the best of its column.
        is_tied: whether it is not significantly different from the best.
        no_answer: share of replies from which no answer could be extracted; None: not counted.
        p_value: against the best, with Holm's correction within the column; None: not tested.
        others: its other metrics and filters.
    """

    score: Score
    is_best: bool = False
    is_tied: bool = False
    no_answer: float | None = None
    p_value: float | None = None
    others: Sequence[Score] = ()

    @property
    def p_text(self) -> str:
        """The p-value, on the side of 5 % where it is."""
        if self.p_value is None or self.p_value < 0.001:
            return "" if self.p_value is None else "p < 0.001"
        is_clear = (round(self.p_value, 3) < SIGNIFICANT) is (self.p_value < SIGNIFICANT)
        return f"p = {self.p_value:.3f}" if is_clear else "p < 0.05"


@dataclass(frozen=True)
class Heading:
    """What a column says above its entries.

    Attributes:
        title: the task or group.
        label: its name, with what its YAML wants it to be called.
        metric: the main one, with its filter.
        arrow: ↑ if higher is better, ↓ if lower is; empty: unknown.
        items: how many were scored, such as ``20 of 2,376``.
        is_partial: whether these are not all of them, in some arm.
        is_mixed: whether arms were scored on different numbers of items.
        chance: the score of one who guesses; None: unknown.
    """

    title: str
    label: str
    metric: str
    arrow: str
    items: str
    is_partial: bool
    chance: float | None
    is_mixed: bool = False


def describe_column(column: Column, by_arm: Mapping[Arm, Sequence[Score]]) -> Heading:
    """A column's heading, from the scores of all its arms."""
    firsts = [scores[0] for scores in by_arm.values()]
    first = firsts[0]
    directions = {score.higher_is_better for score in firsts}
    is_partial = any(score.available is not None and 0 < score.items < score.available for score in firsts)
    counts = dict.fromkeys(score.counted or "?" for score in firsts)
    chances = {score.chance for score in firsts if score.chance is not None}
    return Heading(
        title=column.title,
        label=column.title if column.versions or first.task != column.task else first.alias,
        metric=first.title,
        arrow={True: "↑", False: "↓", None: ""}[directions.pop() if len(directions) == 1 else None],
        items=" or ".join(counts) if len(counts) < 4 else f"{len(counts)} different counts",
        is_partial=is_partial,
        chance=chances.pop() if len(chances) == 1 else None,
        is_mixed=len({score.items for score in firsts}) > 1,
    )


def rank_column(by_arm: Mapping[Arm, Sequence[Score]], rows: TaskRows | None) -> dict[Arm, Entry]:
    """A column's entries; the best and those not significantly different from it are marked."""
    firsts = {arm: scores[0] for arm, scores in by_arm.items()}
    directions = {score.higher_is_better for score in firsts.values()} - {None}
    sign = -1 if directions == {False} else 1
    best = max(firsts, key=lambda arm: rank_value(sign * firsts[arm].value))
    known = compare_with(best, firsts, rows)
    adjusted = dict(zip(known, adjust_holm(list(known.values())), strict=True))
    tied = {arm for arm, p_value in adjusted.items() if p_value >= SIGNIFICANT}
    tied |= {arm for arm in firsts if arm not in {best, *known} and overlap(firsts[arm], firsts[best])}
    equal = {
        arm
        for arm in firsts
        if isclose(firsts[arm].value, firsts[best].value, rel_tol=TINY, abs_tol=TINY)  # added up in any order
    }
    is_known = len(directions) == 1 or (not directions and firsts[best].metric in RIGHT)
    marks = is_known and 0 < len(equal) < len(firsts)  # where all are equal, none is the best
    return {
        arm: Entry(
            score=firsts[arm],
            is_best=marks and arm in equal,
            is_tied=marks and arm in tied - equal,
            no_answer=next((score.value for score in scores if score.metric == "no_answer"), None),
            p_value=adjusted.get(arm) if marks and arm not in equal else None,
            others=scores[1:],
        )
        for arm, scores in by_arm.items()
    }


def rank_value(value: float) -> float:
    """The value, or the lowest one if it is not a number."""
    return -inf if isnan(value) else value


def overlap(one: Score, other: Score) -> bool:
    if one.interval is None or other.interval is None:
        return one.value == other.value
    return one.interval[0] <= other.interval[1] and other.interval[0] <= one.interval[1]
