"""Processes of this computer as workers: killed, stopped, failing, and left alone by their driver."""

import functools
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from pool_events import await_event, await_events, await_true, load_one
from slow_sums import Job, Sums, answer_here, make_units

from gptalt_eval.spread.children import Place, name_end, read_last_line
from gptalt_eval.spread.limits import Limits
from gptalt_eval.spread.local import LocalPool
from gptalt_eval.spread.loop import spread
from gptalt_eval.spread.work import Answered, Failed, Loaded, Lost, Started

TESTS = Path(__file__).parents[1]


@pytest.fixture
def open_pool(tmp_path):
    pools = []

    def open_one(workers=1, job=None, read=lambda unit: unit.name.encode(), places=None, **settings):
        places = places or [Place(f"place {number}") for number in range(workers)]
        pools.append(
            LocalPool(Sums, {"model": job or Job()}, read, places, logs=tmp_path / "logs", **settings)
        )
        return pools[-1]

    yield open_one
    for pool in pools:
        pool.close()
        assert not list_processes_below(pool.starter.process.pid)


def list_processes():
    """Of each process that is not dead: its parent and its session."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] not in "ZX":
            found[int(stat.parent.name)] = (int(fields[1]), int(fields[3]))
    return found


def list_processes_below(starter):
    """The process that starts workers and the workers, by their session: a parent can be gone."""
    return [process for process, (_, session) in list_processes().items() if session == starter]


def test_twenty_kills_change_no_answer(open_pool):
    units = make_units(150)
    pool = open_pool(workers=2)
    answers, kills = {}, []

    def keep_and_kill(unit, result, worker):
        assert unit.name not in answers, "answered twice"
        answers[unit.name] = result.answers
        if len(kills) < 20 and len(answers) % 5 == 0:
            kills.append(worker)
            os.kill(pool.children[worker].process, signal.SIGKILL)

    started = time.monotonic()
    notes = []
    outcome = spread(units, pool, keep_and_kill, note=notes.append)
    assert not outcome.given_up and not outcome.models
    assert answers == answer_here(units)
    assert len(kills) == sum("killed (SIGKILL)" in note for note in notes) == 20
    assert time.monotonic() - started < 30


def test_a_stopped_worker_is_found_and_killed_and_its_unit_goes_to_another(open_pool):
    units = make_units(50)
    pool = open_pool(workers=2, job=Job(seconds=0.1))
    answers, stopped, notes = {}, [], []

    def keep_and_stop(unit, result, worker):
        answers[unit.name] = result.answers
        if len(answers) == 5:
            stopped.append(pool.children[worker].process)
            os.kill(stopped[0], signal.SIGSTOP)

    started = time.monotonic()
    spread(units, pool, keep_and_stop, note=notes.append, limits=Limits(least=1.5))
    assert answers == answer_here(units)
    assert ["answering a unit took more than" in note for note in notes] == [True]
    assert stopped[0] not in list_processes()
    assert time.monotonic() - started < 15


@pytest.mark.parametrize(
    ("payload", "reason", "preempted"),
    [
        (b"exit", "ended with exit code 3; it printed at last: the last words", False),
        (b"SIGKILL", "killed (SIGKILL): out of memory?; it printed at last: loading", False),
        (b"SIGTERM", "killed (SIGTERM); it printed at last: loading", True),
    ],
)
def test_a_worker_that_is_gone_is_reported_with_the_reason(open_pool, payload, reason, preempted):
    pool = open_pool(read=lambda unit: payload)
    worker, _ = load_one(pool)
    pool.answer(worker, make_units(1)[0])
    assert await_event(pool, Lost) == Lost(worker, reason, preempted)


def test_a_worker_that_closes_its_pipe_is_killed(open_pool):
    pool = open_pool(read=lambda unit: b"mute")
    worker, process = load_one(pool)
    pool.answer(worker, make_units(1)[0])
    assert await_event(pool, Lost).worker == worker
    assert process not in list_processes()


def test_an_error_is_reported_in_one_line_and_the_worker_goes_on(open_pool, tmp_path):
    units = make_units(2)
    pool = open_pool(read=lambda unit: b"error" if unit is units[0] else b"fine")
    worker, _ = load_one(pool)
    pool.answer(worker, units[0])
    assert await_event(pool, Failed) == Failed(worker, units[0], "ValueError: not this \\u001b[31m one")
    pool.answer(worker, units[1])
    assert await_event(pool, Answered).unit == units[1]
    log = (tmp_path / "logs" / "worker-0.log").read_text(encoding="utf-8")
    assert log.startswith("loading\nTraceback") and "in answer" in log


def test_a_model_that_cannot_be_loaded_hides_its_secrets(open_pool, tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "abc123secret")
    pool = open_pool(job=Job(error="refused: abc123secret"))
    worker = pool.start()
    pool.load(worker, "model")
    assert await_event(pool, Failed) == Failed(worker, None, "ValueError: refused: ***")
    assert "abc123secret" not in (tmp_path / "logs" / "worker-0.log").read_text(encoding="utf-8")


def test_what_cannot_be_made_pickled_or_read_fails_and_kills_nobody(tmp_path):
    def refuse(unit):
        raise OSError("the disk is gone")

    jobs = {"model": Job(), "lambda": lambda: None}
    pool = LocalPool(Sums, jobs, refuse, [Place("here")], logs=None)
    broken = LocalPool(functools.partial(int, "x"), {"model": Job()}, refuse, [Place("here")], logs=None)
    try:
        worker, _ = load_one(pool)
        pool.load(worker, "lambda")
        assert "ickl" in await_event(pool, Failed).reason
        pool.answer(worker, make_units(1)[0])
        assert await_event(pool, Failed).reason == "OSError: the disk is gone"
        broken.load(broken.start(), "model")
        assert await_event(broken, Failed).reason.startswith("ValueError: invalid literal")
    finally:
        pool.close()
        broken.close()


def test_a_stopped_worker_can_be_ended_with_a_large_payload_on_its_way(open_pool):
    units = make_units(2)
    pool = open_pool(read=lambda unit: bytes(50 << 20))
    worker, process = load_one(pool)
    os.kill(process, signal.SIGSTOP)
    started = time.monotonic()
    pool.answer(worker, units[0])
    assert pool.wait(0.5) == []
    pool.end(worker)
    second = pool.start()  # at the same place: waits until the first is gone
    pool.load(second, "model")
    await_event(pool, Loaded)
    assert process not in list_processes()
    pool.answer(second, units[0])
    assert await_event(pool, Answered).result.tokens == 50 << 20
    assert time.monotonic() - started < 15


def test_an_ended_worker_is_not_reported_and_an_avoided_place_stays_empty(open_pool):
    pool = open_pool(places=[Place("a", {"PLACE_OF_TEST": "first"}), Place("b", {"PLACE_OF_TEST": "second"})])
    first, second = pool.start(), pool.start()
    with pytest.raises(RuntimeError, match="each place"):
        pool.start()
    for worker in (first, second):
        pool.load(worker, "model")
    places = {each.worker: each.report.facts["place"] for each in await_events(pool, Loaded, 2)}
    assert places == {first: "first", second: "second"}
    assert "PLACE_OF_TEST" not in os.environ
    pool.avoid("a")
    assert pool.count_places() == 1
    pool.end(first)
    pool.end(second)
    third = pool.start()
    assert await_event(pool, Started) == Started(third, "b", os.uname().nodename)
    assert pool.wait(0.3) == []


def test_workers_have_no_input_and_ignore_ctrl_c(open_pool):
    pool = open_pool(read=lambda unit: b"stdin")
    worker, process = load_one(pool)
    os.kill(process, signal.SIGINT)
    pool.answer(worker, make_units(1)[0])
    assert await_event(pool, Answered).result.answers == [""]


def test_a_killed_starter_takes_its_workers_along_and_is_replaced(open_pool):
    pool = open_pool()
    worker, process = load_one(pool)
    os.kill(process, signal.SIGSTOP)
    pool.starter.process.kill()
    assert await_event(pool, Lost) == Lost(
        worker, "the process that starts the workers ended; it printed at last: loading", True
    )
    time.sleep(0.2)
    assert process not in list_processes()
    load_one(pool)


DRIVER = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts with & ignores it
sys.path.insert(0, {tests!r})
from pathlib import Path
from slow_sums import *
from gptalt_eval.spread.local import LocalPool
from gptalt_eval.spread.loop import spread
from gptalt_eval.spread.children import Place
print("once", file=sys.stderr, flush=True)  # a script without a guard: the workers must not run it again

journal = Path("journal")
done = journal.read_text().split() if journal.exists() else []
pool = LocalPool(Sums, dict(model=Job(seconds={seconds})), lambda unit: {payload}, [Place("a"), Place("b")], logs=Path("logs"))
print(pool.starter.process.pid, flush=True)
def keep(unit, result, worker):
    with journal.open("a") as file:
        file.write(unit.name + "\\n")
    print(unit.name, flush=True)
units = [unit for unit in make_units(20) if unit.name not in done]
spread(units, pool, keep)
pool.close()
"""


