"""Hands units to workers as they become free, until each is answered once or given up with its reason.

Time comes only from ``clock`` and from the pool, so that tests and simulations run this loop as it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from gptalt_eval.spread.crew import Crew, Member
from gptalt_eval.spread.guards import CHANGED, OTHER_MODEL, Guards, Judge
from gptalt_eval.spread.limits import Limits, Paces
from gptalt_eval.spread.progress import Meter, Snapshot
from gptalt_eval.spread.queue import Queue, weigh
from gptalt_eval.spread.work import (
    Answered,
    Event,
    Failed,
    Loaded,
    Outcome,
    Pool,
    Report,
    Result,
    Started,
    Unit,
)

TICK = 0.5  # seconds between looks at the clock, when nothing happens
CENSUS = 3.0  # seconds between counts of the places
PAUSE = 60.0  # seconds without a start, after many workers in a row did not start
NOTHING: Mapping[str, Any] = MappingProxyType({})


def spread(
    units: Sequence[Unit],
    pool: Pool,
    keep: Callable[[Unit, Result, int], None],
    *,
    expected: Mapping[str, Report] = NOTHING,
    sizes: Mapping[str, float] = NOTHING,
    watch: Callable[[Snapshot], None] | None = None,
    note: Callable[[str], None] = lambda text: None,
    clock: Callable[[], float] = time.monotonic,
    limits: Limits | None = None,
) -> Outcome:
    """Have the workers of a pool answer all units. The pool stays open; closing it ends what still runs.

    Args:
        keep: called once for each unit, or each part of one that was cut, before it counts as answered.
        expected: for a resumed run, what its workers said about the models.
        sizes: of the models, such as their numbers of parameters: so much work is expected before the first
            answers show it.
        watch: called about twice a second.
        note: called with a sentence about a worker that was lost or refused, or a unit that was given up.
    """
    return _Loop(units, pool, keep, expected, sizes, watch, note, clock, limits or Limits()).run()


class _Loop:
    def __init__(
        self,
        units: Sequence[Unit],
        pool: Pool,
        keep: Callable[[Unit, Result, int], None],
        expected: Mapping[str, Report],
        sizes: Mapping[str, float],
        watch: Callable[[Snapshot], None] | None,
        note: Callable[[str], None],
        clock: Callable[[], float],
        limits: Limits,
    ) -> None:
        self.pool, self.keep, self.watch, self.note, self.clock = pool, keep, watch, note, clock
        self.limits = limits
        self.queue = Queue(units, limits)
        self.paces = Paces(limits, sizes)
        self.crew = Crew(self.paces)
        self.guards = Guards(limits, self.crew)
        self.judge = Judge(expected)
        self.meter = Meter(sum(map(weigh, self.queue.find_open())), sum(1 for _ in self.queue.find_open()))
        self.places = 0
        self.next_tick = self.next_census = self.next_start = clock()
        self.reason = "no worker could be started"

    def run(self) -> Outcome:
        now = self.clock()
        while self.queue:
            ticks = now >= self.next_tick
            if ticks:
                self.next_tick = now + TICK
                self.check_deadlines(now)
            if now >= self.next_census:
                self.next_census = now + CENSUS
                self.places = self.pool.count_places()
                self.check_places()
            self.start_workers(now)
            self.give_work(now, everybody=ticks or self.queue.grew)
            if not self.queue:
                break
            if self.watch is not None and ticks:
                self.watch(self.meter.show(self.queue, self.crew, now))
            events = self.pool.wait(max(0.0, self.next_tick - now))
            now = self.clock()
            for event in events:
                self.handle(event, now)
        if self.watch is not None:
            self.watch(self.meter.show(self.queue, self.crew, now))
        return Outcome(self.queue.given_up, self.queue.models, self.judge.reports)

    def start_workers(self, now: float) -> None:
        """As many as there are places for, but no more than there are units for workers without one."""
        if now < self.next_start:
            return
        members = self.crew.members
        spare = sum(1 for member in members.values() if member.unit is None)
        wanted = min(self.places - len(members), self.queue.waiting.total() - spare)
        for _ in range(wanted):
            self.crew.add(self.pool.start(), now)

    def give_work(self, now: float, everybody: bool) -> None:
        """Units, loads and copies for the workers that are free."""
        self.queue.grew = False
        for member in list(self.crew.idle.values()):
            if not everybody and member.since < now:
                continue  # nothing has changed for it since it was last asked
            model = self.crew.choose_model(member, self.queue)
            if model is None:
                continue
            if model == member.model:
                self.hand(member, self.queue.take(model, member.number), now)
            else:
                self.crew.hold(member, model)
                self.crew.turn(member, "loading", now)
                self.pool.load(member.number, model)
        if everybody:
            for member, unit in self.crew.plan_copies(self.queue, now):
                self.queue.running[unit].add(member.number)
                self.hand(member, unit, now)

    def hand(self, member: Member, unit: Unit | None, now: float) -> None:
        if unit is not None:
            member.unit = unit
            self.crew.turn(member, "answering", now)
            self.meter.begin(now)
            self.pool.answer(member.number, unit)

    def handle(self, event: Event, now: float) -> None:
        member = self.crew.members.get(event.worker)
        if member is None:
            return  # it was ended before this was heard
        if isinstance(event, Started):
            self.guards.starts = 0
            member.place, member.node = event.place, event.node
            self.crew.turn(member, "idle", now)
        elif isinstance(event, Loaded):
            self.loaded(member, event, now)
        elif isinstance(event, Answered):
            self.answered(member, event.unit, event.result, now)
        elif isinstance(event, Failed):
            self.failed(member, event, now)
        else:
            self.lose(member, event.reason, event.preempted, now)

    def loaded(self, member: Member, event: Loaded, now: float) -> None:
        difference = self.judge.differ(event.model, event.report)
        if difference is None:
            self.paces.saw_load(now - member.since)
            self.guards.loaded(event.model)
            self.crew.turn(member, "idle", now)
            return
        self.note(f"{_name(member)} was refused: {difference}")
        self.end(member)
        if self.judge.has_changed(event.model, self.places):
            self.give_up_model(event.model, CHANGED)
        elif difference != OTHER_MODEL or event.model not in self.judge.unconfirmed:
            self.reason = f"the workers were refused: {difference}"
            self.avoid(member)

    def answered(self, member: Member, unit: Unit, result: Result, now: float) -> None:
        if len(result.answers) != len(unit.asked):
            reason = f"{len(result.answers)} answers came to {len(unit.asked)} requests"
            return self.failed(member, Failed(member.number, unit, reason), now)
        self.queue.drop(unit, member.number)
        self.crew.learn(member, unit, now - member.since)
        for part, answers in self.queue.settle(unit, result):
            self.keep(part, answers, member.number)
            self.queue.kept(part)
            self.meter.count(weigh(part), len(part.asked) / max(1, part.requests), now)
        member.tokens += weigh(unit)
        member.answers += 1
        self.guards.answered(member)
        member.unit = None
        self.crew.turn(member, "idle", now)

    def failed(self, member: Member, event: Failed, now: float) -> None:
        """An error of a unit leaves the worker as it is; one that could not load a model is ended."""
        if event.unit is None or member.unit is None:
            return self.lose(member, event.reason, False, now, end=True)
        unit, member.unit = member.unit, None
        self.queue.drop(unit, member.number)
        self.crew.turn(member, "idle", now)
        if self.queue.failed(unit, event.reason):
            self.note(f"A unit of model {unit.model} was given up: {event.reason}")
        if self.guards.went_wrong(unit.model):
            self.give_up_model(unit.model, event.reason)

    def lose(self, member: Member, reason: str, preempted: bool, now: float, end: bool = False) -> None:
        """A worker is gone, or is ended since it hangs or could not load; its unit goes to others."""
        state, model, unit = member.state, member.model, member.unit
        self.note(
            f"{_name(member)} was lost: {reason}" if not end else f"{_name(member)} was ended: {reason}"
        )
        self.end(member) if end else self.forget(member)
        self.next_census = now
        if preempted:
            return self.queue.give_back(unit) if unit is not None else None
        self.reason = reason
        if state == "starting":
            self.guards.starts += 1
            if self.guards.starts >= self.limits.in_a_row:
                self.next_start = now + PAUSE
                if not self.crew.members:
                    self.give_up_all()
            return
        if unit is not None and (what := self.queue.died(unit, reason)):
            self.note(f"A unit of model {unit.model} was {what}: {reason}")
        if self.guards.ended(member):
            self.avoid(member)
        if state == "loading" and model is not None:
            hopeless = self.guards.failed_to_load(member, model)
        else:
            hopeless = unit is not None and self.guards.went_wrong(unit.model)
        if hopeless and model is not None:
            self.give_up_model(model, reason)

    def forget(self, member: Member) -> None:
        self.crew.remove(member.number)
        if member.unit is not None:
            self.queue.drop(member.unit, member.number)

    def end(self, member: Member) -> None:
        self.pool.end(member.number)
        self.forget(member)

    def avoid(self, member: Member) -> None:
        if member.place and member.place not in self.guards.avoided:
            self.guards.avoided.add(member.place)
            self.note(f"No more workers are started at {member.place}")
            self.pool.avoid(member.place)
            self.next_census = self.clock()

    def check_places(self) -> None:
        if self.guards.avoided and not self.places and not self.crew.members:
            self.give_up_all()

    def check_deadlines(self, now: float) -> None:
        """Nothing reports a process that was stopped: who is late is ended."""
        for member in list(self.crew.members.values()):
            if member.number not in self.crew.members:
                continue  # ended in this round, with its model
            if member.state == "starting":
                allowed, what = self.limits.starting, "starting"
            elif member.state == "loading":
                allowed, what = self.paces.allow_load(), f"loading model {member.model}"
            elif member.unit is not None:
                allowed, what = self.paces.allow_unit(member.unit), "answering a unit"
            else:
                continue
            if now - member.since > allowed:
                self.lose(member, f"{what} took more than {allowed:.0f} seconds", False, now, end=True)

    def give_up_model(self, model: str, reason: str) -> None:
        if model in self.queue.models:
            return
        self.note(f"Model {model} was given up: {reason}")
        self.queue.give_up_model(model, reason)
        for member in list(self.crew.members.values()):
            if member.model == model and member.state in ("loading", "answering"):
                self.end(member)

    def give_up_all(self) -> None:
        for model in dict.fromkeys(unit.model for unit in self.queue.find_open()):
            self.give_up_model(model, self.reason)


def _name(member: Member) -> str:
    return f"Worker {member.number}" + (f" ({member.place})" if member.place else "")
