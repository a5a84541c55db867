"""The workers that there are, and what each of them is to do next."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Literal

from gptalt_eval.spread.limits import Paces
from gptalt_eval.spread.queue import Queue
from gptalt_eval.spread.work import Unit

MARGIN = 0.1  # of a load: by so much a model must end later before a worker leaves its own for it
LEAST_POWER = 0.1  # of a usual worker

State = Literal["starting", "loading", "answering", "idle"]


@dataclass
class Member:
    """A worker as the loop sees it.

    Attributes:
        since: when the state began.
        model: which it holds or loads.
        tokens: of the units that it has answered.
        answers: their number.
        slowness: its seconds a token, in those of a usual worker.
    """

    number: int
    since: float
    state: State = "starting"
    place: str = ""
    node: str = ""
    model: str | None = None
    unit: Unit | None = None
    tokens: float = 0.0
    answers: int = 0
    slowness: float = 1.0


class Crew:
    """The workers, counted by model."""

    def __init__(self, paces: Paces) -> None:
        self.paces = paces
        self.members: dict[int, Member] = {}
        self.idle: dict[int, Member] = {}
        self.holders: Counter[str] = Counter()  # workers that hold or load a model
        self.power: defaultdict[str, float] = defaultdict(float)  # the same in usual workers
        self.loading: Counter[str] = Counter()
        self.most: Counter[str] = Counter()  # the most that ever held it
        self.doubtful: set[str] = set()  # models that failed to load, and are tried by one worker at a time
        self.moves: Counter[str] = Counter()  # workers that left it while it had work
        self._near: Counter[tuple[str, str]] = Counter()  # the same by computer

    def add(self, number: int, now: float) -> None:
        """A worker is being started."""
        self.members[number] = Member(number, now)

    def turn(self, member: Member, state: State, now: float) -> None:
        """A worker's state changes."""
        if member.state == "loading":
            self.loading[member.model or ""] -= 1
        member.state, member.since = state, now
        if state == "loading":
            self.loading[member.model or ""] += 1
        self.idle.pop(member.number, None)
        if state == "idle":
            self.idle[member.number] = member

    def hold(self, member: Member, model: str | None) -> None:
        """A worker begins to load a model in place of the one that it holds."""
        for name, step in ((member.model, -1), (model, 1)):
            if name is not None:
                self.holders[name] += step
                self.power[name] += step / member.slowness
                self._near[member.node, name] += step
                self.most[name] = max(self.most[name], self.holders[name])
        member.model = model

    def remove(self, number: int) -> Member | None:
        """A worker is gone; None if it was gone already."""
        member = self.members.pop(number, None)
        if member is not None:
            self.turn(member, "starting", member.since)
            self.hold(member, None)
        return member

    def estimate(self, member: Member, unit: Unit) -> float | None:
        """The seconds that a worker needs for a unit."""
        seconds = self.paces.estimate(unit.model, unit.kind, unit.tokens)
        return None if seconds is None else seconds * member.slowness

    def learn(self, member: Member, unit: Unit, seconds: float) -> None:
        """A worker has answered a unit in so many seconds."""
        usual = self.paces.estimate(unit.model, unit.kind, unit.tokens)
        if usual and unit.part is None and (unit.model, unit.kind) in self.paces.slowest:
            ratio, before = seconds / usual, 1 / member.slowness
            member.slowness = max(0.01, (member.slowness + ratio) / 2 if member.answers else ratio)
            self.power[unit.model] += 1 / member.slowness - before
        self.paces.saw_answer(unit, seconds)

    def choose_model(self, member: Member, queue: Queue) -> str | None:
        """Which model a free worker should serve: its own, else the one with most work left per holder.

        Moving must pay: what is left for each holder takes longer than half a load. A model that nobody
        holds always finds a worker. A model that is held on the same computer comes first until it has its
        share of all workers, so that whole computers serve one model and read its files once.
        """
        lefts = {model: self.left(model, queue) for model in queue.waiting}
        if member.model in lefts:
            return self._move(member.model, lefts, member, queue) or member.model
        best, most = None, -1.0
        load = self.paces.load or 0.0
        worker_share = sum(lefts.values()) / len(self.members)
        for model, left in lefts.items():
            holders, loading = self.holders[model], self.loading[model]
            if queue.waiting[model] <= loading or (model in self.doubtful and loading):
                continue
            per_holder = left / (holders + 1)
            if member.model is not None and holders and per_holder < load / 2:
                continue
            if self._near[member.node, model] > 0:
                per_holder *= 1.5 if per_holder < worker_share else 1000
            if per_holder > most:
                best, most = model, per_holder
        return best

    def _move(self, own: str, lefts: dict[str, float], member: Member, queue: Queue) -> str | None:
        """Another model that would end later than this worker's own, even if the worker changed sides now.

        One that moves early saves many from moving when their model is done. How fast the models are is
        known only after their first answers; the end is that of the last unit, not of the last that waits.
        """
        load = self.paces.load or 0.0
        if self.holders[own] < 2 or self.moves[own] >= self.most[own] or not self.paces.knows(own):
            return (
                None  # as many moves as workers are enough: estimates that change must not keep them moving
            )
        speed = 1 / member.slowness
        ends = {
            model: left / max(LEAST_POWER, self.power[model] + (-speed if model == own else speed))
            + left / queue.waiting[model]
            for model, left in lefts.items()
            if model not in self.doubtful and (self.paces.knows(model) or not self.holders[model])
        }
        other = max(ends, key=ends.__getitem__, default=own)
        if ends.get(other, 0.0) <= max(load, ends.get(own, 0.0) + MARGIN * load):
            return None
        self.moves[own] += 1
        return other

    def left(self, model: str, queue: Queue) -> float:
        """The seconds of one usual worker in what waits of a model; only a proportion, before any answer."""
        return sum(
            self.paces.weigh(model, tokens)
            if (seconds := self.paces.estimate(model, kind, tokens)) is None
            else seconds
            for kind, tokens in queue.tokens[model].items()
        )

    def plan_copies(self, queue: Queue, now: float) -> list[tuple[Member, Unit]]:
        """Units that idle workers would answer again before those that answer them are expected to end."""
        idle: defaultdict[str, list[Member]] = defaultdict(list)
        for member in self.idle.values():
            if member.model is not None and not queue.waiting.get(member.model):
                idle[member.model].append(member)
        if not idle:
            return []
        ends: defaultdict[str, list[tuple[float, Unit]]] = defaultdict(list)
        for unit, workers in queue.running.items():
            if unit.model in idle and len(workers) == 1 and queue.is_open(unit):
                ends[unit.model].append(
                    (self._expect_end(self.members[next(iter(workers))], unit, now), unit)
                )
        plan = []
        for model, members in idle.items():
            members.sort(key=lambda member: member.slowness)
            for member, (end, unit) in zip(
                members, sorted(ends[model], key=lambda pair: -pair[0]), strict=False
            ):
                seconds = self.estimate(member, unit)
                if seconds is not None and now + seconds < end:
                    plan.append((member, unit))
        return plan

    def _expect_end(self, member: Member, unit: Unit, now: float) -> float:
        """When a worker should end; one that is late is expected to need half as long again as so far."""
        return member.since + max(self.estimate(member, unit) or 0.0, 1.5 * (now - member.since))
