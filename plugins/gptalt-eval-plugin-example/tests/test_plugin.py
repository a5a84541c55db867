"""Tests of the installed plugin in a complete evaluation: without torch or network, in a few seconds."""

import json

from gptalt_eval_plugin_example import HERE, read_rows

SAMPLE = HERE / "sample"


def read_sample(split):
    return [json.loads(line) for line in (SAMPLE / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()]


def test_it_keeps_the_rules_for_plugins():
    from gptalt_eval.testing import check_plugin

    assert check_plugin("example") == []


def test_scores_are_those_computed_by_hand(tmp_path):
    from gptalt_eval import evaluate

    record = evaluate("shortest-option", "capitals", data_dir="sample", output_path=str(tmp_path))

    rows = read_sample("test")
    right = [min(row["options"], key=len) == row["options"][row["answer"]] for row in rows]
    assert record.results[0]["results"]["capitals"]["acc,none"] == sum(right) / len(right)


def test_each_row_has_four_different_options_in_both_languages():
    for row in read_sample("test") + read_sample("train"):
        assert len(set(row["options"])) == len(set(row["options_zh"])) == 4
        assert 0 <= row["answer"] < 4


def test_release_files_are_read_like_the_sample():
    assert list(read_rows((SAMPLE / "test.jsonl",), None)) == read_sample("test")
