"""What a run writes about itself: all of run.json, the names of its files, and what is kept when it goes on."""

import json
import os
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import pytest

import gptalt_eval
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.located import LocatedData, LocatedSplit
from gptalt_eval.contract.models import Model
from gptalt_eval.contract.plan import PlannedTask, title_model
from gptalt_eval.contract.record import load_record
from gptalt_eval.contract.run import Run, RunCell, RunData, RunSplit
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.contract.types import Dataset, Owner
from gptalt_eval.planning.index import Function
from gptalt_eval.planning.resolve import resolve
from gptalt_eval.running import runfiles
from gptalt_eval.running.runfiles import (
    RunFiles,
    choose_folder,
    describe_located,
    hash_style,
    hash_value,
    name_run_folder,
)

STAMP = r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d+"


@pytest.fixture
def make_plan(plugins, tmp_path):
    def make(**settings):
        given = {
            "model": "scripted",
            "tasks": "piqa,arc_easy",
            "data_dir": "sample",
            "output_path": str(tmp_path / "out"),
        }
        return resolve(make_spec({**given, **settings}), plugins)

    return make


def read(files):
    return json.loads((files.folder / "run.json").read_text(encoding="utf-8"))


# ------------------------------------------------------------------ where


HF = Model("hf", "", "", "")


@pytest.mark.parametrize(
    ("model", "args", "title", "folder"),
    [
        (HF, {"pretrained": "org/model"}, "org/model", "org__model"),
        (HF, {"pretrained": "org/model", "peft": "me/adapter"}, "me/adapter", "me__adapter"),
        (HF, {}, "hf", "hf"),
        (Model("smollm2", "", "", ""), {"pretrained": "/cache/x"}, "smollm2", "smollm2"),
        (HF, {"pretrained": 'a"<b>:c|d\\e?f*g[h]i'}, 'a"<b>:c|d\\e?f*g[h]i', "a__b__c__d__e__f__g__h__i"),
        (HF, {"pretrained": "模型/一号"}, "模型/一号", "模型__一号"),
        (HF, {"pretrained": "./folder"}, "folder", "folder"),
        (HF, {"pretrained": "../folder/"}, "folder", "folder"),
        (HF, {"pretrained": "/big/disk/llama/checkpoint-500"}, "llama/checkpoint-500", "llama__checkpoint-500"),
        (HF, {"pretrained": "./run1/checkpoint-500"}, "run1/checkpoint-500", "run1__checkpoint-500"),
        (HF, {"pretrained": ".hidden"}, "hidden", "hidden"),
        (Model("./folder", "", "", ""), {"pretrained": "./folder"}, "folder", "folder"),
        (Model("openai-completions", "", "", "", backend="openai-completions"), {"model": "gpt-4o"}, "gpt-4o", "gpt-4o"),
    ],
)  # fmt: skip
def test_the_title_and_the_folder_of_a_model(model, args, title, folder):
    assert title_model(model, args) == title
    assert name_run_folder(title) == folder


def test_the_current_folder_has_a_title_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert title_model(HF, {"pretrained": "."}) == title_model(HF, {"pretrained": "./"}) == tmp_path.name


def test_an_output_path_may_be_a_file_as_in_lm_eval(make_plan, tmp_path):
    assert choose_folder(make_plan()) == ("", tmp_path / "out" / "scripted")
    assert choose_folder(make_plan(output_path=str(tmp_path / "x" / "mine.json"))) == (
        "mine_",
        tmp_path / "x",
    )
    assert choose_folder(make_plan(output_path=str(tmp_path / "x.jsonl"))) == (
        "",
        tmp_path / "x.jsonl" / "scripted",
    )


# ------------------------------------------------------------------ run.json


