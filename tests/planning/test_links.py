"""Links that lead out of a data folder: named and asked for, once; followed by nobody before."""

import json
import shutil

import pytest

from gptalt_eval.commands import cli
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.planning.consent.links import find_links
from gptalt_eval.testing import make_plugin_set, make_scripted_model

ROW = {"goal": "the user's secret", "sol1": "a", "sol2": "b"}
LABELS = "0\n0\n"
DATASETS = "own: {hub: baber/own, splits: {validation: own/rows.jsonl}}\n"
TASK = """
task: quiz
dataset_path: baber/own
validation_split: validation
output_type: multiple_choice
doc_to_text: "{{goal}}"
doc_to_choice: [a, b]
doc_to_target: 0
"""


@pytest.fixture
def scene(tmp_path, monkeypatch):
    """A data folder of a stranger, and a file of the user's beside it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "theirs" / "piqa").mkdir(parents=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "valid.jsonl").write_text(f"{json.dumps(ROW)}\n{json.dumps(ROW)}\n")
    (tmp_path / "mine" / "valid-labels.lst").write_text(LABELS)
    (tmp_path / "theirs" / "piqa" / "valid-labels.lst").write_text(LABELS)
    return tmp_path


def call(*words):
    """What the program refuses; empty: nothing."""
    plugins = make_plugin_set(models=[make_scripted_model()])
    try:
        cli.dispatch([str(word) for word in words], plugins)
    except GptaltError as error:
        return str(error)
    return ""


def run(*words):
    shutil.rmtree("out", ignore_errors=True)
    return call("run", "--model=scripted", "--tasks=piqa", "--data_dir=theirs", "--output_path=out",
                "--allow-partial-data", "--log_samples", *words)  # fmt: skip


def link_file(scene):
    (scene / "theirs" / "piqa" / "valid.jsonl").symlink_to(scene / "mine" / "valid.jsonl")
    return f"reads {scene / 'mine' / 'valid.jsonl'} (the link theirs/piqa/valid.jsonl)"


def link_folder(scene):
    shutil.rmtree(scene / "theirs" / "piqa")
    (scene / "theirs" / "piqa").symlink_to(scene / "mine")
    return f"reads {scene / 'mine'} (the link theirs/piqa)"


def link_labels(scene):
    shutil.copy(scene / "mine" / "valid.jsonl", scene / "theirs" / "piqa")
    (scene / "theirs" / "piqa" / "valid-labels.lst").unlink()
    (scene / "theirs" / "piqa" / "valid-labels.lst").symlink_to(scene / "mine" / "valid-labels.lst")
    return f"reads {scene / 'mine' / 'valid-labels.lst'} (the link theirs/piqa/valid-labels.lst)"


def link_twice(scene):
    (scene / "theirs" / "a").symlink_to("../mine")
    (scene / "theirs" / "piqa" / "valid.jsonl").symlink_to("../a/valid.jsonl")
    return f"reads {scene / 'mine' / 'valid.jsonl'} (the link theirs/piqa/valid.jsonl)"


@pytest.mark.parametrize("link", [link_file, link_folder, link_labels, link_twice])
def test_a_link_is_named_and_asked_for_once(scene, link):
    named = link(scene)
    told = run()
    assert told.startswith("Links in theirs lead out of it:\n") and named in told
    assert told.endswith(f"If you trust them, add: --trust_task_code {scene / 'theirs'}")
    assert not (scene / "out").exists() and call("show", "task", "piqa", "--data_dir=theirs") == told
    assert run("--trust_task_code=theirs") == ""
    assert "the user's secret" in next((scene / "out").rglob("samples_*.jsonl")).read_text()
    assert run() == "", "it is remembered"


def test_a_link_that_leads_elsewhere_by_now_is_asked_for_again(scene):
    link_file(scene)
    assert run("--trust_task_code=theirs") == "" == run()
    (scene / "mine" / "other.jsonl").write_text((scene / "mine" / "valid.jsonl").read_text())
    (scene / "theirs" / "piqa" / "valid.jsonl").unlink()
    (scene / "theirs" / "piqa" / "valid.jsonl").symlink_to(scene / "mine" / "other.jsonl")
    assert "other.jsonl" in run()


def test_links_within_the_folder_are_free_and_so_is_a_link_to_the_folder(scene):
    (scene / "theirs" / "rows.jsonl").write_text((scene / "mine" / "valid.jsonl").read_text())
    (scene / "theirs" / "piqa" / "valid.jsonl").symlink_to("../rows.jsonl")
    assert run() == ""
    (scene / "elsewhere").mkdir()
    (scene / "theirs").rename(scene / "elsewhere" / "theirs")
    (scene / "theirs").symlink_to(scene / "elsewhere" / "theirs")
    assert run() == ""


@pytest.mark.parametrize("words", [("--trust_task_code=mine",), ("--trust_task_code=theirs/piqa",)])
def test_the_consent_is_for_the_data_folder(scene, words):
    link_file(scene)
    assert "lead out of it" in run(*words)


def write_own(scene):
    (scene / "theirs" / "datasets.yaml").write_text(DATASETS)
    (scene / "theirs" / "own").mkdir()
    (scene / "theirs" / "own" / "rows.jsonl").symlink_to(scene / "mine" / "valid.jsonl")
    (scene / "theirs" / "quiz.yaml").write_text(TASK)


def test_rows_of_a_datasets_yaml_too(scene):
    write_own(scene)
    told = run("--tasks=theirs/quiz.yaml")
    assert f"reads {scene / 'mine' / 'valid.jsonl'} (the link theirs/own/rows.jsonl)" in told


def test_validate_does_not_try_templates_on_them(scene, capsys):
    write_own(scene)
    (scene / "theirs" / "quiz.yaml").write_text(TASK.replace("{{goal}}", "{{goal}}{{nothing}}"))
    call("validate", "theirs/quiz.yaml", "--data_dir=theirs")
    said = capsys.readouterr().out
    assert "secret" not in said and "lead out of it" in said and "valid.jsonl" in said


def test_where_a_link_is(tmp_path):
    (tmp_path / "data" / "a").mkdir(parents=True)
    (tmp_path / "far" / "b").mkdir(parents=True)
    (tmp_path / "far" / "b" / "file").write_text("")
    (tmp_path / "data" / "a" / "b").symlink_to(tmp_path / "far" / "b")
    link = tmp_path / "data" / "a" / "b"
    assert [*find_links(tmp_path / "data", [link / "file"])] == [(link, tmp_path / "far" / "b")]
    assert [*find_links(tmp_path / "data" / "a" / "b", [link / "file"])] == []


# ---------------------------------------------------------------------- data prepare


def test_a_link_in_a_download_is_not_copied(scene):
    (scene / "download").mkdir()
    (scene / "download" / "valid.jsonl").symlink_to(scene / "mine" / "valid.jsonl")
    told = call("data", "prepare", "piqa", "--from=download", "--data_dir=new")
    assert f"is a link to {scene / 'mine' / 'valid.jsonl'}, which is not in download" in told
    assert not [*(scene / "new").rglob("*.jsonl")]


def test_nothing_is_written_through_a_link_of_the_data_folder(scene):
    (scene / "download").mkdir()
    (scene / "download" / "train.jsonl").write_text(json.dumps(ROW))
    link_folder(scene)
    told = call("data", "prepare", "piqa", "--from=download", "--data_dir=theirs")
    assert f"would be written to {scene / 'mine' / 'train.jsonl'}, because a link leads there" in told
    assert not (scene / "mine" / "train.jsonl").exists()
