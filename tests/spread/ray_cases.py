"""Workers on a Ray cluster of five nodes: a node taken away, an actor killed, one stopped; and what is refused."""

import os
import signal
import socket
import sys
import time
from pathlib import Path

import psutil
import pytest
from pool_events import await_event, await_events, await_true, load_one
from ray_cluster import open_cluster
from slow_sums import Job, Sums, answer_here, make_units

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.spread import cluster as joining
from gptalt_eval.spread import ray as ours
from gptalt_eval.spread.limits import Limits
from gptalt_eval.spread.loop import spread
from gptalt_eval.spread.ray import RayPool
from gptalt_eval.spread.work import Answered, Failed, Loaded, Lost, Started

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray")]


@pytest.fixture(scope="module")
def cluster():
    started = time.monotonic()
    with open_cluster() as opened:
        opened.took = time.monotonic() - started
        yield opened


@pytest.fixture
def open_pool(cluster):
    pools = []

    def open_one(read=lambda unit: unit.name.encode(), **jobs):
        pools.append(RayPool(Sums, jobs or {"model": Job()}, read, cluster.address))
        return pools[-1]

    yield open_one
    for pool in pools:
        pool.close()


def test_five_nodes_are_up_listen_here_only_and_leave_the_home_folder_alone(cluster, open_pool):
    assert cluster.took < 60
    pool = open_pool()
    assert pool.count_places() == 5
    load_one(pool)
    listening = {
        connection.laddr.ip.removeprefix("::ffff:")
        for process in [*cluster.list_processes(), psutil.Process()]
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}
    assert list(Path.home().iterdir()) == []
    assert Path.home().parent == cluster.folder
    assert oct((cluster.folder / "token").stat().st_mode & 0o777) == "0o600"


def test_a_node_removed_an_actor_killed_and_one_stopped_change_no_answer(cluster, open_pool, capfd):
    units = make_units(200)
    pool = open_pool(model=Job(seconds=0.1))
    right = answer_here(units)
    capfd.readouterr()
    answers, notes, harmed = {}, [], []
    processes = {}
    wait = pool.wait

    def listen(seconds):
        events = wait(seconds)
        processes.update((e.worker, e.report.facts["process"]) for e in events if isinstance(e, Loaded))
        return events

    pool.wait = listen

    def keep(unit, result, worker):
        assert unit.name not in answers, "answered twice"
        answers[unit.name] = result.answers
        if len(answers) in (20, 40, 60):
            own = find_own_node() if len(harmed) == 2 else ""
            other = next(
                each
                for each, hand in pool.hands.items()
                if each in processes and each not in harmed and each != worker and hand.node != own
            )
            harmed.append(other)
            if len(harmed) == 3:
                cluster.kill_node(pool.hands[other].node)
            else:
                os.kill(processes[other], [signal.SIGKILL, signal.SIGSTOP][len(harmed) - 1])

    started = time.monotonic()
    outcome = spread(units, pool, keep, note=notes.append, limits=Limits(least=2))
    assert time.monotonic() - started < 60
    assert not outcome.given_up and not outcome.models
    assert answers == right
    killed, stopped, removed = (next(n for n in notes if n.startswith(f"Worker {each} ")) for each in harmed)
    assert "Worker unexpectedly exits with a connection error" in killed and "Some common" not in killed
    assert "answering a unit took more than" in stopped  # its allowance grows with the slowest pace
    assert "unavailable" in removed or "died" in removed or "dead" in removed, removed
    await_true(lambda: not is_running(processes[harmed[1]]))  # although it was stopped
    assert capfd.readouterr().out == ""


def find_own_node():
    """The node that this process is connected to, without which it cannot go on."""
    import ray

    return ray.get_runtime_context().get_node_id()


