"""The votes of a page, with ids that stay the same if a vote is undone and its answers are judged again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

from gptalt_eval_plugin_elo.exports import PageExport
from gptalt_eval_plugin_elo.markdown import measure_style
from gptalt_eval_plugin_elo.votes import Vote
from gptalt_eval_plugin_elo.voting.database import Database
from gptalt_eval_plugin_elo.voting.versions import Run

VOTES = """
SELECT item, annotator, question, model_a, model_b, winner, category, annotators.name, votes.time,
  items.language
FROM votes JOIN items ON items.id = item JOIN annotators ON annotators.id = annotator ORDER BY votes.id
"""
ANSWERS = "SELECT id, answer_a, answer_b FROM items WHERE id IN (SELECT item FROM votes)"
#: a number that grows with each vote and each undo: votes are numbered for ever, also those taken back
REVISION = """
SELECT 2 * coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'votes'), 0) - (SELECT count(*) FROM votes)
"""


def read_page(path: Path) -> tuple[PageExport, list[Vote]]:
    """The votes in the page's file, in their order.

    Raises:
        GptaltError: the file is something else, or damaged.
    """
    with closing(Database(path)) as database:
        return gather_page(database)


def gather_page(database: Database) -> tuple[PageExport, list[Vote]]:
    page = name_page(database.facts["page"])
    with database.transaction() as run:
        votes = list(read_rows(run, page))
        revision = int(run(REVISION).fetchone()[0])
    exported = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return PageExport(page, max(revision, len(votes)), len(votes), exported), votes


def name_page(own: str) -> str:
    """The page's id, from its own name, which can be any text in a file from somebody else."""
    return f"page-{hashlib.sha256(own.encode('utf-8', 'replace')).hexdigest()[:16]}"


def read_rows(run: Run, page: str) -> Iterator[Vote]:
    styles = {key: (measure_style(a), measure_style(b)) for key, a, b in run(ANSWERS)}
    for item, annotator, *fields in run(VOTES):
        style_a, style_b = styles[item]
        known = Vote(*fields)
        yield known._replace(id=f"{page}/{item}/{annotator}", style_a=style_a, style_b=style_b)


def write_lines(database: Database) -> Iterator[str]:
    """The export: a line about the page, and its votes in the format ``gptalt`` of ``votes import``."""
    export, votes = gather_page(database)
    yield json.dumps(export._asdict()) + "\n"
    for vote in votes:
        yield json.dumps(vote.describe(), ensure_ascii=False) + "\n"
