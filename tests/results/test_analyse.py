import pytest

from gptalt_eval.contract.record import Record
from gptalt_eval.contract.run import Run
from gptalt_eval.results.analyse import list_headlines, list_scores

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
