"""Battles of FastChat and LMArena.

The fields are those of FastChat's ``clean_battle`` files and of the data sets
``chatbot_arena_conversations``, ``mt_bench_human_judgments``, ``arena-human-preference-55k``
(one-hot), ``-100k`` and ``-140k``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

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
from gptalt_eval_plugin_elo.identity import CONTENT, mend_number
from gptalt_eval_plugin_elo.votes import Style, Vote, Word

MODELS = ("model_a", "model_b")
QUESTIONS = ("question_id", "conversation_id", "id")
JUDGES = ("judge", "judge_hash", "annotator")
GPT4 = "gpt4_pair"  # the judge in the part of mt_bench_human_judgments that no person judged
HOT = "winner_"
is_onehot = has(*MODELS, "winner_model_a", "winner_model_b", "winner_tie")


def is_battle(record: Record) -> bool:
    names = {fold(name) for name in record}
    return {*MODELS, "winner"} <= names and "question" not in names


def convert_battle(record: Record) -> Iterator[Vote]:
    record = fold_names(record)
    yield make_vote(record, get_word(record, "winner"))


def convert_onehot(record: Record) -> Iterator[Vote]:
    """The column with the 1 names the winner; none or two are a word that nobody knows."""
    record = fold_names(record)
    hot = [name.removeprefix(HOT) for name, value in record.items() if name.startswith(HOT) and is_one(value)]
    yield make_vote(record, Word("+".join(hot)))


def is_one(value: Any) -> bool:
    return str(value).strip().casefold() in ("1", "1.0", "true")


def make_vote(record: Record, winner: Word) -> Vote:
    judge = find_judge(record)
    hidden = record.get("anony") in (None, "") or get_truth(record, "anony")
    category = record.get("category")
    models = get_text(record, "model_a"), get_text(record, "model_b")
    question, when = find_question(record), get_first(record, ("tstamp", "timestamp"))
    own = "" if question or (when and judge) else hash_content(record)
    return Vote(
        add_turn(question, record), *models, winner,
        category if isinstance(category, str) else "", judge, when,
        get_optional(record, "language"), own, kind="judge" if judge == GPT4 else "person", blind=hidden,
        style_a=read_style(record, "a"), style_b=read_style(record, "b"),
    )  # fmt: skip


def find_judge(record: Record) -> str:
    judge = record.get("judge")
    if isinstance(judge, (list, tuple)):
        return " ".join(map(str, judge))
    return get_first(record, JUDGES)


def find_question(record: Record) -> str:
    """The question's id, or its text and a hash of its answers; empty: each battle is a question of its own.

    Without an id, battles with the same text ("hi") have answers of their own each time.
    """
    if found := get_first(record, QUESTIONS):
        return found
    texts = [read_texts(record.get(f"conversation_{side}")) for side in "ab"]
    found = texts[0][0] if texts[0] else ""
    if not found and isinstance(record.get("prompt"), str):
        found = record["prompt"].strip()
    answers = sorted(
        "\0".join(each[1:]) or str(record.get(f"response_{side}") or "")
        for side, each in zip("ab", texts, strict=True)
    )
    if not found or not any(answers):
        return found
    digest = hashlib.blake2b("\1".join(answers).encode("utf-8", "replace"), digest_size=4)
    return f"{found} [{digest.hexdigest()}]"


def hash_content(record: Record) -> str:
    """What a battle without a question is known by: all it says, but for lists, however a tool writes it."""
    texts = {name: mend_number(str(value)) for name, value in record.items() if not is_missing(value)}
    content = sorted((name, text) for name, text in texts.items() if text[:1] not in ("[", "{"))
    return CONTENT + hashlib.blake2b(repr(content).encode("utf-8", "replace"), digest_size=8).hexdigest()


def read_texts(conversation: Any) -> list[str]:
    """The texts of a conversation, the prompt first; none, if it is not one."""
    if not isinstance(conversation, list) or not all(isinstance(each, dict) for each in conversation):
        return []
    return [read_text(each.get("content")) for each in conversation]


def read_text(content: Any) -> str:
    parts = content if isinstance(content, list) else [{"text": content}]
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return "\n".join(text.strip() for text in texts if isinstance(text, str)).strip()


def read_style(record: Record, side: str) -> Style | None:
    """What LMArena counted in an answer, whose length is in tokens; None: it is not there."""
    if "conv_metadata" not in record and f"sum_assistant_{side}_tokens" not in record:
        return None
    data: Any = record.get("conv_metadata", record)
    if isinstance(data, str):
        try:
            data = json.loads(data)
        except (ValueError, RecursionError):
            return None
    if not isinstance(data, dict):
        return None
    names = (
        f"sum_assistant_{side}_tokens",
        f"header_count_{side}",
        f"list_count_{side}",
        f"bold_count_{side}",
    )
    counts = [add_counts(data.get(name)) for name in names]
    if any(count is None for count in counts):
        return None
    return Style(*(int(count) for count in counts if count is not None))


def add_counts(value: Any) -> int | None:
    """A count, or the sum of an object of counts; None: it is neither."""
    counts = list(value.values()) if isinstance(value, dict) else [value]
    for place, count in enumerate(counts):
        if isinstance(count, str) and count.strip().removesuffix(".0").isdecimal():
            counts[place] = int(count.strip().removesuffix(".0"))
    if any(type(count) not in (int, float) or not 0 <= count < 1 << 31 for count in counts):
        return None
    return int(sum(counts))
