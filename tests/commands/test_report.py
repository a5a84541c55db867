"""Where the page of a report goes: to its run or its experiment, and never over the page of something else."""

import shutil

import pytest
from rich.console import Console

from gptalt_eval.commands.cli import dispatch
from gptalt_eval.commands.report import read_records
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.running.api import run
from gptalt_eval.testing import make_plugin_set, make_scripted_model

FOREIGN = "<!doctype html><title>Lab report</title>"


def make_plugins():
    return make_plugin_set(models=[make_scripted_model(name=name) for name in ("two", "one")])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("made") / "grid"
    settings = {"tasks": "arc_easy", "data_dir": "sample", "limit": 3, "log_samples": True}
    spec = make_spec({**settings, "model": "two,one", "output_path": str(root)})
    run(spec, make_plugins(), Console(quiet=True))
    return root


@pytest.fixture
def grid(made, tmp_path):
    """An experiment whose pages can be told from those of others."""
    copied = shutil.copytree(made, tmp_path / "grid")
    for name in ("one", "two"):
        (copied / name / "report.html").write_text(f"of {name}")
    return copied


def call(*words):
    return dispatch(["report", *map(str, words)], make_plugins())


def read_pages(root):
    return {file.relative_to(root): file.read_text(encoding="utf-8") for file in root.rglob("report.html")}


def list_changed(root, before):
    return {str(path) for path, text in read_pages(root).items() if before.get(path) != text}


def test_that_of_an_experiment_is_the_page_that_it_wrote_itself(grid, made, capsys):
    (grid / "report.html").unlink()
    before = read_pages(grid)
    assert call(grid) == 0
    assert capsys.readouterr().out == f"{grid / 'report.html'}\n"
    assert list_changed(grid, before) == {"report.html"}
    theirs = (made / "report.html").read_text(encoding="utf-8")
    assert (grid / "report.html").read_text(encoding="utf-8") == theirs
    assert [record.model for record in read_records([grid])] == ["two", "one"]


def test_that_of_a_run_is_in_its_folder(grid):
    before = read_pages(grid)
    call(grid / "one")
    assert list_changed(grid, before) == {"one/report.html"}


def test_that_of_a_folder_with_one_run_is_the_runs_own(grid, tmp_path):
    (tmp_path / "alone" / "below").mkdir(parents=True)
    shutil.move(grid / "one", tmp_path / "alone" / "below" / "one")
    call(tmp_path / "alone")
    assert (tmp_path / "alone" / "below" / "one" / "report.html").read_text(encoding="utf-8") != "of one"
    assert not (tmp_path / "alone" / "report.html").exists()


def test_an_experiment_of_which_one_model_ran_keeps_its_place(grid):
    shutil.rmtree(grid / "one")
    before = read_pages(grid)
    call(grid)
    assert list_changed(grid, before) == {"report.html"}


def test_that_of_a_folder_of_runs_is_in_the_folder(grid, tmp_path):
    before = read_pages(tmp_path)
    (grid / "experiment.json").unlink()
    shutil.move(grid / "two", tmp_path / "more" / "two")
    call(tmp_path)
    moved = {"more/two/report.html"}  # by this test
    assert list_changed(tmp_path, before) == {"report.html", *moved}
    before = read_pages(tmp_path)
    call(tmp_path)  # our own page is replaced
    assert list_changed(tmp_path, before) == set()


def test_a_page_of_somebody_else_is_kept(grid, tmp_path):
    (tmp_path / "report.html").write_text(FOREIGN)
    shutil.copytree(grid / "one", tmp_path / "other")
    with pytest.raises(GptaltError, match="was not written by gptalt-eval") as told:
        call(tmp_path)
    assert "--output" in told.value.hint
    assert (tmp_path / "report.html").read_text() == FOREIGN
    call(tmp_path, "--output", tmp_path / "report.html")  # the user said so
    assert (tmp_path / "report.html").read_text(encoding="utf-8") != FOREIGN


def test_several_folders_need_a_place(grid):
    before = read_pages(grid)
    with pytest.raises(GptaltError, match="2 runs from 2 folders") as told:
        call(grid / "one", grid / "two")
    assert "--output report.html" in told.value.hint
    assert list_changed(grid, before) == set()
    assert call(grid / "one", grid / "two", "--output", grid / "both.html") == 0
    assert "one" in (grid / "both.html").read_text(encoding="utf-8")


def test_the_page_of_a_run_with_others_below_it_is_kept(grid):
    shutil.move(grid / "two", grid / "one" / "two")
    before = read_pages(grid)
    with pytest.raises(GptaltError, match="is the page of one run, and this one has 2"):
        call(grid / "one")
    assert list_changed(grid, before) == set()


def test_a_run_that_is_named_twice_counts_once(grid):
    assert [record.model for record in read_records([grid, grid / "one", grid / ".." / "grid"])] == [
        "two",
        "one",
    ]


def test_the_same_run_named_twice_has_its_own_page(grid):
    before = read_pages(grid)
    call(grid / "one", grid / "one")
    assert list_changed(grid, before) == {"one/report.html"}


def test_a_link_in_place_of_the_experiment_is_refused(grid, tmp_path):
    shutil.move(grid / "experiment.json", tmp_path / "elsewhere.json")
    (grid / "experiment.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(GptaltError, match="is a link"):
        call(grid)
