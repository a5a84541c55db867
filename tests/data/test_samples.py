"""The embedded samples: complete, well-formed and balanced."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

from gptalt_eval.data.readers import read_jsonl
from gptalt_eval.data.standard import SAMPLES, list_datasets

SCORED = {
    "boolq": "validation", "hellaswag": "validation", "winogrande": "validation", "piqa": "validation",
    "arc_easy": "test", "arc_challenge": "test", "openbookqa": "test", "race_high": "test", "race_middle": "test",
    "drop": "validation", "gsm8k": "test", "mmlu": "test", "triviaqa": "validation", "sciq": "test",
}  # fmt: skip
GOLD = {"boolq": "label", "hellaswag": "label", "winogrande": "answer", "piqa": "label", "arc_easy": "answerKey",
        "arc_challenge": "answerKey", "openbookqa": "answerKey", "mmlu": "answer"}  # fmt: skip


def rows(name, split):
    return list(read_jsonl(SAMPLES / name / f"{split}.jsonl"))


def test_every_standard_dataset_has_one():
    assert {dataset.name for dataset in list_datasets()} == set(SCORED)


@pytest.mark.parametrize("name", SCORED)
def test_twenty_items(name):
    found = rows(name, SCORED[name])
    if name.startswith("race"):
        assert sum(len(ast.literal_eval(row["problems"])) for row in found) == 20
    else:
        assert len(found) == (57 if name == "mmlu" else 20)


@pytest.mark.parametrize("name", GOLD)
def test_no_gold_answer_is_favoured(name):
    counts = Counter(row[GOLD[name]] for row in rows(name, SCORED[name]))
    total = sum(counts.values())
    assert max(counts.values()) / total <= (0.6 if len(counts) == 2 else 0.4)


@pytest.mark.parametrize("name", SCORED)
def test_no_shot_is_a_scored_item(name):
    scored = [repr(sorted(row.items())) for row in rows(name, SCORED[name])]
    for file in (SAMPLES / name).glob("*.jsonl"):
        if file.stem != SCORED[name]:
            assert not set(scored) & {repr(sorted(row.items())) for row in read_jsonl(file)}


def test_gsm8k_calculates_right():
    for row in rows("gsm8k", "test") + rows("gsm8k", "train"):
        for formula, outcome in re.findall(r"<<([\d+*/.()\- ]+)=([\d.]+)>>", row["answer"]):
            assert eval(formula) == pytest.approx(float(outcome)), row["question"]
        assert re.search(r"#### [\d.,]+$", row["answer"])


def test_every_subject_of_mmlu_has_an_item():
    subjects = [row["subject"] for row in rows("mmlu", "test")]
    assert len(set(subjects)) == 57


def describe(dataset):
    served = ", ".join(map(str, dataset.configs)) or "any"
    folder = dataset.sample.relative_to(SAMPLES)
    facts = (
        dataset.title,
        f"{dataset.hub} ({served})",
        dataset.licence,
        dataset.home,
        folder,
        dataset.checksums.name,
    )
    yield f"{dataset.name}: {'; '.join(map(str, facts))}"
    for split in dataset.splits:
        parts = "".join(
            f"; {pattern}: {part.title}, {part.rows} rows" for pattern, part in split.parts.items()
        )
        beside = f"; beside {' '.join(split.beside)}" if split.beside else ""
        yield f"  {split.name}, {split.rows} rows: {' '.join(split.files)}{parts}{beside}"


def test_the_facts_of_each_dataset():
    """As their publishers state them: row counts, licences, homes, and the names of the files."""
    golden = Path(__file__).parents[1] / "golden" / "datasets.txt"
    found = [line for dataset in list_datasets() for line in describe(dataset)]
    assert found == golden.read_text(encoding="utf-8").splitlines()
