import json
from dataclasses import asdict

import pytest

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.record import find_runs, is_run_file, load_record, read_lines, read_run
from gptalt_eval.contract.run import (
    Checkout,
    Run,
    RunCell,
    RunData,
    RunModel,
    RunPlugin,
    RunScoring,
    RunSplit,
)
from gptalt_eval.contract.types import Owner
from gptalt_eval.running.runfiles import write_run_file


def make_run(folder, **changes):
    folder.mkdir(parents=True)
    run = {
        "status": "complete",
        "started": "2026-01-01T00:00:00",
        "model": {"name": "m"},
        "results": ["results_t.json"],
        "notes": ["n"],
        **changes,
    }
    (folder / "run.json").write_text(json.dumps(run))
    (folder / "results_t.json").write_text(
        json.dumps({"results": {"piqa": {"acc,none": 0.5}}, "model_name": "m"})
    )
    (folder / "samples_piqa_t.jsonl").write_text('{"doc_id": 0}\n\n{"doc_id": 1}\n')
    return folder


def test_a_run_is_read_back(tmp_path):
    record = load_record(make_run(tmp_path / "a"))
    assert (record.model, record.notes, record.is_complete) == ("m", ("n",), True)
    assert [line["doc_id"] for line in record.read_samples(0, "piqa")] == [0, 1]
    assert list(record.read_samples(0, "boolq")) == []


def test_what_plain_lm_eval_wrote_is_read_as_well(tmp_path):
    (make_run(tmp_path / "a") / "run.json").unlink()
    record = load_record(tmp_path / "a")
    assert record.model == "m" and record.run == Run() and record.is_complete


def test_runs_are_found_below_an_output_path(tmp_path):
    make_run(tmp_path / "out" / "one")
    make_run(tmp_path / "out" / "two")
    assert [folder.name for folder in find_runs(tmp_path / "out")] == ["one", "two"]
    assert find_runs(tmp_path / "out" / "two") == [tmp_path / "out" / "two"]


def test_folders_without_a_run(tmp_path):
    make_run(tmp_path / "2026-01-01")
    with pytest.raises(GptaltError, match="2026-01-01"):
        find_runs(tmp_path / "2026-01-10")
    (tmp_path / "empty").mkdir()
    with pytest.raises(GptaltError, match="contains no run"):
        find_runs(tmp_path / "empty")
    with pytest.raises(GptaltError, match="contains no run"):
        load_record(tmp_path / "empty")


def test_damaged_files_are_named(tmp_path):
    folder = make_run(tmp_path / "a")
    (folder / "results_t.json").write_text("{")
    with pytest.raises(GptaltError, match=r"results_t\.json is damaged"):
        load_record(folder)


def test_an_earlier_runs_file_is_kept(tmp_path):
    write_run_file(tmp_path, Run(started="2026-01-01T00:00:00", status="running"))
    write_run_file(tmp_path, Run(started="2026-01-01T00:00:00", status="complete"))
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
    write_run_file(tmp_path, Run(started="2026-02-02T00:00:00", status="running"))
    assert json.loads((tmp_path / "run_2026-01-01T00-00-00.json").read_text())["status"] == "complete"
    (tmp_path / "run.json").write_text("{ cut")
    write_run_file(tmp_path, Run(started="2026-03-03T00:00:00"))
    assert (tmp_path / "run_damaged.json").is_file()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"status": "finished"}, "status is 'finished', expected one of 'running', 'complete'"),
        ({"missing": "piqa"}, "missing is 'piqa', expected a list"),
        ({"missing": [3]}, "missing[0] is 3, expected str"),
        ({"model": {"name": ["m"]}}, "model.name is ['m'], expected str"),
        ({"model": {"parameters": True}}, "model.parameters is True, expected int"),
        (
            {"data": {"piqa": {"splits": {"test": {"rows": "5"}}, "origin": "hub"}}},
            "data.piqa.splits.test.rows is '5'",
        ),
        ({"data": {"piqa": {}}}, "data.piqa.origin is missing"),
        ({"failed": ["piqa"]}, "failed is ['piqa'], expected an object"),
        ({"seconds": "9"}, "seconds is '9', expected float"),
    ],
)
def test_a_value_of_another_kind_is_named(tmp_path, changes, said):
    folder = make_run(tmp_path / "a", **changes)
    with pytest.raises(GptaltError) as caught:
        load_record(folder)
    assert caught.value.what.startswith(f"{folder / 'run.json'} is damaged ({said}")


