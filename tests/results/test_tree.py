"""The tree of tasks: groups before their members, tasks before their subjects, what arms were run with."""

import json
from dataclasses import replace

import pytest
from folders import write_run

from gptalt_eval.contract.record import load_record
from gptalt_eval.contract.run import RunCell, RunCut, RunData, RunModel, RunScoring
from gptalt_eval.results.arms import Arm, merge_arms, walk_arms
from gptalt_eval.results.facts import Facts
from gptalt_eval.results.notes import NOT_SAVED, list_marks, list_notes
from gptalt_eval.results.overview import make_overview
from gptalt_eval.results.report import render_report, show_count, show_seconds
from gptalt_eval.results.rows import read_logged
from gptalt_eval.results.tree import make_tree

TASKS = {"physics": [1, 0, 1], "law": [1, 1], "history": [0, 0, 0, 1], "alone": [1, 0]}
GROUPS = {"all": ["stem", "humanities"], "stem": ["physics"], "humanities": ["law", "history"]}


def view(*records):
    overview = make_overview(records, [read_logged(record) for record in records])
    return overview, make_tree(records, overview)


def draw(tree):
    return [(line.depth, line.heading.title, line.branches) for line in tree]


def test_members_follow_their_groups(tmp_path):
    record = write_run(tmp_path, "m", [{"tasks": TASKS, "groups": GROUPS}])
    overview, tree = view(record)
    assert draw(tree) == [
        (0, "all", 5), (1, "stem", 1), (2, "physics", 0), (1, "humanities", 2), (2, "law", 0), (2, "history", 0),
        (0, "alone", 0),
    ]  # fmt: skip
    assert [heading.title for heading in overview.headings] == ["all", "alone"]
    for line in tree:
        assert line.entries[0].score.value == record.results[0]["results"][line.heading.title]["acc,none"]


def test_runs_of_other_groups_share_one_tree(tmp_path):
    """A task that one run has in a group and another has alone is in the group, and a column of its own."""
    one = write_run(tmp_path / "a", "a", [{"tasks": TASKS, "groups": GROUPS}])
    other = write_run(tmp_path / "b", "b", [{"tasks": {"law": [0, 1], "new": [1]}}])
    overview, tree = view(one, other)
    assert [(depth, name) for depth, name, _ in draw(tree)] == [
        (0, "all"), (1, "stem"), (2, "physics"), (1, "humanities"), (2, "law"), (2, "history"), (0, "alone"), (0, "new"),
    ]  # fmt: skip
    assert [heading.title for heading in overview.headings] == ["all", "law", "alone", "new"]
    law = next(line for line in tree if line.heading.title == "law")
    assert [entry.score.value for entry in law.entries] == [1.0, 0.5]


def test_subjects_are_below_their_task(tmp_path):
    docs = {"alone": [{"subject": "b"}, {"subject": "a"}], "physics": [{"subject": "x"}] * 3}
    _, tree = view(write_run(tmp_path, "m", [{"tasks": TASKS, "groups": GROUPS, "docs": docs}]))
    alone = tree[-3:]
    assert [(line.heading.title, line.is_subject, line.entries[0].score.value) for line in alone] == [
        ("alone", False, 0.5), ("a", True, 0.0), ("b", True, 1.0),
    ]  # fmt: skip
    assert not any(line.is_subject for line in tree[:-3]), "one subject only is none"


def test_tasks_with_their_own_shots_are_one_row(tmp_path):
    shots = {"physics": 5, "law": 0, "history": 0, "alone": 3}
    record = write_run(tmp_path / "a", "a", [{"tasks": TASKS, "shots": shots}])
    assert {each.arm.num_fewshot for each in walk_arms([record])} == {0, 3, 5}
    assert {each.arm for each in merge_arms(walk_arms([record]))} == {Arm("a", "standard", None)}
    two = write_run(tmp_path / "b", "b", [{"tasks": TASKS, "shots": number} for number in (0, 1)])
    assert {each.arm.num_fewshot for each in merge_arms(walk_arms([two]))} == {0, 1}, "each task at both"
    overview, _ = view(record, two)
    assert [arm.shots for arm in overview.arms] == ["default shots", "0-shot", "1-shot"]
    assert all(None not in entries for entries in overview.entries)


def test_chance_is_that_of_the_options_of_each_row(tmp_path):
    record = write_run(
        tmp_path, "m", [{"tasks": {"mixed": [1, 0, 1]}, "config": {"output_type": "multiple_choice"}}]
    )
    [file] = tmp_path.glob("samples_mixed_*")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line, options in zip(lines, (2, 4, 4), strict=True):
        line["arguments"] = [["question", f" {option}"] for option in range(options)]
    file.write_text("\n".join(map(json.dumps, lines)))
    overview, _ = view(load_record(tmp_path))
    assert overview.headings[0].chance == pytest.approx((1 / 2 + 1 / 4 + 1 / 4) / 3)
    lines[0]["arguments"] = []
    file.write_text("\n".join(map(json.dumps, lines)))
    overview, _ = view(load_record(tmp_path))
    assert overview.headings[0].chance is None, "a row whose options are unknown"
    overview, _ = view(replace(record, results=({**record.results[0], "configs": {}},)))
    assert overview.headings[0].chance is None, "a task that may not be a choice"


