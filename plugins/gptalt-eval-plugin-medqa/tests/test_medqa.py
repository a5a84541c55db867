"""gptalt-eval-plugin-medqa: every edition from its release files and from its sample, prompts, replies."""

import json

import gptalt_eval_plugin_medqa as medqa
import pytest
from gptalt_eval_plugin_medqa.tasks import replies

import gptalt_eval
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.data.readers import read_jsonl
from gptalt_eval.planning.resolve import resolve
from gptalt_eval.running.lmeval import evaluation, tasks
from gptalt_eval.testing import make_plugin_set, make_scripted_model

EDITIONS = ("medqa_en_4", "medqa_en_5", "medqa_zh_hans_4", "medqa_zh_hans_5", "medqa_zh_hant_4")
ROWS = dict(zip(EDITIONS, (1273, 1273, 3426, 3426, 1413), strict=True)) | {
    "medmcqa": 4183, "pubmedqa": 500, "sciq": 1000
}  # fmt: skip
CHOICES = [*ROWS]
REPLIES = [f"{name}_gen" for name in ROWS]


def plan(names, data_dir="sample", **settings):
    plugins = make_plugin_set(medqa, models=[make_scripted_model()])
    spec = make_spec({"model": "scripted", "tasks": names, "data_dir": str(data_dir), **settings})
    return resolve(spec, plugins)


def load(name, data_dir="sample", **settings):
    planned = plan(name, data_dir, **settings)
    with evaluation.quiet(None):
        [task] = tasks.load_tasks(planned, planned.cells[0]).tasks.values()
    return task


@pytest.mark.parametrize("name", [*CHOICES, *REPLIES])
def test_there_are_as_many_rows_as_in_the_release(name, shared_data):
    [cell] = plan(name, shared_data).cells
    assert [task.count_items(plan(name, shared_data).spec) for task in cell.tasks] == [
        ROWS[name.removesuffix("_gen")]
    ]
    assert not cell.tasks[0].partial


def test_the_groups(shared_data):
    assert [task.name for task in plan("medqa", shared_data).cells[0].tasks] == list(EDITIONS)
    assert [task.name for task in plan("medqa_zh", shared_data).cells[0].tasks] == list(EDITIONS[2:])
    assert {task.name for task in plan("gptalt_science", shared_data).cells[0].tasks} == set(ROWS)
    assert {task.name for task in plan("gptalt_science_gen", shared_data).cells[0].tasks} == set(REPLIES)


@pytest.mark.parametrize(
    ("four", "five"), [("medqa_en_4", "medqa_en_5"), ("medqa_zh_hans_4", "medqa_zh_hans_5")]
)
def test_editions_with_four_and_five_options_agree_on_the_answers(four, five, shared_data):
    small, large = (
        {row["question"]: row for row in load(name, shared_data).test_docs()} for name in (four, five)
    )
    # a question that was asked twice has two rows; in a few the release has edited the wording
    common = [question for question in small if question in large]
    assert len(common) > 0.97 * len(small)
    assert all(small[question]["answer"] == large[question]["answer"] for question in common)
    for row in [*small.values(), *large.values()]:
        assert {option["key"]: option["value"] for option in row["options"]}[row["answer_idx"]] == row[
            "answer"
        ]


def list_shots(task, count=3):
    return [task.fewshot_context(doc, count) for doc in list(task.eval_docs)[:40]]


@pytest.mark.parametrize("name", [*EDITIONS, "pubmedqa", "sciq"])
def test_no_shot_is_a_test_row(name, shared_data):
    task = load(name, shared_data, num_fewshot=3)
    tested = {json.dumps(doc, sort_keys=True) for doc in task.eval_docs}
    shown = {json.dumps(doc, sort_keys=True) for doc in task.sampler.fewshot_docs()}
    assert len(shown) >= 500
    assert not tested & shown
    assert plan(name, shared_data, num_fewshot=3).cells[0].tasks[0].fewshot_split == "train"


def test_shots_of_the_development_set_are_a_note(shared_data):
    notes = " ".join(plan("medqa_en_4", shared_data, num_fewshot=3).notes)
    assert "the development set in place of the training set" in notes
    assert plan("medqa_en_4", shared_data).notes == ()


def test_shots_of_medmcqa_need_its_training_set(shared_data):
    with pytest.raises(GptaltError, match=r"MedMCQA: no 'train' in .* \(looked for medmcqa/train.json\)"):
        plan("medmcqa", shared_data, num_fewshot=3)


def test_medmcqa_counts_from_zero(shared_data):
    first = next(iter(load("medmcqa", shared_data).eval_docs))
    assert first["question"].startswith("Which of the following is not true for myelinated nerve fibers")
    assert first["cop"] == 0  # 1 in the release


