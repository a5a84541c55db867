"""Names taken apart: the rules about shots and splits in tables, groups in groups, and what is said of data that lacks."""

import json
from dataclasses import replace

import pytest

from gptalt_eval.contract.errors import GptaltError, RequestErrors
from gptalt_eval.contract.hookspecs import hookimpl
from gptalt_eval.contract.located import LocatedData
from gptalt_eval.contract.plan import TaskEntry
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.contract.types import Owned, Owner
from gptalt_eval.data.readers import REPLACE
from gptalt_eval.machine import hub
from gptalt_eval.planning import task_data
from gptalt_eval.planning.catalog import Catalog
from gptalt_eval.planning.examples import ExamplePool, find_pool
from gptalt_eval.planning.expand import TaskFinder, forbids_shots, read_group_shots
from gptalt_eval.planning.index import find_lm_eval_tasks
from gptalt_eval.planning.resolve import resolve
from gptalt_eval.planning.task_data import DataFinder, describe_shortage, effective_shots
from gptalt_eval.testing import make_plugin_set, make_scripted_model

TASK = "dataset_path: json\ntest_split: test\ndoc_to_text: a\ndoc_to_target: b\n"


def plan(plugins, **settings):
    return resolve(make_spec({"model": "scripted", "data_dir": "sample", **settings}), plugins)


def refuse(plugins, **settings):
    with pytest.raises(GptaltError) as caught:
        plan(plugins, **settings)
    assert not isinstance(caught.value, RequestErrors)
    return caught.value.what, caught.value.hint


# ---------------------------------------------------------------------- rules


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"metadata": {"fewshot": False}}, True),
        ({"metadata": {"fewshot": True}}, False),
        ({"metadata": {"fewshot": None}}, False),
        ({"metadata": {"fewshot": 0}}, False),
        ({"metadata": {}}, False),
        ({"metadata": [{"fewshot": False}]}, False),
        ({"output_type": "loglikelihood_rolling"}, True),
        ({"output_type": "loglikelihood"}, False),
        ({"metadata": {"fewshot": True}, "output_type": "loglikelihood_rolling"}, True),
        ({}, False),
    ],
)
def test_tasks_that_take_no_examples(config, expected):
    assert forbids_shots(config) is expected


@pytest.mark.parametrize(
    ("own", "asked", "expected"),
    [(None, None, 0), (3, None, 3), (0, None, 0), (3, 0, 0), (0, 5, 5), (3, 5, 5), (None, 1, 1)],
)
def test_the_number_of_examples(own, asked, expected):
    assert effective_shots({} if own is None else {"num_fewshot": own}, asked) == expected


@pytest.mark.parametrize(
    ("config", "split"),
    [
        ({"fewshot_config": {"split": "x"}, "fewshot_split": "f", "training_split": "t"}, "x"),
        ({"fewshot_config": {}, "fewshot_split": "f", "training_split": "t"}, "f"),
        ({"fewshot_config": "x", "training_split": "t", "validation_split": "v"}, "t"),
        ({"fewshot_split": None, "training_split": "", "validation_split": "v", "test_split": "e"}, "v"),
        ({"test_split": "e"}, "e"),
        ({}, None),
    ],
)
def test_the_split_of_the_examples(config, split):
    assert find_pool(config).split == split


@pytest.mark.parametrize(
    ("text", "kind", "shots"),
    [
        ("metadata: {num_fewshot: [0, 2]}", "group", (0, 2)),
        ("metadata: {num_fewshot: 2}", "group", ()),
        ("metadata: [1]", "group", ()),
        ("group: g", "group", ()),
        ("metadata: {num_fewshot: [0, 2]}", "task", ()),
    ],
)
def test_a_group_may_say_at_which_shots_it_is_run(tmp_path, text, kind, shots):
    (tmp_path / "g.yaml").write_text(text)
    assert read_group_shots(TaskEntry("g", kind, tmp_path / "g.yaml")) == shots
    assert read_group_shots(TaskEntry("g", kind, None)) == ()


