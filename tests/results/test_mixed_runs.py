"""Runs that do not say the same of a task: its main metric, filter, order of members, origin of data."""

import csv
import io
import json
import re
from dataclasses import replace

import pytest
from playwright.sync_api import expect

from gptalt_eval.commands import cli
from gptalt_eval.commands.compare import explain
from gptalt_eval.contract.record import load_record
from gptalt_eval.results.analyse import Score
from gptalt_eval.results.arms import Arm, TaskRows, weighs_equally
from gptalt_eval.results.columns import Entry, rank_column
from gptalt_eval.results.compare import Comparison
from gptalt_eval.results.exports import export_scores
from gptalt_eval.results.notes import list_marks
from gptalt_eval.results.overview import make_overview
from gptalt_eval.results.ranking import Standing, compare_with
from gptalt_eval.results.report import render_report
from gptalt_eval.results.rows import Row, count_options, read_logged
from gptalt_eval.results.site.pages import write_site
from gptalt_eval.results.stats import compare_pairs
from gptalt_eval.results.tree import make_tree
from gptalt_eval.testing import make_plugin_set
from tests.folders import write_cell

ARMS = [Arm(name, "standard", 0) for name in "abc"]
STAMP = "2026-01-01T00-00-00"


def write(folder, metrics, config=None, main=None, group=None, kind="none", directions=True):
    """A folder with one task, as lm-eval writes it; metrics by name, each with the scores of the rows."""
    first = next(iter(metrics))
    write_cell(folder, STAMP, {"quiz": metrics[first]}, metric=first, config=config)
    file = folder / f"results_{STAMP}.json"
    results = json.loads(file.read_text())
    results["results"]["quiz"] = {"alias": "quiz"} | {
        f"{name},{kind}": sum(values) / len(values) for name, values in metrics.items()
    }
    results["higher_is_better"] = {"quiz": dict.fromkeys(metrics, True)} if directions else {}
    results["model_name"] = folder.name
    file.write_text(json.dumps(results))
    samples = folder / f"samples_quiz_{STAMP}.jsonl"
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    for row, line in enumerate(lines):
        line |= {"filter": kind, "metrics": [*metrics]} | {
            name: values[row] for name, values in metrics.items()
        }
    samples.write_text("\n".join(map(json.dumps, lines)))
    return load_record(folder)


def show(records):
    return make_overview(records, [read_logged(record) for record in records])


DIFFERENCE = compare_pairs([0, 1], [1, 1])
LOW, HIGH = [0] * 8 + [1] * 2, [1] * 9 + [0]


@pytest.mark.parametrize("turned", [False, True])
def test_a_column_has_one_metric(tmp_path, turned):
    """Ours names acc_norm in its YAML, lm-eval's own folder does not: its first one is acc."""
    headline = {"metadata": {"headline": "acc_norm"}}
    ours = write(tmp_path / "ours", {"acc": LOW, "acc_norm": HIGH}, headline)
    theirs = write(tmp_path / "theirs", {"acc": HIGH, "acc_norm": LOW})
    records = [theirs, ours] if turned else [ours, theirs]
    overview = show(records)
    [heading] = overview.headings
    values = {arm.model: row[0].score.value for arm, row in zip(overview.arms, overview.entries, strict=True)}
    right = {"acc": {"ours": 0.2, "theirs": 0.9}, "acc_norm": {"ours": 0.9, "theirs": 0.2}}
    assert values == right[heading.metric]
    [(title, others)] = overview.others
    other = "acc" if heading.metric == "acc_norm" else "acc_norm"
    assert title == f"quiz {other}"
    assert {arm.model: score.value for arm, score in zip(overview.arms, others, strict=True)} == right[other]
    [line] = [line for line in make_tree(records, overview) if not line.depth]
    assert [entry.score.value for entry in line.entries] == [values[arm.model] for arm in overview.arms]


