"""Metrics that only some rows have: their own count, interval and place, whether rows are saved or not."""

import json
from dataclasses import replace

import pytest
from rich.console import Console

import gptalt_eval
from gptalt_eval.contract.shapes import check_results
from gptalt_eval.results.analyse import list_scores
from gptalt_eval.results.report import render_report
from gptalt_eval.results.rows import read_logged
from gptalt_eval.results.stats import mean_interval, wilson_interval
from gptalt_eval.results.table import make_grid, print_scores
from gptalt_eval.testing import hash_likelihood, make_plugin_set, make_scripted_model

TASK = """
task: parts
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: [yes it is, no it is not]
doc_to_target: label
process_results: !function scores.score
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
  - {{metric: acc_odd, aggregation: mean, higher_is_better: true}}
  - {{metric: acc_even, aggregation: mean, higher_is_better: true}}
  - {{metric: length, aggregation: mean, higher_is_better: false}}
  - {{metric: never, aggregation: mean, higher_is_better: true}}
{more}
"""
SCORES = """
def score(doc, results):
    right = float(max(range(2), key=lambda place: results[place][0]) == doc["label"])
    found = {"acc": right, "acc_odd" if doc["number"] % 2 else "acc_even": right}
    return found | ({"length": float(doc["number"])} if doc["number"] > 20 else {})
"""
CLUSTERED = "metadata: {cluster: story}"


@pytest.fixture(scope="module", params=["", CLUSTERED], ids=["rows", "clusters"])
def records(request, tmp_path_factory):
    """The same run with its rows and without."""
    root = tmp_path_factory.mktemp("parts")
    rows = [
        {"question": f"is it {n}", "number": n, "label": n % 3 % 2, "story": f"s{n // 3}"} for n in range(27)
    ]
    (root / "own.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (root / "parts.yaml").write_text(TASK.format(file=root / "own.jsonl", more=request.param))
    (root / "scores.py").write_text(SCORES)
    return [
        gptalt_eval.evaluate(
            "scripted", "parts", plugins=make_plugin_set(models=[make_scripted_model(hash_likelihood)]),
            include_path=str(root), trust_task_code=[str(root / "parts.yaml")],
            output_path=str(root / f"out{saved}"), log_samples=saved,
        )
        for saved in (True, False)
    ]  # fmt: skip


def test_each_has_its_own_count(records):
    assert [bool(list(record.folder.glob("samples_*"))) for record in records] == [True, False]
    for record in records:
        found = {score.metric: score.items for score in list_scores(record)}
        assert found == {"acc": 27, "acc_odd": 13, "acc_even": 14, "length": 6}


def test_they_come_in_the_order_of_the_yaml(records):
    for record in records:
        assert [score.metric for score in list_scores(record)] == ["acc", "acc_odd", "acc_even", "length"]


def test_intervals_are_the_same_without_rows(records):
    with_rows, without = (list_scores(record) for record in records)
    assert [replace(score, chance=None) for score in with_rows] == without
    assert all(score.interval for score in without)


def test_intervals_are_those_of_the_rows_that_have_the_metric(records):
    lines = list(records[0].read_samples(0, "parts"))
    for score in list_scores(records[1]):
        values = [line[score.metric] for line in lines if score.metric in line]
        if score.clusters:
            continue
        assert score.interval == pytest.approx(mean_interval(values))
        if set(values) <= {0, 1}:
            assert score.interval == pytest.approx(wilson_interval(int(sum(values)), len(values)))


def test_they_are_shown(records):
    for record in records:
        with (console := Console(width=120)).capture() as printed:
            print_scores(console, [record])
        lines = [line.split("│") for line in printed.get().splitlines() if "acc_" in line or "length" in line]
        assert [line[3].split()[0] for line in lines] == ["acc_odd", "acc_even", "length"]
        assert [line[6].split()[0] for line in lines] == ["13", "14", "6"]
        page = render_report([record], make_plugin_set())
        for count in ("13", "14"):
            assert f'<td class="n">{count}' in page


def test_only_what_the_results_do_not_say_is_summed_up(records):
    saved, unsaved = (record.results[0] for record in records)
    assert "gptalt_clusters" not in saved
    summed = unsaved["gptalt_clusters"]["parts"]
    partial = {"acc_odd,none", "acc_even,none", "length,none"}
    assert set(summed["means"]) == partial | ({"acc,none"} if summed["column"] else set())
    check_results(unsaved)


@pytest.mark.parametrize(
    "change",
    [
        {"rows": 3.5}, {"rows": -1}, {"rows": 1, "clusters": 2}, {"are_shares": 1}, {"value": 1.5},
        {"value": True}, {"clusters": True},
    ],
)  # fmt: skip
def test_sums_of_strangers_are_checked(change):
    mean = {
        "value": 0.5, "stderr": 0.1, "freedom": 3, "clusters": 4, "effective": 4.0, "rows": 4,
        "are_shares": True,
    }  # fmt: skip

    def content(mean):
        return {"gptalt_clusters": {"quiz": {"column": "", "means": {"acc,none": mean}}}}

    check_results(content(mean))
    with pytest.raises(ValueError, match=r"gptalt_clusters\.quiz\.means\.acc,none"):
        check_results(content(mean | change))


def test_a_count_is_left_out_only_where_it_is_that_of_the_task(tmp_path):
    """Not where it is that of the metric above: 26, 13, and again 13."""
    rows = [{"question": f"is it {n}", "number": n, "label": n % 3 % 2} for n in range(26)]
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "parts.yaml").write_text(TASK.format(file=tmp_path / "own.jsonl", more=""))
    (tmp_path / "scores.py").write_text(SCORES)
    record = gptalt_eval.evaluate(
        "scripted", "parts", plugins=make_plugin_set(models=[make_scripted_model(hash_likelihood)]),
        include_path=str(tmp_path), trust_task_code=[str(tmp_path / "parts.yaml")], output_path=str(tmp_path / "out"),
    )  # fmt: skip
    items = [row[-1] for row in make_grid(record, read_logged(record)).rows]
    assert items == ["26", "13 of 26", "13 of 26", "5 of 26"]
    assert render_report([record], make_plugin_set()).count('<td class="n">13</td>') == 2


