"""The formats of vote files that come with this plugin."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gptalt_eval_plugin_elo.exports import read_more
from gptalt_eval_plugin_elo.votes import Vote, VoteFormat

WINNERS = ("a", "b", "tie", "skip")
#: other tools' words for them
OTHER_WORDS = {
    "model_a": "a", "left": "a", "first": "a", "1": "a", "左": "a",
    "model_b": "b", "right": "b", "second": "b", "2": "b", "右": "b",
    "equal": "tie", "draw": "tie", "both": "tie", "=": "tie", "0": "tie", "平": "tie", "平局": "tie",
    "tie (bothbad)": "tie", "bothbad": "tie", "both bad": "tie", "skipped": "skip", "跳过": "skip",
}  # fmt: skip
#: those that a file can name
FIELDS = ("question", "model_a", "model_b", "winner", "category", "annotator", "time")


def list_formats() -> list[VoteFormat]:
    return [
        VoteFormat(
            "gptalt", "this project's own JSONL: question, model_a, model_b, winner", is_own, convert_own
        ),
        VoteFormat("fastchat", "the logs of FastChat's arena", is_fastchat, convert_fastchat),
        VoteFormat("pandalm", "PandaLM's test set: several annotators in a row", is_pandalm, convert_pandalm),
        VoteFormat(
            "labelstudio", "Label Studio's pairwise export (JSON)", is_labelstudio, convert_labelstudio
        ),
    ]


def has(*names: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda record: all(name in record for name in names)


def get_text(record: Mapping[str, Any], name: str) -> str:
    """A value as text; numbers are ids.

    Raises:
        ValueError: it is missing, or neither text nor a number.
    """
    value = record.get(name)
    if isinstance(value, str) and value.strip():
        return value.strip()
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if value is None or value == "":
        raise ValueError(f"'{name}' is missing")
    raise ValueError(f"'{name}' is not text: {shorten(value)}")


def get_optional(record: Mapping[str, Any], name: str) -> str:
    return get_text(record, name) if record.get(name) not in (None, "") else ""


def shorten(value: Any) -> str:
    return f"{value!r}"[:60]


def read_winner(value: str, models: tuple[str, str] = ("", "")) -> str:
    """``a``, ``b``, ``tie`` or ``skip`` from a tool's word for it, or from the winner's name.

    Raises:
        ValueError: the word is unknown.
    """
    if value in WINNERS:
        return value
    word = value.strip().lower()
    if word in WINNERS:
        return word
    if value in models and models[0] != models[1]:
        return "a" if value == models[0] else "b"
    if word in OTHER_WORDS:
        return OTHER_WORDS[word]
    raise ValueError(f"unknown winner {shorten(value)}; expected a, b, tie or skip")


is_own = has("question", "model_a", "model_b", "winner")


def convert_own(record: Mapping[str, Any]) -> Iterator[Vote]:
    models = get_text(record, "model_a"), get_text(record, "model_b")
    winner = read_winner(get_text(record, "winner"), models)
    category, annotator, when = (get_optional(record, name) for name in ("category", "annotator", "time"))
    yield Vote(get_text(record, "question"), *models, winner, category, annotator, when, **read_more(record))


def is_fastchat(record: Mapping[str, Any]) -> bool:
    return has("model_a", "model_b", "winner")(record) and "question" not in record


def convert_fastchat(record: Mapping[str, Any]) -> Iterator[Vote]:
    """FastChat's ``tie (bothbad)`` is a tie."""
    names = ("question_id", "conversation_id", "id")
    question = next((get_text(record, name) for name in names if record.get(name) not in (None, "")), "")
    if not question:
        question = find_prompt(record)
    winner = read_winner(get_text(record, "winner"))
    annotator = next((get_text(record, name) for name in ("judge", "judge_hash") if record.get(name)), "")
    yield Vote(
        question, get_text(record, "model_a"), get_text(record, "model_b"), winner,
        get_optional(record, "category"), annotator, get_optional(record, "tstamp"),
    )  # fmt: skip


def find_prompt(record: Mapping[str, Any]) -> str:
    conversation = record.get("conversation_a")
    if isinstance(conversation, list) and conversation and isinstance(conversation[0], dict):
        return get_text(conversation[0], "content")
    raise ValueError("there is neither 'question_id' nor 'conversation_a'")


def is_pandalm(record: Mapping[str, Any]) -> bool:
    return "cmp_key" in record and any(name.startswith("annotator") for name in record)


def convert_pandalm(record: Mapping[str, Any]) -> Iterator[Vote | ValueError]:
    """``cmp_key`` is ``first_second``; each annotator's value is 1 (first wins), 2 (second) or 0 (tie)."""
    models = get_text(record, "cmp_key").split("_")
    if len(models) != 2:
        raise ValueError(f"'cmp_key' does not name two models: {shorten(record['cmp_key'])}")
    question, category = get_text(record, "idx"), get_optional(record, "motivation_app")
    judged = {name: value for name, value in record.items() if name.startswith("annotator")}
    for name, value in judged.items():
        winner = {0: "tie", 1: "a", 2: "b"}.get(value) if type(value) is int else None
        if winner is None:
            yield ValueError(f"'{name}' is {shorten(value)}; expected 0, 1 or 2")
        else:
            yield Vote(question, models[0], models[1], winner, category, name)


is_labelstudio = has("annotations", "data")
#: usual names of the two models in a task's data
PAIRS = (("model_a", "model_b"), ("model1", "model2"), ("model_1", "model_2"), ("left_model", "right_model"),
         ("model_left", "model_right"))  # fmt: skip