def test_arms_without_a_common_metric_have_columns_of_their_own(tmp_path):
    records = [write(tmp_path / name, {name: LOW}) for name in ("acc", "f1")]
    overview = show(records)
    assert [heading.title for heading in overview.headings] == ["quiz (acc)", "quiz (f1)"]
    assert [[entry and entry.score.metric for entry in row] for row in overview.entries] == [
        ["acc", None], [None, "f1"],
    ]  # fmt: skip
    assert not overview.standings


def test_other_filters_are_other_columns(tmp_path):
    records = [write(tmp_path / name, {"exact_match": HIGH}, kind=name) for name in ("strict", "loose")]
    titles = [heading.title for heading in show(records).headings]
    assert titles == ["quiz (exact_match (strict))", "quiz (exact_match (loose))"]


@pytest.mark.parametrize("members", [["x", "y"], ["y", "x"]])
def test_the_order_of_members_is_no_other_version(tmp_path, members):
    for name, order in (("a", ["x", "y"]), ("b", members)):
        write_cell(tmp_path / name, STAMP, {"x": LOW, "y": HIGH}, {"both": order})
        file = tmp_path / name / f"results_{STAMP}.json"
        content = json.loads(file.read_text()) | {"versions": {"x": 1.0, "y": 2.0}}
        file.write_text(json.dumps(content))
    overview = show([load_record(tmp_path / name) for name in "ab"])
    assert [heading.title for heading in overview.headings] == ["both"]


def make_score(value, metric="acc", higher=True):
    return Score("quiz", "quiz", 0, 0, metric, "none", value, None, 10, 10, higher, False, 0)


def test_sums_in_another_order_are_equal():
    """The mean of a group is added up member by member: the last digit is chance."""
    scores = dict(zip(ARMS, map(make_score, (0.1 + 0.2, 0.3, 0.3)), strict=True))
    ranked = rank_column({arm: [score] for arm, score in scores.items()}, None)
    assert not any(entry.is_best or entry.is_tied for entry in ranked.values())
    ranked = rank_column({ARMS[0]: [make_score(0.1 + 0.2)], ARMS[1]: [make_score(0.3)], ARMS[2]: [make_score(0)]}, None)  # fmt: skip
    assert [ranked[arm].is_best for arm in ARMS] == [True, True, False]


@pytest.mark.parametrize(
    ("metric", "directions", "best"),
    [("acc", (None, None), 0), ("word_perplexity", (None, None), None), ("f1", (True, False), None),
     ("f1", (None, True), 0), ("ter", (None, False), 1)],
)  # fmt: skip
def test_the_best_is_marked_where_the_direction_is_known(metric, directions, best):
    scores = {arm: [make_score(value, metric, higher)] for arm, value, higher in zip(ARMS, (0.8, 0.2), directions, strict=False)}  # fmt: skip
    ranked = rank_column(scores, None)
    assert [ranked[arm].is_best for arm in ARMS[:2]] == [best == 0, best == 1]


def test_no_best_among_numbers_that_are_none():
    nan = float("nan")
    ranked = rank_column({arm: [make_score(nan)] for arm in ARMS}, None)
    assert not any(entry.is_best or entry.is_tied for entry in ranked.values())


def test_rows_that_are_not_those_of_the_scores_are_not_tested():
    """They may be another filter's: a mark would say what the shown numbers do not."""
    rows = {
        arm: {("quiz", row): Row(f"d{row}", "", {"acc": float(row < right)}) for row in range(10)}
        for arm, right in zip(ARMS, (9, 9, 1), strict=True)
    }
    task = TaskRows("quiz", rows, ["acc"])
    shown = dict(zip(ARMS, map(make_score, (0.9, 0.9, 0.8)), strict=True))
    assert list(compare_with(ARMS[0], shown, task)) == [ARMS[1]]
    assert compare_with(ARMS[2], shown, task) == {}


