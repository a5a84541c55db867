"""Our own lines: votes with all their fields, and what an export says about the page it comes from.

An export of a page is all of its votes. It begins with a line without a vote, which says which page it is, how
many changes there have been on it, and how many votes follow: a newer export replaces an older one, and one
that is cut off is noticed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from gptalt_eval import GptaltError
from gptalt_eval_plugin_elo.votes import KINDS, Style, Vote

PAGE_ID = re.compile(r"page-[0-9a-f]{16}")
VOTE_ID = re.compile(r"(page-[0-9a-f]{16})/\d+/\d+")
KEY = re.compile(r"[0-9a-f]{16}")
MORE = {"language", "id", "source_id", "kind", "blind", "style_a", "style_b"}  # fields that a line may lack


class PageExport(NamedTuple):
    """What the first line of an export says.

    Attributes:
        page: the page's id, which begins the ids of its votes.
        revision: number of votes and undos on the page so far.
        votes: number of votes in the export.
        exported: when, ISO 8601.
    """

    page: str
    revision: int
    votes: int
    exported: str = ""


def find_page(vote_id: str) -> str:
    """The page that a vote's id belongs to; empty: it is not from a page."""
    found = VOTE_ID.fullmatch(vote_id)
    return found[1] if found else ""


def read_export(record: Mapping[str, Any]) -> PageExport | None:
    """The first line of an export; None: it is a vote or something else."""
    page, revision, votes = (record.get(name) for name in ("page", "revision", "votes"))
    if "question" in record or not isinstance(page, str) or not PAGE_ID.fullmatch(page):
        return None
    if type(revision) is not int or type(votes) is not int or not 0 <= votes <= revision < 1 << 63:
        return None
    return PageExport(page, revision, votes, str(record.get("exported") or "")[:40])


def read_more(record: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a vote that a line of ours may have beyond the usual seven, by name.

    An ``id`` that is only a number can be that of a row, which is another one in the next file: it is left out.

    Raises:
        ValueError: one of them has a value that it cannot have.
    """
    if MORE.isdisjoint(record):
        return {}
    found: dict[str, Any] = {}
    for name in ("language", "kind"):
        if record.get(name) not in (None, ""):
            found[name] = read_word(record, name)
    if found.get("kind", KINDS[0]) not in KINDS:
        raise ValueError(f"'kind' is {found['kind']!r:.60}; expected {' or '.join(KINDS)}")
    if (own := find_id(record)) != "":
        found["id"] = own
    if record.get("blind") not in (None, ""):
        found["blind"] = read_truth(record["blind"])
    for name in ("style_a", "style_b"):
        if record.get(name) not in (None, ""):
            found[name] = read_style(name, record[name])
    return found


def find_id(record: Mapping[str, Any]) -> str:
    """The source's own id of a vote; ``id`` in a ``votes.jsonl`` is ours, and ``source_id`` is the source's."""
    stored = "source" in record and isinstance(record.get("id"), str) and KEY.fullmatch(record["id"])
    value = record.get("source_id") if stored else record.get("id")
    return value.strip() if isinstance(value, str) and not value.strip().isdigit() else ""


def read_word(record: Mapping[str, Any], name: str) -> str:
    if not isinstance(record[name], str):
        raise ValueError(f"'{name}' is not text: {record[name]!r:.60}")
    return str(record[name]).strip()


def read_truth(value: Any) -> bool:
    word = str(value).strip().lower()
    if word not in ("true", "false"):
        raise ValueError(f"'blind' is {value!r:.60}; expected true or false")
    return word == "true"


def read_style(name: str, value: Any) -> Style:
    numbers = [value.get(each) for each in Style._fields] if isinstance(value, dict) else []
    if not numbers or any(type(each) is not int or not 0 <= each < 1 << 31 for each in numbers):
        raise ValueError(f"'{name}' is not {', '.join(Style._fields)}: {value!r:.60}")
    return Style(*numbers)


def check_complete(file: object, exports: Iterable[PageExport], found: Mapping[str, int]) -> None:
    """Check that each page's votes are all there.

    Args:
        file: for the message.
        exports: what the file says.
        found: the number of its votes by page.

    Raises:
        GptaltError: they are fewer or more; the file was cut off or changed, or two exports of a page are in it.
    """
    for each in exports:
        if found.get(each.page, 0) != each.votes:
            raise GptaltError(
                f"{file} is not a complete export: it says {each.votes:,} votes of {each.page}, "
                f"but has {found.get(each.page, 0):,}.",
                "Export again: gptalt-eval votes export > FILE",
            )


def describe_vote(vote: Vote) -> dict[str, Any]:
    """A vote as a line of ``votes.jsonl``, where ``id`` is ours: the source's id has another name."""
    record = vote.describe()
    if vote.id:
        record["source_id"] = record.pop("id")
    return record
