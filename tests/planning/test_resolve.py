import json

import pytest

from gptalt_eval.contract.errors import GptaltError, RequestErrors
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.planning.examples import find_pool
from gptalt_eval.planning.resolve import resolve
from gptalt_eval.planning.task_data import effective_shots


def plan(plugins, **settings):
    spec = make_spec({"model": "scripted", "data_dir": "sample", **settings})
    return resolve(spec, plugins)


def refuse(plugins, **settings):
    with pytest.raises(GptaltError) as caught:
        plan(plugins, **settings)
    return str(caught.value)


def test_a_group_comes_down_to_its_tasks(plugins):
    found = plan(plugins, tasks="gptalt_zero_shot")
    [cell] = found.cells
    assert cell.names == ("gptalt_zero_shot",)
    assert [task.name for task in cell.tasks] == [
        "boolq", "hellaswag", "winogrande", "piqa", "arc_easy", "arc_challenge", "openbookqa", "race", "drop", "gsm8k",
    ]  # fmt: skip
    assert all(task.data.is_sample and task.count_items(found.spec) for task in cell.tasks)
    assert "embedded sample" in found.notes[0]


def test_the_few_shot_group_is_run_at_its_shot_counts(plugins):
    found = plan(plugins, tasks="gptalt_few_shot")
    assert [cell.num_fewshot for cell in found.cells] == [0, 1, 3, 5]
    assert all(len(cell.tasks) == 58 for cell in found.cells)
    assert [cell.num_fewshot for cell in plan(plugins, tasks="gptalt_few_shot", num_fewshot=2).cells] == [2]


def test_tasks_of_different_shots_are_cells_of_their_own(plugins):
    found = plan(plugins, tasks="piqa,gptalt_few_shot")
    assert [(cell.num_fewshot, cell.names) for cell in found.cells][:2] == [
        (None, ("piqa",)),
        (0, ("gptalt_few_shot",)),
    ]


@pytest.mark.parametrize(("limit", "expected"), [(None, 20), (5, 5), (0.1, 2), (0.01, 1), (100, 20)])
def test_items_are_counted_as_lm_eval_limits_them(plugins, limit, expected):
    found = plan(plugins, tasks="piqa", limit=limit)
    assert found.cells[0].tasks[0].count_items(found.spec) == expected


def test_named_rows_are_counted(plugins):
    found = plan(plugins, tasks="piqa", samples={"piqa": [1, 2, 3]})
    assert found.cells[0].tasks[0].count_items(found.spec) == 3


def test_everything_wrong_is_said_at_once(plugins):
    text = refuse(
        plugins,
        model="smolm2",
        tasks="hellaswga,medqa_zh,piqa",
        data_dir="/nowhere",
        num_fewshot=-1,
        output_path="/dev/null/x",
    )
    for expected in (
        "--num_fewshot -1",
        "smollm2",
        "hellaswag",
        "install medqa",
        "/nowhere",
        "--output_path",
    ):
        assert expected in text
    assert text.startswith("6 problems found")


def test_the_same_complaint_is_made_once(plugins, tmp_path):
    text = refuse(plugins, tasks="mmlu,piqa", data_dir=str(tmp_path))
    assert text.count("PIQA: no 'validation'") == 1


def test_missing_data_says_what_was_looked_for_and_where_to_get_it(plugins, tmp_path):
    text = refuse(plugins, tasks="hellaswag", data_dir=str(tmp_path))
    assert "HellaSwag: no 'validation'" in text
    assert "hellaswag/hellaswag_val.jsonl" in text
    assert "github.com/rowanz/hellaswag" in text


