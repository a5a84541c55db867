"""Groups, clusters, and rows that cannot be compared: what ``gptalt-eval compare`` says of them."""

import json
import math

import numpy as np
import pytest
from folders import write_cell, write_run
from scipy.stats import permutation_test

from gptalt_eval.commands import cli
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.record import load_record
from gptalt_eval.results.compare import compare_runs
from gptalt_eval.results.stats import adjust_holm, mcnemar_exact

SOURCE = np.random.default_rng(4)
GROUPS = {"mmlu": ["mmlu_stem", "mmlu_other"], "mmlu_stem": ["algebra", "physics"], "mmlu_other": ["law"]}
SIZES = {"algebra": 20, "physics": 10, "law": 40}
ONE, OTHER = (
    {task: SOURCE.binomial(1, share, size).tolist() for task, size in SIZES.items()} for share in (0.4, 0.6)
)


def pool(scores):
    return np.concatenate([scores[task] for task in SIZES])


@pytest.fixture
def records(tmp_path):
    return [
        write_run(tmp_path / name, name, [{"tasks": {**tasks, "piqa": tasks["law"]}, "groups": GROUPS}])
        for name, tasks in (("a", ONE), ("b", OTHER))
    ]


def test_a_group_is_one_line_over_its_pooled_rows(records):
    mmlu, piqa = compare_runs(records)
    assert (mmlu.task, piqa.task) == ("mmlu", "piqa")
    differences = pool(OTHER) - pool(ONE)
    found = mmlu.difference
    assert (found.rows, found.value) == (70, pytest.approx(differences.mean()))
    assert (found.only_first, found.only_second) == (sum(differences < 0), sum(differences > 0))
    assert found.p_value == mcnemar_exact(found.only_first, found.only_second)
    assert [mmlu.adjusted, piqa.adjusted] == adjust_holm([found.p_value, piqa.difference.p_value])


def test_members_on_request(records):
    found = compare_runs(records, members=True)
    assert [each.task for each in found] == [
        "mmlu",
        "mmlu_stem",
        "algebra",
        "physics",
        "mmlu_other",
        "law",
        "piqa",
    ]
    assert [each.adjusted for each in found] == adjust_holm([each.difference.p_value for each in found])


def test_a_member_that_also_stands_alone_is_compared(records, tmp_path):
    """One run evaluates MMLU, the other only law: law is all that both have."""
    other = write_run(tmp_path / "c", "c", [{"tasks": {"law": OTHER["law"]}}])
    assert [each.task for each in compare_runs([records[0], other])] == ["law"]


def test_a_group_that_weighs_members_alike_is_compared_so(tmp_path):
    records = [
        write_run(tmp_path / name, name, [{"tasks": tasks, "groups": GROUPS, "equal": True}])
        for name, tasks in (("a", ONE), ("b", OTHER))
    ]
    [found] = compare_runs(records)
    means = [np.mean(OTHER[task]) - np.mean(ONE[task]) for task in SIZES]
    assert found.difference.value == pytest.approx(np.mean(means))
    scores = [records[place].results[0]["results"]["mmlu"]["acc,none"] for place in (0, 1)]
    assert (found.difference.first, found.difference.second) == pytest.approx(scores)
    weighted = np.concatenate(
        [(np.array(OTHER[task]) - ONE[task]) / (3 * size) for task, size in SIZES.items()]
    )
    expected = permutation_test(
        (weighted,), lambda x, axis: x.sum(axis=axis), permutation_type="samples", vectorized=True, rng=1
    )
    assert found.difference.p_value == pytest.approx(expected.pvalue, abs=0.015)


def test_members_that_only_one_run_has_are_counted(tmp_path, records):
    """The other run lacks algebra: the group is compared on the other 50 rows."""
    tasks = {task: OTHER[task] for task in ("physics", "law")}
    groups = {**GROUPS, "mmlu_stem": ["physics"]}
    other = write_run(tmp_path / "c", "c", [{"tasks": tasks, "groups": groups}])
    [found] = compare_runs([records[0], other])
    assert (found.task, found.difference.rows, found.left_out) == ("mmlu", 50, 20)


@pytest.mark.parametrize("lacking", [None, math.nan, math.inf])
def test_rows_without_a_score_are_counted_and_said(tmp_path, capsys, lacking):
    """A row without the metric, or NaN: no KeyError, no nan, but a smaller number of rows."""
    values = [1, 0, 0, 1, 0, 0, 1, 0]
    write_run(tmp_path / "a", "a", [{"tasks": {"toy": values}}])
    write_run(tmp_path / "b", "b", [{"tasks": {"toy": [lacking, 1, 1, 1, 1, 0, 1, lacking]}}])
    assert cli.main(["compare", str(tmp_path)]) == 0
    _, heading, line, *_ = capsys.readouterr().out.splitlines()
    assert heading == "toy (standard, 0-shot), 6 rows, 2 not compared"
    assert line.split()[2:5] == ["0.333", "0.833", "+0.500"]
    assert cli.main(["compare", str(tmp_path), "--json"]) == 0
    [found] = json.loads(capsys.readouterr().out)
    assert (found["left_out"], found["difference"]["rows"], found["difference"]["p_value"]) == (2, 6, 0.25)


def test_rows_that_never_have_a_score_in_both(tmp_path):
    one = write_run(tmp_path / "a", "a", [{"tasks": {"toy": [1, 0, None, None]}}])
    other = write_run(tmp_path / "b", "b", [{"tasks": {"toy": [None, None, 1, 0]}}])
    [found] = compare_runs([one, other])
    assert (found.difference, found.refused, found.left_out) == (None, "they have no rows in common", 4)