# ---------------------------------------------------------------------- names


def test_a_yaml_is_planned_under_its_path_and_a_name_under_its_name(plugins, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("task: mine\n" + TASK)
    [cell] = plan(plugins, tasks=f"{file},piqa,race_middle").cells
    assert cell.names == (str(file), "piqa", "race_middle")
    assert [task.name for task in cell.tasks] == ["mine", "piqa", "race_middle"]
    assert cell.tasks[0].file == file
    [cell] = plan(plugins, tasks="mine", include_path=str(tmp_path)).cells
    assert cell.names == ("mine",)


def test_a_task_that_two_names_share_is_run_once(plugins):
    [cell] = plan(plugins, tasks="mmlu_stem_tasks,mmlu_anatomy,piqa,mmlu_anatomy,piqa").cells
    assert cell.names == ("mmlu_stem_tasks", "mmlu_anatomy", "piqa")
    assert [task.name for task in cell.tasks].count("mmlu_anatomy") == 1


OVERLAPS = {
    "mmlu,mmlu_anatomy": "mmlu_anatomy is part of 'mmlu', which is requested too.",
    "piqa,gptalt_zero_shot": "piqa is part of 'gptalt_zero_shot', which is requested too.",
    "mmlu_stem,mmlu": "mmlu_stem is part of 'mmlu', which is requested too.",
    "mmlu_stem_tasks,mmlu_stem": "mmlu_stem_tasks is part of 'mmlu_stem', which is requested too.",
    "gptalt_zero_shot,gptalt_demo": "gptalt_zero_shot is part of 'gptalt_demo', which is requested too.",
    "piqa,boolq,gptalt_zero_shot": "piqa, boolq are part of 'gptalt_zero_shot', which is requested too.",
    "gptalt_few_shot,gptalt_demo": None,  # at other numbers of examples
    "mmlu_stem,mmlu_humanities": None,
    "mmlu_stem_tasks,mmlu_anatomy": None,  # a tag is a list of single tasks
    "piqa,piqa": None,
}


@pytest.mark.parametrize(("tasks", "expected"), OVERLAPS.items())
def test_names_with_tasks_in_common_are_refused(plugins, tasks, expected):
    if expected is None:
        assert plan(plugins, tasks=tasks)
        return
    what, hint = refuse(plugins, tasks=tasks)
    assert what == expected and hint.startswith("Omit ")


MATCHED = {
    "zoo*": ["zoo", "zoology"],
    "zoo_*": ["zoo_b", "zoo_inner"],
    "zoo_[ab]*": ["zoo_a", "zoo_b"],
    "zoo_?,zoo": ["zoo"],
    "zoo,*zoo*": ["zoo", "zoology"],
    "zoo*,zoo_a": "zoo_a is part of 'zoo', which is requested too.",  # it is named
    "zoo_*,zoo_a": "zoo_a is part of 'zoo_inner', which is requested too.",
}


@pytest.mark.parametrize(("tasks", "expected"), MATCHED.items())
def test_what_a_pattern_matches_beside_its_group_is_not_evaluated_again(plugins, tmp_path, tasks, expected):
    for name in ("zoo_a", "zoo_b", "zoology"):
        (tmp_path / f"{name}.yaml").write_text(f"task: {name}\n{TASK}")
    for name, members in (("zoo_inner", "zoo_a"), ("zoo", "zoo_inner, zoo_b")):
        (tmp_path / f"{name}.yaml").write_text(f"group: {name}\ntask: [{members}]\n")
    if isinstance(expected, str):
        assert refuse(plugins, tasks=tasks, include_path=str(tmp_path))[0] == expected
        return
    [cell] = plan(plugins, tasks=tasks, include_path=str(tmp_path)).cells
    assert sorted(cell.names) == expected


def test_groups_with_some_tasks_in_common(plugins, tmp_path):
    for name, members in (("one", "piqa, boolq"), ("two", "boolq, sciq")):
        (tmp_path / f"{name}.yaml").write_text(f"group: {name}\ntask: [{members}]\n")
    what, hint = refuse(plugins, tasks="one,two", include_path=str(tmp_path))
    assert what == "'one' and 'two' have in common: boolq." and "two runs" in hint


def test_each_cell_has_its_style_and_shots(plugins):
    found = plan(plugins, tasks="piqa", num_fewshot="0,2", prompt_style="standard,system")
    assert [(cell.style.name, cell.num_fewshot) for cell in found.cells] == [
        ("standard", 0), ("standard", 2), ("system", 0), ("system", 2),
    ]  # fmt: skip


def test_lm_eval_may_read_the_planned_files_and_no_others(plugins, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "mine.yaml").write_text("task: mine\n" + TASK)
    (tmp_path / "g.yaml").write_text("group: g\ntask: [mine]\n")
    found = plan(plugins, tasks="g", include_path=str(tmp_path))
    files = {name: entry.file for name, entry in found.entries.items()}
    assert files == {"g": tmp_path / "g.yaml", "mine": tmp_path / "sub" / "mine.yaml"}


def test_groups_hand_on_what_they_set(plugins, tmp_path):
    """As in lm-eval: the outermost group's word counts before an inner one's, a member's own before both."""
    (tmp_path / "mine.yaml").write_text("task: mine\nnum_fewshot: 9\n" + TASK)
    (tmp_path / "g.yaml").write_text(
        "group: g\ngroup_alias: The group\naggregate_metric_list: [{metric: acc}]\nmetadata: {version: 3}\ntag: x\n"
        "num_fewshot: 1\ndescription: outer\ngen_prefix: outer\ntask:\n"
        "  - mine\n"
        "  - group: inner\n    group_alias: I\n    description: inner\n    task:\n      - task: mine\n        task_alias: M\n        repeats: 2\n        gen_prefix: own\n"
        "      - task: own\n        task_alias: O\n        dataset_path: json\n        test_split: test\n"
        "  - 3\n  - task: 7\n    dataset_path: json\n"
    )
    entries = TaskFinder(Catalog(plugins, [tmp_path], "nowhere"), make_spec({"tasks": "g"}))
    [owned] = entries._find("g")
    tasks = entries._expand(owned, {}, None)
    assert entries.faults == []
    kept = (
        "num_fewshot",
        "description",
        "gen_prefix",
        "repeats",
        "group_alias",
        "tag",
        "metadata",
        "task_alias",
    )
    assert [(task.name, {key: task.config[key] for key in kept if key in task.config}) for task in tasks] == [
        ("mine", {"num_fewshot": 1, "description": "outer", "gen_prefix": "outer"}),
        ("mine", {"num_fewshot": 1, "description": "outer", "gen_prefix": "own", "repeats": 2}),
        ("own", {"num_fewshot": 1, "description": "outer", "gen_prefix": "outer", "task_alias": "O"}),
        ("7", {"num_fewshot": 1, "description": "outer", "gen_prefix": "outer"}),
    ]
    assert [task.file for task in tasks] == [tmp_path / "mine.yaml", tmp_path / "mine.yaml", None, None]


def test_a_group_names_a_task_that_only_a_plugin_has(tmp_path):
    """Not one of lm-eval's and not in the group's own folder."""
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "t.yaml").write_text("task: only_theirs\n" + TASK)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "g.yaml").write_text(
        "group: g\ntask:\n  - task: only_theirs\n    num_fewshot: 0\n  - piqa\n"
    )

    class Plugin:
        @hookimpl
        def register_task_dirs(self):
            return [tmp_path / "theirs"]

    plugins = make_plugin_set(Plugin(), models=[make_scripted_model()])
    [cell] = plan(plugins, tasks="g", include_path=str(tmp_path / "mine")).cells
    assert [task.name for task in cell.tasks] == ["only_theirs", "piqa"]
    assert cell.tasks[0].file == tmp_path / "theirs" / "t.yaml"