@pytest.mark.parametrize(
    ("value", "said"), [(0.0499999, "p < 0.05"), (0.05, "0.050"), (0.0004, "< 0.001"), (0.0494, "0.049"), (1, "1.000")]
)  # fmt: skip
def test_a_p_value_does_not_contradict_its_mark(value, said):
    assert said in Entry(make_score(0.5), p_value=value).p_text


def test_the_mark_of_the_sample_does_not_depend_on_the_order(tmp_path):
    records = [write(tmp_path / name, {"acc": LOW}) for name in "ab"]
    record = replace(records[0], run=replace(records[0].run, data={"quiz": make_data("sample")}))
    other = replace(records[1], run=replace(records[1].run, data={"quiz": make_data("hub")}))
    for order, names in (([record, other], ["a", "b"]), ([other, record], ["b", "a"])):
        marks = list_marks(order, names, show(order))
        assert len(show(order).scores) == 2 and marks[:1] == [
            "Scored on a small embedded sample, not on the benchmark: quiz (a)."
        ]


def make_data(origin):
    from gptalt_eval.contract.run import RunData

    return RunData(origin=origin, licence="", hub="")


@pytest.mark.parametrize(("target", "options"), [("1", 3), ("[0, 2]", 0), ("two", 3), (None, 3)])
def test_several_right_options_are_more_than_one_of_them(target, options):
    line = {"target": target, "arguments": [["q", option] for option in "abc"]}
    assert count_options(line, ["acc"]) == options


def test_subjects_of_another_metric_are_named(tmp_path):
    """The task's main metric is not the mean of its rows: its subjects have another one."""
    records = []
    docs = {"quiz": [{"subject": "hearts" if row % 2 else "lungs"} for row in range(10)]}
    for name in "ab":
        write_cell(tmp_path / name, STAMP, {"quiz": LOW}, docs=docs)
        file = tmp_path / name / f"results_{STAMP}.json"
        content = json.loads(file.read_text())
        content["results"]["quiz"] = {"alias": "quiz", "mcc,none": -0.4, "acc,none": 0.2}
        file.write_text(json.dumps(content))
        records.append(load_record(tmp_path / name))
    lines = make_tree(records, show(records))
    assert [(line.heading.title, line.heading.metric) for line in lines] == [
        ("quiz", "mcc"), ("hearts", "acc"), ("lungs", "acc"),
    ]  # fmt: skip
    assert [entry.score.value for line in lines[1:] for entry in line.entries[:1]] == [0.2, 0.2]


def test_equal_means_have_no_best(tmp_path):
    records = [write(tmp_path / name, {"acc": LOW}) for name in "ab"]
    standings = {
        arm: Standing(mean, None, 1, 1, 2, None) for arm, mean in zip(ARMS, (0.3, 0.1 + 0.2), strict=False)
    }
    overview = replace(show(records), standings=standings)
    assert not any(map(overview.is_best, ARMS[:2]))


def test_the_time_of_a_resumed_run_is_not_that_of_the_run(tmp_path):
    record = write(tmp_path / "a", {"acc": LOW})
    page = render_report(
        [replace(record, run=replace(record.run, seconds=90, command="x"))], make_plugin_set()
    )
    assert re.search(r"· 90\.0 s · gptalt-eval", page)
    resumed = replace(record.run, seconds=90, resumed=("x",), command="x")
    page = render_report([replace(record, run=resumed)], make_plugin_set())
    assert "90.0 s since it was resumed" in page and not re.search(r"· 90\.0 s · gptalt-eval", page)


def test_truncated_requests_of_folders_by_others_are_unknown(tmp_path):
    assert [each.truncated for each in show([write(tmp_path / "a", {"acc": LOW})]).facts] == [None]


