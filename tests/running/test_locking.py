"""Where a run writes, and that no other run writes there at the same time."""

import errno
import io
import shlex
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
from filelock import FileLock
from rich.console import Console

from gptalt_eval.contract.errors import GptaltError, InterruptedRun
from gptalt_eval.contract.record import load_record
from gptalt_eval.contract.spec import RunSpec, make_spec
from gptalt_eval.running import locking
from gptalt_eval.running.api import run
from gptalt_eval.running.locking import LOCK_FILE, claim_output, lock_folders
from gptalt_eval.testing import hash_likelihood, make_plugin_set, make_scripted_model

HOLDER = """
import sys, time
from pathlib import Path
from gptalt_eval.running.locking import lock_folders
with lock_folders([Path(sys.argv[1])]):
    print("held", flush=True)
    time.sleep(60)
"""


def evaluate(model="scripted", resume=False, likelihood=hash_likelihood, **settings):
    """Run two tasks of 5 rows each."""
    given = {"model": model, "tasks": "piqa,arc_easy", "data_dir": "sample", "limit": 5, "log_samples": True}
    names = model.split(",")
    models = [make_scripted_model(likelihood, name=name) for name in names]
    console = Console(file=io.StringIO(), width=300)
    return run(make_spec({**given, **settings}), make_plugin_set(models=models), console, resume)


def read_files(folder):
    return {file: file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def interrupt(out):
    """Interrupt a run in its second task; returns what the user is told."""
    calls = []

    def stop(prompt, answer):
        calls.append(prompt)
        if len(calls) == 15:
            raise KeyboardInterrupt
        return hash_likelihood(prompt, answer)

    with pytest.raises(InterruptedRun) as stopped:
        evaluate(likelihood=stop, output_path=str(out))
    return stopped.value


@pytest.fixture
def stopped(tmp_path):
    """The folder of a run that was interrupted."""
    interrupt(tmp_path / "out")
    return tmp_path / "out" / "scripted"


def test_a_second_run_is_refused_and_the_first_one_untouched(stopped, tmp_path):
    before = read_files(stopped)
    with lock_folders([stopped]):
        for resume in (load_record(stopped), True, False):
            with pytest.raises(
                GptaltError, match=r"Another run is writing into .*out/scripted\.\nWait until"
            ):
                evaluate(resume=resume, output_path=str(tmp_path / "out"))
        assert {file: text for file, text in read_files(stopped).items() if file.name != LOCK_FILE} == before
    record = evaluate(resume=True, output_path=str(tmp_path / "out")).records[0]
    assert record.run.status == "complete"
    assert not (stopped / LOCK_FILE).exists()


def test_a_link_leads_to_the_same_lock(stopped, tmp_path):
    (tmp_path / "link").symlink_to(stopped)
    with (
        lock_folders([tmp_path / "link"]),
        pytest.raises(GptaltError, match="Another run"),
        lock_folders([stopped]),
    ):
        pass


def test_other_folders_stay_free(stopped, tmp_path):
    with lock_folders([stopped]):
        assert evaluate(model="other", output_path=str(tmp_path / "out")).records[0].run.status == "complete"


def test_no_model_of_an_experiment_is_touched_while_one_is_written(tmp_path):
    root = tmp_path / "out"
    evaluate(model="a,b", output_path=str(root))
    before = read_files(root)
    with lock_folders([root / "b"]), pytest.raises(GptaltError, match=r"Another run is writing into .*out/b"):
        evaluate(model="a,b", resume=True, output_path=str(root))
    with lock_folders([root]), pytest.raises(GptaltError, match=r"Another run is writing into .*out\."):
        evaluate(model="a,b", resume=True, output_path=str(root))
    assert read_files(root) == before


def test_a_killed_run_leaves_its_folder_free(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(GptaltError, match="Another run"), lock_folders([tmp_path]):
        pass
    holder.kill()
    holder.communicate()
    assert (tmp_path / LOCK_FILE).exists()
    with lock_folders([tmp_path]):
        pass
    assert not (tmp_path / LOCK_FILE).exists()


def test_a_run_that_ended_meanwhile_is_not_computed_again(stopped, tmp_path):
    read_before = load_record(stopped)  # as `resume` reads it, before the folder is locked
    evaluate(resume=True, output_path=str(tmp_path / "out"))
    calls = []
    record = evaluate(
        resume=read_before,
        output_path=str(tmp_path / "out"),
        likelihood=lambda *asked: calls.append(asked) or hash_likelihood(*asked),
    ).records[0]
    assert record.run.status == "complete"
    assert calls == []


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSYS, "no locks"), OSError(errno.ENOLCK, "x"), NotImplementedError()]
)
def test_a_file_system_without_locks_will_do(tmp_path, monkeypatch, error):
    def refuse(self):
        raise error

    monkeypatch.setattr(FileLock, "_acquire", refuse)
    assert evaluate(output_path=str(tmp_path / "out")).records[0].run.status == "complete"


def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path):
    out = tmp_path / "out" / "scripted"
    out.mkdir(parents=True)
    (out / LOCK_FILE).symlink_to(tmp_path / "precious")
    (tmp_path / "precious").write_text("mine")
    evaluate(output_path=str(tmp_path / "out"))
    assert (tmp_path / "precious").read_text() == "mine"


def test_a_named_output_is_taken_as_it_is(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for given, place in (("~/out", tmp_path / "out"), ("out", Path("out"))):
        with claim_output(RunSpec(output_path=given)) as output:
            assert output == place
            assert not output.exists()


def test_without_one_it_is_named_by_the_time_and_left_only_if_used(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    before = datetime.now().replace(microsecond=0)
    with claim_output(RunSpec()) as output:
        assert output.is_dir()
    assert before <= datetime.strptime(output.name, "%Y-%m-%d_%H-%M-%S") <= datetime.now()
    assert not Path("runs").exists()
    with claim_output(RunSpec()) as output:
        (output / "results.json").touch()
    assert (output / "results.json").exists()


def test_runs_that_begin_in_one_second_get_folders_of_their_own(monkeypatch, tmp_path):
    class Stopped(datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2026, 1, 2, 3, 4, 5)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(locking, "datetime", Stopped)
    folders = [evaluate(output_path=None).folder for _ in range(3)]
    time = "2026-01-02_03-04-05"
    assert folders == [Path("runs", name, "scripted") for name in (time, f"{time}_2", f"{time}_3")]
    assert evaluate(model="a,b", output_path=None).folder == Path("runs", f"{time}_4")


def test_a_request_that_fails_leaves_no_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GptaltError):
        evaluate(tasks="nonsense", output_path=None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["plain", "my runs", "测试#1", "it's $HOME"])
def test_what_to_type_is_one_word_for_the_shell(tmp_path, name):
    said = interrupt(tmp_path / name)
    assert shlex.split(said.hint.partition(": ")[2]) == [
        "gptalt-eval", "resume", str(tmp_path / name / "scripted"),
    ]  # fmt: skip


def test_a_file_in_place_of_runs_is_explained(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("runs").touch()
    with pytest.raises(GptaltError, match=r"runs, which is not writable"):
        evaluate(output_path=None)
