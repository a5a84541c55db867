"""The votes of a page, with ids that stay the same if a vote is undone and its answers are judged again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import datetime, timezone
from functools import cache
from pathlib import Path

from gptalt_eval import GptaltError
from gptalt_eval_plugin_elo.exports import PageExport
from gptalt_eval_plugin_elo.markdown import measure_style
from gptalt_eval_plugin_elo.naming import Names
from gptalt_eval_plugin_elo.votes import Vote
from gptalt_eval_plugin_elo.voting.reading import PageVotes, opened_votes


def read_page(path: Path) -> tuple[PageExport | None, list[Vote]]:
    """The votes in the page's file, in their order; and what identifies the page, if the file does.

    Raises:
        GptaltError: the file is something else, or some of its votes cannot be read.
    """
    with opened_votes(path) as found:
        votes = [vote for vote, _ in read_rows(found, None)]
    return describe_page(found, len(votes)), votes


def write_lines(path: Path, names: Names, leave_out_named: bool = False) -> Iterator[str]:
    """The export: a line about the page, and its votes in the format ``gptalt`` of ``votes import``.

    Votes on answers in which a model names itself have ``names_itself``, a list of ``a`` and ``b``. If some
    votes cannot be read, there is no line about the page, so that it does not pass for all of them.

    Args:
        path: the page's file.
        names: the names of models.
        leave_out_named: leave these votes out.

    Raises:
        GptaltError: the file is something else; after the other votes, that some cannot be read.
    """
    votes: list[tuple[Vote, list[str]]] = []
    fault = None
    with opened_votes(path) as found:
        try:
            votes.extend(read_rows(found, names))
        except GptaltError as error:
            fault = error
    every, votes = len(votes), [row for row in votes if not (leave_out_named and row[1])]
    if (export := describe_page(found, len(votes), every - len(votes))) and not fault:
        yield json.dumps(export._asdict()) + "\n"
    for vote, sides in votes:
        more = {"names_itself": sides} if sides else {}
        yield json.dumps(vote.describe() | more, ensure_ascii=False) + "\n"
    if fault:
        raise fault


def read_rows(found: PageVotes, names: Names | None) -> Iterator[tuple[Vote, list[str]]]:
    """The votes, each with the sides on which a model names itself."""
    style = cache(measure_style)
    is_named = cache(lambda *about: bool(names and names.find(*about)))
    page = f"{name_page(found.page)}/" if found.page else ""
    for each in found.votes:
        vote = Vote(*each[:8], style_a=style(each.answer_a), style_b=style(each.answer_b))
        answers = (("a", each.model_a, each.answer_a), ("b", each.model_b, each.answer_b))
        sides = [side for side, model, answer in answers if is_named(model, each.prompt, answer)]
        yield vote._replace(id=f"{page}{each.item}/{each.person}") if page else vote, sides


def describe_page(found: PageVotes, votes: int, left_out: int = 0) -> PageExport | None:
    """What the first line of an export says; None: the file does not say which page it is.

    Args:
        found: the page.
        votes, left_out: numbers of votes in the export, and of others.
    """
    if not found.page:
        return None
    exported = datetime.now(timezone.utc).isoformat(timespec="seconds")
    revision = max(found.revision, votes + left_out)
    return PageExport(name_page(found.page), revision, votes, exported, left_out)


def name_page(own: str) -> str:
    """The page's id, from its own name, which can be any text in a file from somebody else."""
    return f"page-{hashlib.sha256(own.encode('utf-8', 'replace')).hexdigest()[:16]}"