def test_a_score_that_is_no_number_comes_last(tmp_path, open_tab):
    """And a task may have the name of another column."""
    for name, scores in {"a": HIGH, "b": LOW, "c": LOW, "d": [0, 1]}.items():
        write_cell(tmp_path / name, STAMP, {"time": scores, "truncated": scores[::-1]})
        file = tmp_path / name / f"results_{STAMP}.json"
        content = json.loads(file.read_text()) | {"model_name": name}
        if name == "b":
            content["results"]["time"]["acc,none"] = float("nan")
        file.write_text(json.dumps(content))
    page = tmp_path / "report.html"
    records = [load_record(tmp_path / name) for name in "abcd"]
    page.write_text(render_report(records, make_plugin_set()), encoding="utf-8")
    tab = open_tab(page)
    for order in ("adcb", "cdab"):
        tab.locator("#leaderboard thead").get_by_role("button", name="time").first.click()
        cells = tab.locator("#leaderboard tbody th").all_inner_texts()
        assert "".join(text[0] for text in cells) == order
    boxes = tab.locator("#leaderboard thead th:not([hidden])").all_inner_texts()
    assert sum(text.startswith("time") for text in boxes) == 1
    assert sum(text.startswith("truncated") for text in boxes) == 1


@pytest.mark.parametrize("saved", [("x", "y"), ("x",), ()])
def test_a_group_counts_the_items_of_all_members(tmp_path, saved):
    """Though the rows of some are not saved."""
    write_cell(tmp_path, STAMP, {"x": LOW, "y": HIGH[:6]}, {"both": ["x", "y"]})
    for name in {"x", "y"} - {*saved}:
        (tmp_path / f"samples_{name}_{STAMP}.jsonl").unlink()
    file = tmp_path / f"results_{STAMP}.json"
    content = json.loads(file.read_text())
    content["n-samples"] = {
        name: {"original": count, "effective": count} for name, count in (("x", 10), ("y", 6))
    }
    file.write_text(json.dumps(content))
    [heading] = show([load_record(tmp_path)]).headings
    assert (heading.items, heading.is_partial) == ("16", False)


def test_runs_of_one_model_have_names_of_their_own_in_every_figure(tmp_path):
    records = []
    for name, scores in (("a", LOW), ("b", HIGH)):
        record = write(tmp_path / name / "m", {"acc": scores})
        model = replace(record.run.model, name="m", parameters=100 * len(records) + 100)
        records.append(replace(record, run=replace(record.run, model=model)))
    page = render_report(records, make_plugin_set())
    labels = [re.findall(r'class="f-label"[^>]*>([^<]*)', svg) for svg in re.findall(r"<svg xmlns.*?</svg>", page, re.DOTALL)]  # fmt: skip
    assert len(labels) == 2 and all(sorted(each) == ["a/m", "b/m"] for each in labels)


def test_a_site_names_no_best_where_the_direction_is_unknown(tmp_path):
    records = [
        write(tmp_path / name, {"word_perplexity": scores}, directions=False)
        for name, scores in (("a", LOW), ("b", HIGH))
    ]
    write_site(records, tmp_path / "site", make_plugin_set())
    pages = [file.read_text(encoding="utf-8") for file in (tmp_path / "site").glob("**/*.html")]
    [listed] = [page for page in pages if 'id="tasks"' in page and "Best arm" in page]
    assert '<td class="n">–</td><td>–</td><td>word_perplexity' in listed
    assert not any("rank 1 of" in page for page in pages)
    [ranked] = [page for page in pages if 'id="arms-1"' in page]
    assert len(re.findall(r'<td class="n">–</td><td class="n" data-value="0\.[29]"', ranked)) == 2


@pytest.mark.parametrize("address", ["task=both&part=y", "task=y", "part=y", "task=both&part=y&q="])
def test_a_link_by_a_group_that_only_other_runs_have_shows_the_task(tmp_path, open_tab, address):
    write_cell(tmp_path / "run", STAMP, {"x": LOW, "y": HIGH[:7]})
    for file in (tmp_path / "run").glob("samples_*"):
        lines = [json.loads(line) | {"arguments": [["q", "{}"]]} for line in file.read_text().splitlines()]
        file.write_text("\n".join(map(json.dumps, lines)))
    page = tmp_path / "report.html"
    page.write_text(render_report([load_record(tmp_path / "run")], make_plugin_set()), encoding="utf-8")
    tab = open_tab(page, address=address)
    tab.locator("#items-task").wait_for()
    expect(tab.locator(".items-count")).to_have_text("7 of 7 items")
    assert tab.locator("#items-task").input_value() == "y"


