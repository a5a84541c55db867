"""A run with a key: no file of it and nothing printed has the key, it can be resumed, and its files are private."""

import json
import os

import pytest

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.models import Model
from gptalt_eval.contract.record import load_record
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.machine import secrets
from gptalt_eval.machine.consoles import make_console
from gptalt_eval.running.api import run
from gptalt_eval.testing import hash_likelihood, make_plugin_set, make_scripted_lm

KEY = "s3cr3t-Value=9"


@pytest.fixture(autouse=True)
def no_secrets():
    given = secrets.GIVEN.set(frozenset())
    yield
    secrets.GIVEN.reset(given)


def create(args):
    """A model that tells its key: in an error, and in what it generates."""
    key = dict(args)["api_key"]

    def likelihood(prompt, answer):
        if "Question:" in prompt:
            raise OSError(f"401 from http://ann:{key}@host with {{'Authorization': 'Bearer {key}'}}")
        return hash_likelihood(prompt, answer)

    return make_scripted_lm(likelihood, lambda prompt: f"my key is {key}")


def make(folder, **settings):
    given = {
        "model": "leaky", "tasks": "arc_easy,hellaswag,gsm8k", "data_dir": "sample", "limit": 2, "log_samples": True,
        "output_path": str(folder), "model_args": {"api_key": KEY, "base_url": f"http://ann:{KEY}@host/v1"},
    }  # fmt: skip
    return make_spec({**given, **settings})


def evaluate(spec, resume=False):
    plugins = make_plugin_set(models=[Model("leaky", "", "", "", create=create)])
    return run(spec, plugins, make_console(stderr=True), resume).records[0]


@pytest.mark.parametrize(("mask", "open_bits"), [(0o077, 0), (0o027, 0o040), (0o022, 0o044)])
def test_the_key_is_in_no_file_and_nothing_printed(mask, open_bits, tmp_path, capsys):
    before = os.umask(mask)
    try:
        record = evaluate(make(tmp_path / "out"))
    finally:
        os.umask(before)
    assert list(record.run.failed) == ["arc_easy"] and "***" in record.run.failed["arc_easy"]
    files = [file for file in (tmp_path / "out").rglob("*") if file.is_file()]
    assert {"run.json", "report.html", "errors.log"} < {file.name for file in files}
    assert any(file.name.startswith("samples_gsm8k") for file in files)
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert KEY not in text, file.name
        assert file.stat().st_mode & 0o077 == open_bits, file.name
    assert record.run.settings["model_args"] == {"api_key": "***", "base_url": "http://***@host/v1"}
    assert "***" in record.run.command
    printed = capsys.readouterr()
    assert KEY not in printed.err + printed.out and "***" in printed.err


def test_it_is_resumed_with_the_key_of_the_environment(tmp_path, monkeypatch):
    record = evaluate(make(tmp_path / "out"))
    with pytest.raises(GptaltError, match="Set the variable GPTALT_API_KEY"):
        make_spec(record.run.settings)
    monkeypatch.setenv("GPTALT_API_KEY", "another-key-1")
    monkeypatch.setenv("GPTALT_BASE_URL", "http://ann:x@host/v1")
    again = evaluate(make_spec(record.run.settings), resume=record)
    assert again.folder == record.folder and again.run.resumed
    assert "another-key-1" not in json.dumps(load_record(record.folder).run.dump(), default=str)


def test_the_same_run_with_another_key_is_the_same_run(tmp_path):
    first = evaluate(make(tmp_path / "out"))
    other = make(tmp_path / "out", model_args={"api_key": "another", "base_url": "http://bob:y@host/v1"})
    assert evaluate(other, resume=True).folder == first.folder
