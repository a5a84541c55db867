"""Label Studio's exports: JSON (tasks with annotations), JSON-MIN and CSV (an annotation in each row)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from gptalt_eval_plugin_elo.formats.values import (
    Record,
    fold,
    get_first,
    get_optional,
    get_text,
    has,
    make_word,
)
from gptalt_eval_plugin_elo.votes import Unclear, Vote, Word
from gptalt_eval_plugin_elo.winners import UnknownWinner, read_winner

#: usual names of the two models in a task's data
PAIRS = (("model_a", "model_b"), ("model1", "model2"), ("model_1", "model_2"), ("left_model", "right_model"),
         ("model_left", "model_right"))  # fmt: skip
QUESTIONS = ("question", "question_id", "prompt", "text", "instruction")
#: columns of a row that are not tags
NO_TAGS = {"id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "category",
           "language", *QUESTIONS, *(name for pair in PAIRS for name in pair)}  # fmt: skip
has_annotations = has("annotations", "data")
has_row = has("annotator", "annotation_id", "lead_time")
Models = tuple[str, str]
Tags = Mapping[str, list[Word]]  # what was chosen, by tag


def is_labelstudio(record: Record) -> bool:
    return has_annotations(record) or (has_row(record) and find_pair(record) is not None)


def make_labelstudio(tag: str = "") -> Callable[[Record], Iterable[Vote | ValueError]]:
    """Converts a task with its annotations, or a row.

    It remembers what it has seen: make one for each file.

    Args:
        tag: the one whose value is the verdict; empty: the pairwise one, or the only one.
    """

    beside: set[str] = set()  # Choices tags that said something else beside a choice between the answers
    alone: set[str] = set()  # and those that were the verdict

    def decide(tags: tuple[Tags, Tags], models: Models) -> Word:
        winner = find_verdict(*tags, models, tag)
        for name, words in tags[1].items() if not tag else ():
            if not tags[0]:
                alone.add(name)
            elif not any(find_meaning(word, models) for word in words):
                beside.add(name)
            if name in beside and name in alone:
                raise Unclear(f"'{name}' stands beside another tag, and elsewhere it would be the verdict")
        return winner

    def convert(record: Record) -> Iterator[Vote | ValueError]:
        if has_annotations(record):
            yield from convert_task(record, decide)
        else:
            models, question = read_data(record, record)
            winner = decide(list_columns(record, models, tag), models)
            yield make_vote(record, models, question, winner, record.get("annotator"),
                            record.get("created_at"), record.get("annotation_id"))  # fmt: skip

    return convert


def convert_task(
    record: Record, decide: Callable[[tuple[Tags, Tags], Models], Word]
) -> Iterator[Vote | ValueError]:
    data, annotations = record["data"], record["annotations"]
    if not isinstance(data, dict) or not isinstance(annotations, list):
        raise ValueError("'data' is not an object, or 'annotations' is not a list")
    models, question = read_data(data, record)
    for annotation in annotations:
        try:
            if not isinstance(annotation, dict) or not isinstance(annotation.get("result"), list):
                raise ValueError("an annotation without 'result'")
            winner: str = "skip"
            if not annotation.get("was_cancelled"):
                winner = decide(list_tags(annotation["result"]), models)
            yield make_vote(data, models, question, winner, annotation.get("completed_by"),
                            annotation.get("created_at"), annotation.get("id"))  # fmt: skip
        except ValueError as error:
            yield error


def find_pair(data: Record) -> Models | None:
    return next((pair for pair in PAIRS if all(name in data for name in pair)), None)


def read_data(data: Record, record: Record) -> tuple[Models, str]:
    """The models and the question of a task."""
    pair = find_pair(data)
    if pair is None:
        raise ValueError("'data' needs 'model_a' and 'model_b', the names of the compared models")
    models = get_text(data, pair[0]), get_text(data, pair[1])
    return models, get_first(data, QUESTIONS) or get_text(record, "id")


def make_vote(
    data: Record, models: Models, question: str, winner: str, annotator: Any, when: Any, annotation: Any
) -> Vote:
    if isinstance(annotator, dict):
        annotator = annotator.get("email") or annotator.get("id")
    return Vote(
        question, *models, winner, get_optional(data, "category"),
        "" if annotator is None else str(annotator), str(when or ""), get_optional(data, "language"),
        id=f"annotation {annotation}" if isinstance(annotation, (int, str)) and annotation else "",
    )  # fmt: skip


def list_tags(results: list[Any]) -> tuple[Tags, Tags]:
    """What was chosen with ``Pairwise`` tags, and what with ``Choices`` tags."""
    pairwise: dict[str, list[Word]] = {}
    choices: dict[str, list[Word]] = {}
    for result in results:
        value = result.get("value") if isinstance(result, dict) else None
        if isinstance(value, dict):
            add_value(str(result.get("from_name") or ""), value, pairwise, choices)
    return pairwise, choices


def add_value(
    name: str, value: Mapping[str, Any], pairwise: dict[str, list[Word]], choices: dict[str, list[Word]]
) -> None:
    if value.get("selected") not in (None, ""):
        pairwise.setdefault(name, []).append(make_word(value["selected"]))
    elif value.get("choices"):
        choices.setdefault(name, []).append(join_choices(value["choices"]))


def join_choices(chosen: Any) -> Word:
    if isinstance(chosen, list) and all(isinstance(each, str) for each in chosen):
        return Word(", ".join(each.strip() for each in chosen))
    return make_word(chosen)


def list_columns(record: Record, models: Models, tag: str) -> tuple[Tags, Tags]:
    """The same of a row. Texts that do not say who won may be data of the task and do not count."""
    pairwise: dict[str, list[Word]] = {}
    choices: dict[str, list[Word]] = {}
    for name, value in record.items():
        if fold(name) in NO_TAGS and name != tag:
            continue
        for each in read_cell(value):
            if isinstance(each, dict):
                add_value(name, each, pairwise, choices)
            elif name == tag or (isinstance(each, str) and find_meaning(Word(each), models)):
                choices.setdefault(name, []).append(make_word(each))
    return pairwise, choices


def read_cell(value: Any) -> list[Any]:
    """A cell as a list of values; a CSV has JSON in its cells."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return [value]
    return value if isinstance(value, list) else [value]


def find_verdict(pairwise: Tags, choices: Tags, models: Models, tag: str) -> Word:
    """The word for the winner; an empty one if nothing was chosen.

    Raises:
        Unclear: several tags could be the verdict and do not say the same.
    """
    if tag:
        return choose_word({tag: [*pairwise.get(tag, ()), *choices.get(tag, ())]}, models)
    if not pairwise:
        return choose_word(choices, models)
    winner = choose_word(pairwise, models)
    meant = find_meaning(winner, models)
    others = {name: words for name, words in choices.items()
              if any(find_meaning(word, models) not in ("", meant) for word in words)}  # fmt: skip
    return choose_word({**others, **pairwise}, models) if others else winner


def choose_word(tags: Tags, models: Models) -> Word:
    words = [word for given in tags.values() for word in given]
    if not words:
        return Word("")
    if len(set(words)) > 1 and len({find_meaning(word, models) or word for word in words}) > 1:
        said = ", ".join(f"'{name}' says '{word}'" for name, given in tags.items() for word in given)
        raise Unclear(said[:300])
    return words[0]


def find_meaning(word: Word, models: Models) -> str:
    """The outcome that a word says for sure; empty: none."""
    try:
        return read_winner(word, models, {})
    except UnknownWinner:
        return ""
