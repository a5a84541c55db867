"""Which votes are rated."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gptalt_eval import GptaltError
from gptalt_eval_plugin_elo.ratings import Ints
from gptalt_eval_plugin_elo.table import VoteTable


@dataclass(frozen=True)
class Filters:
    """Attributes:
    category, language: only votes on such questions; None: on all.
    kind: ``person`` or ``judge``; None: people's votes, or if there are none, judges'.
    names_shown: whether votes by people who saw the models' names count too.
    without: annotators whose votes do not count.
    """

    category: str | None = None
    language: str | None = None
    kind: str | None = None
    names_shown: bool = False
    without: Sequence[str] = ()


def choose_votes(table: VoteTable, filters: Filters) -> tuple[VoteTable, list[str]]:
    """The votes that count, and what is to be said about the others.

    Raises:
        GptaltError: no votes are left, or a name is unknown.
    """
    notes = [*list_alike("models", table.models), *list_alike("annotators", table.annotators)]
    if filters.category is not None:
        which = table.category == find_number(table.categories, filters.category)
        table = choose_named(table, "category", filters.category, table.categories, which)
        notes.append(f"Only votes of the category '{filters.category}': {len(table):,}.")
    if filters.language is not None:
        which = table.language == find_number(table.languages, filters.language)
        table = choose_named(table, "language", filters.language, table.languages, which)
        notes.append(f"Only votes of the language '{filters.language}': {len(table):,}.")
    if not len(table):
        return table, notes
    by_judge = table.by_judge
    judges = filters.kind == "judge" or (filters.kind is None and bool(by_judge.all()))
    if filters.kind is not None and not (by_judge == judges).any():
        raise GptaltError(f"There are no votes of a {filters.kind}.", "Omit --kind.")
    if judges:
        notes.append("These are votes by models, not by people.")
    elif by_judge.any():
        notes.append(f"{int(by_judge.sum()):,} votes by models do not count. For theirs alone: --kind judge")
    table = table.choose(by_judge == judges)
    if not filters.names_shown and not table.blind.all():
        seen = int((~table.blind).sum())
        notes.append(f"{seen:,} votes by people who saw the models' names do not count (--names_shown).")
        table = table.choose(table.blind)
        if not len(table):
            raise GptaltError(
                f"All {seen:,} votes are by people who saw the models' names.", "To rate them: --names_shown"
            )
    return leave_out(table, filters.without, notes), notes


def choose_beside(table: VoteTable, filters: Filters) -> VoteTable:
    """People's votes that count, and those of judges on the same questions, to compare them.

    Args:
        table: all votes.
        filters: those that ``choose_votes`` accepts; whose votes are rated does not matter.
    """
    kept = table.by_judge | table.blind | filters.names_shown
    for wanted, names, column in (
        (filters.category, table.categories, table.category),
        (filters.language, table.languages, table.language),
    ):
        if wanted is not None:
            kept &= column == find_number(names, wanted)
    left_out = [find_number(table.annotators, name) for name in filters.without]
    return table.choose(kept & ~np.isin(table.annotator, left_out))


def choose_named(
    table: VoteTable, name: str, wanted: str, names: Sequence[str], which: np.ndarray
) -> VoteTable:
    if not which.any():
        known = sorted(each for each in names if each)
        raise GptaltError(
            f"There are no votes in the {name} '{wanted}'.", f"Available: {', '.join(known) or 'none'}."
        )
    return table.choose(which)


def find_number(names: Sequence[str], name: str) -> int:
    return list(names).index(name) if name in names else -1


def leave_out(table: VoteTable, without: Sequence[str], notes: list[str]) -> VoteTable:
    """The votes of the other annotators."""
    for name in without:
        if name not in table.annotators or not name:
            known = sorted(each for each in table.annotators if each)
            raise GptaltError(f"--without: nobody is called '{name}'.", f"Annotators: {', '.join(known)}.")
    numbers: Ints = np.array([find_number(table.annotators, name) for name in without], dtype=np.int64)
    which = np.isin(table.annotator, numbers)
    if without:
        notes.append(f"Without {', '.join(without)}: {int(which.sum()):,} votes do not count.")
    kept = table.choose(~which)
    if len(table) and not len(kept):
        raise GptaltError("--without: no votes are left.", "Leave out fewer annotators.")
    return kept


def list_alike(what: str, names: Sequence[str]) -> Iterator[str]:
    """What is said of names that a reader takes for one, but that are counted apart."""
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault("".join(unicodedata.normalize("NFKC", name).casefold().split()), []).append(name)
    for same in alike.values():
        if len(same) > 1:
            shown = ", ".join(f"'{name}'" for name in same)
            yield f"These {what} are counted apart, though their names look alike: {shown}."
