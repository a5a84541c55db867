"""Our own lines: votes with all their fields, and what an export says about the page it comes from.

An export of a page is all of its votes. It begins with a line without a vote, which says which page it is,
how many changes there have been on it, and how many votes follow: a newer export replaces an older one, and
one that is cut off is noticed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gptalt_eval import GptaltError
from gptalt_eval_plugin_elo.votes import KINDS, Style, Vote

PAGE_ID = re.compile(r"page-[0-9a-f]{16}")
VOTE_ID = re.compile(r"(page-[0-9a-f]{16})/\d+/\d+")
KEY = re.compile(r"[0-9a-f]{16}")
USUAL = Vote._fields[:7]  # which each line has
MORE = {*Vote._fields[7:], "source_id"}  # which only some have
READ = {*Vote._fields, "source_id", "source", "names_itself"}
CONVERTED = {
    *Vote._fields,
    "turn",
    "anony",
    "judge",
    "judge_hash",
    "tstamp",
    "timestamp",
}  # which an import reads in any case of letters
TEXTS = (*Vote._fields[:9],)
WINNERS = ("a", "b", "tie", "skip")
LONGEST_NAME = 2_000  # characters of a model, an annotator, an id
AGAIN = "Export again: gptalt-eval votes export > FILE"


class PageExport(NamedTuple):
    """What the first line of an export says.

    Attributes:
        page: the page's id, which begins the ids of its votes.
        revision: number of votes and undos on the page so far.
        votes: number of votes in the export.
        exported: when, ISO 8601.
        left_out: number of votes on the page that are not in the export; None: the revision counts something
            else than votes and undos.
    """

    page: str
    revision: int
    votes: int
    exported: str = ""
    left_out: int | None = None


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
    left_out = record.get("left_out")
    if type(left_out) is not int or not 0 <= left_out < 1 << 63:
        left_out = None
    return PageExport(page, revision, votes, str(record.get("exported") or "")[:40], left_out)


def read_more(record: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a vote that a line of ours may have beyond the usual seven, by name.

    An ``id`` that is only a number can be that of a row, which is another in the next file: it is left out.

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
    """The source's own id of a vote; in a ``votes.jsonl``, ``id`` is ours and ``source_id`` the source's."""
    value = record.get("source_id" if is_stored(record) else "id")
    return value.strip() if isinstance(value, str) and not is_number(value) else ""


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


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
    numbers: list[Any] = [value.get(each) for each in Style._fields] if isinstance(value, dict) else []
    if not numbers or any(type(each) is not int or not 0 <= each < 1 << 31 for each in numbers):
        raise ValueError(f"'{name}' is not {', '.join(Style._fields)}: {value!r:.60}")
    return Style(*numbers)


def check_complete(
    file: Path, exports: Mapping[str, PageExport], found: Mapping[str, int], known: Collection[str] = ()
) -> None:
    """Check that a file has all votes of each page of which it has any.

    Args:
        file: for the message.
        exports: what the file says about pages, by page.
        found: the number of its votes by page.
        known: pages whose votes may not come without what an export says about them.

    Raises:
        GptaltError: there are fewer or more votes; it was cut off or changed, or has two exports of a page.
    """
    for page, number in found.items():
        if page not in exports and page in known:
            raise GptaltError(
                f"{file} has {number:,} votes of {page}, but not the first line of its export.",
                "Without it, one cannot see whether they are newer than those that are known. " + AGAIN,
            )
    for page, export in exports.items():
        if found.get(page, 0) != export.votes:
            raise GptaltError(
                f"{file} is not a complete export of {page}: {export.votes:,} votes were exported, "
                f"{found.get(page, 0):,} are there.", AGAIN,
            )  # fmt: skip


def parse_vote(record: Mapping[str, Any]) -> Vote:
    """The vote in a line of ``votes.jsonl``, or in one of the format ``gptalt`` that needs no conversion.

    Raises:
        ValueError: it is not one.
    """
    fields = [record.get(name, "") for name in USUAL]
    if not all(isinstance(value, str) for value in fields):
        raise ValueError("a field is not text")
    if not record.keys() <= READ and (name := next(filter(is_misread, record), "")):
        raise ValueError(f"it has '{name}', which only an import reads")
    vote = Vote(*fields, **read_more(record))
    fault = find_fault(vote)
    if fault:
        raise ValueError(fault)
    return vote


def is_misread(name: str) -> bool:
    """Whether a field says something that only an import understands, under this name."""
    return name not in READ and name.strip().casefold() in CONVERTED


def find_fault(vote: Vote) -> str:
    """The problem with a vote; empty: none."""
    if vote.winner not in WINNERS:
        return f"unknown winner {vote.winner!r:.60}"
    if vote.model_a == vote.model_b:
        return f"a model against itself: {vote.model_a[:60]}"
    for name in TEXTS:
        value = getattr(vote, name)
        if len(value) > LONGEST_NAME and name != "question":
            return f"'{name}' is {len(value)} characters long"
        if "\0" in value:
            return f"'{name}' contains a NUL byte"
        if not value.isascii():
            try:
                value.encode("utf-8")
            except UnicodeEncodeError:
                return f"'{name}' contains an unpaired surrogate"
    return ""


def find_key(record: Mapping[str, Any]) -> int:
    """Our own id in a line of ``votes.jsonl``; 0: an earlier version wrote it, or it is from elsewhere."""
    return int(record["id"], 16) if is_stored(record) else 0


def is_stored(record: Mapping[str, Any]) -> bool:
    key = record.get("id")
    return "source" in record and isinstance(key, str) and KEY.fullmatch(key) is not None


def describe_vote(vote: Vote) -> dict[str, Any]:
    """A vote as a line of ``votes.jsonl``, where ``id`` is ours: the source's id has another name."""
    record = vote.describe()
    if vote.id:
        record["source_id"] = record.pop("id")
    return record