def test_what_a_later_version_adds_is_ignored(tmp_path):
    record = load_record(make_run(tmp_path / "a", mood="good", model={"name": "m", "colour": "red"}))
    assert record.model == "m"


def test_a_file_that_holds_no_object_is_damaged(tmp_path):
    folder = make_run(tmp_path / "a")
    (folder / "run.json").write_text("[1]")
    with pytest.raises(GptaltError, match="not a JSON object"):
        load_record(folder)


def test_what_is_written_is_read_back(tmp_path):
    run = Run(
        status="interrupted",
        started="2026-01-01T00:00:00",
        settings={"model": "m", "model_args": {"dtype": None}, "limit": 2.0},
        model=RunModel(
            "m", Owner("p", "1", "gptalt-eval-plugin-p"), {"a": "1"}, parameters=3, load_seconds=0.5
        ),
        data={"piqa": RunData("folder", "piqa", None, splits={"test": RunSplit(5, None, "ab", 1)})},
        seeds=(0, None, 1, 2),
        cells=(RunCell("system", 3, "results_t.json"), RunCell()),
        done=("piqa",),
        missing=("race",),
        failed={"boolq": "no rows"},
        scoring=RunScoring("tree"),
    )
    write_run_file(tmp_path, run)
    assert read_run(tmp_path / "run.json") == run


def test_the_model_is_named_by_run_json_then_by_the_results_then_by_the_folder(tmp_path):
    folder = make_run(tmp_path / "a")
    (folder / "results_t.json").write_text(json.dumps({"model_name": "theirs"}))
    assert load_record(folder).model == "m"
    (folder / "run.json").unlink()
    assert load_record(folder).model == "theirs"
    (folder / "results_t.json").write_text(json.dumps({"model_name": None}))
    assert load_record(folder).model == "a"
    (folder / "results_t.json").unlink()
    (folder / "run.json").write_text("{}")
    assert load_record(folder).model == "a"


@pytest.mark.parametrize(
    ("changes", "is_complete", "failed"),
    [
        ({"status": "complete"}, True, {}),
        ({"status": "running"}, False, {}),
        ({"status": "incomplete", "failed": {"race": "no rows"}}, False, {"race": "no rows"}),
    ],
)
def test_whether_a_run_is_complete_and_what_failed(tmp_path, changes, is_complete, failed):
    record = load_record(make_run(tmp_path / "a", **changes))
    assert (record.is_complete, record.failed) == (is_complete, failed)


def test_a_results_file_that_is_listed_and_gone_is_left_out(tmp_path):
    folder = make_run(tmp_path / "a", results=["results_gone.json", "results_t.json"])
    record = load_record(folder)
    assert record.files == (folder / "results_t.json",) and len(record.results) == 1
    assert record.notes == (
        "n",
        "results_gone.json is missing, so its scores are not shown. To compute them again: "
        f"gptalt-eval resume {folder}",
    )
    assert [line["doc_id"] for line in record.read_samples(0, "piqa")] == [0, 1]
    (folder / "results_t.json").unlink()
    assert load_record(folder).files == load_record(folder).results == ()


def test_the_results_are_those_that_run_json_lists(tmp_path):
    """In its order; where it lists none, all that lie there, by name."""
    folder = make_run(tmp_path / "a", results=["results_t.json", "stem_results_b.json"])
    (folder / "stem_results_b.json").write_text('{"which": "b"}')
    (folder / "results_a.json").write_text('{"which": "a"}')
    (folder / "samples_piqa_b.jsonl").write_text('{"doc_id": 7}')
    (folder / "other.json").write_text("{}")
    record = load_record(folder)
    assert [file.name for file in record.files] == ["results_t.json", "stem_results_b.json"]
    assert record.results[1]["which"] == "b"
    assert [line["doc_id"] for line in record.read_samples(1, "piqa")] == [7]
    (folder / "run.json").write_text("{}")
    names = ["results_a.json", "results_t.json", "stem_results_b.json"]
    assert [file.name for file in load_record(folder).files] == names


