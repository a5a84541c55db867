"""Somebody else's experiment.json, with anything in it: a message, never a traceback, nothing written elsewhere."""

import json
import os
import shutil
import time

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gptalt_eval.commands import cli
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.testing import make_plugin_set, make_scripted_model

SECONDS = 1  # of processor time
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
    st.sampled_from([10**299, 1e308, float("nan"), "", "../x", "/x", "~", "\ud800", "\0", "[/red]", "a" * 5000, "piqa",
                     "one,two,one", [], {}, [[]], [{}], {"": {}}, [None], {"piqa": [2**70]}, "scripted"]),
    st.recursive(st.none() | st.integers() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3), max_leaves=6),
)  # fmt: skip
RAW = st.sampled_from(["", "[", "[" * 200_000, "{}", "[]", "null", "NaN", "1" * 5000, '{"a":' * 500, "\ufeff{}", "\\", '{"model": "one", "model": 2}'])  # fmt: skip


def make_plugins():
    return make_plugin_set(models=[make_scripted_model(name="one"), make_scripted_model(name="two")])


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """An experiment of two models."""
    folder = tmp_path_factory.mktemp("original")
    words = [
        "run",
        "--model=one,two",
        "--tasks=piqa",
        "--data_dir=sample",
        "--limit=2",
        f"--output_path={folder / 'out'}",
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        patch.chdir(folder)
        assert cli.dispatch(words, make_plugins()) == 0
        assert cli.dispatch(["resume", str(folder / "out")], make_plugins()) == 0
    return folder / "out"


def call(*words):
    try:
        return cli.dispatch([str(word) for word in words], make_plugins())
    except GptaltError as error:
        assert str(error).strip()
        str(error).encode("utf-8")
        return error.exit_code


@settings(
    max_examples=int(os.environ.get("GPTALT_FUZZ", "25")),
    derandomize="GPTALT_FUZZ" not in os.environ,  # by default the same everywhere; with it, others each time
    phases=[Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_damaged_experiments(original, tmp_path, monkeypatch, capsys, data):
    for name in ("theirs", "work"):
        shutil.rmtree(tmp_path / name, ignore_errors=True)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    theirs = shutil.copytree(original, tmp_path / "theirs")
    file = theirs / "experiment.json"
    content = json.loads(file.read_text())
    for _ in range(data.draw(st.integers(1, 3))):
        key = data.draw(st.sampled_from([*content, "extra", "use_cache", "include_path", "samples"]))
        if data.draw(st.booleans()):
            content[key] = data.draw(ODD)
        else:
            content.pop(key, None)
    is_raw = data.draw(st.integers(0, 5)) == 0
    file.write_text(data.draw(RAW) if is_raw else json.dumps(content), errors="replace")
    kept = {path for path in tmp_path.rglob("*") if not path.is_relative_to(theirs)}
    began = time.process_time()
    assert call("resume", theirs) in (0, 1, 2)
    assert time.process_time() - began < SECONDS
    capsys.readouterr()
    new = {path for path in tmp_path.rglob("*") if not path.is_relative_to(theirs)} - kept
    assert all(path.is_relative_to(tmp_path / "work") for path in new), new