@pytest.fixture
def start_driver(tmp_path):
    script = tmp_path / "script.py"
    drivers = []

    def start(seconds=0.05, payload="unit.name.encode()"):
        script.write_text(DRIVER.format(tests=str(TESTS), seconds=seconds, payload=payload), encoding="utf-8")
        errors = (tmp_path / "errors").open("wb")
        with errors:
            driver = subprocess.Popen(
                [sys.executable, str(script)],
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        drivers.append(driver)
        driver.starter = int(driver.stdout.readline())
        return driver

    yield start
    for driver in drivers:
        driver.kill()
        driver.wait()
        driver.stdout.close()


def await_none_left(starter):
    await_true(lambda: not list_processes_below(starter), seconds=5)


def test_a_killed_driver_leaves_nothing_and_what_it_had_is_not_computed_again(start_driver, tmp_path):
    driver = start_driver(seconds=0.5)
    for _ in range(8):
        driver.stdout.readline()
    driver.kill()
    await_none_left(driver.starter)
    kept = (tmp_path / "journal").read_text(encoding="utf-8").split()
    assert len(kept) == 8
    driver = start_driver()
    again = [line.strip() for line in driver.stdout]
    assert driver.wait() == 0
    assert len(again) == 12
    assert sorted(kept + again) == sorted(unit.name for unit in make_units(20))
    assert (tmp_path / "errors").read_text(encoding="utf-8") == "once\n"
    assert not list_processes_below(driver.starter)


@pytest.mark.parametrize("payload", [b"SIGSTOP", b"forever"])
def test_a_killed_driver_leaves_no_worker_that_is_stopped_or_busy(start_driver, tmp_path, payload):
    driver = start_driver(payload=repr(payload))
    logs = tmp_path / "logs"
    await_true(lambda: len(list(logs.glob("worker-*.log"))) == 2)
    await_true(lambda: all(log.read_text() for log in logs.glob("worker-*.log")))
    time.sleep(0.3)  # the first unit is on its way
    assert len(list_processes_below(driver.starter)) == 3
    driver.kill()
    await_none_left(driver.starter)


def test_ctrl_c_reaches_the_driver_alone(start_driver, tmp_path):
    driver = start_driver(seconds=0.5)  # it is not done when the signal comes
    driver.stdout.readline()
    os.killpg(driver.pid, signal.SIGINT)
    driver.wait(20)
    await_none_left(driver.starter)
    errors = (tmp_path / "errors").read_text(encoding="utf-8")
    assert errors.count("KeyboardInterrupt") == 1
    logs = [log.read_text(encoding="utf-8") for log in (tmp_path / "logs").glob("*.log")]
    assert not any("KeyboardInterrupt" in log for log in logs)


def test_what_a_worker_has_started_ends_with_it(tmp_path):
    script = textwrap.dedent(
        """
        import subprocess, sys
        from slow_sums import Sums
        class Parent(Sums):
            def load(self, job):
                self.child = subprocess.Popen(["sleep", "1000"])
                return super().load(job)
        """
    )
    (tmp_path / "parents.py").write_text(script, encoding="utf-8")
    sys.path.insert(0, str(tmp_path))
    try:
        from parents import Parent

        pool = LocalPool(Parent, {"model": Job()}, lambda unit: b"", [Place("a")], logs=None)
    finally:
        sys.path.remove(str(tmp_path))
    try:
        load_one(pool)
        assert len(list_processes_below(pool.starter.process.pid)) == 3
    finally:
        pool.close()
    await_none_left(pool.starter.process.pid)


def test_modules_are_imported_once_for_all_workers_and_a_missing_one_is_no_matter(
    open_pool, tmp_path, monkeypatch
):
    (tmp_path / "counted.py").write_text(
        f"open({str(tmp_path / 'count')!r}, 'a').write('x')", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    pool = open_pool(workers=2, preload=["missing", "counted"], job=Job(imported="counted"))
    for _ in range(2):
        load_one(pool)
    assert (tmp_path / "count").read_text(encoding="utf-8") == "x"


def test_closing_does_not_wait_for_imports(tmp_path, monkeypatch):
    (tmp_path / "slow_to_import.py").write_text("import time; time.sleep(30)", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    pool = LocalPool(Sums, {}, bytes, [Place("a")], preload=["slow_to_import"], logs=None)
    started = time.monotonic()
    pool.close()
    assert time.monotonic() - started < 3
    pool.close()  # twice is once


def test_ends_in_words():
    assert name_end(0) == "ended with exit code 0"
    assert name_end(-signal.SIGSEGV) == "killed (SIGSEGV)"
    assert name_end(-99) == "killed (signal 99)"


def test_the_last_line_of_a_log(tmp_path):
    log = tmp_path / "log"
    assert read_last_line(log) == ""
    log.write_bytes(b"x" * 9000 + b"\nlast \xff\x1b[0m line\n \n")
    assert read_last_line(log) == "last \ufffd\\u001b[0m line"