def test_all_that_run_json_says_before_anything_ran(make_plan, tmp_path):
    plan = make_plan(num_fewshot="0,2", limit=3, seed=5, prompt_style="standard", gen_kwargs={"a": 1})
    plan = replace(plan, lacking={"race (2-shot)": "too few rows"}, model_args={"n": 3, "path": Path("/x")})
    files = RunFiles(plan, main=True)
    assert not files.folder.exists()
    files.save_run()
    said = read(files)
    started = datetime.fromisoformat(said.pop("started"))
    assert started.tzinfo is not None and abs((started - datetime.now().astimezone()).total_seconds()) < 60
    assert said.pop("versions")["gptalt-eval"] == gptalt_eval.__version__
    assert set(said.pop("git")) == {"commit", "changed"}
    assert said == {
        "format": 1,
        "status": "running",
        "command": f"gptalt-eval --model scripted --tasks piqa,arc_easy --num_fewshot 0,2 --prompt_style standard --limit 3 "
        f"--gen_kwargs a=1 --data_dir sample --output_path {tmp_path / 'out'} --seed 5,5,5,5",
        "settings": {
            "model": "scripted", "tasks": ["piqa", "arc_easy"], "num_fewshot": [0, 2], "prompt_style": ["standard"], "limit": 3,
            "gen_kwargs": {"a": 1}, "data_dir": "sample", "output_path": str(tmp_path / "out"), "seed": [5, 5, 5, 5],
        },
        "finished": "",
        "plugins": [], "earlier_plugins": [],
        "earlier_versions": [],
        "resumed": [],
        "model": {
            "name": "scripted", "owner": {"plugin": "given-models", "version": "", "distribution": None},
            "args": {"n": "3", "path": "/x"}, "licence": "Apache-2.0", "home": "gptalt_eval.testing",
            "system_place": "", "stop": [], "stop_token_ids": [],
            "fingerprint": None, "parts": {}, "parameters": None, "dtype": "", "device": "", "load_seconds": None, "commits": {},
        },
        "data": {task.name: read_data(task) for task in plan.cells[0].tasks},
        "notes": list(plan.notes),
        "seeds": [5, 5, 5, 5],
        "results": [],
        "cells": [
            {"prompt_style": "standard", "num_fewshot": 0, "results": None, "prompts": hash_style(plan.cells[0])},
            {"prompt_style": "standard", "num_fewshot": 2, "results": None, "prompts": hash_style(plan.cells[1])},
        ],
        "done": [],
        "failed": {"race (2-shot)": "too few rows"},
        "missing": [f"{task} (standard, {shots}-shot)" for shots in (0, 2) for task in ("piqa", "arc_easy")],
        "cut": {},
        "stem": "",
        "hardware": {},
        "usage": {},
        "task_code": {},
        "workers": [],
    }  # fmt: skip
    assert said["data"]["piqa"]["title"] == "PIQA" and said["data"]["piqa"]["partial"] is False
    assert "embedded sample" in said["notes"][0]


def read_data(task):
    from dataclasses import asdict

    return asdict(describe_located(task, ""))


def test_a_run_without_a_style_and_with_the_tasks_own_shots(make_plan):
    run = RunFiles(make_plan(), main=True).run
    assert run.cells == (RunCell(None, None),) and run.missing == ("piqa", "arc_easy")


DATASET = Dataset("d", "The Title", "org/d", (), iter, "MIT", "d.example")
OURS = Path(gptalt_eval.__file__).parent / "data" / "samples" / "piqa"


def make_task(origin, dataset):
    splits = {"test": LocatedSplit("test", (Path("a"), Path("b")), 7, 9, "ab12")}
    data = LocatedData("org/d", "main", origin, dataset, splits if dataset else {})
    return PlannedTask("t", None, Owner("p", "1", "gptalt-eval-plugin-p"), {}, data, "test", None)