def test_no_data_and_no_hub(plugins, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", "/nowhere")
    text = refuse(plugins, tasks="piqa,boolq", data_dir=None)
    assert "PIQA: its data (baber/piqa) is not on this computer, and HF_HUB_OFFLINE is set" in text
    assert "unset HF_HUB_OFFLINE" in text and "--data_dir" in text


def test_no_sample_of_other_tasks(plugins):
    assert "no embedded sample" in refuse(plugins, tasks="copa")


def test_an_empty_file_is_said_to_be_empty(plugins, tmp_path):
    for split in ("dev", "test"):
        (tmp_path / "mmlu" / split).mkdir(parents=True)
        (tmp_path / "mmlu" / split / f"anatomy_{split}.csv").write_text("")
    assert "MMLU: 'test'" in refuse(plugins, tasks="mmlu_anatomy", data_dir=str(tmp_path))


def test_more_shots_than_there_are_examples(plugins):
    assert "piqa: 6 examples requested, but 'train' has only 6, of which lm-eval can show 5" in refuse(
        plugins, tasks="piqa", num_fewshot=6
    )


def test_shots_from_a_split_that_is_not_there(plugins, tmp_path):
    folder = tmp_path / "piqa"
    folder.mkdir()
    (folder / "valid.jsonl").write_text(json.dumps({"goal": "g", "sol1": "a", "sol2": "b"}) + "\n")
    (folder / "valid-labels.lst").write_text("0\n")
    settings = {"tasks": "piqa", "data_dir": str(tmp_path), "allow_partial_data": True}
    assert plan(plugins, **settings)
    assert "PIQA: no 'train'" in refuse(plugins, **settings, num_fewshot=1)


def test_the_requested_shots_win():
    assert effective_shots({"num_fewshot": 0}, 5) == 5, "what was asked for wins, unlike in lm-eval"
    assert effective_shots({"num_fewshot": 0}, None) == 0
    assert effective_shots({"num_fewshot": 3}, None) == 3
    assert effective_shots({}, 4) == 4


def test_a_scored_row_among_its_own_examples_is_noted(plugins):
    """lm-eval draws RACE's examples from its test split, and does not leave out the row itself."""
    [_, note] = plan(plugins, tasks="race,piqa", num_fewshot="0,5").notes
    assert note.startswith("race: the examples are drawn from the scored rows")
    assert len(plan(plugins, tasks="race,piqa", num_fewshot=0).notes) == 1
    assert len(plan(plugins, tasks="piqa", num_fewshot=5).notes) == 1
    assert "race: 6 examples requested, but 'test' has only 5" in refuse(plugins, tasks="race", num_fewshot=6)


def test_the_split_of_the_examples_is_lm_evals():
    assert find_pool({"training_split": "train", "validation_split": "dev"}).split == "train"
    assert find_pool({"fewshot_split": "dev", "training_split": "train"}).split == "dev"
    assert find_pool({"fewshot_config": {"split": "x"}, "fewshot_split": "dev"}).split == "x"
    assert find_pool({"test_split": "test"}).split == "test"
    assert find_pool({}).split is None


def test_an_include_path_that_is_not_there(plugins):
    assert "--include_path" in refuse(plugins, tasks="piqa", include_path="/nowhere")


def test_a_missing_member_of_a_group_is_named(plugins, tmp_path):
    (tmp_path / "g.yaml").write_text("group: g\ntask:\n  - piqa\n  - hellaswga\n")
    assert "hellaswag" in refuse(plugins, tasks="g", include_path=str(tmp_path))


def test_groups_with_overrides_and_tasks_in_place(plugins, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"q": "a"}\n')
    (tmp_path / "g.yaml").write_text(
        "group: g\nnum_fewshot: 2\ntask:\n  - piqa\n  - task: boolq\n    num_fewshot: 1\n"
        "  - group: inner\n    task: [sciq]\n  - task: in_place\n    dataset_path: json\n    test_split: train\n"
    )
    tasks = {task.name: task for task in plan(plugins, tasks="g", include_path=str(tmp_path)).cells[0].tasks}
    assert {name: task.config.get("num_fewshot") for name, task in tasks.items()} == {
        "piqa": 2,
        "boolq": 1,
        "sciq": 2,
        "in_place": 2,
    }
    assert tasks["in_place"].data.origin == "files"


def test_an_output_path_that_cannot_be_written(plugins, tmp_path):
    (tmp_path / "file").write_text("")
    assert "--output_path" in refuse(plugins, tasks="piqa", output_path=str(tmp_path / "file" / "x"))


def test_one_fault_is_raised_as_itself(plugins):
    with pytest.raises(GptaltError) as caught:
        plan(plugins, tasks="hellaswga")
    assert not isinstance(caught.value, RequestErrors)


def test_python_code_of_a_yaml_from_outside_is_asked_about(plugins, tmp_path):
    (tmp_path / "code.py").write_text("raise SystemExit('ran')\n")
    (tmp_path / "mine.yaml").write_text(
        "task: mine\ndataset_path: json\ntest_split: train\nfewshot_config:\n  doc_to_text: !function code.text\n"
    )
    text = refuse(plugins, tasks=str(tmp_path / "mine.yaml"))
    assert "code.text" in text and str(tmp_path / "mine.yaml") in text and "--trust_task_code" in text
    assert "code.text" in refuse(plugins, tasks="mine", include_path=str(tmp_path))
    assert "code.text" in refuse(
        plugins, tasks="mine", include_path=str(tmp_path), confirm_run_unsafe_code=True
    )
    assert plan(plugins, tasks=str(tmp_path / "mine.yaml"), trust_task_code=str(tmp_path / "mine.yaml"))
    assert plan(plugins, tasks="race_middle,hellaswag"), (
        "lm-eval's own and an installed plugin's are not asked about"
    )


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ({"pqia": [1]}, "the task 'pqia' is not run.\nDid you mean 'piqa'"),
        ({"piqa": [0], "gptalt_zero_shot": [1]}, "the task 'gptalt_zero_shot' is not run"),
        (
            {"piqa": [0, 20]},
            "piqa has no row 20.\nIts 20 rows are 0 to 19.",
        ),
    ],
)
def test_rows_that_are_not_there_are_refused(plugins, samples, expected):
    assert expected in refuse(plugins, tasks="piqa", samples=samples)


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbftask: mine\ndataset_path: json\ntest_split: train\n",
        b"{task: mine, dataset_path: json, test_split: train}",
        "task: mine\ndataset_path: json\ntest_split: train\n".encode("utf-16"),
        b"  task: mine\n  dataset_path: json\n  test_split: train\n",
    ],
    ids=["byte order mark", "braces", "utf-16", "indented"],
)
def test_a_task_in_any_form_of_yaml_runs_by_name_and_by_path(plugins, tmp_path, content):
    (tmp_path / "mine.yaml").write_bytes(content)
    by_name = plan(plugins, tasks="mine", include_path=str(tmp_path))
    by_path = plan(plugins, tasks=str(tmp_path / "mine.yaml"))
    for found in (by_name, by_path):
        assert [task.config["test_split"] for task in found.cells[0].tasks] == ["train"]
