"""Turns votes into ratings, tables and groups, for the command, the page and the JSON file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from gptalt_eval import GptaltError
from gptalt_eval_plugin_elo.bradley_terry import (
    BradleyTerry,
    Coefficient,
    fit_bradley_terry,
    move,
    renumber,
)
from gptalt_eval_plugin_elo.merging import merge_votes
from gptalt_eval_plugin_elo.ratings import (
    Comparisons,
    Ints,
    Scale,
    compute_elo,
    find_groups,
    number_table,
    shuffle_elo,
)
from gptalt_eval_plugin_elo.style import Differences, compare_styles
from gptalt_eval_plugin_elo.table import SKIP, VoteTable
from gptalt_eval_plugin_elo.tables import Calibration, Pairs, average_wins, calibrate, compare_pairs


@dataclass(frozen=True)
class Rules:
    """How votes are rated.

    Attributes:
        merge: how several votes on the same answers become one; see ``merge_votes``.
        scale: of the ratings.
        orders: number of shuffled vote orders.
        seed: of the orders.
        even_pairs: whether each pair of models counts alike, whatever its number of votes.
        least_votes: models with fewer comparisons are left out.
        style_control: whether differences in length and Markdown are controlled for.
        anchor: a model and the rating that it is to have; None: the mean over votes is the scale's start.
    """

    merge: str = "survey"
    scale: Scale = field(default_factory=Scale)
    orders: int = 1000
    seed: int = 0
    even_pairs: bool = False
    least_votes: int = 0
    style_control: bool = False
    anchor: tuple[str, float] | None = None


@dataclass(frozen=True)
class Standing:
    """The results of one model.

    Attributes:
        model: its name.
        votes, wins, ties: numbers of its comparisons.
        rating, rating_low, rating_high: Bradley-Terry rating and its 95 % interval; without a finite rating,
            nan and the one end that the votes support.
        place: where it stands: its rating, or without one what half a vote more for each side of its pairs
            would give.
        rank, best, worst: its rank by Bradley-Terry, and the rank's 95 % interval.
        average: predicted share of votes, without ties, that it wins against the others, each alike.
        plain: the rating without style control; nan if style is not controlled for.
        elo: Elo rating in the order of the votes.
        mean, low, high: Elo rating over shuffled vote orders: mean and central 95 %.
    """

    model: str
    votes: int
    wins: int
    ties: int
    rating: float
    rating_low: float
    rating_high: float
    place: float
    rank: int
    best: int
    worst: int
    average: float
    plain: float
    elo: float
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Board:
    """The leaderboard of a group of models that votes connect.

    Attributes:
        standings: sorted by where they stand by Bradley-Terry.
        pairs: in the same order.
        calibration: of the ratings' predictions.
        orders: number of shuffled vote orders.
        style: how much differences in style move votes, if they are controlled for.
    """

    standings: Sequence[Standing]
    pairs: Pairs
    calibration: Sequence[Calibration]
    orders: int
    style: Sequence[Coefficient] = ()

    @property
    def models(self) -> list[str]:
        return [standing.model for standing in self.standings]


@dataclass(frozen=True)
class CategoryRating:
    """A model's Bradley-Terry rating and its 95 % interval from the votes of one category."""

    rating: float
    low: float
    high: float


@dataclass(frozen=True)
class Evaluation:
    """Attributes:
    votes, skipped: their numbers.
    merged: number of comparisons after merging.
    boards: one for each connected group of models, the largest first.
    categories: by category, its rated models; none, if its votes rate no two models.
    left_out: models with too few comparisons, or with none.
    """

    votes: int
    skipped: int
    merged: int
    boards: Sequence[Board]
    categories: Mapping[str, Mapping[str, CategoryRating]]
    left_out: Sequence[str] = ()


def evaluate(table: VoteTable, rules: Rules) -> Evaluation:
    """Rate the models of votes.

    Raises:
        GptaltError: there are no votes left, the anchor has no rating, or the answers' styles are not known.
    """
    merged = leave_out_rare(every := merge_votes(table, rules.merge), rules.least_votes)
    if not len(merged):
        if len(every):
            raise GptaltError(
                f"No two models have {rules.least_votes} comparisons.", "Lower --least_votes, or omit it."
            )
        if not len(table):
            raise GptaltError("There are no votes.", "Import some: gptalt-eval votes import FILE...")
        raise GptaltError("No vote says which answer is better.", "All of them were skipped.")
    style = compare_styles(merged) if rules.style_control else None
    votes = number_table(merged)
    boards = []
    for group in find_groups(votes):
        if len(group) > 1:
            inside = np.isin(votes.first, group)
            own = None if style is None else Differences(style.names, style.values[inside])
            boards.append(make_board(renumber(votes.choose(inside), np.array(group)), own, rules))
    check_anchor(boards, rules.anchor)
    skipped = int((table.outcome == SKIP).sum())
    there, rated = (np.union1d(each.first, each.second) for each in (table, merged))
    left_out = [table.models[number] for number in np.setdiff1d(there, rated)]
    return Evaluation(len(table), skipped, len(merged), boards, rate_categories(merged, rules), left_out)