def test_a_task_without_scores_of_rows_hinders_no_other(tmp_path, capsys):
    """Perplexity is no mean of rows, so its arms are not compared; those of the other task are."""
    for name, values in (("a", [1, 0, 0]), ("b", [1, 1, 0])):
        write_cell(tmp_path / name, "1", {"toy": values})
        write_cell(tmp_path / name, "2", {"wiki": [-3.5, -4.5]}, metric="perplexity", config={"metric_list": [{"metric": "perplexity", "aggregation": "perplexity"}]})  # fmt: skip
    wiki, toy = sorted(
        compare_runs([load_record(tmp_path / name) for name in "ab"]), key=lambda each: each.metric
    )
    assert (wiki.task, wiki.difference, wiki.refused) == ("wiki", None, "its rows have no score of their own")
    assert toy.difference.value == pytest.approx(1 / 3) and toy.adjusted == 1
    assert cli.main(["compare", str(tmp_path)]) == 0
    assert "  a, b: not compared, its rows have no score of their own" in capsys.readouterr().out


def test_a_metric_that_only_some_tasks_have(tmp_path):
    for name, values in (("a", [1, 0, 0]), ("b", [1, 1, 0])):
        write_cell(tmp_path / name, "1", {"toy": values})
        write_cell(tmp_path / name, "2", {"drop": [0.5, 0.25]}, metric="f1")
    records = [load_record(tmp_path / name) for name in "ab"]
    toy, drop = compare_runs(records, metric="f1")
    assert toy.refused == "its rows have no 'f1' of their own" and drop.difference.value == 0
    with pytest.raises(GptaltError) as caught:
        compare_runs(records, metric="ac")
    assert caught.value.what == "No task has a metric 'ac' with a score for each row."
    assert caught.value.hint == "Did you mean 'acc'?"
    with pytest.raises(GptaltError) as caught:
        compare_runs(records, metric="perplexity")
    assert caught.value.hint == "Available: acc, f1."


PASSAGES = [{"passage": f"text {row // 4}"} for row in range(24)]
CLUSTERED = {"config": {"metadata": {"cluster": "passage"}}, "docs": {"read": PASSAGES}}


def write_passages(folder, turned=(0, 1, 2, 3, 4), **changes):
    """Two arms on six passages of four questions; the second answers all questions of five passages."""
    second = [float(row // 4 in turned) for row in range(24)]
    return [
        write_run(folder / name, name, [{"tasks": {"read": values}, **CLUSTERED, **changes}])
        for name, values in (("a", [0.0] * 24), ("b", second))
    ]


def test_passages_are_compared_and_not_questions(tmp_path, capsys):
    [found] = compare_runs(write_passages(tmp_path))
    assert (found.difference.rows, found.difference.clusters, found.cluster) == (24, 6, "passage")
    assert found.difference.p_value == mcnemar_exact(0, 5) > 0.05 > mcnemar_exact(0, 20)
    assert cli.main(["compare", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "read (standard, 0-shot), 24 rows in 6 passages\n" in printed
    assert "Rows of one passage are resampled and permuted together." in printed


def test_every_row_has_its_own_passage(tmp_path, capsys):
    docs = {"read": [{"passage": f"text {row}"} for row in range(24)]}
    [found] = compare_runs(write_passages(tmp_path, docs=docs))
    assert found.difference.clusters is None
    assert found.difference.p_value == mcnemar_exact(0, 20)
    assert cli.main(["compare", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "read (standard, 0-shot), 24 rows\n" in printed and "passage" not in printed


def test_one_passage_is_no_sample(tmp_path):
    [found] = compare_runs(write_passages(tmp_path, docs={"read": [{"passage": "the only one"}] * 24}))
    assert (found.difference, found.refused) == (None, "all rows are of one passage")


def test_rows_whose_passage_is_unknown_are_not_taken_for_independent(tmp_path, capsys):
    write_passages(tmp_path, docs={"read": [{"text": "x"}] * 24})
    write_run(tmp_path / "c", "c", [{"tasks": {"toy": [1, 0, 1]}}])
    write_run(tmp_path / "d", "d", [{"tasks": {"toy": [1, 1, 1]}}])
    assert cli.main(["compare", str(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert (
        captured.err
        == "Not compared: read: its rows have no column 'passage'. They share it: keep it in process_docs.\n"
    )
    assert "toy (standard, 0-shot)" in captured.out and "read" not in captured.out


def test_half_a_file_hinders_no_other_task(tmp_path, capsys):
    for name in "ab":
        write_run(tmp_path / name, name, [{"tasks": {"toy": [1, 0, 1], "whole": [0, 1, 1]}}])
    [file] = (tmp_path / "a").glob("samples_toy_*")
    file.write_text(file.read_text()[:-20])
    assert cli.main(["compare", str(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert captured.err.startswith(f"Not compared: toy: {file} is damaged (line 3: ")
    assert "whole (standard, 0-shot), 3 rows" in captured.out and "toy" not in captured.out
    for other in tmp_path.glob("*/samples_whole_*"):
        other.unlink()
    [other] = (tmp_path / "b").glob("samples_toy_*")
    other.unlink()
    assert cli.main(["compare", str(tmp_path)]) == 2, "nothing is left"
    assert "is damaged (line 3: " in capsys.readouterr().err
