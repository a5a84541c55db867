"""The rows of a run: read, counted, told which scores are means; what is damaged is said, and harms nothing else."""

import json
from math import nan

import pytest

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.record import load_record
from gptalt_eval.results.rows import (
    MEANS,
    Row,
    find_judged,
    find_subject,
    label_clusters,
    list_faults,
    list_gaps,
    read_logged,
    read_task,
    say_clusters,
)


def make_sample(row, filter_name="none", **changes):
    sample = {
        "doc_id": row,
        "doc_hash": f"d{row}",
        "prompt_hash": f"p{row}",
        "filter": filter_name,
        "metrics": ["acc", "bleu"],
    }
    return {**sample, "acc": row % 2, "bleu": ["a", "b"], "doc": {"topic": "zoology"}, **changes}


def write_samples(folder, samples, scores=None, config=None, effective=0):
    """A run folder as lm-eval's own, with one task."""
    folder.mkdir(parents=True, exist_ok=True)
    results = {
        "results": {"toy": {"alias": "toy", **(scores or {"acc,none": 0.5, "acc_stderr,none": 0.1, "bleu,none": 7.0})}},
        "n-samples": {"toy": {"effective": effective}}, "configs": {"toy": config or {}},
    }  # fmt: skip
    (folder / "results_t.json").write_text(json.dumps(results))
    text = samples if isinstance(samples, str) else "".join(f"{json.dumps(each)}\n" for each in samples)
    (folder / "samples_toy_t.jsonl").write_text(text)
    return load_record(folder)


def test_rows_are_read_by_filter_and_their_scores_are_numbers(tmp_path):
    samples = [make_sample(0), make_sample(0, "other", acc=5), make_sample(1), make_sample(7, "other")]
    logged = read_logged(write_samples(tmp_path, samples))
    assert logged.first(0, "toy") == {
        ("toy", 0): Row("d0", "p0", {"acc": 0.0}, "zoology"),
        ("toy", 1): Row("d1", "p1", {"acc": 1.0}, "zoology"),
    }
    assert list(logged.rows[0, "toy"]) == ["none", "other"]
    assert list(logged.rows[0, "toy"]["other"]) == [("toy", 0), ("toy", 7)]
    assert type(logged.first(0, "toy")["toy", 1].scores["acc"]) is float
    assert logged.first(0, "gone") == {} == logged.faults


def test_what_a_row_lacks(tmp_path):
    """A row without the metric, one that is NaN, one that is infinite, one without its document."""
    samples = [
        make_sample(0),
        make_sample(1, acc=float("nan")),
        make_sample(2, acc=float("inf")),
        make_sample(3),
    ]
    del samples[0]["acc"], samples[3]["doc"]
    rows = read_logged(write_samples(tmp_path, samples)).first(0, "toy")
    assert [row.scores for row in rows.values()] == [{}, {}, {}, {"acc": 1.0}]
    assert rows["toy", 3].subject == ""


def test_how_many_rows_lack_the_main_metric_is_said(tmp_path):
    """Not of further metrics: some tasks give one only to the rows of a kind."""
    samples = [
        make_sample(0),
        make_sample(1, acc=float("nan")),
        make_sample(2, size=1.0),
        make_sample(3, size=1.0),
    ]
    del samples[2]["acc"]
    scores = {"acc,none": float("nan"), "size,none": 1.0}
    for given in (samples, samples[::-1]):
        logged = read_logged(write_samples(tmp_path, given, scores))
        assert list_gaps(logged) == ["toy: no number for acc in 2 of 4 rows."]
    assert list_gaps(read_logged(write_samples(tmp_path, samples[:1] * 2))) == []


@pytest.mark.parametrize(
    ("document", "subject"),
    [
        ({"subject": "anatomy", "topic": "bones"}, "anatomy"),
        ({"subject": "", "subject_name": "Surgery"}, "Surgery"),
        ({"meta_info": "step1"}, "step1"),
        ({"category": 3}, "3"),
        ({"category": 0, "topic": "bones"}, "0"),
        ({"subject": None, "category": float("nan"), "topic": []}, ""),
        ({"topic": "生理学"}, "生理学"),
        ({"question": "Why?"}, ""),
        ({}, ""),
    ],
)
def test_what_a_row_is_about(document, subject):
    assert find_subject(document) == subject


