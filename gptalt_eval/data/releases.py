"""Official release files of the standard benchmarks, read into the schema of their hub versions.

lm-eval's task definitions read hub versions. Each reader here converts the publishers' own files to exactly
that schema, so that prompts and document hashes are the same as with the hub version. The formats were taken
from the release files themselves.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gptalt_eval.contract.errors import DataError
from gptalt_eval.contract.handed import open_named
from gptalt_eval.data.readers import REPLACE, Row, from_rows, read_json


def convert_boolq(index: int, row: Row) -> Row:
    # SuperGLUE, whose version lm-eval reads, puts the article's title before the passage
    passage = f"{row['title']} -- {row['passage']}" if row.get("title") else row["passage"]
    return {"question": row["question"], "passage": passage, "idx": index, "label": int(row["answer"])}


def convert_hellaswag(index: int, row: Row) -> Row:
    kept = ("ind", "activity_label", "ctx_a", "ctx_b", "ctx", "endings", "source_id", "split", "split_type")
    return {**{key: row[key] for key in kept}, "label": str(row.get("label", ""))}


def convert_winogrande(row: Row, label: str) -> Row:
    return {key: row[key] for key in ("sentence", "option1", "option2")} | {"answer": label}


def convert_piqa(row: Row, label: str) -> Row:
    return {key: row[key] for key in ("goal", "sol1", "sol2")} | {"label": int(label)}


def split_choices(choices: list[Row]) -> dict[str, list[str]]:
    return {"text": [choice["text"] for choice in choices], "label": [choice["label"] for choice in choices]}


def convert_arc(index: int, row: Row) -> Row:
    question = row["question"]
    choices = split_choices(question["choices"])
    return {"id": row["id"], "question": question["stem"], "choices": choices, "answerKey": row["answerKey"]}


def convert_openbookqa(index: int, row: Row) -> Row:
    question = row["question"]
    choices = split_choices(question["choices"])
    return {
        "id": row["id"],
        "question_stem": question["stem"],
        "choices": choices,
        "answerKey": row["answerKey"],
    }


def read_race(files: tuple[Path, ...], config: str | None) -> Iterator[Row]:
    """RACE: one passage per file, its questions in parallel lists; lm-eval expects one row per passage."""
    for file in files:
        passage = read_json(file)
        try:
            problems = [
                {"question": question, "answer": answer, "options": options}
                for question, answer, options in zip(
                    passage["questions"], passage["answers"], passage["options"], strict=True
                )
            ]
            yield {"article": passage["article"], "problems": str(problems)}
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{file}: not a RACE passage ({error!r}).", REPLACE) from error


def read_drop(files: tuple[Path, ...], config: str | None) -> Iterator[Row]:
    """DROP: the official nested JSON, or its questions flattened to one per line."""
    for file in files:
        if file.suffix == ".json":
            yield from read_nested_drop(read_json(file), file)
        else:
            yield from from_rows(convert_flat_drop)((file,), config)


def read_nested_drop(sections: Any, file: Path) -> Iterator[Row]:
    try:
        for section_id, section in sections.items():
            for pair in section["qa_pairs"]:
                yield {
                    "section_id": section_id,
                    "query_id": pair["query_id"],
                    "passage": section["passage"],
                    "question": pair["question"],
                    "answer": fill_drop_answer(pair["answer"]),
                    "validated_answers": stack_answers(pair.get("validated_answers") or []),
                }
    except (AttributeError, KeyError, TypeError) as error:
        raise DataError(f"{file}: not in the format of DROP's release ({error!r}).", REPLACE) from error


def fill_drop_answer(answer: Row) -> Row:
    date = answer.get("date") or {}
    return {
        "number": str(answer.get("number", "")),
        "date": {part: str(date.get(part, "")) for part in ("day", "month", "year")},
        "spans": list(answer.get("spans") or []),
        "worker_id": str(answer.get("worker_id", "")),
        "hit_id": str(answer.get("hit_id", "")),
    }


def stack_answers(answers: list[Row]) -> dict[str, list[Any]]:
    filled = [fill_drop_answer(answer) for answer in answers]
    return {
        key: [answer[key] for answer in filled] for key in ("number", "date", "spans", "worker_id", "hit_id")
    }


def convert_flat_drop(index: int, row: Row) -> Row:
    # The flattened file does not say which answers were numbers, dates or several spans: each reference
    # becomes one span. lm-eval compares text in any case, so only multi-span F1 can differ.
    passage, _, rest = row["context"].partition("\nQuestion: ")
    references = [{"spans": [text]} for text in row["ref_text"].split("|")]
    return {
        "section_id": "",
        "query_id": str(index),
        "passage": passage.removeprefix("Passage: "),
        "question": rest.removesuffix("\nAnswer:"),
        "answer": fill_drop_answer(references[0]),
        "validated_answers": stack_answers(references[1:]),
    }


def read_mmlu(files: tuple[Path, ...], config: str | None) -> Iterator[Row]:
    """MMLU: one CSV per subject, without a header: question, four options, the letter of the correct one."""
    for file in files:
        with open_named(file, newline="") as stream:
            for number, row in enumerate(csv.reader(stream), 1):
                if len(row) != 6 or row[5] not in ("A", "B", "C", "D"):
                    raise DataError(
                        f"{file}, row {number}: six columns were expected, the last a letter from A to D.",
                        REPLACE,
                    )
                yield {
                    "question": row[0],
                    "subject": config,
                    "choices": row[1:5],
                    "answer": "ABCD".index(row[5]),
                }


def convert_triviaqa(index: int, row: Row) -> Row:
    return {key: row[key] for key in ("question", "question_id", "question_source", "answer")}


def convert_gsm8k(index: int, row: Row) -> Row:
    return {"question": row["question"], "answer": row["answer"]}


def convert_sciq(index: int, row: Row) -> Row:
    keys = ("question", "distractor3", "distractor1", "distractor2", "correct_answer", "support")
    return {key: row[key] for key in keys}
