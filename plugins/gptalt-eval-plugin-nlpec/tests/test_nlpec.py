"""gptalt-eval-plugin-nlpec: NLPEC in its release's format, with and without evidence, and ExplainCPE."""

import json

import gptalt_eval_plugin_nlpec as nlpec
import pytest

import gptalt_eval
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.data.locate import read_located
from gptalt_eval.planning.resolve import resolve
from gptalt_eval.running.lmeval import evaluation, tasks
from gptalt_eval.testing import make_plugin_set, make_scripted_model

NAMES = [
    "explaincpe", "explaincpe_gen", "nlpec_en", "nlpec_en_evidence", "nlpec_en_gen", "nlpec_zh",
    "nlpec_zh_evidence", "nlpec_zh_gen",
]  # fmt: skip
RELEASED = {
    "questionType": "最佳选择题", "questionId": "17", "questionText": "须冷藏保存的是", "subject": "药事管理",
    "option": ["阿司匹林", "维生素C", "胰岛素注射液", "葡萄糖", "氯化钠"], "answer": ["3"], "q_s": "", "option_s": ["", "", "", "", ""],
    "context": ["胰岛素应冷藏。", "", "不得冷冻。", "", ""], "context_s": ["", "", "", "", ""],
}  # fmt: skip


def plan(names, data_dir="sample", **settings):
    plugins = make_plugin_set(nlpec, models=[make_scripted_model()])
    spec = make_spec({"model": "scripted", "tasks": names, "data_dir": str(data_dir), **settings})
    return resolve(spec, plugins)


def load_docs(name, data_dir):
    planned = plan(name, data_dir)
    with evaluation.quiet(None):
        [task] = tasks.load_tasks(planned, planned.cells[0]).tasks.values()
    return list(task.eval_docs)


@pytest.mark.parametrize("shots", [0, 2])
@pytest.mark.parametrize("name", NAMES)
def test_the_first_prompt(name, shots, assert_golden):
    assert_golden(plan(name, num_fewshot=shots), f"{name}-{shots}shot")


@pytest.mark.parametrize("name", NAMES)
def test_every_task_runs_on_the_sample(name, tmp_path):
    says = make_scripted_model(generate=lambda prompt: "答案是A")
    record = gptalt_eval.evaluate(
        "scripted", name, plugins=make_plugin_set(nlpec, models=[says]), data_dir="sample", num_fewshot=2,
        output_path=str(tmp_path),
    )  # fmt: skip
    scores = record.results[0]["results"][name]
    if name.endswith("_gen"):
        assert (scores["acc,none"], scores["no_answer,none"]) == (0.2, 0)  # one of five has A
    else:
        assert 0 <= scores["acc,none"] <= 1


def write(folder, language, rows, name="test.jsonl"):
    target = folder / "nlpec" / language / name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("file", ["test.jsonl", "test.json"])
def test_the_releases_format(language, file, tmp_path):
    write(tmp_path, language, [RELEASED, RELEASED | {"answer": ["5"], "context": []}], file)
    first, second = load_docs(f"nlpec_{language}", tmp_path)
    assert first["question"] == "须冷藏保存的是"
    assert [option["key"] for option in first["options"]] == list("ABCDE")
    assert (first["answer_idx"], second["answer_idx"]) == ("C", "E")
    assert (first["evidence"], second["evidence"]) == (["胰岛素应冷藏。", "不得冷冻。"], [])


@pytest.mark.parametrize(
    "change", [{"answer": ["6"]}, {"answer": ["1", "2"]}, {"answer": []}, {"option": ["a"] * 4}]
)
def test_what_is_not_in_the_format_is_named(change, tmp_path):
    write(tmp_path, "zh", [RELEASED, RELEASED | change])
    with pytest.raises(GptaltError, match=r"test.jsonl, row 2: not in the release's format"):
        plan("nlpec_zh", tmp_path)


def test_missing_files_say_where_they_are_published(tmp_path):
    with pytest.raises(GptaltError) as caught:
        plan("nlpec", tmp_path)
    text = str(caught.value)
    assert "nlpec/zh/test.jsonl" in text and "nlpec/en/test.jsonl" in text
    assert "aclanthology.org/2020.emnlp-main.111" in text


def test_explaincpe_is_complete(shared_data):
    [task] = plan("explaincpe", shared_data, num_fewshot=3).cells[0].tasks
    assert task.count_items(make_spec({})) == 190
    assert {name: split.rows for name, split in task.data.splits.items()} == {"train": 5967, "test": 190}
    assert all(split.verdict.known == "known" for split in task.data.splits.values())
    docs = load_docs("explaincpe", shared_data)
    assert all(doc["answer_idx"] in "ABCDE" for doc in docs)


def test_no_shot_of_explaincpe_is_a_test_row(shared_data):
    asked = {doc["question"] for doc in load_docs("explaincpe", shared_data)}
    [task] = plan("explaincpe", shared_data, num_fewshot=3).cells[0].tasks
    shown = {row["question"]: row for row in read_located(task.data, "train")}
    assert task.fewshot_split == "train"
    assert not asked & set(shown)