# ---------------------------------------------------------------------- what cannot be evaluated


def test_what_can_be_evaluated_at_some_shots_only_is_noted(plugins):
    found = plan(plugins, tasks="piqa,race", num_fewshot="0,4,5,6,7", prompt_style="standard,system")
    assert [(cell.style.name, cell.num_fewshot, cell.names) for cell in found.cells] == [
        (style, shots, names)
        for style in ("standard", "system")
        for shots, names in ((0, ("piqa", "race")), (4, ("piqa", "race")), (5, ("piqa", "race")))
    ]
    reasons = {
        "piqa": {
            shots: f"piqa: {shots} examples requested, but 'train' has only 6, of which lm-eval can show 5."
            "\nUse --num_fewshot 5 or less."
            for shots in (6, 7)
        },
        "race": {
            shots: f"race: {shots} examples requested, but 'test' has only 5.\nUse --num_fewshot 5 or less."
            for shots in (6, 7)
        },
    }
    assert found.lacking == {
        f"{name} ({style}, {shots}-shot)": reason
        for name, by_shots in reasons.items()
        for shots, reason in by_shots.items()
        for style in ("standard", "system")
    }


def test_a_name_that_is_unknown_does_not_touch_the_others(plugins):
    spec = make_spec({"model": "scripted", "tasks": "hellaswga,piqa", "data_dir": "sample"})
    finder = TaskFinder(Catalog(plugins, [], "sample"), spec)
    [cell] = finder.plan_cells([(None, spec)])
    assert cell.names == ("piqa",) and len(finder.faults) == 1