def is_running(process):
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_losses_are_told_apart(cluster, open_pool):
    payloads = iter([b"error", b"SIGTERM", b"exit"])
    pool = open_pool(read=lambda unit: next(payloads), model=Job(), wrong=Job(error="no such file"))
    [unit] = make_units(1)
    worker, _ = load_one(pool)
    pool.answer(worker, unit)
    assert await_event(pool, Failed) == Failed(worker, unit, "ValueError: not this \\u001b[31m one")
    pool.load(worker, "wrong")
    assert await_event(pool, Failed) == Failed(worker, None, "ValueError: no such file")
    pool.answer(worker, unit)
    lost = await_event(pool, Lost)
    assert lost.preempted and lost.worker == worker
    worker, _ = load_one(pool)
    pool.answer(worker, unit)
    lost = await_event(pool, Lost)
    assert lost.worker == worker and not lost.preempted, lost


def test_a_node_that_is_taken_away_is_a_preemption_and_one_that_joins_is_used(cluster, open_pool):
    pool = open_pool(read=lambda unit: b"SIGSTOP")
    workers = [load_one(pool)[0] for _ in range(2)]
    worker = next(each for each in workers if pool.hands[each].node != find_own_node())
    pool.answer(worker, make_units(1)[0])
    await_places(pool, len(cluster.nodes))  # what the test before has killed no longer counts
    cluster.kill_node(pool.hands[worker].node)
    lost = await_event(pool, Lost)
    assert lost.worker == worker and lost.preempted
    assert pool.count_places() == len(cluster.nodes)
    cluster.nodes.append(cluster.add_node())
    await_places(pool, len(cluster.nodes))
    for _ in cluster.nodes[1:]:
        pool.start()
    started, until = 1, time.monotonic() + 60
    while started < len(cluster.nodes):  # Ray may still send some to the node that is gone
        assert time.monotonic() < until
        for event in pool.wait(0.5):
            if isinstance(event, Lost):
                assert event.preempted, event
                pool.start()
            started += isinstance(event, Started)


def await_places(pool, count):
    await_true(lambda: pool.count_places() == count, seconds=60)


def test_an_avoided_place_gets_no_worker_and_no_large_payload_stays(cluster, open_pool):
    pool = open_pool(read=lambda unit: bytes(20 << 20))
    await_places(pool, len(cluster.nodes))
    worker = pool.start()
    place = await_event(pool, Started).place
    before = pool.count_places()
    pool.end(worker)
    pool.avoid(place)
    assert pool.count_places() == before - 1
    workers = [pool.start() for _ in range(before - 1)]
    found = await_events(pool, Started, len(workers))
    assert place not in {event.place for event in found}
    pool.load(workers[0], "model")
    await_event(pool, Loaded)
    for _ in range(8):  # more than the node's store of objects holds
        pool.answer(workers[0], make_units(1)[0])
        assert await_event(pool, Answered).result.tokens == 20 << 20


def test_gpus_are_shared_out_and_one_on_which_nothing_works_is_held(cluster, open_pool):
    node = cluster.add_node(gpus=3)
    try:
        pool = open_pool()
        assert pool.count_places() == 3
        for _ in range(3):
            pool.start()
        found = await_events(pool, Started, 3)
        name = found[0].node
        assert {event.place for event in found} == {f"{name} (GPU {number})" for number in range(3)}
        for event in found[:2]:
            pool.end(event.worker)
        pool.avoid(found[0].place)
        assert pool.count_places() == 2
        pool.start()
        assert await_event(pool, Started).place == found[1].place  # the other is free too
        pool.close()
        pairs = RayPool(Sums, {}, bytes, cluster.address, gpus_per_worker=2)
        assert pairs.count_places() == 1
        pairs.start()
        assert await_event(pairs, Started).place.endswith(" (GPU 0, 1)")
        pairs.close()
        with pytest.raises(GptaltError, match=r"has 4 GPUs; the most is 3\.\nType --gpus_per_worker 3\."):
            RayPool(Sums, {}, bytes, cluster.address, gpus_per_worker=4)
    finally:
        cluster.cluster.remove_node(node)


