import json
import math

import numpy as np
import pytest
import statsmodels.api as sm
from folders import write_cell
from scipy.stats import norm, sem, t

from gptalt_eval.contract.record import Record, load_record
from gptalt_eval.contract.run import Run
from gptalt_eval.results.analyse import list_headlines, list_scores
from gptalt_eval.results.stats import wilson_interval

RESULTS = {
    "results": {
        "piqa": {
            "alias": "piqa",
            "name": "piqa",
            "sample_len": 20,
            "acc,none": 0.6,
            "acc_stderr,none": 0.11,
            "acc_norm,none": 0.55,
            "acc_norm_stderr,none": 0.1,
        },
        "mmlu_a": {"alias": "a", "acc,none": 0.5, "acc_stderr,none": 0.1, "sample_len": 10},
        "mmlu_b": {"alias": "b", "acc,none": 0.7, "acc_stderr,none": "N/A", "sample_len": 10},
        "mmlu": {"alias": "mmlu", "acc,none": 0.6, "acc_stderr,none": 0.05, "sample_len": 20},
        "zero": {"alias": "zero", "name": "zero"},
        "drop": {"alias": "drop", "f1,none": 0.333, "f1_stderr,none": 0.01, "sample_len": 10},
        "lost": {"alias": "lost", "bleu,none": "N/A"},
    },
    "group_subtasks": {"zero": ["piqa", "mmlu"], "mmlu": ["mmlu_a", "mmlu_b"]},
    "n-shot": {"piqa": 0, "mmlu_a": 5},
    "n-samples": {"piqa": {"original": 1838, "effective": 20}, "mmlu_a": {"original": 10, "effective": 10}},
    "higher_is_better": {"piqa": {"acc": True}},
}


@pytest.fixture
def record(tmp_path):
    return Record(tmp_path, Run(), (RESULTS,), (tmp_path / "results_t.json",))


@pytest.fixture
def scores(record):
    return list_scores(record)


def test_groups_come_before_their_members_once_each(scores):
    assert list(dict.fromkeys(score.task for score in scores)) == ["piqa", "mmlu", "mmlu_a", "mmlu_b", "drop"]


def test_a_group_without_a_score_adds_no_depth(scores):
    assert {score.task: score.depth for score in scores} == {
        "piqa": 0,
        "mmlu": 0,
        "mmlu_a": 1,
        "mmlu_b": 1,
        "drop": 0,
    }


def test_values(scores):
    acc, norm = (score for score in scores if score.task == "piqa")
    assert (acc.metric, acc.value, acc.shots, acc.items, acc.available, acc.higher_is_better) == (
        "acc",
        0.6,
        0,
        20,
        1838,
        True,
    )
    assert norm.metric == "acc_norm"


def test_intervals(scores):
    by_task = {score.task: score for score in scores}
    assert by_task["mmlu_a"].interval == pytest.approx((0.2366, 0.7634), abs=1e-4), "Wilson for shares"
    assert by_task["mmlu"].interval == pytest.approx((0.6 - 0.098, 0.6 + 0.098), abs=1e-3), (
        "a group's own error"
    )
    assert by_task["drop"].interval == pytest.approx((0.3134, 0.3526), abs=1e-4), (
        "no share of ten: from the standard error"
    )


def test_headlines_leave_the_members_of_groups_out(record, scores):
    assert list(dict.fromkeys(score.task for score in list_headlines(record, scores))) == [
        "piqa",
        "mmlu",
        "drop",
    ]


def read_one(tmp_path, values, metric="acc", score=None, stderr="N/A", saved=True, **cell):
    """The score of one task, read back."""
    write_cell(tmp_path, "t", {"toy": values}, metric=metric, **cell)
    file = tmp_path / "results_t.json"
    results = json.loads(file.read_text())
    results["results"]["toy"] |= {f"{metric}_stderr,none": stderr} | (
        {} if score is None else {f"{metric},none": score}
    )
    file.write_text(json.dumps(results))
    if not saved:
        (tmp_path / "samples_toy_t.jsonl").unlink()
    [found] = list_scores(load_record(tmp_path))
    return found