def test_a_member_whose_yaml_is_broken_is_a_fault(plugins, tmp_path):
    (tmp_path / "t.yaml").write_text("task: [")
    finder = TaskFinder(Catalog(plugins, [], "sample"), make_spec({}))
    entry = Owned(TaskEntry("t", "task", tmp_path / "t.yaml"), Owner("p"))
    assert finder._expand(entry, {}, None) == []
    [fault] = finder.faults
    assert str(tmp_path / "t.yaml") in fault.what


def test_lm_evals_own_functions_are_trusted_in_a_yaml_of_ones_own(plugins, tmp_path):
    theirs = find_lm_eval_tasks() / "hellaswag" / "hellaswag.yaml"
    file = tmp_path / "mine.yaml"
    file.write_text(f"include: {theirs}\ntask: mine\n")
    [task] = plan(plugins, tasks=str(file)).cells[0].tasks
    assert task.config["process_docs"].name == "utils.process_docs"
    (tmp_path / "code.py").write_text("")
    file.write_text(f"include: {theirs}\ntask: mine\ndoc_to_text: !function code.f\n")
    what, _ = refuse(plugins, tasks=str(file))
    assert what.splitlines()[1:] == [f"  runs Python: code.f ({tmp_path / 'code.py'})"]


def test_a_task_that_takes_no_examples_is_not_given_any(plugins, tmp_path):
    (tmp_path / "t.yaml").write_text("task: t\nmetadata: {fewshot: false}\n" + TASK)
    assert refuse(plugins, tasks="t", include_path=str(tmp_path), num_fewshot=2) == (
        "t takes no few-shot examples.",
        "Omit --num_fewshot, or set it to 0.",
    )
    assert plan(plugins, tasks="t", include_path=str(tmp_path), num_fewshot=0)
    assert plan(plugins, tasks="t", include_path=str(tmp_path))