@pytest.mark.parametrize(
    ("origin", "sample", "licence"),
    [
        ("folder", None, "MIT"),
        ("folder", OURS, "MIT"),
        ("hub", None, "MIT"),
        ("sample", OURS, "Apache-2.0 (written for gptalt-eval)"),
        ("sample", Path("/elsewhere/sample"), "that of the plugin with the sample"),
        ("sample", None, "that of the plugin with the sample"),
    ],
)
def test_what_is_said_of_the_data(origin, sample, licence):
    assert describe_located(make_task(origin, replace(DATASET, sample=sample)), "") == RunData(
        origin, "org/d", "main", "gptalt-eval-plugin-p", False, "", "The Title", licence, "d.example",
        {"test": RunSplit(7, 9, "ab12", 2)}, hash_value({}),
    )  # fmt: skip


def test_what_is_said_of_data_that_nobody_registered():
    found = describe_located(make_task("hub", None), "")
    assert found == RunData("hub", "org/d", "main", "gptalt-eval-plugin-p", yaml=hash_value({}))


def test_the_hash_of_a_yaml_covers_the_source_of_its_functions(tmp_path):
    source = tmp_path / "mine.py"
    source.write_text("a = 1")
    config = {"doc_to_text": Function("mine.ask", tmp_path / "t.yaml")}
    before = hash_value(config)
    assert before == hash_value(dict(config)) != hash_value({"doc_to_text": "x"})
    source.write_text("a = 2")
    assert hash_value(config) != before


def test_data_that_is_partial_says_why(make_plan):
    plan = make_plan(tasks="piqa")
    [cell] = plan.cells
    plan = replace(plan, cells=(replace(cell, tasks=(replace(cell.tasks[0], partial="half of it"),)),))
    [data] = RunFiles(plan, main=True).run.data.values()
    assert (data.partial, data.reason) == (True, "half of it")
    [data] = RunFiles(make_plan(tasks="piqa"), main=True).run.data.values()
    assert (data.partial, data.reason) == (False, "")


# ------------------------------------------------------------------ as it goes on


def test_tasks_are_saved_one_by_one(make_plan):
    import re

    files = RunFiles(make_plan(num_fewshot="0,2", tasks="piqa,arc_easy"), main=True)
    assert files.read_results(0) == files.read_results(1) == {}
    files.save_task(1, "piqa", ['{"doc_id": 0}', '{"doc_id": 1, "doc": "一"}'], '{"a": "二"}')
    said = read(files)
    [name] = said["results"]
    assert re.fullmatch(rf"results_{STAMP}\.json", name)
    assert [cell["results"] for cell in said["cells"]] == [None, name]
    assert said["done"] == ["piqa (2-shot)"]
    assert said["missing"] == ["piqa (0-shot)", "arc_easy (0-shot)", "arc_easy (2-shot)"]
    assert files.read_results(1) == {"a": "二"} and files.read_results(0) == {}
    assert files.is_missing("piqa (0-shot)") and not files.is_missing("piqa (2-shot)")

    files.save_task(1, "arc_easy", [], '{"a": 2}')
    files.save_failure({"arc_easy (0-shot)": "no rows"})
    files.save_failure({"piqa (0-shot)": "a bug"})
    said = read(files)
    assert said["results"] == [name] and files.read_results(1) == {"a": 2}, "the same file, written anew"
    assert said["done"] == ["piqa (2-shot)", "arc_easy (2-shot)"] and said["missing"] == []
    assert said["failed"] == {"arc_easy (0-shot)": "no rows", "piqa (0-shot)": "a bug"}
    assert said["status"] == "running"
    stamp = name.removeprefix("results_").removesuffix(".json")
    assert sorted(file.name for file in files.folder.iterdir()) == [
        name,
        "run.json",
        f"samples_piqa_{stamp}.jsonl",
    ]
    assert (files.folder / f"samples_piqa_{stamp}.jsonl").read_text(
        encoding="utf-8"
    ) == '{"doc_id": 0}\n{"doc_id": 1, "doc": "一"}\n'
    [row, _] = load_record(files.folder).read_samples(0, "piqa")
    assert row == {"doc_id": 0}