def leave_out_rare(table: VoteTable, least: int) -> VoteTable:
    """The votes on models with enough comparisons among themselves."""
    while len(table):
        held = count_comparisons(table)
        enough = (held[table.first] >= least) & (held[table.second] >= least)
        if enough.all():
            break
        table = table.choose(enough)
    return table


def count_comparisons(table: VoteTable) -> Ints:
    """[models] the number of each one's comparisons."""
    count = len(table.models)
    return np.bincount(table.first, minlength=count) + np.bincount(table.second, minlength=count)


def make_board(votes: Comparisons, style: Differences | None, rules: Rules) -> Board:
    elo = compute_elo(votes, rules.scale)
    shuffled = shuffle_elo(votes, rules.scale, rules.orders, rules.seed)
    mean, (low, high) = shuffled.mean(0), np.percentile(shuffled, (2.5, 97.5), axis=0)
    plain = fit_anchored(votes, None, rules)
    fitted = plain if style is None else fit_anchored(votes, style, rules)
    pairs = compare_pairs(votes, fitted.place, rules.scale.width)
    average = average_wins(pairs)
    order = np.argsort(-fitted.place, kind="stable")
    standings = [
        Standing(
            model=votes.models[i],
            votes=int(pairs.votes[i].sum()),
            wins=int(pairs.wins[i].sum()),
            ties=int(pairs.ties[i].sum()),
            rating=float(fitted.rating[i]),
            rating_low=float(fitted.low[i]),
            rating_high=float(fitted.high[i]),
            place=float(fitted.place[i]),
            rank=int(fitted.rank[i]),
            best=int(fitted.best[i]),
            worst=int(fitted.worst[i]),
            average=float(average[i]),
            plain=float("nan") if style is None else float(plain.rating[i]),
            elo=float(elo[i]),
            mean=float(mean[i]),
            low=float(low[i]),
            high=float(high[i]),
        )
        for i in order.tolist()
    ]
    grid = np.ix_(order, order)
    sorted_pairs = Pairs(
        pairs.wins[grid], pairs.ties[grid], pairs.actual[grid], pairs.predicted[grid], pairs.more[grid]
    )
    return Board(standings, sorted_pairs, calibrate(sorted_pairs), len(shuffled), fitted.style)


def fit_anchored(votes: Comparisons, style: Differences | None, rules: Rules) -> BradleyTerry:
    """The ratings, so that the anchor has its own.

    Raises:
        GptaltError: style cannot be told from the models.
    """
    differences, names = (None, ()) if style is None else (style.values, style.names)
    try:
        fitted = fit_bradley_terry(votes, rules.scale, rules.even_pairs, differences, names)
    except ValueError as error:
        raise GptaltError(f"--style_control: {error}.", "Omit --style_control.") from error
    if rules.anchor is None or rules.anchor[0] not in votes.models:
        return fitted
    model, rating = rules.anchor
    by = rating - float(fitted.rating[list(votes.models).index(model)])
    return fitted if np.isnan(by) else move(fitted, by)


def check_anchor(boards: Sequence[Board], anchor: tuple[str, float] | None) -> None:
    if anchor is None:
        return
    rated = [each.model for board in boards for each in board.standings if each.rating == each.rating]
    if anchor[0] not in rated:
        known = any(anchor[0] in board.models for board in boards)
        what = "has no finite rating" if known else "is not among the models"
        raise GptaltError(f"--anchor: '{anchor[0]}' {what}.", f"Rated: {', '.join(rated)}.")


def rate_categories(table: VoteTable, rules: Rules) -> dict[str, dict[str, CategoryRating]]:
    """Ratings from the votes of each category, if there are several; only the largest connected group.

    None, if an anchor has no rating in the category.
    """
    held = np.bincount(table.category, minlength=len(table.categories))
    names = [number for number, name in enumerate(table.categories) if name and held[number]]
    found: dict[str, dict[str, CategoryRating]] = {}
    for number in names if len(names) > 1 else ():
        votes = number_table(table.choose(table.category == number))
        group = np.array(find_groups(votes)[0])
        own = renumber(votes.choose(np.isin(votes.first, group)), group)
        fitted = fit_anchored(own, None, rules)
        found[table.categories[number]] = {
            own.models[i]: CategoryRating(
                float(fitted.rating[i]), float(fitted.low[i]), float(fitted.high[i])
            )
            for i in np.flatnonzero(~np.isnan(fitted.rating)).tolist()
        }
        if rules.anchor and rules.anchor[0] not in found[table.categories[number]]:
            found[table.categories[number]] = {}  # ratings from another zero would stand beside the others
    return found
