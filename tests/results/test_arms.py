"""Arms of an experiment: tasks and groups, each with its own shots, and the rows of each."""

import pytest
from folders import write_cell, write_run

from gptalt_eval.contract.record import load_record
from gptalt_eval.results.arms import Arm, TaskRows, gather_rows, list_common, pair_rows, walk_arms
from gptalt_eval.results.compare import compare_runs
from gptalt_eval.results.figures.choice import draw_figures
from gptalt_eval.results.overview import make_overview
from gptalt_eval.results.report import render_report
from gptalt_eval.results.rows import Row, read_logged

TASKS = {"physics": [1, 0, 1], "law": [1, 1], "history": [0, 0, 0, 1]}
GROUPS = {"all": ["stem", "humanities"], "stem": ["physics"], "humanities": ["law", "history"]}
TURNED = {"physics": [1, 1, 1], "law": [0, 1], "history": [0, 1, 1, 1]}


def gather(records):
    return gather_rows(records, [read_logged(record) for record in records])


def test_a_group_stands_at_each_of_its_shot_counts(tmp_path):
    cells = [{"tasks": tasks, "groups": GROUPS, "shots": shots} for tasks, shots in ((TASKS, 0), (TURNED, 5))]
    record = write_run(tmp_path, "m", cells)
    arms = [Arm("m", "standard", 0), Arm("m", "standard", 5)]
    assert [each.arm for each in walk_arms([record]) if each.name == "all"] == arms
    overview = make_overview([record], [read_logged(record)])
    assert sorted(overview.arms, key=arms.index) == arms
    [[first], [second]] = [overview.entries[overview.arms.index(arm)] for arm in arms]
    assert (first.score.value, second.score.value) == pytest.approx((5 / 9, 7 / 9))
    assert [figure.title for figure in dict(draw_figures(overview, []))["Number of shots"]] == [
        "all by number of shots"
    ]


def test_a_group_whose_members_differ_is_an_arm_of_its_own(tmp_path):
    shots = {"physics": 5, "law": 0, "history": 0}
    records = [
        write_run(tmp_path / name, name, [{"tasks": tasks, "groups": GROUPS, "shots": shots}])
        for name, tasks in (("a", TASKS), ("b", TURNED))
    ]
    arms = list(gather(records)["all"].arms)
    assert arms == [Arm("a", "standard", None), Arm("b", "standard", None)]
    assert arms[0].name("num_fewshot") == arms[0].shots == "default shots"
    overview = make_overview(records, [read_logged(record) for record in records])
    assert sorted(overview.arms, key=arms.index) == arms and "Number of shots" not in dict(
        draw_figures(overview, [])
    )


def test_a_task_that_was_run_again_in_a_folder_of_lm_eval(tmp_path):
    """Two results of one arm: both are shown and compared, by the times of their files."""
    write_cell(tmp_path / "m", "2026-01-01T00-00-00", {"toy": [1, 0, 1], "once": [1, 1]})
    write_cell(tmp_path / "m", "2026-02-02T00-00-00", {"toy": [0, 0, 1]})
    write_cell(tmp_path / "m", "2026-03-03T00-00-00", {"other": [0, 0, 1]})
    record = load_record(tmp_path / "m")
    models = {(each.name, each.arm.model) for each in walk_arms([record])}
    assert models == {
        ("toy", "m 2026-01-01T00-00-00"), ("once", "m 2026-01-01T00-00-00"), ("toy", "m 2026-02-02T00-00-00"), ("other", "m"),
    }  # fmt: skip
    [found] = compare_runs([record])
    assert (found.first.model, found.second.model) == ("m 2026-01-01T00-00-00", "m 2026-02-02T00-00-00")
    assert (found.difference.first, found.difference.second) == pytest.approx((2 / 3, 1 / 3))


def test_the_rows_of_a_group_are_those_of_its_tasks(tmp_path):
    record = write_run(tmp_path, "m", [{"tasks": TASKS, "groups": GROUPS}])
    tasks = gather([record])
    [rows] = tasks["all"].arms.values()
    assert [(task, number, row.scores["acc"]) for (task, number), row in rows.items()] == [
        (task, number, value) for task, values in TASKS.items() for number, value in enumerate(values)
    ]
    flags = {name: (task.is_group, task.is_member) for name, task in tasks.items()}
    assert flags == {
        "all": (True, False), "stem": (True, True), "humanities": (True, True),
        "physics": (False, True), "law": (False, True), "history": (False, True),
    }  # fmt: skip


@pytest.mark.parametrize("equal", [True, False])
def test_how_a_group_weighs_is_told_by_its_score(tmp_path, equal):
    record = write_run(tmp_path, "m", [{"tasks": TASKS, "groups": GROUPS, "equal": equal}])
    assert gather([record])["all"].equal is equal


def test_a_group_lacks_the_rows_of_a_member(tmp_path):
    record = write_run(tmp_path, "m", [{"tasks": TASKS, "groups": GROUPS}])
    [file] = tmp_path.glob("samples_law_*")
    file.write_text(file.read_text()[:-9])
    assert set(gather([record])) == {"stem", "physics", "history"}


def test_common_rows_have_the_same_number_and_the_same_document():
    one = {("t", number): Row(f"d{number}", "p", {}) for number in (1, 2, 3)}
    other = {("t", 2): Row("d2", "q", {}), ("t", 3): Row("changed", "p", {}), ("t", 4): Row("d4", "p", {})}
    assert list_common(one, other) == list_common(other, one) == [("t", 2)]


def test_rows_without_a_score_in_both_are_left_out():
    arms = [Arm(name, "standard", 0) for name in "ab"]
    one = [
        Row("d", "p", {"acc": 1.0}),
        Row("d", "p", {}),
        Row("d", "p", {"acc": 0.0}),
        Row("d", "p", {"acc": 1.0}),
    ]
    other = [Row("d", "p", {"acc": 0.0}), Row("d", "p", {"acc": 1.0}), Row("d", "p", {"f1": 1.0})]
    rows = [{("t", number): row for number, row in enumerate(each)} for each in (one, other)]
    pairs = pair_rows(TaskRows("t", dict(zip(arms, rows, strict=True)), ["acc"]), "acc", *arms)
    assert (list(pairs.first), list(pairs.second), pairs.left_out) == ([1.0], [0.0], 3)
    assert pairs.differences == [-1.0] and pairs.other_prompts == 0


def test_rows_that_an_arm_lacks_are_said_in_the_overview(tmp_path, plugins):
    """One without the metric and one that a smaller limit left out."""
    one = write_run(tmp_path / "a", "a", [{"tasks": {"toy": [1, 0, None, 1, 1], "whole": [1, 0]}}])
    other = write_run(tmp_path / "b", "b", [{"tasks": {"toy": [1, 1, 1, 0], "whole": [0, 0]}}])
    overview = make_overview([one, other], [read_logged(one), read_logged(other)])
    assert overview.left_out == {"toy": 2}
    page = render_report([one, other], plugins)
    assert "toy: 2 items are not compared: some arm has no score." in page
    assert "toy: no number for acc in 1 of 5 rows." in page