def test_a_stem_stands_before_the_results_and_not_in_the_samples(make_plan, tmp_path):
    files = RunFiles(make_plan(output_path=str(tmp_path / "mine.json"), tasks="piqa"), main=True)
    files.save_task(0, "piqa", ["{}"], "{}")
    [name] = files.run.results
    assert name.startswith("mine_results_") and files.folder == tmp_path
    assert (
        tmp_path / f"samples_piqa_{name.removeprefix('mine_results_').removesuffix('.json')}.jsonl"
    ).is_file()
    assert read(files)["stem"] == "mine_"


def test_the_end_is_timed(make_plan):
    files = RunFiles(make_plan(), main=True)
    files.started = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
    files.save_end("complete")
    said = read(files)
    finished = datetime.fromisoformat(said["finished"])
    assert said["status"] == "complete" and finished.microsecond == 0
    assert said["seconds"] == pytest.approx((finished - files.started).total_seconds(), abs=1.1)
    assert said["seconds"] == round(said["seconds"], 1)


def test_of_several_processes_one_writes_run_json(make_plan):
    files = RunFiles(make_plan(), main=False)
    files.save_run(status="complete")
    assert files.run.status == "complete" and not files.folder.exists()


# ------------------------------------------------------------------ going on with an earlier run


def begin(plan):
    files = RunFiles(plan, main=True)
    files.save_run(
        started="2026-01-01T00:00:00", stem="s_", model=replace(files.run.model, fingerprint="ff", dtype="x")
    )
    files.save_task(0, "piqa", ["{}"], '{"results": {"piqa": {}}, "task_hashes": {"piqa": ""}}')
    files.save_failure({"arc_easy (0-shot)": "interrupted"})
    return load_record(files.folder)


def test_a_run_goes_on_where_it_ended(make_plan):
    plan = make_plan(num_fewshot="0,2", output_path=None)
    earlier = begin(make_plan(num_fewshot="0,2"))
    files = RunFiles(plan, True, earlier)
    run, before = files.run, earlier.run
    assert files.folder == earlier.folder, "not the one that the request would make"
    kept = ("started", "results", "done", "cells", "stem")
    assert [getattr(run, name) for name in kept] == [getattr(before, name) for name in kept]
    assert run.started == "2026-01-01T00:00:00" and run.stem == "s_" and run.done == ("piqa (0-shot)",)
    assert run.missing == ("arc_easy (0-shot)", "piqa (2-shot)", "arc_easy (2-shot)"), (
        "what failed is tried again"
    )
    assert (run.failed, run.status) == ({}, "running")
    assert run.model == replace(RunFiles(plan, True).run.model, fingerprint="ff", dtype="x")
    [resumed] = run.resumed
    assert datetime.fromisoformat(resumed).microsecond == 0 and datetime.fromisoformat(resumed).tzinfo
    files.save_run()
    again = RunFiles(plan, True, load_record(files.folder))
    assert again.run.resumed[0] == resumed and len(again.run.resumed) == 2
    assert sorted(file.name for file in files.folder.glob("run*")) == ["run.json"], (
        "the same run, not an earlier one"
    )


def test_a_run_on_other_rows_does_not_go_on(make_plan):
    earlier = begin(make_plan(num_fewshot=0))
    data = dict(earlier.run.data)
    changed = replace(data["piqa"], splits={"validation": RunSplit(1)})
    with pytest.raises(GptaltError) as caught:
        RunFiles(
            make_plan(num_fewshot=0),
            True,
            replace(earlier, run=replace(earlier.run, data={**data, "piqa": changed})),
        )
    assert caught.value.what == f"piqa: its data has changed since {earlier.folder} was started."
    assert caught.value.hint == "Start a new run: results on different rows cannot be combined."
    del data["piqa"]
    assert RunFiles(make_plan(num_fewshot=0), True, replace(earlier, run=replace(earlier.run, data=data)))


