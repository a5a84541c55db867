"""Which errors are about the folder of a run: real ones, of full disks, pipes and networks."""

import contextlib
import os
import resource
import socket
import struct
from pathlib import Path

import pytest
from rich.console import Console

from gptalt_eval.contract.errors import InterruptedRun
from gptalt_eval.contract.record import load_record
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.machine.storage import write_atomically
from gptalt_eval.running.api import run
from gptalt_eval.running.lmeval.answers import Answers
from gptalt_eval.running.runfiles import is_error_in, log_failure
from gptalt_eval.running.spreading.journal import Journal, Where
from gptalt_eval.spread.work import Result, Unit
from gptalt_eval.testing import make_plugin_set, make_scripted_model


@contextlib.contextmanager
def limit_files(size):
    """As on a full disk, no file can grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def add_answers(folder):
    answers = Answers(folder / "answers.jsonl")
    try:
        for number in range(1000):
            answers.add(f"key {number}", "x" * 100)
    finally:
        with contextlib.suppress(OSError):
            answers.close()


def close_answers(folder):
    answers = Answers(folder / "answers.jsonl")
    answers.file.reconfigure(line_buffering=False)
    answers.add("key", "x" * 2000)
    answers.close()


def keep_units(folder):
    journal = Journal(folder / "answers.jsonl", folder / "units.jsonl")
    unit = Unit("u" * 64, "0", "generate_until", 9, 0)
    try:
        for _ in range(1000):
            journal.keep(unit, [], Result([]), Where("w"))
    finally:
        journal.close()


def write_results(folder):
    write_atomically(folder / "results.json", "x" * 2000)


def write_log(folder):
    for _ in range(1000):
        log_failure(folder, "task", ValueError("x"))


@pytest.mark.parametrize("write", [add_answers, close_answers, keep_units, write_results, write_log])
def test_a_full_disk_is_about_the_folder(tmp_path, write):
    with pytest.raises(OSError, match="File too large") as full, limit_files(1000):
        write(tmp_path)
    assert is_error_in(full.value, tmp_path)
    assert not is_error_in(full.value, tmp_path / "other")
    assert not is_error_in(full.value, Path(str(tmp_path)[:-1])), "its name only begins like that"


def break_pipe():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb", buffering=0) as pipe:
        pipe.write(b"x")


def reset_connection():
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        there, _ = server.accept()
        there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        there.close()
        with client:
            client.recv(1)


def refuse_connection():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        socket.create_connection(bound.getsockname())


def fill_another_disk():
    with Path("/dev/full").open("wb", buffering=0) as full:
        full.write(b"x")


def open_what_is_missing():
    Path("/nowhere/weights").read_bytes()


def lack_weights():
    raise OSError("transformers finds no file named model.safetensors")


@pytest.mark.parametrize(
    ("fail", "kind"),
    [
        (break_pipe, BrokenPipeError),
        (reset_connection, ConnectionResetError),
        (refuse_connection, ConnectionRefusedError),
        (fill_another_disk, OSError),
        (open_what_is_missing, FileNotFoundError),
        (lack_weights, OSError),
    ],
)
def test_what_happens_elsewhere_is_not_about_the_folder(tmp_path, fail, kind):
    with pytest.raises(kind) as failed:
        fail()
    assert not is_error_in(failed.value, tmp_path)


@pytest.fixture
def evaluate(tmp_path):
    def evaluate(likelihood, resume=False, **settings):
        plugins = make_plugin_set(models=[make_scripted_model(likelihood)])
        given = {"model": "scripted", "tasks": "piqa,boolq", "data_dir": "sample"}
        spec = make_spec({**given, "log_samples": True, "output_path": str(tmp_path), **settings})
        return run(spec, plugins, Console(quiet=True), resume).records[0]

    return evaluate


def test_a_broken_connection_costs_its_task_alone(evaluate):
    def likelihood(prompt, answer):
        if answer in (" yes", " no"):
            reset_connection()
        return -float(len(answer))

    record = evaluate(likelihood)
    assert record.run.status == "incomplete" and record.run.done == ("piqa",)
    assert list(record.run.failed) == ["boolq"]
    assert "Connection reset by peer" in record.run.failed["boolq"]


def test_a_disk_that_fills_up_meanwhile_is_said_and_what_is_there_is_kept(evaluate, tmp_path):
    def likelihood(prompt, answer):
        return -float(len(answer))

    whole = evaluate(likelihood, output_path=str(tmp_path / "whole"))
    largest = max(path.stat().st_size for path in whole.folder.glob("samples_*"))
    with (
        limit_files(largest - 1),
        pytest.raises(InterruptedRun, match="could not be written: File too large"),
    ):
        evaluate(likelihood, output_path=str(tmp_path / "full"))
    [file] = (tmp_path / "full").rglob("run.json")
    assert load_record(file.parent).run.status == "failed"
    again = evaluate(likelihood, output_path=str(tmp_path / "full"), resume=True)
    assert again.is_complete
    assert again.results[0]["results"] == whole.results[0]["results"]
