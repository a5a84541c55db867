"""Converts files of votes, whatever their format, to votes and to records that are not votes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gptalt_eval_plugin_elo.exports import PageExport, find_fault, find_key, read_export
from gptalt_eval_plugin_elo.records import Step, Unreadable, read_records
from gptalt_eval_plugin_elo.votes import Unclear, Vote, VoteFormat
from gptalt_eval_plugin_elo.winners import Winners

REPEATED = "the same vote as in an earlier line"


def convert_file(
    file: Path, known: VoteFormat | None, winners: Winners, step: Step
) -> Iterator[tuple[int, Vote | PageExport | Unreadable]]:
    """A file's votes and other records, each with its line.

    Args:
        file: the file.
        known: its format; None: the page's database.
        winners: reads the words for the winner; those that it does not understand give no vote.
        step: called with the number of bytes read.
    """
    if known is None:
        yield from read_database(file)
        return
    seen: set[int] = set()
    for record in read_records(file, step):
        if isinstance(record, Unreadable) and record.cells and lacks_winner(known, record.cells):
            record = record.line, record.cells
        if isinstance(record, Unreadable):
            yield record.line, record
            continue
        line, values = record
        if "page" in values and (export := read_export(values)):
            yield line, export
            continue
        if is_repeated(values, seen):
            yield line, Unreadable(line, REPEATED, dump_text(values))
            continue
        for vote in convert_record(known, values):
            found = vote if isinstance(vote, ValueError) else winners.read(vote, file)
            if isinstance(found, Unclear):
                winners.add_unclear(str(found), file)
            elif isinstance(found, ValueError):
                yield line, Unreadable(line, str(found), dump_text(values))
            elif found is not None:
                fault = find_fault(found)
                yield line, (Unreadable(line, fault, dump_text(values)) if fault else found)


def is_repeated(values: Mapping[str, Any], seen: set[int]) -> bool:
    """Whether a line of a ``votes.jsonl`` has the id of an earlier one: two such files were put together."""
    key = find_key(values) if "source" in values else 0
    if key in seen:
        return True
    if key:
        seen.add(key)
    return False


def lacks_winner(known: VoteFormat, cells: Mapping[str, Any]) -> bool:
    """Whether nothing but the winner of a row is missing: a tie, for all one knows."""
    votes = list(convert_record(known, cells))
    return all(isinstance(vote, Vote) and vote.winner == "" for vote in votes)


def read_database(file: Path) -> Iterator[tuple[int, Vote | PageExport]]:
    """What an export of the page would say."""
    from gptalt_eval_plugin_elo.voting.export import read_page

    export, votes = read_page(file)
    if export:
        yield 1, export
    yield from enumerate(votes, 2)


def convert_record(known: VoteFormat, values: Mapping[str, Any]) -> Iterable[Vote | ValueError]:
    try:
        yield from known.convert(values)
    except ValueError as error:
        yield error
    except Exception as error:  # an unexpected error rejects one record, not the file
        yield ValueError(f"{type(error).__name__}: {error}")


def dump_text(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=True, default=str)[:2_000]
