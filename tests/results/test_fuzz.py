"""Files of other people's runs with anything in them: a message, never a traceback, nothing written elsewhere."""

import json
import math
import os
import shutil
import time

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from illustrated import make_question, write_illustrated

from gptalt_eval.commands import cli
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.testing import make_plugin_set, make_scripted_model

SECONDS = 1  # of processor time, so that a busy machine is no failure
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
    st.sampled_from([10**299, -(10**299), 1e308, math.nan, math.inf, -math.inf, -1, 0, 2**63, "", "../x", "/x", "\ud800", "\0",
                     "[/red]", "a" * 5000, [], {}, [[]], [{}], {"": {}}, [None], {"x": None}]),
    st.recursive(st.none() | st.integers() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3), max_leaves=6),
)  # fmt: skip
RAW = st.sampled_from(["", "[", "[" * 200_000, "{}", "[]", "null", "NaN", "1" * 5000, '{"a":' * 500, "\ufeff{}", "\\", '{"a": 1' + "0" * 400 + "}"])  # fmt: skip


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A run of a group and a task in two cells, with samples."""
    folder = tmp_path_factory.mktemp("original")
    words = [
        "--model=scripted",
        "--tasks=piqa,gsm8k",
        "--num_fewshot=0,1",
        "--data_dir=sample",
        "--limit=2",
        "--log_samples",
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        patch.setenv("GPTALT_EVAL_LOAD_PLUGINS", "")
        cli.dispatch([*words, f"--output_path={folder}"], make_plugins())
        patch.chdir(folder)
        used = shutil.copytree(folder / "scripted", folder / "used")
        site = ["site", "--into", folder / "site"]
        for command in (["report"], site, ["compare", used], ["resume"], ["rerun"]):
            call([*command, used])  # what each imports counts for no example
    return folder / "scripted"


def make_plugins():
    return make_plugin_set(models=[make_scripted_model()])


def list_places(value, place=()):
    """Where something could be put instead of what is there."""
    yield place
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from list_places(inner, (*place, key))


def put(value, place, odd, removes):
    """A copy with something odd in a place, or without it."""
    if not place:
        return odd
    copy = dict(value) if isinstance(value, dict) else list(value)
    if len(place) == 1 and removes:
        del copy[place[0]]
    else:
        copy[place[0]] = put(copy[place[0]], place[1:], odd, removes)
    return copy


@st.composite
def damage(draw, text, is_lines):
    """The text of a JSON file with one to three places changed, or something else altogether."""
    if draw(st.integers(0, 9)) == 0:
        return draw(RAW)
    lines = text.splitlines() if is_lines else [text]
    at = draw(st.integers(0, len(lines) - 1))
    value = json.loads(lines[at])
    for _ in range(draw(st.integers(1, 3))):
        places = list(list_places(value))
        place = draw(st.sampled_from(places))
        value = put(value, place, draw(ODD), draw(st.booleans()))
    lines[at] = json.dumps(value)
    return "\n".join(lines)


def call(words):
    try:
        cli.dispatch([str(word) for word in words], make_plugins())
    except GptaltError as error:
        assert str(error).strip()
        str(error).encode("utf-8")


def snapshot(folder):
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("command", ["report", "site", "compare", "resume", "rerun"])
@pytest.mark.parametrize(
    "name", ["run.json", "results_*.json", "samples_piqa_*.jsonl", "samples_gsm8k_*.jsonl", "answers.jsonl"]
)
@settings(
    max_examples=int(os.environ.get("GPTALT_FUZZ", "6")),
    derandomize="GPTALT_FUZZ" not in os.environ,  # by default the same everywhere; with it, others each time
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_damaged_files(original, tmp_path, monkeypatch, capsys, name, command, data):
    outside, run = tmp_path / "outside", tmp_path / "theirs" / "scripted"
    shutil.rmtree(tmp_path / "theirs", ignore_errors=True)
    shutil.rmtree(tmp_path / "work", ignore_errors=True)
    outside.mkdir(exist_ok=True)
    (outside / "file").write_text("untouched")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    shutil.copytree(original, run)
    content = json.loads((run / "run.json").read_text())
    if command == "resume":
        content |= {
            "done": ["piqa (0-shot)"],
            "missing": ["gsm8k (0-shot)", "piqa (1-shot)", "gsm8k (1-shot)"],
            "status": "interrupted",
        }
        (run / "run.json").write_text(json.dumps(content))
        (run / "answers.jsonl").write_text('["k", [-1.5, false]]\n["l", "text"]\n')
    target = next(run.glob(name), None)
    if target is None:
        return
    target.write_text(data.draw(damage(target.read_text(), name.endswith(".jsonl"))), errors="replace")
    kept = {file for file in tmp_path.rglob("*") if not file.is_relative_to(run)}
    began = time.process_time()
    more = {"compare": [run], "site": ["--into", tmp_path / "work" / "site"]}
    call([command, run, *more.get(command, [])])
    taken = time.process_time() - began
    assert taken < SECONDS
    capsys.readouterr()
    assert (outside / "file").read_text() == "untouched"
    new = {file for file in tmp_path.rglob("*") if not file.is_relative_to(run)} - kept
    assert all(file.is_relative_to(tmp_path / "work") for file in new)


@pytest.fixture(scope="module")
def illustrated(tmp_path_factory):
    """A run of questions with pictures, and another one to compare it with."""
    folder = tmp_path_factory.mktemp("illustrated")
    for name, is_right in (("seer", True), ("other", False)):
        questions = [make_question(number, number != 2, is_right) for number in range(3)]
        write_illustrated(folder / name, questions, model=name)
    call(["report", folder])
    return folder


@settings(
    max_examples=int(os.environ.get("GPTALT_FUZZ", "12")),
    derandomize="GPTALT_FUZZ" not in os.environ,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_damaged_items_with_pictures(illustrated, tmp_path, monkeypatch, data):
    runs = tmp_path / "runs"
    shutil.rmtree(runs, ignore_errors=True)
    shutil.copytree(illustrated, runs)
    monkeypatch.chdir(runs)
    target = next((runs / "seer").glob("samples_*"))
    target.write_text(data.draw(damage(target.read_text(), True)), errors="replace")
    began = time.process_time()
    call(["report", *(["seer"] if data.draw(st.booleans()) else ["seer", "other"])])
    assert time.process_time() - began < SECONDS
    for page in runs.rglob("report.html"):
        text = page.read_text(encoding="utf-8")
        assert "<img" not in text and text.count("<script>") == 1