def define(metric, how):
    return {"config": {"metric_list": [{"metric": metric, "aggregation": how}]}}


@pytest.mark.parametrize("saved", [True, False])
def test_an_accuracy_is_a_share(tmp_path, saved):
    found = read_one(tmp_path, [1, 0, 1, 1], stderr=0.25, saved=saved)
    assert found.interval == wilson_interval(3, 4)


@pytest.mark.parametrize("saved", [True, False])
@pytest.mark.parametrize(
    ("metric", "values", "score", "how"),
    [
        ("mcc", [[0, 1], [1, 0], [0, 0], [1, 1]], 0.0, "matthews_corrcoef"),
        ("f1", [[0, 1], [1, 0], [0, 0], [1, 1]], 0.5, "f1"),
        ("acc", [1, 0, 1, 0], 0.5, "median"),
    ],
)
def test_a_value_that_could_be_a_share_and_is_none(tmp_path, saved, metric, values, score, how):
    """Each is a whole number of the four rows, and none of them counts right ones."""
    found = read_one(tmp_path, values, metric, score, 0.1, saved, **define(metric, how))
    assert found.interval == pytest.approx(norm.interval(0.95, score, 0.1))


@pytest.mark.parametrize("metric", ["f1", "acc"])
@pytest.mark.parametrize("values", [[0.25, 1, 0.75, 0.5], [0.5, 0.5, 1, 0]])
def test_a_mean_of_parts_has_students_interval(tmp_path, metric, values):
    """The second one is a whole number of the four rows."""
    found = read_one(tmp_path, values, metric, stderr=sem(values), **define(metric, "mean"))
    assert found.interval == pytest.approx(t.interval(0.95, 3, np.mean(values), sem(values)))


@pytest.mark.parametrize("stderr", [math.nan, math.inf, 0.0, "N/A", None])
def test_an_error_that_is_none(tmp_path, stderr):
    """NaN is no interval of (nan, nan), 0 none of (0, 0)."""
    assert read_one(tmp_path, [0.0] * 4, "mcc", 0.0, stderr, **define("mcc", "mcc")).interval is None


def test_a_score_that_is_not_a_number(tmp_path):
    found = read_one(tmp_path, [1, math.nan, 1], score=math.nan, stderr=math.nan)
    assert math.isnan(found.value) and found.interval is None
    assert found.items == 2, "the rows that have the metric"


def test_a_mean_without_the_rows_that_lack_it(tmp_path):
    found = read_one(tmp_path, [1, None, 1, 0], score=2 / 3)
    assert (found.items, found.interval) == (3, wilson_interval(2, 3))


PASSAGES = {
    "docs": {"toy": [{"passage": f"text {row // 4}"} for row in range(40)]},
    "config": {"metadata": {"cluster": "passage"}},
}
ANSWERS = [float(row % 7 < 4) for row in range(0, 80, 2)]