def test_what_is_said_where_there_is_no_run(tmp_path):
    make_run(tmp_path / "2026-01-01")
    (tmp_path / "empty").mkdir()
    for call, what, hint in (
        (lambda: find_runs(tmp_path / "2026-01-02"), f"There is no run folder {tmp_path / '2026-01-02'}.", f"Did you mean '{tmp_path / '2026-01-01'}'?"),
        (lambda: find_runs(tmp_path / "no" / "such"), f"There is no run folder {tmp_path / 'no' / 'such'}.", ""),
        (lambda: find_runs(tmp_path / "empty"), f"{tmp_path / 'empty'} contains no run: there is no run.json and no results_*.json.", "Give the folder that a run printed at its end."),
        (lambda: load_record(tmp_path / "empty"), f"{tmp_path / 'empty'} contains no run.", ""),
    ):  # fmt: skip
        with pytest.raises(GptaltError) as caught:
            call()
        assert caught.value.what == what and caught.value.hint.startswith(hint)
        assert bool(caught.value.hint) == bool(hint)


def test_runs_of_plain_lm_eval_are_found_too(tmp_path):
    """By their results; a folder with both files is one run."""
    (make_run(tmp_path / "out" / "theirs") / "run.json").unlink()
    (make_run(tmp_path / "out" / "begun") / "results_t.json").unlink()
    make_run(tmp_path / "out" / "ours")
    assert [folder.name for folder in find_runs(tmp_path / "out")] == ["begun", "ours", "theirs"]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("run.json", b"{", "Expecting property name"),
        ("run.json", b"\xff", "'utf-8' codec can't decode"),
        ("run.json", b"[]", "not a JSON object"),
        ("run.json", b'{"notes": 3}', "notes is 3, expected a list"),
        ("results_t.json", b"", "Expecting value"),
        ("results_t.json", b"3", "not a JSON object"),
        ("results_t.json", b'{"n-shot": {"piqa": -1}}', "n-shot.piqa is -1, expected a count"),
    ],
)
def test_what_is_said_of_a_damaged_file(tmp_path, name, content, reason):
    folder = make_run(tmp_path / "a")
    (folder / name).write_bytes(content)
    with pytest.raises(GptaltError) as caught:
        load_record(folder)
    assert caught.value.what.startswith(f"{folder / name} is damaged ({reason}")
    assert caught.value.what.endswith(").")
    assert caught.value.hint == "Results of other runs are not affected."


def test_what_is_not_known_is_not_written():
    """Of a run that was only begun: no length, no scoring; but settings that are None are."""
    content = Run(settings={"seed": None}, cells=(RunCell(),)).dump()
    assert content["status"] == "complete" and content["format"] == 1
    assert "seconds" not in content and "scoring" not in content
    assert content["settings"] == {"seed": None}
    assert list(content["cells"]) == [
        {"prompt_style": None, "num_fewshot": None, "results": None, "prompts": ""}
    ]


def test_what_is_not_stated_is_empty():
    assert Run().dump() == {
        "format": 1, "status": "complete", "command": "", "settings": {}, "started": "", "finished": "", "resumed": (),
        "model": asdict(RunModel()), "data": {}, "notes": (), "seeds": (), "versions": {}, "task_code": {}, "plugins": (), "earlier_plugins": (), "earlier_versions": (), "git": asdict(Checkout()), "results": (),
        "cells": (), "done": (), "failed": {}, "missing": (), "cut": {}, "stem": "", "hardware": {}, "usage": {}, "workers": (),
    }  # fmt: skip
    assert asdict(RunModel()) == {
        "name": "", "owner": None, "args": {}, "licence": "", "home": "", "fingerprint": None, "parts": {}, "parameters": None,
        "dtype": "", "device": "", "load_seconds": None, "commits": {}, "stop": (), "stop_token_ids": (), "system_place": "",
    }  # fmt: skip
    assert asdict(RunData("hub")) == {
        "origin": "hub", "hub": "", "config": None, "task_from": "", "partial": False, "reason": "", "title": "", "licence": "",
        "home": "", "splits": {}, "yaml": "", "cluster": "", "files": "",
    }  # fmt: skip
    assert asdict(RunSplit(3)) == {"rows": 3, "official_rows": None, "sha256": "", "files": 0}
    assert asdict(Checkout()) == {"commit": "", "changed": False}
    assert asdict(RunScoring("tree")) == {
        "way": "tree",
        "reason": "",
        "tokens": 0,
        "asked": 0,
        "seconds": 0.0,
    }