def test_scores_of_the_oldest_versions_are_not_left_out_silently(tmp_path):
    """Before 0.4, lm-eval wrote no filter, and before 0.4.3 not how many items there were."""
    for name, key in (("old", "acc"), ("older", "acc,none")):
        (tmp_path / name).mkdir()
        file = tmp_path / name / f"results_{STAMP}.json"
        file.write_text(json.dumps({"results": {"quiz": {key: 0.5, f"acc_stderr{key[3:]}": 0.1}}}))
    old, older = (load_record(tmp_path / name) for name in ("old", "older"))
    said = f"The scores in results_{STAMP}.json are not shown: a version of lm-eval before 0.4 wrote them."
    assert old.notes == (said,) and older.notes == ()
    assert said in render_report([old], make_plugin_set())
    assert [heading.items for heading in show([older]).headings] == ["?"]
    assert "0 items" not in render_report([older], make_plugin_set())
    [line] = csv.DictReader(io.StringIO(export_scores([older], "csv")))
    assert (line["value"], line["items"]) == ("0.5", "")
    assert export_scores([older], "markdown").splitlines()[-1].endswith("|  |")


def test_compare_says_which_metric_it_compares(tmp_path, capsys):
    for name, scores in (("a", LOW), ("b", HIGH)):
        write(tmp_path / name, {"acc": scores, "acc_norm": LOW})
    assert cli.main(["compare", str(tmp_path)]) == 0
    assert "\nScores: acc.\n" in capsys.readouterr().out
    assert cli.main(["compare", str(tmp_path), "--metric", "acc_norm"]) == 0
    assert "\nScores: acc_norm.\n" in capsys.readouterr().out
    tasks = [Comparison(name, metric, "model", *ARMS[:2], DIFFERENCE) for name, metric in (("x", "acc"), ("y", "f1"), ("z", "acc"))]  # fmt: skip
    assert explain(tasks).splitlines()[:2] == ["Scores of x and z: acc.", "Scores of y: f1."]


def test_one_metric_is_enough_to_say_that_members_weigh_alike():
    """Of the other, the mean over members and that over rows are the same by chance."""
    scores = {"x": ([1, 0], [1, 1]), "y": ([1, 0, 1, 0], [0, 0, 0, 0])}
    rows = {
        (task, row): Row("", "", {"acc": acc, "acc_norm": norm})
        for task, columns in scores.items()
        for row, (acc, norm) in enumerate(zip(*columns, strict=True))
    }
    results = {
        "results": {"x": {"acc,none": 0}, "y": {"acc,none": 0}, "both": {"acc,none": 0.5, "acc_norm,none": 0.5}},
        "group_subtasks": {"both": ["x", "y"]},
    }  # fmt: skip
    assert weighs_equally(results, "both", rows)
    results["results"]["both"]["acc_norm,none"] = 1 / 3
    assert not weighs_equally(results, "both", rows)


@pytest.mark.parametrize(
    ("versions", "titles"),
    [((1.0, 2.0, None), ["x (version 1.0)", "x (version 2.0)", "x (version not stated)"]), ((1.0, 1.0, None), ["x"])],
)  # fmt: skip
def test_an_unstated_version_is_not_one_of_several(tmp_path, versions, titles):
    for number, version in enumerate(versions):
        write_cell(tmp_path / str(number), STAMP, {"x": LOW})
        file = tmp_path / str(number) / f"results_{STAMP}.json"
        content = json.loads(file.read_text()) | {"versions": {"x": version} if version else {}}
        file.write_text(json.dumps(content))
    records = [load_record(tmp_path / str(number)) for number in range(3)]
    assert [heading.title for heading in show(records).headings] == titles