def test_questions_on_a_passage(tmp_path):
    found = read_one(tmp_path, ANSWERS, stderr=0.08, **PASSAGES)
    groups = [row // 4 for row in range(40)]
    fitted = sm.OLS(ANSWERS, np.ones(40)).fit(cov_type="cluster", cov_kwds={"groups": groups}, use_t=True)
    assert found.interval == pytest.approx(tuple(fitted.conf_int()[0]))
    assert (found.items, found.clusters, found.cluster) == (40, 10, "passage")


def test_questions_whose_passages_are_not_saved_have_no_interval(tmp_path):
    """lm-eval's standard error would take them for independent; so would Wilson's interval."""
    found = read_one(tmp_path, ANSWERS, stderr=0.08, saved=False, **PASSAGES)
    assert (found.items, found.clusters, found.interval) == (40, None, None)


def test_a_passage_each_is_no_cluster(tmp_path):
    docs = {"toy": [{"passage": f"text {row}"} for row in range(40)]}
    found = read_one(tmp_path, ANSWERS, **{**PASSAGES, "docs": docs})
    assert (found.clusters, found.interval) == (None, wilson_interval(int(sum(ANSWERS)), 40))


MEMBERS = {"easy": [1.0] * 9 + [0.0], "hard": [0.0] * 27 + [1.0] * 3, "odd": [1.0, 0.0] * 10}


@pytest.mark.parametrize("equal", [True, False])
def test_groups_are_stratified_and_weighted_as_their_score(tmp_path, equal):
    """By hand: each member's variance by the square of its weight. lm-eval's error of the group is not used."""
    write_cell(tmp_path, "t", MEMBERS, {"all": list(MEMBERS)}, equal=equal)
    group = list_scores(load_record(tmp_path))[0]
    weights = [1 / 3 if equal else len(values) / 60 for values in MEMBERS.values()]
    value = sum(weight * np.mean(values) for weight, values in zip(weights, MEMBERS.values(), strict=True))
    variance = sum(
        weight**2 * sem(values) ** 2 for weight, values in zip(weights, MEMBERS.values(), strict=True)
    )
    assert (group.task, group.items, group.value) == ("all", 60, pytest.approx(value))
    assert group.interval == pytest.approx(t.interval(0.95, 57, value, variance**0.5))


def test_a_group_at_nought_is_not_certain(tmp_path):
    """Its standard error is 0, in lm-eval's file too."""
    write_cell(tmp_path, "t", {"a": [0] * 10, "b": [0] * 30}, {"all": ["a", "b"]})
    assert list_scores(load_record(tmp_path))[0].interval == wilson_interval(0, 40)


def test_a_group_of_passages(tmp_path):
    docs = {
        task: [{"passage": f"text {row // 5}"} for row in range(len(values))]
        for task, values in MEMBERS.items()
    }
    cell = {"docs": docs, "config": {"metadata": {"cluster": "passage"}}}
    write_cell(tmp_path, "t", MEMBERS, {"all": list(MEMBERS)}, **cell)
    group = list_scores(load_record(tmp_path))[0]
    assert (group.items, group.clusters, group.cluster) == (60, 2 + 6 + 4, "passage")
    errors = []
    for values in MEMBERS.values():
        groups = np.arange(len(values)) // 5
        fitted = sm.OLS(values, np.ones(len(values))).fit(cov_type="cluster", cov_kwds={"groups": groups})
        errors.append(fitted.bse[0] * len(values) / 60)
    half = t.ppf(0.975, 12 - 3) * np.hypot.reduce(errors)
    assert group.interval == pytest.approx((max(0, group.value - half), group.value + half))


def test_a_group_whose_weights_are_unknown_has_lm_evals_error(tmp_path):
    write_cell(tmp_path, "t", MEMBERS, {"all": list(MEMBERS)})
    file = tmp_path / "results_t.json"
    results = json.loads(file.read_text())
    results["results"]["all"] |= {"acc,none": 0.7, "acc_stderr,none": 0.05}
    file.write_text(json.dumps(results))
    assert list_scores(load_record(tmp_path))[0].interval == pytest.approx(norm.interval(0.95, 0.7, 0.05))


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.05, (0.0, norm.ppf(0.975, 0.05, 0.1))), (0.9, (norm.ppf(0.025, 0.9, 0.1), 1.0))],
)
def test_a_groups_interval_without_its_rows_is_within_0_and_1(tmp_path, value, expected):
    write_cell(tmp_path, "t", MEMBERS, {"all": list(MEMBERS)})
    file = tmp_path / "results_t.json"
    results = json.loads(file.read_text())
    results["results"]["all"] |= {"acc,none": value, "acc_stderr,none": 0.1}
    file.write_text(json.dumps(results))
    for samples in tmp_path.glob("samples_*"):
        samples.unlink()
    assert list_scores(load_record(tmp_path))[0].interval == pytest.approx(expected)