def test_the_headline_metric_is_the_one_that_the_task_declares(tmp_path):
    from gptalt_eval.results.analyse import list_scores

    record = write_run(tmp_path, "m", [{"tasks": {"toy": [1, 0, 0, 0]}}])
    results = record.results[0]
    scores = {"acc,none": 0.25, "acc_stderr,none": 0.1, "acc_norm,none": 0.5, "f1,none": 0.1, "f1,other": 0.2}

    def list_metrics(metadata):
        changed = {**results, "results": {"toy": scores}, "configs": {"toy": {"metadata": metadata}}}
        return [(score.metric, score.filter) for score in list_scores(replace(record, results=(changed,)))]

    usual = [("acc", "none"), ("acc_norm", "none"), ("f1", "none"), ("f1", "other")]
    assert (
        list_metrics({"version": 1.0}) == list_metrics({"headline": "unknown"}) == list_metrics(None) == usual
    )
    assert list_metrics({"headline": "acc_norm"}) == [usual[1], usual[0], *usual[2:]]
    assert list_metrics({"headline": "f1"}) == [*usual[2:], *usual[:2]]


def test_facts_of_arms(tmp_path):
    record = write_run(tmp_path, "m", [{"tasks": TASKS}, {"tasks": TASKS, "shots": 1}])
    cells = tuple(
        RunCell("standard", shots, file.name) for shots, file in zip((0, 1), record.files, strict=True)
    )
    cut = {"law (standard, 0-shot)": RunCut(3, 8, 64), "law (standard, 1-shot)": RunCut(5, 8, 64)}
    run = replace(
        record.run, cells=cells, cut={**cut, "alone (standard, 1-shot)": RunCut(2, 8, 64)}, seconds=61.0,
        model=RunModel("m", parameters=7_000_000_000, dtype="torch.bfloat16", licence="MIT"),
        scoring=RunScoring("packed", "", 250, 1000, 3.0),
    )  # fmt: skip
    first, second = make_overview([replace(record, run=run)], [read_logged(record)]).facts
    assert first == Facts(7_000_000_000, "bfloat16", "", "MIT", 61.0, 250, 0.75, 3, 0)
    assert second.truncated == 7
    resumed = replace(record, run=replace(run, resumed=("2026-01-02",)))
    assert {(each.seconds, each.tokens) for each in view(resumed)[0].facts} == {(None, 0)}, (
        "only what came after"
    )


def test_marks_and_notes_are_said_once(tmp_path):
    records = []
    for name in "abc":
        record = write_run(tmp_path / name, name, [{"tasks": TASKS}])
        records.append(
            replace(record, run=replace(record.run, notes=("of all", *["of two"] * (name != "a"))))
        )
    records[2] = replace(records[2], run=replace(records[2].run, status="interrupted", missing=("x", "y")))
    overview, _ = view(*records)
    logged = [read_logged(record) for record in records]
    assert list_notes(records, list("abc"), logged, overview) == ["of all", "b, c: of two"]
    partial = "Not all items were scored: physics 3 of 100, law 2 of 100, history 4 of 100, alone 2 of 100."
    assert list_marks(records, list("abc"), overview) == [
        partial, "c: this run is interrupted: x, y not evaluated yet.",
    ]  # fmt: skip


def test_items_that_were_not_saved_are_said_to_be_missing(tmp_path):
    record = write_run(tmp_path, "m", [{"tasks": TASKS}])
    overview, _ = view(record)
    assert list_notes([record], ["m"], [read_logged(record)], overview) == []
    for file in tmp_path.glob("samples_*"):
        file.unlink()
    assert list_notes([record], ["m"], [read_logged(record)], overview) == [NOT_SAVED]


@pytest.mark.parametrize(("other", "tables"), [("MIT", 1), ("CC0", 2)])
def test_the_data_of_several_runs_are_listed_once(tmp_path, plugins, other, tables):
    records = []
    for name, licence in (("a", "MIT"), ("b", other)):
        record = write_run(tmp_path / name, name, [{"tasks": TASKS}])
        data = {task: RunData("folder", title=task, licence=licence) for task in TASKS}
        records.append(replace(record, run=replace(record.run, command="x", data=data)))
    page = render_report(records, plugins)
    assert page.count("<summary>Data and licences</summary>") == tables
    assert page.count("Data and licences: the same as of a.") == 2 - tables


def test_a_failed_task_is_named_once_for_each_reason(tmp_path, plugins):
    record = write_run(tmp_path, "m", [{"tasks": TASKS}])
    run = replace(record.run, failed={"x (0-shot)": "no rows", "x (1-shot)": "no rows", "y": "no file"})
    page = render_report([replace(record, run=run)], plugins)
    assert page.count("Not evaluated:") == 2 and "Not evaluated: x (0-shot), x (1-shot): no rows" in page


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.04, "0.0 s"), (99.94, "99.9 s"), (100, "1 min 40 s"), (3599.6, "1 h 0 min"), (90000, "25 h 0 min")]
)  # fmt: skip
def test_times(seconds, shown):
    assert show_seconds(seconds) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (999, "999"),
        (1000, "1 k"),
        (999_885_952, "1 B"),
        (999_499, "999 k"),
        (134_515_008, "135 M"),
        (6_738_415_616, "6.74 B"),
    ],
)
def test_counts(count, shown):
    assert show_count(count) == shown