def test_the_time_of_a_file_stands_after_its_last_results(tmp_path):
    folder = make_run(tmp_path / "a", results=["results_mine_results_t2.json"])
    (folder / "results_mine_results_t2.json").write_text("{}")
    (folder / "samples_piqa_t2.jsonl").write_text('{"doc_id": 5}')
    assert [line["doc_id"] for line in load_record(folder).read_samples(0, "piqa")] == [5]


def test_a_damaged_line_is_named_by_its_number_and_nothing_else_is_affected(tmp_path):
    file = tmp_path / "samples.jsonl"
    file.write_text('{"doc_id": 0}\nnot JSON\n')
    with pytest.raises(GptaltError) as refused:
        list(read_lines(file))
    assert "(line 2: " in refused.value.what and refused.value.what.endswith(").")
    assert refused.value.hint == "The scores and all other tasks are not affected."
    file.write_text("not JSON\n")
    with pytest.raises(GptaltError, match=r"\(line 1: "):
        list(read_lines(file))


def test_a_plugin_is_said_with_its_version_and_hash():
    assert str(RunPlugin("medqa", "gptalt-eval-plugin-medqa", "0.1.0", "a" * 64)) == (
        "gptalt-eval-plugin-medqa 0.1.0 (aaaaaaaaaaaa)"
    )
    assert str(RunPlugin("mine")) == "mine (not installed)"


def test_hardware_that_lists_no_gpus_is_refused():
    Run(hardware={"gpus": []}).check()
    with pytest.raises(ValueError, match=r"hardware.gpus is 'two', expected a list"):
        Run(hardware={"gpus": "two"}).check()


def test_both_parts_of_a_run_of_two_versions_are_said():
    run = Run(versions={"torch": "2"}, earlier_versions=({"torch": "1"},))
    assert run.explain_versions() == [
        "A part of this run was computed with torch 1, and what follows with torch 2."
    ]
    run = Run(
        versions={"torch": "2", "peft": "3", "rich": "1"},
        earlier_versions=({"torch": "1", "rich": "1", "lm_eval": "4"},),
    )
    assert run.explain_versions() == [
        "A part of this run was computed with torch 1, lm_eval 4, peft (none), "
        "and what follows with torch 2, peft 3, lm_eval (none)."
    ]


@pytest.mark.parametrize("plugin", [RunPlugin("medqa", "gptalt-eval-plugin-medqa", "1.0"), RunPlugin("mine")])
def test_a_part_that_was_computed_with_another_plugin_is_said(plugin):
    assert Run(earlier_plugins=(plugin,)).explain_versions() == [
        f"A part of this run was computed with {plugin}."
    ]
    assert plugin.sha256 == ""


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (Run(results=("results_a.json", "../b")), "results[1] is '../b', expected a name without folders"),
        (Run(stem="a/b"), "stem is 'a/b', expected a name without folders"),
        (Run(started="2026/01"), "started is '2026/01', expected a name without folders"),
        (
            Run(cells=(RunCell(results="a.json"), RunCell(results="/b"))),
            "cells[1].results is '/b', expected a name without folders",
        ),
    ],
)
def test_names_of_files_lead_to_no_other_folder(run, said):
    with pytest.raises(ValueError) as raised:
        run.check()
    assert str(raised.value) == said


def test_the_time_at_which_a_run_started_names_files_without_its_colons():
    Run(started="2026-01-01T10:20:30", stem="a", results=("results_a.json",)).check()


@pytest.mark.parametrize(
    ("name", "is_run"),
    [
        ("run.json", True), ("results_1.json", True), ("results_.json", True), ("results.json", False),
        ("results_1.jsonl", False), ("other_results_1.json", False), ("settings.json", False), ("run.json~", False),
    ],
)  # fmt: skip
def test_files_by_which_a_run_is_known(name, is_run):
    assert is_run_file(name) is is_run
