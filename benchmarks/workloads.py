"""The benchmark's requests: (context, continuation) pairs made from release files of real benchmarks.

The prompts have the shape of lm-eval's own tasks. The few-shot examples of a workload are the same for all
its questions; RACE asks every question of a passage.
"""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Request = tuple[str, str]
LETTERS = "ABCD"
SUBJECTS = ("anatomy", "astronomy", "college_biology", "high_school_geography", "marketing")


def read_lines(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8") as file:
        yield from (json.loads(line) for line in file)


def make_race(data: Path, passages: int = 40) -> list[Request]:
    """Each option of each question: the passage is shared by the questions, these by the options."""
    files = sorted((data / "race/RACE/test/high").glob("*.txt"), key=lambda file: int(file.stem))[:passages]
    requests = []
    for file in files:
        row = json.loads(file.read_text(encoding="utf-8"))
        for question, options in zip(row["questions"], row["options"], strict=True):
            context = f"Article: {row['article']}\n\nQuestion: {question}\nAnswer:"
            requests += [(context, f" {option}") for option in options]
    return requests


def format_mmlu(row: list[str], answer: bool) -> str:
    options = "\n".join(f"{letter}. {text}" for letter, text in zip(LETTERS, row[1:5], strict=True))
    return f"{row[0].strip()}\n{options}\nAnswer:" + (f" {row[5]}\n\n" if answer else "")


def make_mmlu(
    data: Path, questions: int = 100, shots: int = 5, subjects: tuple[str, ...] = SUBJECTS
) -> list[Request]:
    requests = []
    for subject in subjects:
        with (data / f"mmlu/dev/{subject}_dev.csv").open(encoding="utf-8", newline="") as file:
            examples = list(csv.reader(file))[:shots]
        with (data / f"mmlu/test/{subject}_test.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))[:questions]
        title = subject.replace("_", " ")
        head = f"The following are multiple choice questions (with answers) about {title}.\n\n"
        head += "".join(format_mmlu(row, answer=True) for row in examples)
        requests += [
            (head + format_mmlu(row, answer=False), f" {letter}") for row in rows for letter in LETTERS
        ]
    return requests


def make_arc(data: Path, questions: int = 100, shots: int = 25) -> list[Request]:
    head = ""
    for row in list(read_lines(data / "arc/ARC-Challenge-Train.jsonl"))[:shots]:
        options = {option["label"]: option["text"] for option in row["question"]["choices"]}
        head += f"Question: {row['question']['stem']}\nAnswer: {options[row['answerKey']]}\n\n"
    requests = []
    for row in list(read_lines(data / "arc/ARC-Challenge-Test.jsonl"))[:questions]:
        context = f"{head}Question: {row['question']['stem']}\nAnswer:"
        requests += [(context, f" {option['text']}") for option in row["question"]["choices"]]
    return requests


def make_hellaswag(data: Path, questions: int = 500) -> list[Request]:
    rows = list(read_lines(data / "hellaswag/hellaswag_val.jsonl"))[:questions]
    return [(f"{row['activity_label']}: {row['ctx']}", f" {end}") for row in rows for end in row["endings"]]


def make_piqa(data: Path, questions: int = 500) -> list[Request]:
    rows = list(read_lines(data / "piqa/valid.jsonl"))[:questions]
    return [(f"Question: {row['goal']}\nAnswer:", f" {row[key]}") for row in rows for key in ("sol1", "sol2")]


def make_boolq(data: Path, questions: int = 100) -> list[Request]:
    rows = list(read_lines(data / "boolq/dev.jsonl"))[:questions]
    contexts = [f"{row['passage']}\nQuestion: {row['question']}?\nAnswer:" for row in rows]
    return [(context, answer) for context in contexts for answer in (" no", " yes")]


def make_winogrande(data: Path, questions: int = 300) -> list[Request]:
    """The options stand in the context; what follows them is the continuation."""
    requests = []
    for row in list(read_lines(next((data / "winogrande").rglob("dev.jsonl"))))[:questions]:
        before, after = row["sentence"].split("_")
        requests += [(before + row[key], f" {after.strip()}") for key in ("option1", "option2")]
    return requests


def make_openbookqa(data: Path, questions: int = 300) -> list[Request]:
    rows = list(read_lines(data / "openbookqa/Main/test.jsonl"))[:questions]
    return [
        (row["question"]["stem"], f" {option['text']}")
        for row in rows
        for option in row["question"]["choices"]
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


def make_gsm8k(data: Path, questions: int = 64, shots: int = 5) -> list[tuple[str, dict[str, Any]]]:
    examples = list(read_lines(data / "gsm8k/train.jsonl"))[:shots]
    head = "".join(f"Question: {row['question']}\nAnswer: {row['answer']}\n\n" for row in examples)
    rows = list(read_lines(data / "gsm8k/test.jsonl"))[:questions]
    return [(f"{head}Question: {row['question']}\nAnswer:", dict(STOP)) for row in rows]


STOP = {"until": ["Question:", "</s>", "<|im_end|>"], "do_sample": False, "max_gen_toks": 256}
GENERATION = {"GSM8K 5-shot, 64": make_gsm8k}

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
}


def make_synthetic(name: str) -> list[Any]:
    """Requests of a workload's shape, of random words."""
    source = random.Random(name)
    words = "the of a to in that it was for on are as with his they at be this from have or by".split()  # noqa: SIM905
    words += [
        first + second
        for first in ("ba", "ke", "mo", "tri", "sla")
        for second in ("n", "rt", "le", "st", "nd")
    ]

    def say(count: int) -> str:
        return " ".join(source.choices(words, k=count))

    prefixes, prefix_words, questions, question_words, options, option_words = SHAPES[name]
    made: list[Any] = []
    for prefix in (say(prefix_words) for _ in range(prefixes)):
        for question in (f"{prefix} {say(question_words)}".strip() for _ in range(questions)):
            if name in GENERATION:
                made.append((question, dict(STOP)))
            elif option_words == 1:
                made += [(question, f" {letter}") for letter in LETTERS[:options]]
            else:
                made += [(question, f" {say(option_words)}") for _ in range(options)]
    return made
