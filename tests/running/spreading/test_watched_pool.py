"""The pool that knows its workers: what they say of themselves is noted, the first of each model's is recorded."""

from fake_pool import FakePool

from gptalt_eval.running.spreading.journal import Where
from gptalt_eval.running.spreading.watched_pool import WatchedPool
from gptalt_eval.spread.work import Failed, Loaded, Report, Started


class Met:
    """A run that only notes which reports it is given."""

    def __init__(self):
        self.reports = []

    def refuse(self, report):
        return "not ours" if report.fingerprint == "stranger" else ""

    def meet(self, report):
        self.reports.append(report)
        return [f"about {report.fingerprint}"]


def wait_all(pool):
    """Every event until nothing more happens."""
    found = []
    while events := pool.wait(100):
        found += events
    return found


def test_workers_are_known_by_what_they_said():
    bare, members = FakePool(["a/gpu0", "b/gpu0"]), {"m": Met(), "n": Met()}
    pool = WatchedPool(bare, members, lambda *said: None)
    first, second = pool.start(), pool.start()
    assert pool.where(first) == Where("0")  # nothing is known yet
    assert wait_all(pool) == [Started(first, "a/gpu0", "a"), Started(second, "b/gpu0", "b")]
    assert pool.where(second) == Where("b/gpu0", "b", "")
    pool.load(second, "m")
    [loaded] = wait_all(pool)
    assert loaded == Loaded(second, "m", Report("print of m", "tree", "H100"))
    assert pool.where(second) == Where("b/gpu0", "b", "H100")
    assert pool.where(first) == Where("a/gpu0", "a", "")


def test_only_the_first_report_of_each_model_is_recorded():
    bare, members = FakePool(2), {"m": Met(), "n": Met()}
    bare.report = lambda worker, model: Report(f"{model} by {worker}")
    shown = []
    pool = WatchedPool(bare, members, lambda *said: shown.append(said))
    first, second = pool.start(), pool.start()
    for worker, model in ((second, "m"), (first, "m"), (first, "n")):
        pool.load(worker, model)
        wait_all(pool)
    assert members["m"].reports == [Report(f"m by {second}")]
    assert members["n"].reports == [Report(f"n by {first}")]
    assert shown == [("m", f"about m by {second}"), ("n", f"about n by {first}")]


def test_a_worker_with_another_model_than_that_of_the_prompts_has_not_loaded_it():
    bare, members = FakePool(1), {"m": Met()}
    bare.report = lambda worker, model: Report("stranger")
    pool = WatchedPool(bare, members, lambda *said: None)
    worker = pool.start()
    pool.load(worker, "m")
    assert Failed(worker, None, "not ours") in wait_all(pool)
    assert members["m"].reports == [] and pool.where(worker).device == ""
