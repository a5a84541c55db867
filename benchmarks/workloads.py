"""The benchmark's questions, from release files of real benchmarks: each is (context, continuation) pairs.

The prompts have the shape of lm-eval's own tasks. The few-shot examples of a workload are the same for all
its questions; RACE asks every question of a passage.
"""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

Request = tuple[str, str]
Question = list[Request]  # an option each
LETTERS = "ABCD"
SUBJECTS = ("anatomy", "astronomy", "college_biology", "high_school_geography", "marketing")


def read_lines(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8") as file:
        yield from (json.loads(line) for line in file)


def make_race(data: Path, passages: int = 40) -> list[Question]:
    """Each option of each question: the passage is shared by the questions, these by the options."""
    files = sorted((data / "race/RACE/test/high").glob("*.txt"), key=lambda file: int(file.stem))[:passages]
    questions = []
    for file in files:
        row = json.loads(file.read_text(encoding="utf-8"))
        for question, options in zip(row["questions"], row["options"], strict=True):
            context = f"Article: {row['article']}\n\nQuestion: {question}\nAnswer:"
            questions.append([(context, f" {option}") for option in options])
    return questions


def format_mmlu(row: list[str], answer: bool) -> str:
    options = "\n".join(f"{letter}. {text}" for letter, text in zip(LETTERS, row[1:5], strict=True))
    return f"{row[0].strip()}\n{options}\nAnswer:" + (f" {row[5]}\n\n" if answer else "")


def make_mmlu(
    data: Path, count: int = 100, shots: int = 5, subjects: tuple[str, ...] = SUBJECTS
) -> list[Question]:
    questions = []
    for subject in subjects:
        with (data / f"mmlu/dev/{subject}_dev.csv").open(encoding="utf-8", newline="") as file:
            examples = list(csv.reader(file))[:shots]
        with (data / f"mmlu/test/{subject}_test.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))[:count]
        title = subject.replace("_", " ")
        head = f"The following are multiple choice questions (with answers) about {title}.\n\n"
        head += "".join(format_mmlu(row, answer=True) for row in examples)
        contexts = [head + format_mmlu(row, answer=False) for row in rows]
        questions += [[(context, f" {letter}") for letter in LETTERS] for context in contexts]
    return questions


def make_arc(data: Path, count: int = 100, shots: int = 25) -> list[Question]:
    head = ""
    for row in list(read_lines(data / "arc/ARC-Challenge-Train.jsonl"))[:shots]:
        options = {option["label"]: option["text"] for option in row["question"]["choices"]}
        head += f"Question: {row['question']['stem']}\nAnswer: {options[row['answerKey']]}\n\n"
    questions = []
    for row in list(read_lines(data / "arc/ARC-Challenge-Test.jsonl"))[:count]:
        context = f"{head}Question: {row['question']['stem']}\nAnswer:"
        questions.append([(context, f" {option['text']}") for option in row["question"]["choices"]])
    return questions


def make_hellaswag(data: Path, count: int = 500) -> list[Question]:
    rows = list(read_lines(data / "hellaswag/hellaswag_val.jsonl"))[:count]
    return [[(f"{row['activity_label']}: {row['ctx']}", f" {end}") for end in row["endings"]] for row in rows]


def make_piqa(data: Path, count: int = 500) -> list[Question]:
    rows = list(read_lines(data / "piqa/valid.jsonl"))[:count]
    return [
        [(f"Question: {row['goal']}\nAnswer:", f" {row[key]}") for key in ("sol1", "sol2")] for row in rows
    ]


def make_boolq(data: Path, count: int = 100) -> list[Question]:
    rows = list(read_lines(data / "boolq/dev.jsonl"))[:count]
    contexts = [f"{row['passage']}\nQuestion: {row['question']}?\nAnswer:" for row in rows]
    return [[(context, " no"), (context, " yes")] for context in contexts]


def make_winogrande(data: Path, count: int = 300) -> list[Question]:
    """The options stand in the context; what follows them is the continuation."""
    questions = []
    for row in list(read_lines(next((data / "winogrande").rglob("dev.jsonl"))))[:count]:
        before, after = row["sentence"].split("_")
        questions.append([(before + row[key], f" {after.strip()}") for key in ("option1", "option2")])
    return questions


def make_openbookqa(data: Path, count: int = 300) -> list[Question]:
    rows = list(read_lines(data / "openbookqa/Main/test.jsonl"))[:count]
    return [
        [(row["question"]["stem"], f" {option['text']}") for option in row["question"]["choices"]]
        for row in rows
    ]


def make_medqa(data: Path, count: int = 100, shots: int = 0) -> list[Question]:
    """Each option's text after a case; the examples before it are the same for all."""
    head = ""
    for row in list(read_lines(data / "medqa/US/dev.jsonl"))[:shots]:
        head += f"Question: {row['question']}\nAnswer: {row['answer']}\n\n"
    rows = list(read_lines(data / "medqa/US/test.jsonl"))[:count]
    return [
        [(f"{head}Question: {row['question']}\nAnswer:", f" {option}") for option in row["options"].values()]
        for row in rows
    ]


WORKLOADS = {
    "RACE-high, 40 passages": make_race,
    "MMLU 5-shot, 5 x 100": make_mmlu,
    "ARC-Challenge 25-shot, 100": make_arc,
    "HellaSwag, 500": make_hellaswag,
    "PIQA, 500": make_piqa,
    "BoolQ, 100": make_boolq,
    "WinoGrande, 300": make_winogrande,
    "OpenBookQA, 300": make_openbookqa,
}


def make_gsm8k(data: Path, count: int = 64, shots: int = 5) -> list[tuple[str, dict[str, Any]]]:
    examples = list(read_lines(data / "gsm8k/train.jsonl"))[:shots]
    head = "".join(f"Question: {row['question']}\nAnswer: {row['answer']}\n\n" for row in examples)
    rows = list(read_lines(data / "gsm8k/test.jsonl"))[:count]
    return [(f"{head}Question: {row['question']}\nAnswer:", dict(STOP)) for row in rows]


STOP = {"until": ["Question:", "</s>", "<|im_end|>"], "do_sample": False, "max_gen_toks": 256}
GENERATION = {"GSM8K 5-shot, 64": make_gsm8k}

MEDQA = {"MedQA 0-shot, 100": make_medqa, "MedQA 5-shot, 100": partial(make_medqa, shots=5)}  # of survey.py

# of each workload: prefixes, words in one, questions to a prefix, words in one, options, words in one
SHAPES = {
    "RACE-high, 40 passages": (40, 280, 3, 12, 4, 6),
    "MMLU 5-shot, 5 x 100": (5, 400, 100, 50, 4, 1),
    "ARC-Challenge 25-shot, 100": (1, 600, 100, 22, 4, 5),
    "HellaSwag, 500": (500, 0, 1, 30, 4, 20),
    "PIQA, 500": (500, 0, 1, 10, 2, 18),
    "BoolQ, 100": (100, 0, 1, 105, 2, 1),
    "WinoGrande, 300": (300, 12, 2, 1, 1, 7),
    "OpenBookQA, 300": (300, 0, 1, 11, 4, 3),
    "GSM8K 5-shot, 64": (1, 500, 64, 45, 1, 0),
    "MedQA 0-shot, 100": (100, 0, 1, 115, 5, 3),
    "MedQA 5-shot, 100": (1, 600, 100, 115, 5, 3),
}


def make_questions(name: str, data: Path) -> list[Any]:
    """A workload's questions, or prompts to generate from; where the folder of release files is, of these."""
    makers: dict[str, Any] = {**WORKLOADS, **GENERATION, **MEDQA}
    return makers[name](data) if data.is_dir() else make_synthetic(name)


def make_synthetic(name: str) -> list[Any]:
    """Questions, or prompts to generate from, of a workload's shape, of random words."""
    source = random.Random(name)
    words = "the of a to in that it was for on are as with his they at be this from have or by".split()  # noqa: SIM905
    words += [
        first + second
        for first in ("ba", "ke", "mo", "tri", "sla")
        for second in ("n", "rt", "le", "st", "nd")
    ]

    def say(count: int) -> str:
        return " ".join(source.choices(words, k=count))

    prefixes, prefix_words, count, question_words, options, option_words = SHAPES[name]
    made: list[Any] = []
    for prefix in (say(prefix_words) for _ in range(prefixes)):
        contexts = [f"{prefix} {say(question_words)}".strip() for _ in range(count)]
        if name in GENERATION:
            made += [(context, dict(STOP)) for context in contexts]
            continue
        ends = [LETTERS[place] if option_words == 1 else "" for place in range(options)]
        asked = [[(context, f" {end or say(option_words)}") for end in ends] for context in contexts]
        made += asked if options > 1 else [[request for question in asked for request in question]]
    return made
