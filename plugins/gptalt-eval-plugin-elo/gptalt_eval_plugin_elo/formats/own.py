"""Our own format, and tables whose columns the user names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gptalt_eval_plugin_elo.exports import WINNERS, find_id, find_page, is_stored, read_more
from gptalt_eval_plugin_elo.formats.values import (
    Record,
    add_turn,
    fold,
    fold_names,
    get_first,
    get_optional,
    get_text,
    get_truth,
    get_word,
    has,
    is_missing,
)
from gptalt_eval_plugin_elo.votes import Vote, VoteFormat

NEEDED = ("question", "model_a", "model_b", "winner")
#: those that a file can name
FIELDS = (*NEEDED, "category", "annotator", "time", "language", "turn", "blind", "kind", "id")
#: and what other tools call them
ANNOTATORS = ("annotator", "judge", "judge_hash")
TIMES = ("time", "tstamp", "timestamp")
OTHERS = (*ANNOTATORS[1:], *TIMES[1:], "anony")
EXPLICIT = ("kind", "id")  # which other tables use for other things
is_own = has(*NEEDED)


def convert_own(record: Record) -> Iterator[Vote]:
    record = {name: value for name, value in fold_names(record).items() if not is_missing(value)}
    models = get_text(record, "model_a"), get_text(record, "model_b")
    winner: str = get_word(record, "winner")
    is_ours = is_stored(record) or find_page(find_id(record))
    if is_ours and winner in WINNERS:  # written by us: models may be called A and B
        winner = str(winner)
    annotator, when = get_first(record, ANNOTATORS), get_first(record, TIMES)
    more = read_more(record)
    if "blind" not in more and "anony" in record:
        more["blind"] = get_truth(record, "anony")
    read_question = get_optional if is_ours else get_text  # ours may be a battle without one
    question = add_turn(read_question(record, "question"), record)
    yield Vote(question, *models, winner, get_optional(record, "category"), annotator, when, **more)


def make_columns_format(columns: Mapping[str, str], constants: Mapping[str, str] | None = None) -> VoteFormat:
    """A format whose fields have other names: ``{"question": "prompt", "model_a": "left", ...}``.

    Args:
        columns: each field's column, in any case; the others have their own names.
        constants: fields that are the same in every vote.
    """
    given = constants or {}
    taken = {fold(column) for column in columns.values()}
    own = [field for field in FIELDS if field in columns or field not in (*given, *taken, *EXPLICIT)]

    has_question = given.get("question") != ""  # empty: each vote is on answers of its own

    def convert(record: Record) -> Iterator[Vote]:
        folded = fold_names(record)
        named: dict[str, Any] = {
            name: folded[name] for name in OTHERS if name in folded and name not in taken
        }
        named |= given
        for field in own:
            column = columns.get(field, field)
            if column in record or fold(column) in folded:
                named[field] = record[column] if column in record else folded[fold(column)]
            if field in NEEDED and field != "winner" and named.get(field) in (None, ""):
                raise ValueError(f"'{column}' is missing")
        if "id" in columns and named.get("id") not in (None, ""):
            named["id"] = f"{fold(columns['id'])} {named['id']}"  # a number is an id if the user says so
        if has_question:
            yield from convert_own(named)
        else:
            yield from (vote._replace(question="") for vote in convert_own({**named, "question": "none"}))

    needed = [columns.get(field, field) for field in NEEDED if field not in given]
    return VoteFormat("columns", "columns that --columns names", has(*map(fold, needed)), convert)
