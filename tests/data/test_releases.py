"""Release files become rows of the hub versions' schema: by hand on small files, by count on real ones."""

import ast
import json

import pytest

from gptalt_eval.contract.errors import DataError
from gptalt_eval.data import locate as data
from gptalt_eval.data import readers
from gptalt_eval.data.standard import list_datasets

DATASETS = {dataset.name: dataset for dataset in list_datasets()}

# (dataset, config, split) -> rows, from the README of the folder of real data
REAL_ROWS = {
    ("boolq", "boolq", "validation"): 3270,
    ("hellaswag", None, "validation"): 10042,
    ("winogrande", "winogrande_xl", "validation"): 1267,
    ("winogrande", "winogrande_xl", "train"): 160,
    ("piqa", None, "validation"): 1838,
    ("arc_easy", "ARC-Easy", "train"): 2251,
    ("arc_easy", "ARC-Easy", "validation"): 570,
    ("arc_easy", "ARC-Easy", "test"): 2376,
    ("arc_challenge", "ARC-Challenge", "train"): 1119,
    ("arc_challenge", "ARC-Challenge", "validation"): 299,
    ("arc_challenge", "ARC-Challenge", "test"): 1172,
    ("openbookqa", "main", "train"): 4957,
    ("openbookqa", "main", "validation"): 500,
    ("openbookqa", "main", "test"): 500,
    ("race_high", "high", "test"): 120,
    ("race_middle", "middle", "test"): 120,
    ("drop", None, "validation"): 9536,
    ("gsm8k", "main", "train"): 7473,
    ("gsm8k", "main", "test"): 1319,
    ("triviaqa", "rc.nocontext", "validation"): 7993,
    ("sciq", None, "validation"): 1000,
    ("sciq", None, "test"): 1000,
}


@pytest.mark.parametrize(("name", "config", "split"), REAL_ROWS)
def test_real_files_give_the_schema_of_the_sample(shared_data, name, config, split):
    dataset = DATASETS[name]
    located = data.locate(dataset, config, (split,), shared_data)
    rows = list(data.read_located(located, split))
    assert len(rows) == located.splits[split].rows == REAL_ROWS[name, config, split]
    sample = next(data.read_jsonl(next(dataset.sample.glob("*.jsonl"))))
    kinds = {key: type(value) for key, value in sample.items()}
    assert {key: type(value) for key, value in rows[0].items()} == kinds
    assert all(row.keys() == rows[0].keys() for row in rows)


def test_real_mmlu_counts(shared_data):
    dataset = DATASETS["mmlu"]
    subjects = [file.stem.removesuffix("_test") for file in (shared_data / "mmlu" / "test").glob("*.csv")]
    totals = dict.fromkeys(("dev", "validation", "test"), 0)
    for subject in subjects:
        located = data.locate(dataset, subject, tuple(totals), shared_data)
        for split in totals:
            totals[split] += located.splits[split].rows
    assert len(subjects) == 57
    assert totals == {"dev": 285, "validation": 1531, "test": 14042}


def read(name, file, config=None):
    return list(DATASETS[name].read((file,), config))


def write(tmp_path, name, *rows):
    file = tmp_path / name
    file.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    return file


def test_boolq_puts_the_title_before_the_passage(tmp_path):
    row = {"question": "is it so", "title": "Title", "answer": True, "passage": "It is."}
    file = write(tmp_path, "dev.jsonl", row, row)
    assert read("boolq", file)[1] == {
        "question": "is it so",
        "passage": "Title -- It is.",
        "idx": 1,
        "label": 1,
    }


def test_race_keeps_a_passage_together(tmp_path):
    file = tmp_path / "1.txt"
    file.write_text(
        json.dumps(
            {"article": "a", "questions": ["q1", "q2"], "answers": ["A", "D"], "options": [list("wxyz")] * 2}
        )
    )
    [row] = read("race_high", file, "high")
    assert ast.literal_eval(row["problems"])[1] == {
        "question": "q2",
        "answer": "D",
        "options": ["w", "x", "y", "z"],
    }


@pytest.mark.parametrize(
    "text",
    [
        '{"article": "a"',
        '{"article": "a"}',
        '{"article": "a", "questions": ["q"], "answers": [], "options": []}',
        "[]",
    ],
)
def test_a_broken_race_passage_is_named(tmp_path, text):
    file = tmp_path / "77.txt"
    file.write_text(text)
    with pytest.raises(DataError, match=r"77\.txt"):
        read("race_high", file, "high")


def test_mmlu_reads_csv_without_a_header(tmp_path):
    file = tmp_path / "x_test.csv"
    file.write_text('"What, then?",1,2,3,"4, or so",D\n')
    assert read("mmlu", file, "x") == [
        {"question": "What, then?", "subject": "x", "choices": ["1", "2", "3", "4, or so"], "answer": 3}
    ]
    file.write_text("question,A,B,C,D,answer\n")
    with pytest.raises(DataError, match="row 1"):
        read("mmlu", file, "x")


def test_drop_official_and_flattened(tmp_path):
    answer = {"number": "", "date": {"day": "", "month": "", "year": ""}, "spans": ["A", "B"]}
    validated = {"number": "3", "date": {}, "spans": []}
    official = tmp_path / "drop_dataset_dev.json"
    pair = {"question": "q", "query_id": "i", "answer": answer, "validated_answers": [validated]}
    official.write_text(json.dumps({"s": {"passage": "p", "qa_pairs": [pair]}}))
    [row] = read("drop", official)
    assert (row["section_id"], row["query_id"], row["passage"], row["question"]) == ("s", "i", "p", "q")
    assert row["answer"]["spans"] == ["A", "B"]
    assert row["validated_answers"]["number"] == ["3"]
    flat = write(
        tmp_path, "drop_v0_dev.jsonl", {"context": "Passage: p\nQuestion: q\nAnswer:", "ref_text": "A|B"}
    )
    [row] = read("drop", flat)
    assert (row["passage"], row["question"]) == ("p", "q")
    assert row["answer"]["spans"] == ["A"] and row["validated_answers"]["spans"] == [["B"]]


def test_rows_that_are_not_of_the_release_are_named(tmp_path):
    file = write(tmp_path, "dev.jsonl", {"question": "q"})
    with pytest.raises(DataError, match=r"dev\.jsonl, row 1"):
        read("boolq", file)


def test_json_that_is_cut_off(tmp_path):
    file = tmp_path / "test.json"
    file.write_text('[{"question": ')
    with pytest.raises(DataError, match="truncated or damaged"):
        list(readers.read_rows(file))
