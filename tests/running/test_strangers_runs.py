"""Run folders of other people: names in their files and links in them never lead to another file."""

import json
import os
import shutil

import pytest

from gptalt_eval.commands import cli
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.testing import make_plugin_set, make_scripted_model

SECRET = "the victim's own words"
COMMANDS = ("report", "compare", "resume", "rerun")


def call(*words, **rules):
    return cli.dispatch([str(word) for word in words], make_plugin_set(models=[make_scripted_model(**rules)]))


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("original")
    words = ["--model=scripted", "--tasks=piqa,arc_easy", "--data_dir=sample", "--limit=2", "--log_samples"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        patch.setenv("GPTALT_EVAL_LOAD_PLUGINS", "")
        call(*words, f"--output_path={folder}")
    return folder / "scripted"


@pytest.fixture
def theirs(original, tmp_path, monkeypatch):
    """A stranger's run, of which one task is left to do; the victim's files are outside of it."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    (tmp_path / "victim").write_text(SECRET)
    run = shutil.copytree(original, tmp_path / "theirs" / "scripted")
    change(run, done=["piqa"], missing=["arc_easy"], status="interrupted", finished="")
    (run / "answers.jsonl").write_text("")
    (run / "errors.log").write_text("an error\n")
    return run


def change(run, **fields):
    content = json.loads((run / "run.json").read_text()) | fields
    (run / "run.json").write_text(json.dumps(content))


def find_file(run, name):
    return next(run.glob(name), run / name)


def use(run, command):
    words = [command, run, *([run] if command == "compare" else [])]
    try:
        call(*words)
    except GptaltError as error:
        return str(error)
    return ""


def check_victim(folder, victim, printed):
    assert victim.read_text() == SECRET and victim.exists()
    assert SECRET not in "".join(printed)
    for file in folder.rglob("*"):
        if file.is_file() and not file.samefile(victim):
            assert SECRET not in file.read_text(errors="replace"), file


@pytest.mark.parametrize("kind", ["link", "hard link", "link to nothing", "pipe"])
@pytest.mark.parametrize(
    "name", ["run.json", "results_*.json", "samples_piqa_*.jsonl", "samples_arc_easy_*.jsonl", "answers.jsonl", "errors.log",
             "report.html", "experiment.json", "../experiment.json", "run_1.json"],
)  # fmt: skip
def test_every_file_replaced_by_a_link(theirs, tmp_path, capsys, name, kind):
    victim, target = tmp_path / "victim", find_file(theirs, name)
    target.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(target)
    elif kind == "hard link":
        os.link(victim, target)
    else:
        target.symlink_to(victim if kind == "link" else tmp_path / "made")
    for command in COMMANDS:
        said = use(theirs, command)
        assert "Traceback" not in said
        printed = capsys.readouterr()
        check_victim(tmp_path, victim, [said, printed.out, printed.err])
        assert not (tmp_path / "made").exists()


def test_a_failing_task_writes_no_log_through_a_link(theirs, tmp_path, capsys):
    (theirs / "errors.log").unlink()
    (theirs / "errors.log").symlink_to(tmp_path / "victim")

    def fail(prompt, continuation):
        raise RuntimeError("broken")

    with pytest.raises(GptaltError, match=r"errors\.log is a link"):
        call("resume", theirs, likelihood=fail)
    check_victim(tmp_path, tmp_path / "victim", capsys.readouterr())


@pytest.mark.parametrize(
    "name", ["../made", "/{tmp}/made", "..", "a/../../made", "..\\made", "made\0x", "x" * 300]
)
@pytest.mark.parametrize("field", ["stem", "started", "results", "cells"])
def test_every_name_in_run_json(theirs, tmp_path, capsys, field, name):
    name = name.replace("/{tmp}", str(tmp_path))
    (tmp_path / "victim").unlink()
    cells = [{"prompt_style": None, "num_fewshot": None, "results": name}]
    change(theirs, **{field: {"results": [name], "cells": cells}.get(field, name)})
    (tmp_path / "made").write_text(SECRET)  # what the name leads to
    before = sorted(map(str, tmp_path.rglob("*")))
    for command in COMMANDS:
        assert field in use(theirs, command)
    assert sorted(map(str, tmp_path.rglob("*"))) == before
    check_victim(tmp_path, tmp_path / "made", capsys.readouterr())


@pytest.mark.parametrize("name", ["../../victim", "/etc/passwd", "..", "a/b"])
def test_names_of_tasks_are_no_paths(theirs, tmp_path, capsys, name):
    file = find_file(theirs, "results_*.json")
    text = file.read_text().replace('"piqa"', json.dumps(name))
    file.write_text(text)
    (tmp_path / "theirs" / f"samples_{name.replace('/', '_')}_x.jsonl").write_text(SECRET)
    for command in ("report", "compare", "resume"):
        use(theirs, command)
    assert (tmp_path / "victim").read_text() == SECRET
    assert "root:" not in (theirs / "report.html").read_text()


def test_a_yaml_cannot_name_its_task_into_another_folder(tmp_path):
    (tmp_path / "evil.yaml").write_text(
        "task: ../../made\ndataset_path: allenai/ai2_arc\ndataset_name: ARC-Easy\noutput_type: generate_until\n"
        "test_split: test\ndoc_to_text: '{{question}}'\ndoc_to_target: answerKey\n"
    )
    with pytest.raises(GptaltError, match="cannot be a task's name"):
        call(
            "--model=scripted",
            f"--tasks={tmp_path / 'evil.yaml'}",
            "--data_dir=sample",
            f"--output_path={tmp_path / 'out'}",
        )
    assert not list(tmp_path.rglob("*made*"))


@pytest.mark.parametrize("command", ["resume", "run"])
def test_a_models_folder_in_an_experiment_is_no_link(theirs, tmp_path, command):
    elsewhere = tmp_path / "elsewhere"
    shutil.move(theirs, elsewhere)
    theirs.symlink_to(elsewhere)
    root = theirs.parent
    settings = {"model": "scripted,dummy", "tasks": ["piqa"], "data_dir": "sample", "limit": 1}
    (root / "experiment.json").write_text(json.dumps(settings))
    before = {file: file.read_bytes() for file in elsewhere.iterdir()}
    with pytest.raises(GptaltError, match="is a link"):
        if command == "resume":
            call("resume", root)
        else:
            call("--model=scripted", "--tasks=piqa", "--data_dir=sample", f"--output_path={root}")
    assert {file: file.read_bytes() for file in elsewhere.iterdir()} == before


def test_links_to_folders_are_not_entered(theirs, tmp_path):
    (tmp_path / "outer" / "real").mkdir(parents=True)
    (tmp_path / "outer" / "link").symlink_to(theirs.parent)
    with pytest.raises(GptaltError, match="contains no run"):
        call("report", tmp_path / "outer")


def test_the_typed_folder_may_be_behind_a_link(theirs, tmp_path):
    (tmp_path / "typed").symlink_to(theirs.parent)
    call("report", tmp_path / "typed" / "scripted")
    call("resume", tmp_path / "typed" / "scripted")
    assert json.loads((theirs / "run.json").read_text())["status"] == "complete"


def test_a_run_that_was_left_alone_is_resumed(theirs):
    call("resume", theirs)
    assert json.loads((theirs / "run.json").read_text())["done"] == ["piqa", "arc_easy"]


def test_answers_of_a_wrong_kind_are_not_used(theirs, tmp_path):
    """A file of answers in which every line is damaged in another way."""
    lines = [
        "[" * 5000,
        "{}",
        "[1]",
        '[["x"], 1]',
        '["k", 1, 1e999]',
        '["k", 1, "x"]',
        "1",
        '"ab"',
        "NaN",
        "\\ud800",
    ]
    (theirs / "answers.jsonl").write_text("\n".join(lines))
    call("resume", theirs)
    assert json.loads((theirs / "run.json").read_text())["status"] == "complete"
