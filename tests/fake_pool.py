"""A pool without processes, and its clock: what happens is planned ahead, in seconds that cost nothing."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from gptalt_eval.spread.loop import spread
from gptalt_eval.spread.work import Answered, Event, Failed, Loaded, Lost, Report, Result, Started, Unit

HANG = "hang"
Fate = Event | str | None  # instead of the answer (or load, or start); HANG: nothing ever comes


@dataclass
class Body:
    place: str = ""
    node: str = ""
    model: str | None = None
    ended: bool = False


class FakePool:
    """Workers that start in 1 s, load in 5 s, and answer 100 tokens a second.

    ``start_fate``, ``load_fate`` and ``answer_fate`` decide what happens instead; ``arrivals`` are places that
    come later, as (second, place).
    """

    def __init__(
        self, places: int | list[str] = 2, *, arrivals=(), seconds_to_start=1.0, seconds_to_load=5.0
    ):
        names = (
            [f"node{number // 4}/gpu{number % 4}" for number in range(places)]
            if isinstance(places, int)
            else places
        )
        self.now, self.count = 0.0, 0
        self.arrivals = sorted([(0.0, name) for name in names] + list(arrivals))
        self.avoided: set[str] = set()
        self.bodies: dict[int, Body] = {}
        self.events: list[tuple[float, int, Event]] = []
        self.start_fate: Callable[[int, str], Fate] = lambda worker, place: None
        self.load_fate: Callable[[int, str], Fate] = lambda worker, model: None
        self.answer_fate: Callable[[int, Unit], Fate] = lambda worker, unit: None
        self.report: Callable[[int, str], Report] = lambda worker, model: Report(
            f"print of {model}", "tree", "H100"
        )
        self.speed: Callable[[int], float] = lambda worker: 1.0
        self.seconds_to_start, self.seconds_to_load = seconds_to_start, seconds_to_load
        self.loads: list[tuple[int, str]] = []
        self.answers: list[tuple[float, int, Unit]] = []
        self.ends: list[tuple[float, int]] = []
        self.tried: Counter[Unit] = Counter()
        self.per_model: defaultdict[str, set[int]] = defaultdict(set)

    def clock(self) -> float:
        return self.now

    def places(self) -> list[str]:
        return [name for second, name in self.arrivals if second <= self.now and name not in self.avoided]

    def count_places(self) -> int:
        return len(self.places())

    def plan(self, worker: int, seconds: float, fate: Fate, usual: Event) -> None:
        if fate != HANG:
            self.count += 1
            event = usual if fate is None else fate
            heapq.heappush(self.events, (self.now + seconds, self.count, event))

    def start(self) -> int:
        worker = len(self.bodies)
        taken = Counter(body.place for body in self.bodies.values() if not body.ended)
        free = list((Counter(self.places()) - taken).elements())
        assert free, "more workers than places"
        place = free[0]
        self.bodies[worker] = Body(place, place.split("/")[0])
        self.plan(
            worker,
            self.seconds_to_start,
            self.start_fate(worker, place),
            Started(worker, place, place.split("/")[0]),
        )
        return worker

    def load(self, worker: int, model: str) -> None:
        assert not self.bodies[worker].ended
        self.bodies[worker].model = model
        self.loads.append((worker, model))
        self.per_model[model].add(worker)
        usual = Loaded(worker, model, self.report(worker, model))
        self.plan(worker, self.seconds_to_load, self.load_fate(worker, model), usual)

    def answer(self, worker: int, unit: Unit) -> None:
        assert not self.bodies[worker].ended and self.bodies[worker].model == unit.model
        self.answers.append((self.now, worker, unit))
        self.tried[unit] += 1
        seconds = unit.tokens / 100 / self.speed(worker)
        answers = [(unit.name, index) for index in unit.asked]
        fate = self.answer_fate(worker, unit)
        self.plan(worker, seconds, fate, Answered(worker, unit, Result(answers, unit.tokens, seconds)))

    def end(self, worker: int) -> None:
        assert not self.bodies[worker].ended
        self.bodies[worker].ended = True
        self.ends.append((self.now, worker))

    def avoid(self, place: str) -> None:
        self.avoided.add(place)

    def wait(self, seconds: float) -> list[Event]:
        assert self.now < 1e7, "no end in sight"
        until = self.now + seconds
        while self.events and self.events[0][0] <= until:
            self.now, _, event = heapq.heappop(self.events)
            body = self.bodies[event.worker]
            if not body.ended:
                body.ended = isinstance(event, Lost)
                return [event]
        self.now = until
        return []

    def close(self) -> None:
        pass


def lost(worker: int, reason: str = "exit code -9", preempted: bool = False) -> Lost:
    return Lost(worker, reason, preempted)


def failed(worker: int, unit: Unit | None, reason: str = "CUDA out of memory") -> Failed:
    return Failed(worker, unit, reason)


def make_units(number, model="m", tokens=1000, requests=10, kind="loglikelihood"):
    return [Unit(f"{model}-{kind}-{index}", model, kind, tokens, requests) for index in range(number)]


class Kept(dict):
    """(unit, index): answer; checks that each request is kept once, with its own answer."""

    def __init__(self) -> None:
        super().__init__()
        self.workers: dict[tuple[str, int], int] = {}

    def __call__(self, unit: Unit, result: Result, worker: int) -> None:
        assert len(result.answers) == len(unit.asked)
        for index, answer in zip(unit.asked, result.answers, strict=True):
            assert (unit.name, index) not in self, "kept twice"
            assert answer == (unit.name, index), "another request's answer"
            self[unit.name, index] = answer
            self.workers[unit.name, index] = worker


def go(units, pool, **options):
    """The outcome, the answers and the notes of a run in which each request was answered or given up, not both."""
    kept, notes = Kept(), []
    outcome = spread(units, pool, kept, clock=pool.clock, note=notes.append, **options)
    asked = {(unit.name, index) for unit in units if unit.model not in outcome.models for index in unit.asked}
    given_up = [(unit.name, index) for unit in outcome.given_up for index in unit.asked]
    assert len(given_up) == len(set(given_up))
    assert not kept.keys() & set(given_up)
    assert asked <= kept.keys() | set(given_up)
    return outcome, kept, notes