def convert_labelstudio(record: Mapping[str, Any]) -> Iterator[Vote | ValueError]:
    """One vote per annotation: its ``pairwise`` choice; additional ``choices`` can say tie or skip."""
    data, annotations = record["data"], record["annotations"]
    if not isinstance(data, dict) or not isinstance(annotations, list):
        raise ValueError("'data' is not an object, or 'annotations' is not a list")
    pair = next((pair for pair in PAIRS if has(*pair)(data)), None)
    if pair is None:
        raise ValueError("'data' does not say which models are compared (model_a, model_b)")
    names = ("question", "question_id", "prompt", "text", "instruction")
    question = next((get_text(data, name) for name in names if data.get(name)), "")
    question = question or get_text(record, "id")
    for annotation in annotations:
        try:
            winner = read_annotation(annotation)
            annotator = annotation.get("completed_by", "")
            if isinstance(annotator, dict):
                annotator = annotator.get("email") or annotator.get("id") or ""
            yield Vote(
                question, get_text(data, pair[0]), get_text(data, pair[1]), winner,
                get_optional(data, "category"), str(annotator), str(annotation.get("created_at") or ""),
            )  # fmt: skip
        except ValueError as error:
            yield error


def read_annotation(annotation: Any) -> str:
    if not isinstance(annotation, dict) or not isinstance(annotation.get("result"), list):
        raise ValueError("an annotation without 'result'")
    if annotation.get("was_cancelled"):
        return "skip"
    given = [each.get("value") for each in annotation["result"] if isinstance(each, dict)]
    values = [value for value in given if isinstance(value, dict)]
    for value in values:
        for word in value.get("choices") or ():
            if isinstance(word, str) and word.strip().lower() in OTHER_WORDS | dict.fromkeys(WINNERS):
                return read_winner(word)
    for value in values:
        if isinstance(value.get("selected"), str):
            return read_winner(value["selected"])
    raise ValueError("an annotation that chooses neither side")


def make_columns_format(columns: Mapping[str, str]) -> VoteFormat:
    """A format whose fields have other names: ``{"question": "prompt", "model_a": "left", ...}``."""

    def convert(record: Mapping[str, Any]) -> Iterator[Vote]:
        named = {field: record.get(columns.get(field, field)) for field in FIELDS}
        for field in ("question", "model_a", "model_b", "winner"):
            if named[field] in (None, ""):
                raise ValueError(f"'{columns.get(field, field)}' is missing")
        yield from convert_own(named)

    needed = [columns.get(field, field) for field in ("question", "model_a", "model_b", "winner")]
    return VoteFormat("columns", "columns that --columns names", has(*needed), convert)


@dataclass(frozen=True)
class Answers:
    """The survey's table of answers, which gives models and questions their numbers.

    Attributes:
        models: by number.
        questions, categories: by row.
    """

    models: Sequence[str]
    questions: Sequence[str]
    categories: Sequence[str]


def is_survey(record: Mapping[str, Any]) -> bool:
    return has("que_idx", "que_rec")(record)


RECORDED = {1: "a", -1: "b", -2: "tie", 0: "skip"}


def make_survey_format(answers: Answers, annotator: str) -> VoteFormat:
    """One annotator's file: ``que_idx`` contains (question, model, model), ``que_rec`` the votes."""

    def convert(record: Mapping[str, Any]) -> Iterator[Vote | ValueError]:
        asked, given = record["que_idx"], record["que_rec"]
        if not isinstance(asked, list) or not isinstance(given, list):
            raise ValueError("'que_idx' and 'que_rec' are not lists")
        if len(asked) != len(given):
            yield ValueError(f"'que_idx' has {len(asked)} entries, but 'que_rec' has {len(given)}")
        for number, (indices, recorded) in enumerate(zip(asked, given, strict=False)):
            try:
                yield read_entry(answers, annotator, indices, recorded)
            except ValueError as error:
                yield ValueError(f"entry {number}: {error}")

    return VoteFormat(
        "survey", "the survey's: a CSV of answers, a JSON of each annotator", is_survey, convert
    )


def read_entry(answers: Answers, annotator: str, indices: Any, recorded: Any) -> Vote:
    whole = isinstance(indices, list) and len(indices) == 3 and all(type(index) is int for index in indices)
    if not whole:
        raise ValueError(f"{shorten(indices)} instead of [question, model, model]")
    question, first, second = indices
    for index, there, what in (
        (question, answers.questions, "question"),
        (first, answers.models, "model"),
        (second, answers.models, "model"),
    ):
        if not 0 <= index < len(there):
            raise ValueError(f"there is no {what} {index}; the table has {len(there)}")
    if type(recorded) is not int or recorded not in RECORDED:
        raise ValueError(f"recorded as {shorten(recorded)}; expected 1, -1, -2 or 0")
    return Vote(
        str(question), answers.models[first], answers.models[second], RECORDED[recorded],
        answers.categories[question], annotator,
    )  # fmt: skip


def read_answers(rows: Iterable[Mapping[str, Any]]) -> Answers:
    """Read the table: models start at the fourth column; by default the second is the category.

    Raises:
        ValueError: there are fewer than two models.
    """
    rows = list(rows)
    columns = list(rows[0]) if rows else []
    if len(columns) < 5:
        raise ValueError(f"{len(columns)} columns; the models start at the fourth")
    named = {name.strip().lower(): name for name in columns[:3]}
    category = next(
        (named[word] for word in ("category", "type", "类别", "类型") if word in named), columns[1]
    )
    question = next((named[word] for word in ("question", "prompt", "问题") if word in named), columns[2])
    return Answers(columns[3:], [row[question] for row in rows], [row[category] for row in rows])
