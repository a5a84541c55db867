"""Waits for what workers report, in time."""

import time

from gptalt_eval.spread.work import Loaded, Started


def await_true(met, seconds=20):
    until = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < until, f"not met in {seconds} s"
        time.sleep(0.05)


def await_events(pool, kind, count, seconds=30):
    """The next events, which are of one kind; that a worker has started is heard along the way."""
    found = []
    until = time.monotonic() + seconds
    while len(found) < count:
        assert time.monotonic() < until, f"{len(found)} times {kind.__name__} in {seconds} s"
        found += [event for event in pool.wait(0.5) if kind is Started or not isinstance(event, Started)]
        assert all(isinstance(event, kind) for event in found), found
    assert len(found) == count, found
    return found


def await_event(pool, kind):
    [event] = await_events(pool, kind, 1)
    return event


def load_one(pool):
    """Start a worker, load the model; its number and process."""
    worker = pool.start()
    assert await_event(pool, Started).worker == worker
    pool.load(worker, "model")
    loaded = await_event(pool, Loaded)
    assert (loaded.worker, loaded.model) == (worker, "model")
    return worker, loaded.report.facts["process"]
