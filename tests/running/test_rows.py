"""What is said where a task's rows cannot be loaded: of the file if it is a file, of the hub if it is the hub."""

import json
from types import SimpleNamespace

import pytest

from gptalt_eval.contract.errors import DataError
from gptalt_eval.machine.hub import OFFLINE
from gptalt_eval.running.lmeval import tasks


@pytest.fixture(autouse=True)
def plain(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hf"))
    for name in (*OFFLINE, "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def load(path, **settings):
    import datasets

    with tasks.serve_rows({}), pytest.raises(DataError) as caught:
        datasets.load_dataset(path, **settings)
    return caught.value


@pytest.mark.parametrize(
    ("kind", "content", "said"),
    [
        ("json", b'{"question": "a"}\n{"question": ', "JSON"),
        ("json", b"\x89PNG not text at all", ""),
        ("parquet", b"PAR1 cut", "arquet"),
        ("csv", b"a,b\n1,2\n1,2,3,4\n", "Expected 2 fields"),
        ("arrow", b"no arrow", ""),
    ],
)
def test_a_damaged_file_is_named_and_the_hub_is_not(tmp_path, kind, content, said):
    file = tmp_path / f"rows.{kind}"
    file.write_bytes(content)
    error = load(kind, data_files={"test": str(file)})
    assert error.what.startswith(f"The data of {kind} could not be loaded: ") and said in error.what
    assert error.hint == f"Check its format and whether it is damaged: {file}"
    assert "An error occurred while generating" not in error.what, "that says nothing"


def test_a_file_that_is_not_there(tmp_path):
    (tmp_path / "here.jsonl").write_text(json.dumps({"a": 1}))
    files = {"test": [str(tmp_path / "here.jsonl"), str(tmp_path / "gone.jsonl")]}
    assert load("json", data_files=files).hint == f"There is no {tmp_path / 'gone.jsonl'}"


def test_a_folder_that_is_damaged(tmp_path):
    (tmp_path / "test.parquet").write_bytes(b"PAR1")
    assert load(str(tmp_path)).hint == f"Check its format and whether it is damaged: {tmp_path}"


@pytest.mark.parametrize("path", ["org/set", "json"])
def test_the_hub_is_advised_about_for_what_is_there(path, monkeypatch):
    settings = {} if path == "org/set" else {"data_files": "https://hub.invalid/rows.jsonl"}

    def fail(original, *args, **named):
        raise ConnectionError("no route")

    monkeypatch.setattr("datasets.load_dataset", fail)
    monkeypatch.setattr(tasks, "can_reach_hub", lambda: False)
    assert (
        load(path, **settings).hint
        == "Set HF_ENDPOINT to a mirror, or give the release files with --data_dir."
    )
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert load(path, **settings).hint == "Unset HF_HUB_OFFLINE, or give the release files with --data_dir."
    monkeypatch.setattr(tasks, "can_reach_hub", lambda: True)
    assert "The hub can be reached: check its name" in load(path, **settings).hint


@pytest.mark.parametrize(
    ("files", "refused"), [("/etc/passwd", True), ("hf://datasets/org/set/test.jsonl", False)]
)
def test_a_dataset_of_the_hub_cannot_name_files_of_this_computer(files, refused, monkeypatch):
    """A dataset's card names its files, and ``datasets`` takes an absolute path for one of this disk."""
    import datasets

    read = []

    def build(path, *args, **settings):
        return SimpleNamespace(
            config=SimpleNamespace(data_files={"test": [files]}),
            info=SimpleNamespace(dataset_size=1),
            download_and_prepare=lambda **_: read.append(path),
            as_dataset=lambda **_: "rows",
        )

    monkeypatch.setattr("datasets.load.load_dataset_builder", build)
    if refused:
        assert (
            load("org/set").what
            == "org/set: this dataset names files of this computer, or elsewhere: /etc/passwd."
        )
        assert not read
    else:
        with tasks.serve_rows({}):
            assert datasets.load_dataset("org/set") == "rows" and read == ["org/set"]