def test_a_run_of_an_older_version_does_not_go_on(make_plan):
    earlier = begin(make_plan(num_fewshot=0))
    with pytest.raises(GptaltError) as caught:
        RunFiles(make_plan(num_fewshot=0), True, replace(earlier, run=Run()))
    assert str(caught.value) == f"{earlier.folder} was started by an older version.\nStart a new run."


def test_files_are_told_by_their_content_and_large_ones_by_their_time(tmp_path, monkeypatch):
    file = tmp_path / "rows.jsonl"
    named = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(file)}}}
    task = replace(make_task("files", None), config=named)

    def tell(text, time):
        file.write_text(text)
        os.utime(file, (time, time))
        return describe_located(task, "").files

    assert tell("abc", 1) == tell("abc", 2) != tell("abd", 1)
    monkeypatch.setattr(runfiles, "LARGE", 2)
    assert tell("abc", 1) == tell("abc", 1) != tell("abc", 2) != tell("abcd", 2)
    file.unlink()
    assert describe_located(task, "").files == ""


@pytest.mark.parametrize(
    "line", ["import words", "from words import PREFIX", "from . import words", "from .words import PREFIX"]
)
def test_the_hash_of_a_yaml_covers_what_its_functions_import_beside_it(tmp_path, line):
    (tmp_path / "mine.py").write_text(f"import os\n\ndef ask(row):\n    {line}\n")
    (tmp_path / "words.py").write_text("import more, mine")
    config = {"doc_to_text": Function("mine.ask", tmp_path / "t.yaml")}
    hashes = [hash_value(config)]
    for name, text in (
        ("words", "import more\nPREFIX = 1"),
        ("more", "a = 1"),
        ("more", "a = 2"),
        ("words", "("),
    ):
        (tmp_path / f"{name}.py").write_text(text)
        hashes.append(hash_value(config))
    assert len(set(hashes)) == 5
    (tmp_path / "other.py").write_text("a = 3")
    assert hash_value(config) == hashes[-1], "nothing imports it"


@pytest.mark.parametrize(
    ("started", "name"),
    [
        ("2026-11-27T07:00:00", "run_2026-11-27T07-00-00.json"),
        ("../../x", "run_damaged.json"),
        ("a" * 300, "run_damaged.json"),
        (3, "run_3.json"),
    ],
)
def test_the_file_of_an_earlier_run_is_set_aside_in_its_folder(tmp_path, started, name):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({"started": started}))
    runfiles.write_run_file(folder, Run(started="now"))
    assert sorted(file.name for file in folder.iterdir()) == sorted(["run.json", name])
    assert [file.name for file in tmp_path.iterdir()] == ["run"]
    runfiles.write_run_file(folder, Run(started="now", notes=("more",)))
    assert sorted(file.name for file in folder.iterdir()) == sorted(["run.json", name])


def test_a_failure_is_one_line_in_run_json_and_whole_in_the_log(tmp_path):
    assert runfiles.describe_failure(ValueError("two\n words")) == "ValueError: two words"
    assert runfiles.describe_failure(KeyError()) == "KeyError"
    assert runfiles.describe_failure(GptaltError("What happened.")) == "What happened."
    try:
        raise ValueError("some reason")
    except ValueError as error:
        runfiles.log_failure(tmp_path, "piqa (2-shot)", error)
        runfiles.log_failure(tmp_path, "again", error)
    log = (tmp_path / "errors.log").read_text()
    assert log.startswith("piqa (2-shot)\nTraceback") and "ValueError: some reason" in log
    assert log.count("Traceback") == 2 and "\nagain\n" in log


def test_values_that_json_lacks_count_with_what_they_are():
    """YAML has dates and sets: a task in which one changes is another task."""
    days = [date(2023, 3, 14), date(2023, 3, 15), datetime(2023, 3, 14, 1)]
    assert len({hash_value({"day": day}) for day in days}) == 3
    assert hash_value({"day": days[0]}) == hash_value({"day": "2023-03-14"})
    assert hash_value({"day": {1}}) != hash_value({"day": {2}})
