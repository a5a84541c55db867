import json

import pytest

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.record import find_runs, load_record
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
    assert record.model == "m" and record.run == {} and record.is_complete


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
    with pytest.raises(GptaltError, match="holds no run"):
        find_runs(tmp_path / "empty")
    with pytest.raises(GptaltError, match="holds no run"):
        load_record(tmp_path / "empty")


def test_damaged_files_are_named(tmp_path):
    folder = make_run(tmp_path / "a")
    (folder / "results_t.json").write_text("{")
    with pytest.raises(GptaltError, match=r"results_t\.json is damaged"):
        load_record(folder)


def test_an_earlier_runs_file_is_kept(tmp_path):
    write_run_file(tmp_path, {"started": "2026-01-01T00:00:00", "status": "running"})
    write_run_file(tmp_path, {"started": "2026-01-01T00:00:00", "status": "complete"})
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
    write_run_file(tmp_path, {"started": "2026-02-02T00:00:00", "status": "running"})
    assert json.loads((tmp_path / "run_2026-01-01T00-00-00.json").read_text())["status"] == "complete"
    (tmp_path / "run.json").write_text("{ cut")
    write_run_file(tmp_path, {"started": "2026-03-03T00:00:00"})
    assert (tmp_path / "run_damaged.json").is_file()