@pytest.mark.parametrize(
    ("metric", "how", "value", "is_mean"),
    [
        ("acc", None, 0.25, True),
        ("acc", "mean", 0.25, True),
        ("acc", "nanmean", float("nan"), True),
        ("acc", "median", 0.25, False),
        ("perplexity", None, 1.284, False),  # exp(-mean) of rows that are numbers
        ("perplexity", "perplexity", 0.25, False),
        ("mine", None, 0.25, True),
        ("mine", None, 0.26, False),
        ("mine", "mean", 0.26, True),
        ("mine", "def agg(items):\n    return sum(items) / len(items)\n", 0.25, True),
        ("mine", "def agg(items):\n    return max(items)\n", 1.0, False),
    ],
)
def test_which_scores_are_means(tmp_path, metric, how, value, is_mean):
    samples = [make_sample(row, **{metric: float(row == 2)}) for row in range(4)]
    entry = {"metric": metric} | ({"aggregation": how} if how else {})
    record = write_samples(tmp_path, samples, {f"{metric},none": value}, {"metric_list": [entry]})
    rows = read_logged(record).first(0, "toy")
    assert [row.scores.get(metric) for row in rows.values()] == ([0, 0, 1, 0] if is_mean else [None] * 4)


def test_metrics_that_are_means_are_so_for_lm_eval():
    """Those of its registry; em is DROP's and no_answer ours, both with aggregation: mean in their YAML."""
    from lm_eval.api import metrics as registered
    from lm_eval.api.registry import METRIC_REGISTRY, get_metric_aggregation

    assert len(MEANS & METRIC_REGISTRY.keys()) == 5
    for metric in MEANS & METRIC_REGISTRY.keys():
        assert get_metric_aggregation(metric) is registered.mean
    assert not MEANS & {"f1", "mcc", "perplexity", "word_perplexity", "brier_score", "bleu"}


@pytest.mark.parametrize(
    ("scores", "directions", "judged"),
    [
        ({"acc": [0, 1, 1, 0]}, {"acc": True}, "acc"),
        ({"acc": [0, 1, 1, 0]}, {}, "acc"),
        ({"f1": [0, 1, 0.5, 1], "em": [0, 1, 0, 1]}, {"f1": True, "em": True}, "em"),
        ({"f1": [0, 1, 0.5, 1]}, {"f1": True}, ""),
        ({"wer": [0, 0, 1, 0]}, {"wer": False}, ""),  # 0 is the best that can be
        ({"acc": [None, 1, 1, 0]}, {"acc": True}, "acc"),
        ({"acc": [None] * 4}, {"acc": True}, ""),
    ],
)
def test_which_metric_says_what_is_correct(tmp_path, scores, directions, judged):
    """By the metric and all its rows, not by the value of one row."""
    samples = [
        make_sample(row, acc=None, **{name: values[row] for name, values in scores.items() if name != "acc"})
        for row in range(4)
    ]
    for row, sample in enumerate(samples):
        sample["acc"] = scores.get("acc", [None] * 4)[row]
    means = {f"{name},none": sum(value or 0 for value in values) / 4 for name, values in scores.items()}
    record = write_samples(tmp_path, samples, means)
    record.results[0]["higher_is_better"] = {"toy": directions}
    rows = read_logged(record).first(0, "toy")
    assert find_judged(record.results[0], "toy", [rows, rows]) == judged


GOOD = json.dumps(make_sample(0)) + "\n" + json.dumps(make_sample(1)) + "\n"


