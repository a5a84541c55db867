"""Damaged files, odd reasons and bad moments: no wrong answer, and every reason in words."""

import json
import math
import os
import re
import shutil
import tempfile

import pytest
import tiny
from odd_files import REASONS, replace_file

from gptalt_eval import evaluate
from gptalt_eval.contract.errors import GptaltError, InterruptedRun
from gptalt_eval.contract.record import load_record
from gptalt_eval.running.lmeval.answers import Answers
from gptalt_eval.running.spreading import driver
from gptalt_eval.running.spreading.journal import Journal, Where
from gptalt_eval.running.spreading.member import Member
from gptalt_eval.running.spreading.spread import Recall, Spread, list_keys
from gptalt_eval.running.spreading.units import open_spool
from gptalt_eval.spread.serve import describe
from gptalt_eval.spread.work import Result, Unit

WRONG = {
    "loglikelihood": ["text", None, [5.0, True], [math.nan, False], [-1.0, 7], -3, {}],
    "loglikelihood_rolling": ["text", None, 4.0, math.nan, True],
    "generate_until": [None, 3, [-1.0, True], {}],
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_no_answer_can_be_is_answered_again(tmp_path, kind):
    files = tmp_path / "answers.jsonl", tmp_path / "units.jsonl"
    keys = [f"key {number}" for number in range(len(WRONG[kind]))]
    lines = (json.dumps([key, wrong]) for key, wrong in zip(keys, WRONG[kind], strict=True))
    files[0].write_text("\n".join(lines) + "\n", encoding="utf-8")
    right = {"loglikelihood": (-1.0, False), "loglikelihood_rolling": -1.0, "generate_until": "text"}[kind]
    journal = Journal(*files)
    assert not any(journal.knows(kind, key) for key in keys)
    journal.keep(Unit("u" * 64, "0", kind, 9, len(keys)), keys, Result([(right, 2)] * len(keys)), Where("w"))
    assert all(journal.knows(kind, key) for key in keys)
    assert journal.answers.known == dict.fromkeys(keys, right)
    assert journal.answers.lost == dict.fromkeys(keys, 2)
    journal.close()


def test_our_own_errors_are_said_in_words():
    assert describe(GptaltError("It is damaged.", "Get it again.")) == "It is damaged. Get it again."
    assert describe(ValueError("no")) == "ValueError: no"


def test_a_full_or_missing_place_for_temporary_files_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(GptaltError, match="No such file") as refused, open_spool():
        pass
    assert "TMPDIR" in refused.value.hint
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with open_spool() as spool:
        (spool.folder / "u").mkdir()  # as a full disk: the file cannot be written
        with pytest.raises(GptaltError, match="could not be written: Is a directory"):
            spool.keep(Unit("u", "0", "loglikelihood", 9, 1), [], [])
    assert list(tmp_path.iterdir()) == []


def test_a_reason_ends_once():
    from lm_eval.api.instance import Instance

    request = Instance("loglikelihood", {}, ("Q", "A"), 0, ("task", 0, 1))
    [key] = list_keys("loglikelihood", [request])
    for reason in ("it is damaged.", "it is damaged"):
        with pytest.raises(GptaltError, match=r"^it is damaged\.(\n|$)"):
            Recall(None, Spread(None, reasons={key: reason}), {})("loglikelihood", [request])


def run(model, out, **settings):
    args = {"pretrained": str(model), "max_length": 1024}
    settings = {"data_dir": "sample", "device": "cpu", "log_samples": True, "limit": 10, **settings}
    return evaluate("hf", "arc_easy,gsm8k", model_args=args, output_path=str(out), **settings)


def read_answers(record):
    """By file and row: the answers, numbers with as many digits as are the same however they are computed."""
    found = {}
    for file in sorted(record.folder.glob("samples_*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            words = re.sub(r"-?\d+\.\d{3,}", lambda number: f"{float(number[0]):.3f}", str(row["resps"]))
            found[file.name.rsplit("_", 1)[0], row["doc_id"], row["filter"]] = words
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.save_model("llama", tmp_path_factory.mktemp("models") / "tiny-llama")


@pytest.mark.torch
def test_a_stop_at_the_end_loses_nothing_and_damage_is_answered_again(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(driver, "MOST", 3000)

    def stop(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Member, "finish", stop)
        with pytest.raises(GptaltError, match=r"Stopped\. 50 of 50 requests were answered"):
            run(folder, tmp_path / "out", workers=2)
    [path] = (tmp_path / "out").rglob("answers.jsonl")
    assert load_record(path.parent).run.status == "interrupted"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for row in rows[::3]:
        row[1] = "text" if isinstance(row[1], list) else None
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    again = run(folder, tmp_path / "out", workers=1, resume=True)
    assert again.run.status == "complete"
    right = read_answers(run(folder, tmp_path / "alone"))
    assert len(right) == 30 and read_answers(again) == right


@pytest.mark.torch
def test_something_else_in_place_of_a_file_is_said_and_the_run_can_go_on(folder, tmp_path, monkeypatch):
    whole = run(folder, tmp_path / "out", workers=0)
    content = json.loads((whole.folder / "run.json").read_text(encoding="utf-8"))
    content |= {"done": [], "missing": content["done"], "status": "interrupted"}
    (whole.folder / "run.json").write_text(json.dumps(content), encoding="utf-8")
    for kind, name in (("pipe", "units.jsonl"), ("unreadable", "units.jsonl"), ("folder", "answers.jsonl")):
        with monkeypatch.context() as patch:
            replace_file(whole.folder / name, kind, patch)
            with pytest.raises(GptaltError, match=f"{name} {REASONS[kind]}"):
                run(folder, tmp_path / "out", workers=1, resume=True)
    shutil.rmtree(whole.folder / "answers.jsonl")
    again = run(folder, tmp_path / "out", workers=1, resume=True)
    assert again.run.status == "complete" and read_answers(again) == read_answers(whole)


@pytest.mark.torch
def test_a_full_disk_is_said_and_nothing_is_lost(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(driver, "MOST", 3000)
    keep, kept = Journal.keep, []

    def fill(self, unit, keys, *rest):
        if len(kept) == 2:
            self.answers.file = os.fdopen(os.open("/dev/full", os.O_WRONLY), "w")
        keep(self, unit, keys, *rest)
        kept.append(unit)

    monkeypatch.setattr(Journal, "keep", fill)
    with pytest.raises(InterruptedRun, match="could not be written: No space left on device") as stopped:
        run(folder, tmp_path / "out", workers=1)
    done = sum(unit.requests for unit in kept)
    assert f" {done} of 50 requests were answered" in str(stopped.value) and "resume" in stopped.value.hint
    [path] = (tmp_path / "out").rglob("answers.jsonl")
    assert len(path.read_text(encoding="utf-8").splitlines()) == done
    assert load_record(path.parent).run.status == "failed"


def test_contradictions_do_not_come_back(tmp_path):
    files = tmp_path / "answers.jsonl", tmp_path / "units.jsonl"
    files[0].write_text('["a", [-1.0, true]]\n["a", [-2.0, true]]\n', encoding="utf-8")
    journal = Journal(*files)
    assert not journal.knows("loglikelihood", "a")
    journal.keep(Unit("u", "0", "loglikelihood", 9, 1), ["a"], Result([((-3.0, True), 0)]), Where("w"))
    journal.close()
    assert journal.answers.known == {"a": (-3.0, True)}
    assert Answers(files[0]).known == {}  # which of three is right, nobody knows
