"""Questions on a passage, evaluated and shown: screen, page, JSON, with the column named by dataset or task."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
from rich.console import Console

import gptalt_eval
from gptalt_eval.contract.record import find_runs, load_record
from gptalt_eval.data.standard import list_datasets
from gptalt_eval.results.analyse import list_scores
from gptalt_eval.results.compare import compare_runs
from gptalt_eval.results.report import render_report
from gptalt_eval.results.rows import read_logged
from gptalt_eval.results.table import print_scores
from gptalt_eval.testing import hash_likelihood, make_plugin_set, make_scripted_model

TASK = """
task: reading
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{story}}}} {{{{question}}}}"
doc_to_choice: [yes it is, no it is not]
doc_to_target: label
metadata: {{cluster: story}}
"""


LIKELIHOODS = {"a": lambda prompt, answer: float(len(answer)), "b": hash_likelihood}


def evaluate(root, name, output, **settings):
    model = make_scripted_model(LIKELIHOODS[name], name=name)
    return gptalt_eval.evaluate(
        name, "boolq,reading", plugins=make_plugin_set(models=[model]), data_dir=str(root), allow_partial_data=True,
        include_path=str(root), output_path=str(output), **settings,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """BoolQ, whose dataset names its passage, and a task of the user's own that names its story."""
    root = tmp_path_factory.mktemp("passages")
    (root / "boolq").mkdir()
    boolq, own = [], []
    for row in range(24):
        boolq.append(
            {"question": f"is it {row}", "passage": f"Text {row // 4}.", "title": "T", "answer": row % 3 == 0}
        )
        own.append({"question": f"is it {row}", "story": f"Once {row // 3}.", "label": row % 2})
    (root / "boolq" / "dev.jsonl").write_text("\n".join(map(json.dumps, boolq)))
    (root / "own.jsonl").write_text("\n".join(map(json.dumps, own)))
    (root / "reading.yaml").write_text(TASK.format(file=root / "own.jsonl"))
    for name in LIKELIHOODS:
        evaluate(root, name, root / "out", log_samples=True)
    return root / "out"


@pytest.fixture
def records(folder):
    return [load_record(run) for run in find_runs(folder)]


def test_the_dataset_or_the_task_names_the_column(records):
    """boolq's is in run.json, so that a folder tells without the plugins; the task's in its own YAML."""
    assert {name: data.cluster for name, data in records[0].run.data.items()} == {
        "boolq": "passage",
        "reading": "",
    }
    found = {score.task: (score.items, score.clusters, score.cluster) for score in list_scores(records[0])}
    assert found == {"boolq": (24, 6, "passage"), "reading": (24, 8, "story")}


def test_intervals_are_those_of_statsmodels(records):
    for record in records:
        for score in list_scores(record):
            lines = list(record.read_samples(0, score.task))
            values = np.array([line[score.metric] for line in lines])
            groups = np.unique([line["doc"][score.cluster] for line in lines], return_inverse=True)[1]
            fitted = sm.OLS(values, np.ones(24)).fit(
                cov_type="cluster", cov_kwds={"groups": groups}, use_t=True
            )
            low, high = fitted.conf_int()[0]
            assert score.interval == pytest.approx((max(0, low), min(1, high)))


def test_the_screen_and_the_page_say_so(records):
    with (console := Console(width=120)).capture() as printed:
        print_scores(console, [records[0]])
    page = render_report(records, make_plugin_set())
    for expected in ("24 in 6 passages", "24 in 8 stories"):
        assert expected in printed.get() and expected in page


def test_compare_says_so(folder):
    command = [sys.executable, "-m", "gptalt_eval", "compare", str(folder)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "boolq (standard, 0-shot), 24 rows in 6 passages" in printed
    assert "reading (standard, 0-shot), 24 rows in 8 stories" in printed
    assert "Rows of one passage or story are resampled and permuted together." in printed
    found = json.loads(
        subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout
    )
    assert [(each["cluster"], each["difference"]["clusters"]) for each in found] == [
        ("passage", 6),
        ("story", 8),
    ]


@pytest.mark.parametrize("older", [0, 1])
def test_compare_knows_passages_that_only_one_of_the_runs_names(folder, tmp_path, older):
    """An older version, like lm-eval itself, has no column in its record."""
    shutil.copytree(folder, tmp_path / "out")
    runs = find_runs(tmp_path / "out")
    file = runs[older] / "run.json"
    said = json.loads(file.read_text(encoding="utf-8"))
    del said["data"]["boolq"]["cluster"]
    file.write_text(json.dumps(said), encoding="utf-8")
    for given in (runs, runs[::-1]):
        [found, _] = compare_runs([load_record(run) for run in given])
        assert (found.task, found.cluster, found.difference.clusters) == ("boolq", "passage", 6)


def test_without_saved_rows_the_results_file_knows_the_interval(folder, records, tmp_path):
    """As with --output_path and no --log_samples: the same scores, intervals and words, with nothing to compare."""
    for record in records:
        unsaved = evaluate(folder.parent, record.model, tmp_path / "out", log_samples=False)
        assert not list(unsaved.folder.glob("samples_*"))
        assert list_scores(unsaved) == [replace(score, chance=None) for score in list_scores(record)]
        assert len({score.interval for score in list_scores(unsaved)}) > 1
        assert set(unsaved.results[0]["gptalt_clusters"]) == {"boolq", "reading"}
        assert read_logged(unsaved).faults == {}
        assert "gptalt_clusters" not in record.results[0], "the rows say it"


def test_rows_that_only_lm_eval_knew_have_a_reason_for_no_interval(folder, tmp_path):
    """Not one that takes questions for independent."""
    run = tmp_path / "a"
    run.mkdir()
    for file in (folder / "a").glob("r*.json"):
        (run / file.name).write_bytes(file.read_bytes())
    record = load_record(run)
    assert {score.interval for score in list_scores(record)} == {None}
    with (console := Console(width=200)).capture() as printed:
        print_scores(console, [record])
    text = "boolq: no interval, because the rows with their passage are not saved."
    assert text in " ".join(printed.get().split())
    assert text in render_report([record], make_plugin_set())


def test_the_columns_of_standard_datasets_are_theirs():
    """In the hub version's schema, as the embedded sample has it."""
    named = {dataset.name: dataset for dataset in list_datasets() if dataset.cluster}
    assert named.keys() == {"boolq", "drop", "hellaswag", "race_high", "race_middle"}
    for dataset in named.values():
        for file in dataset.sample.glob("*.jsonl"):
            assert all(json.loads(line).get(dataset.cluster) for line in file.read_text().splitlines())