@pytest.mark.parametrize(
    ("text", "effective", "reason"),
    [
        (GOOD[:-30], 2, "samples_toy_t.jsonl is damaged (line 2: "),
        (GOOD[:5], 2, "samples_toy_t.jsonl is damaged (line 1: "),
        (GOOD + "3\n", 2, "samples_toy_t.jsonl is damaged (line 3: not a JSON object)."),
        (GOOD, 5, "toy: only 2 of its 5 rows are saved."),
        ('{"doc_id": 1}\n', 1, "toy: its saved rows have no 'doc_hash'."),
    ],
)
def test_half_a_file_is_said_and_not_used(tmp_path, text, effective, reason):
    logged = read_logged(write_samples(tmp_path, text, effective=effective))
    [fault] = list_faults([logged, logged])
    assert reason in fault and fault.startswith("toy: ")
    assert logged.first(0, "toy") == {}


def test_half_a_character_is_damage_too(tmp_path):
    record = write_samples(tmp_path, GOOD)
    (tmp_path / "samples_toy_t.jsonl").write_bytes(GOOD.encode() + "中".encode()[:2])
    with pytest.raises(GptaltError) as caught:
        list(record.read_samples(0, "toy"))
    assert "is damaged (line " in caught.value.what and caught.value.hint.startswith("The scores and all")


PASSAGES = [make_sample(row, doc={"passage": passage}) for row, passage in enumerate(["x", "x", "", "", "y"])]


def test_rows_share_the_column_that_the_task_names(tmp_path):
    record = write_samples(tmp_path, PASSAGES, config={"metadata": {"cluster": "passage", "version": 1}})
    logged = read_logged(record)
    assert logged.clusters == {(0, "toy"): "passage"}
    first, second, *empty, last = (row.cluster for row in logged.first(0, "toy").values())
    assert first == second != last and last
    assert empty == ["", ""], "no passage is not the same passage"


def test_a_passage_may_have_the_number_0(tmp_path):
    samples = [make_sample(row, doc={"passage": row // 3}) for row in range(9)]
    record = write_samples(tmp_path, samples, config={"metadata": {"cluster": "passage"}})
    labels = label_clusters(read_logged(record).first(0, "toy"))
    assert [labels.index(label) for label in labels] == [0, 0, 0, 3, 3, 3, 6, 6, 6]


def test_rows_whose_passage_is_not_a_number_are_on_their_own(tmp_path):
    samples = [
        make_sample(row, doc={"passage": passage}) for row, passage in enumerate([nan, nan, None, 1.0, 1.0])
    ]
    record = write_samples(tmp_path, samples, config={"metadata": {"cluster": "passage"}})
    labels = label_clusters(read_logged(record).first(0, "toy"))
    assert [labels.index(label) for label in labels] == [0, 1, 2, 3, 3]


@pytest.mark.parametrize(
    "metadata", [{}, {"metadata": None}, {"metadata": "1.0"}, {"metadata": {"version": 1}}]
)
def test_no_column_is_named(tmp_path, metadata):
    logged = read_logged(write_samples(tmp_path, PASSAGES, config=metadata))
    assert logged.clusters == {} and {row.cluster for row in logged.first(0, "toy").values()} == {""}


def test_a_column_that_is_not_there(tmp_path):
    record = write_samples(tmp_path, PASSAGES, config={"metadata": {"cluster": "pasage"}})
    assert list_faults([read_logged(record)]) == [
        "toy: its rows have no column 'pasage'. Did you mean 'passage'?"
    ]
    with pytest.raises(GptaltError):
        read_task(record, 0, "toy", "article")


def test_a_column_whose_rows_are_not_saved(tmp_path):
    record = write_samples(tmp_path, [], config={"metadata": {"cluster": "passage"}})
    (tmp_path / "samples_toy_t.jsonl").unlink()
    assert list_faults([read_logged(record)]) == [
        "toy: no interval, because the rows with their passage are not saved."
    ]


@pytest.mark.parametrize(
    ("clusters", "column", "text"),
    [
        (None, "passage", ""), (582, "passage", " in 582 passages"), (1, "article", " in 1 article"),
        (8407, "source_id", " in 8,407 sources"), (2, "story", " in 2 stories"), (3, "cluster", " in 3 clusters"),
    ],
)  # fmt: skip
def test_how_clusters_are_called(clusters, column, text):
    assert say_clusters(clusters, column) == text