def test_pubmedqa_needs_both_files(shared_data, tmp_path):
    folder = tmp_path / "pubmedqa"
    folder.mkdir()
    (folder / "test_ground_truth.json").write_bytes(
        (shared_data / "pubmedqa/test_ground_truth.json").read_bytes()
    )
    with pytest.raises(GptaltError, match=r"ori_pqal.json is missing"):
        plan("pubmedqa", tmp_path)


def test_pubmedqas_answers_are_those_of_its_list(shared_data):
    listed = json.loads((shared_data / "pubmedqa/test_ground_truth.json").read_text())
    assert [doc["final_decision"] for doc in load("pubmedqa", shared_data).eval_docs] == list(listed.values())


@pytest.mark.parametrize("shots", [0, 2])
@pytest.mark.parametrize("name", sorted({*CHOICES, *REPLIES} - {"sciq"}))
def test_the_first_prompt(name, shots, assert_golden):
    assert_golden(plan(name, num_fewshot=shots), f"{name}-{shots}shot")


@pytest.mark.parametrize("name", [*CHOICES, *REPLIES])
def test_every_task_runs_on_the_sample(name, tmp_path):
    says = make_scripted_model(generate=lambda prompt: "yes" if "Abstract" in prompt else "The answer is A.")
    record = gptalt_eval.evaluate(
        "scripted", name, plugins=make_plugin_set(medqa, models=[says]), data_dir="sample", num_fewshot=2,
        output_path=str(tmp_path), log_samples=True,
    )  # fmt: skip
    scores = record.results[0]["results"][name]
    rows = list(record.read_samples(0, name))
    gold = [row["target"] for row in rows]
    if name.endswith("_gen"):
        assert scores["no_answer,none"] == 0
        assert scores["acc,none"] == sum(answer in ("A", "yes") for answer in gold) / len(gold)
        assert 0 < scores["acc,none"] < 1
    else:
        assert 0 <= scores["acc,none"] <= 1


def test_a_reply_without_an_answer_is_counted_apart(tmp_path):
    says = make_scripted_model(generate=lambda prompt: "我不知道。")
    record = gptalt_eval.evaluate(
        "scripted", "medqa_zh_hans_4_gen", plugins=make_plugin_set(medqa, models=[says]), data_dir="sample",
        output_path=str(tmp_path),
    )  # fmt: skip
    scores = record.results[0]["results"]["medqa_zh_hans_4_gen"]
    assert (scores["acc,none"], scores["no_answer,none"]) == (0, 1)


def test_replies_are_scored():
    doc = {"options": [{"key": "A", "value": "麻疹"}, {"key": "B", "value": "水痘"}], "answer_idx": "B"}
    assert replies.score_medqa(doc, ["答案是B"]) == {"acc": 1, "no_answer": 0}
    assert replies.score_medqa(doc, ["麻疹"]) == {"acc": 0, "no_answer": 0}
    assert replies.score_medqa(doc, ["A或B"]) == {"acc": 0, "no_answer": 1}
    doc = {"opa": "Femur", "opb": "Tibia", "opc": "Fibula", "opd": "Ulna", "cop": 2}
    assert replies.score_medmcqa(doc, ["(C) Fibula"]) == {"acc": 1, "no_answer": 0}
    assert replies.score_pubmedqa({"final_decision": "maybe"}, ["Maybe."]) == {"acc": 1, "no_answer": 0}
    doc = {"correct_answer": "iron", "distractor1": "Zinc", "distractor2": "copper", "distractor3": "tin"}
    assert replies.sort_options(doc) == ["copper", "iron", "tin", "Zinc"]
    assert replies.answer_sciq(doc) == "B"
    assert replies.score_sciq(doc, ["B"]) == {"acc": 1, "no_answer": 0}


SAMPLES = sorted(folder.name for folder in medqa.SAMPLES.iterdir())


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_are_sound(name):
    files = sorted((medqa.SAMPLES / name).glob("*.jsonl"))
    rows = [row for file in files for row in read_jsonl(file)]
    assert len({json.dumps(row) for row in rows}) == len(rows) == 10
    for row in rows:
        if "options" in row:
            options = {option["key"]: option["value"] for option in row["options"]}
            assert options[row["answer_idx"]] == row["answer"]
            assert len(set(options.values())) == len(options) == int(name[-1])
    if "options" in rows[0]:
        assert len({row["answer_idx"] for row in rows}) >= 3


def test_checksums_are_those_of_the_release(shared_data, capsys):
    planned = plan("medqa,medmcqa,pubmedqa", shared_data)
    for task in planned.cells[0].tasks:
        assert all(split.verdict.known == "known" for split in task.data.splits.values())