def test_another_version_of_the_package_is_named(cluster, open_pool, monkeypatch):
    monkeypatch.setattr(ours, "__version__", "99.1")
    pool = open_pool()
    worker = pool.start()
    place = await_event(pool, Started).place
    pool.load(worker, "model")
    failed = await_event(pool, Failed)
    assert (failed.worker, failed.unit) == (worker, None)
    assert failed.reason.startswith(place.split(" (")[0] + " has gptalt-eval ")
    assert failed.reason.endswith(", this computer 99.1")


def test_workers_with_gpus_wait_until_a_computer_with_some_joins(cluster, open_pool):
    with_cpus = open_pool()
    assert not with_cpus.waits_for_gpus and with_cpus.count_places() == len(cluster.nodes)
    pool = RayPool(
        Sums, {"model": Job()}, lambda unit: unit.name.encode(), cluster.address, gpus_per_worker=1
    )
    units, answers, looks, joined = make_units(20), {}, [], []

    def join(snapshot):  # called about twice a second
        looks.append(snapshot)
        if len(looks) == 5:
            assert pool.waits_for_gpus and not answers
            joined.append(cluster.add_node(gpus=2))

    def keep(unit, result, worker):
        answers[unit.name] = result.answers

    places = []
    wait = pool.wait

    def listen(seconds):
        events = wait(seconds)
        places.extend(event.place for event in events if isinstance(event, Started))
        return events

    pool.wait = listen
    try:
        assert pool.count_places() == 0 and pool.waits_for_gpus
        scout = pool.scout  # waits for room, by which a cluster that grows knows what to start
        outcome = spread(units, pool, keep, watch=join)
        assert not outcome.given_up and not outcome.models and answers == answer_here(units)
        assert places and all(" (GPU " in place for place in places)
        assert not pool.waits_for_gpus and pool.count_places() == 2
        assert pool.hands[0].actor is scout and pool.scout is None
    finally:
        pool.close()
        for node in joined:
            cluster.cluster.remove_node(node)


def test_another_token_is_refused(cluster, monkeypatch, tmp_path):
    other = tmp_path / "token"
    other.write_text("0" * 64, encoding="utf-8")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(other))
    started = time.monotonic()
    with pytest.raises(GptaltError, match="wants a token, or another one"):
        joining.knock(cluster.address)
    assert time.monotonic() - started < 15


def test_an_address_where_nothing_listens_is_refused_at_once():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        started = time.monotonic()
        with pytest.raises(
            GptaltError, match=r"No Ray cluster answers at .*: Connection refused\.\nStart one"
        ):
            joining.check_address(f"127.0.0.1:{bound.getsockname()[1]}")
        assert time.monotonic() - started < 5


def test_something_else_that_listens_is_given_up_in_time(monkeypatch):
    monkeypatch.setattr(joining, "ANSWERS_IN", 3.0)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        joining.check_address(address)
        with pytest.raises(GptaltError, match=f"No Ray cluster answers at {address} in 3 s"):
            joining.knock(address)


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(GptaltError, match="pip install ray"):
        joining.join("auto")


def test_what_ray_prints_is_explained():
    printed = "Traceback\nRuntimeError: Version mismatch: The cluster was started with:\n    Ray: 2.59.0\n    Python: 3.11.2\n"
    assert str(joining.explain("a:1", printed)).startswith(
        "The cluster at a:1 runs another Ray or Python than this computer: The cluster was started with: Ray: 2.59.0"
    )
    assert "No Ray cluster runs" in str(joining.explain("auto", "Could not find any running Ray instance."))
    assert str(joining.explain("a:1", "x\nOSError: \x1b[0m\n")).endswith("at a:1: OSError: \\u001b[0m")
    assert str(joining.explain("a:1", "")).endswith("a:1: ")