WHOLE = """
def score(doc, results):
    right = float(max(range(2), key=lambda place: results[place][0]) == doc["label"])
    return {"acc": right, "acc_odd": right, "acc_even": 0.0, "never": 1.0, "length": doc["number"] / 10}
"""


def test_a_share_that_all_rows_have_is_one_by_any_name(tmp_path):
    """No interval leaves 0 to 1, whether the rows are saved or not."""
    rows = [{"question": f"is it {n}", "number": n, "label": n % 3 % 2} for n in range(12)]
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "parts.yaml").write_text(TASK.format(file=tmp_path / "own.jsonl", more=""))
    (tmp_path / "scores.py").write_text(WHOLE)
    found = []
    for saved in (True, False):
        record = gptalt_eval.evaluate(
            "scripted", "parts", plugins=make_plugin_set(models=[make_scripted_model(hash_likelihood)]),
            include_path=str(tmp_path), trust_task_code=[str(tmp_path / "parts.yaml")],
            output_path=str(tmp_path / f"out{saved}"), log_samples=saved,
        )  # fmt: skip
        found.append({score.metric: (score.interval, score.items) for score in list_scores(record)})
    assert found[0].keys() == found[1].keys() == {"acc", "acc_odd", "acc_even", "never", "length"}
    for metric, (interval, items) in found[0].items():
        assert found[1][metric] == (pytest.approx(interval), items)
    whole = found[1]
    assert whole["acc_odd"] == whole["acc"]
    assert whole["acc_even"][0] == pytest.approx(wilson_interval(0, 12))
    assert whole["never"][0] == pytest.approx(wilson_interval(12, 12))
    low, high = whole["length"][0]
    assert low < 0.55 < high and (low, high) != pytest.approx(wilson_interval(7, 12))
