"""What workers answer is on disk, once, before it counts."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from odd_files import REASONS, replace_file

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.run import Run, RunWorker
from gptalt_eval.contract.typed import build
from gptalt_eval.running.lmeval.answers import Answers
from gptalt_eval.running.spreading import journal
from gptalt_eval.running.spreading.journal import Journal, Where, sum_up
from gptalt_eval.spread.work import Result, Unit

KEYS = ["a", "b", "c", "d"]
UNIT = Unit("u" * 64, "0", "loglikelihood", 100, 4)
ANSWERS = [((-1.5, True), 0), ((-2.0, False), 3), ((-0.25, True), 0), ((-9.0, False), 0)]
HERE = Where("GPU 0", "node-a", "NVIDIA H100")


@pytest.fixture
def files(tmp_path):
    return tmp_path / "answers.jsonl", tmp_path / "units.jsonl"


def keep(files, unit=UNIT, answers=ANSWERS, where=HERE):
    kept = Journal(*files)
    kept.keep(unit, KEYS, Result(answers, 90, 2.5), where)
    kept.close()


def test_answers_are_those_that_a_run_reads(files):
    keep(files)
    answers = Answers(files[0])
    assert answers.known == {"a": (-1.5, True), "b": (-2.0, False), "c": (-0.25, True), "d": (-9.0, False)}
    assert answers.lost == {"a": 0, "b": 3, "c": 0, "d": 0}


def test_both_files_are_on_disk_before_the_unit_counts(files, monkeypatch):
    order = []
    fsync = journal.os.fsync
    monkeypatch.setattr(journal.os, "fsync", lambda number: (order.append(number), fsync(number)))
    kept = Journal(*files)
    kept.keep(UNIT, KEYS, Result(ANSWERS), HERE)
    assert order == [kept.answers.file.fileno(), kept.units.fileno()]
    assert len(files[0].read_text(encoding="utf-8").splitlines()) == 4  # although nothing is closed
    kept.close()


def test_a_part_has_the_keys_of_its_requests(files):
    keep(files, Unit("u" * 64, "0", "loglikelihood", 100, 4, range(1, 3)), ANSWERS[1:3])
    assert Answers(files[0]).known.keys() == {"b", "c"}


def test_an_answer_that_is_there_is_not_written_again(files):
    first = Answers(files[0])
    first.add("b", (-2.5, False))  # of a run without workers, which rounds differently
    first.close()
    keep(files)
    assert Answers(files[0]).known["b"] == (-2.5, False)
    assert len(files[0].read_text(encoding="utf-8").splitlines()) == 4


def test_a_torn_line_is_answered_again(files):
    keep(files)
    text = files[0].read_bytes()
    files[0].write_bytes(text[:-6])
    again = Journal(*files)
    assert [key for key in KEYS if not again.knows("loglikelihood", key)] == ["d"]
    again.keep(UNIT, KEYS, Result(ANSWERS), HERE)
    again.close()
    assert Answers(files[0]).known["d"] == (-9.0, False)


def test_who_computed_what(files):
    keep(files)
    keep(files, Unit("v" * 64, "0", "loglikelihood", 100, 4))
    keep(files, Unit("w" * 64, "0", "loglikelihood", 100, 4), where=Where("GPU 1", "node-a", "NVIDIA H100"))
    assert sum_up(files[1]) == (
        RunWorker("GPU 0", "node-a", "NVIDIA H100", 2, 8, 180, 5.0),
        RunWorker("GPU 1", "node-a", "NVIDIA H100", 1, 4, 90, 2.5),
    )


@given(st.lists(st.one_of(st.binary(max_size=40), st.just(b'{"worker": [], "node": 1}')), max_size=5))
def test_damaged_lines_are_skipped(tmp_path_factory, lines):
    file = tmp_path_factory.mktemp("units") / "units.jsonl"
    keep((file.with_name("answers.jsonl"), file))
    whole = file.read_bytes()
    file.write_bytes(b"\n".join([*(line.replace(b"\n", b"") for line in lines), whole]))
    try:
        found = sum_up(file)
    except UnicodeDecodeError:
        pytest.fail("a damaged line ends the run")
    assert RunWorker("GPU 0", "node-a", "NVIDIA H100", 1, 4, 90, 2.5) in found


def test_run_json_reads_the_workers_back():
    run = Run(workers=(RunWorker("GPU 0", "a", "b", 1, 2, 3, 4.5),))
    read = build(Run, json.loads(json.dumps(run.dump())))
    assert read.workers == run.workers


def test_the_files_are_no_links(files, tmp_path):
    files[1].symlink_to(tmp_path / "elsewhere")
    with pytest.raises(GptaltError):
        Journal(*files)


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("kind", REASONS)
def test_what_is_in_place_of_a_file_is_said_and_left_as_it_is(files, kind, place, monkeypatch):
    replace_file(files[place], kind, monkeypatch)
    with pytest.raises(GptaltError, match=f"^{files[place]} {REASONS[kind]}"):
        Journal(*files)
    assert files[place].is_dir() == (kind == "folder") and files[place].is_symlink() == ("link" in kind)