def test_python_code_that_is_not_trusted_is_named(plugins, tmp_path):
    (tmp_path / "code.py").write_text("")
    (tmp_path / "t.yaml").write_text(
        "task: t\nprocess_docs: !function code.f\nx: !function code.f\ny: !function code.g\n" + TASK
    )
    file = tmp_path / "t.yaml"
    assert refuse(plugins, tasks=str(file)) == (
        f"t ({file}) does more than ask questions:\n"
        f"  runs Python: code.f ({tmp_path / 'code.py'})\n"
        f"  runs Python: code.g ({tmp_path / 'code.py'})",
        f"Look at these files. If you trust them, add: --trust_task_code {file}",
    )


def test_there_is_no_sample_of_it(plugins):
    assert refuse(plugins, tasks="copa") == (
        "There is no embedded sample of aps/super_glue.",
        "Give --data_dir a folder, or omit it to use the hub.",
    )


@pytest.mark.parametrize(
    ("cached", "reachable", "asked"), [(True, False, 0), (False, True, 1), (False, False, 1)]
)
def test_the_hub_is_asked_once_and_only_for_what_is_not_here(plugins, monkeypatch, cached, reachable, asked):
    calls = []
    monkeypatch.setattr(task_data, "is_in_hub_cache", lambda hub, kind: cached)
    monkeypatch.setattr(task_data, "can_reach_hub", lambda: calls.append(1) or reachable)
    for name in (*hub.OFFLINE, "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    settings = {"tasks": "piqa,boolq", "data_dir": None}
    if cached or reachable:
        assert [task.data.origin for task in plan(plugins, **settings).cells[0].tasks] == ["hub", "hub"]
    else:
        with pytest.raises(RequestErrors) as caught:
            plan(plugins, **settings)
        first, second = caught.value.errors
        assert (
            first.what
            == "PIQA: its data (baber/piqa) is not on this computer, and the hub cannot be reached."
        )
        assert second.what.startswith("BoolQ: its data")
        assert first.hint == "Give --data_dir FOLDER, set HF_ENDPOINT to a mirror, or try --data_dir sample."
    assert len(calls) == asked


def test_a_dataset_that_nobody_registered_is_named_by_its_hub_id(plugins, monkeypatch):
    monkeypatch.setattr(task_data, "is_in_hub_cache", lambda hub, kind: False)
    monkeypatch.setattr(task_data, "can_reach_hub", lambda: False)
    what, _ = refuse(plugins, tasks="copa", data_dir=None)
    assert what.startswith("aps/super_glue: its data (aps/super_glue) is not on this computer")


@pytest.mark.parametrize(
    ("config", "located"),
    [
        ({"dataset_path": "a/b", "custom_dataset": 1}, LocatedData("a/b", None, "code")),
        ({"dataset_path": "a/b", "class": 1, "dataset_name": "n"}, LocatedData("a/b", "n", "code")),
        ({}, LocatedData("", None, "code")),
        ({"dataset_path": "json"}, LocatedData("json", None, "files")),
        ({"dataset_path": "."}, LocatedData(".", None, "files")),
    ],
)
def test_data_that_a_task_makes_or_names_itself(plugins, config, located):
    assert DataFinder(Catalog(plugins, [], "sample"), make_spec({})).locate(config, "test", None) == located
    nowhere = DataFinder(Catalog(plugins, [], "nowhere"), make_spec({}))
    assert nowhere.locate({"dataset_path": "baber/piqa", "dataset_name": "n"}, "test", None) == LocatedData(
        "baber/piqa", "n", "code"
    )


def test_rows_are_read_once_for_tasks_that_share_them(plugins, tmp_path, monkeypatch):
    calls = []
    locate = task_data.locate_splits
    monkeypatch.setattr(task_data, "locate_splits", lambda *given: calls.append(given[1:3]) or locate(*given))
    (tmp_path / "a.yaml").write_text("include: b.yaml\ntask: a\n")
    (tmp_path / "b.yaml").write_text(
        "task: b\ndataset_path: baber/piqa\nvalidation_split: validation\ntraining_split: train\ndoc_to_text: goal\ndoc_to_target: label\n"
    )
    assert plan(plugins, tasks="a,b", include_path=str(tmp_path))
    assert calls == [(None, ("validation", "train"))]


def write_piqa(folder, train=2, validation=3):
    (folder / "piqa").mkdir(exist_ok=True)
    for name, rows in (("train", train), ("valid", validation)):
        row = json.dumps({"goal": "g", "sol1": "a", "sol2": "b"})
        (folder / "piqa" / f"{name}.jsonl").write_text("".join(row + "\n" for _ in range(rows)))
        (folder / "piqa" / f"{name}-labels.lst").write_text("0\n" * rows)


def test_rows_that_lack(plugins, tmp_path):
    write_piqa(tmp_path)
    settings = {"tasks": "piqa", "data_dir": str(tmp_path), "allow_partial_data": True}
    assert plan(plugins, **settings, num_fewshot=1)
    assert refuse(plugins, **settings, num_fewshot=2) == (
        "piqa: 2 examples requested, but 'train' has only 2, of which lm-eval can show 1.",
        "Use --num_fewshot 1 or less.",
    )
    write_piqa(tmp_path, train=0)
    what, hint = refuse(plugins, **settings, num_fewshot=1)
    assert what == f"PIQA: 'train' in {tmp_path} is empty (piqa/train.jsonl)."
    assert hint == REPLACE
    assert plan(plugins, **settings, num_fewshot=0)
    (tmp_path / "piqa" / "train.jsonl").unlink()
    assert refuse(plugins, **settings, num_fewshot=1) == (
        f"PIQA: no 'train' in {tmp_path} (looked for piqa/train.jsonl).",
        "It is published at yonatanbisk.com/piqa; or try --data_dir sample.",
    )
    (tmp_path / "piqa" / "valid.jsonl").unlink()
    what, _ = refuse(plugins, **settings, num_fewshot=0)
    assert what == f"PIQA: no 'validation' in {tmp_path} (looked for piqa/valid.jsonl)."
    (tmp_path / "t.yaml").write_text(
        "task: t\ndataset_path: baber/piqa\ntest_split: gone\ndoc_to_text: goal\n"
    )
    what, _ = refuse(plugins, **settings | {"tasks": "t"}, include_path=str(tmp_path))
    assert what == f"PIQA: no 'gone' in {tmp_path} (looked for no such split)."
    what, _ = refuse(plugins, **settings | {"tasks": "t", "data_dir": "sample"}, include_path=str(tmp_path))
    assert what == "PIQA: no 'gone' in the embedded sample (looked for no such split)."


def test_faulty_rows_are_refused_or_marked(plugins, tmp_path):
    write_piqa(tmp_path)
    settings = {"tasks": "piqa", "data_dir": str(tmp_path)}
    what, hint = refuse(plugins, **settings, num_fewshot=0)
    assert what == "PIQA validation: 3 rows, 1,838 expected (piqa/valid.jsonl)."
    assert (
        hint
        == "Download the file again (yonatanbisk.com/piqa), or use it as it is with --allow-partial-data."
    )
    [task] = plan(plugins, **settings, num_fewshot=0, allow_partial_data=True).cells[0].tasks
    assert task.partial == what
    [task] = plan(plugins, **settings, num_fewshot=1, allow_partial_data=True).cells[0].tasks
    assert task.partial == f"{what} PIQA train: 2 rows, 16,113 expected (piqa/train.jsonl)."


def test_what_lacks_examples_is_named():
    pool = ExamplePool("train", None, True, "default", False, False)
    assert describe_shortage("t", 5, pool, 3)[0] == "t: 5 examples requested, but 'train' has only 3."
    written = replace(pool, split=None, written=3)
    what, hint = describe_shortage("t", 5, written, 3)
    assert what == "t: 5 examples requested, but its YAML writes out only 3."
    assert hint == "Use --num_fewshot 3 or less."
