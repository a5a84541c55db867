"""How far the work is, for a display."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from gptalt_eval.spread.crew import Crew, State
from gptalt_eval.spread.queue import Queue

WINDOW = 60.0  # seconds over which tokens are counted


@dataclass(frozen=True)
class WorkerState:
    """What a worker does: ``answering`` or ``loading`` a ``model`` for so many ``seconds``."""

    number: int
    node: str
    place: str
    state: State
    model: str | None
    seconds: float
    tokens: float


@dataclass(frozen=True)
class Snapshot:
    """How far the work is.

    Attributes:
        rate: tokens a second in the last minute.
        seconds_left: estimated from the pace of each model and the workers that answer; None: not known yet.
    """

    tokens: float
    all_tokens: float
    units: int
    all_units: int
    rate: float
    seconds_left: float | None
    workers: list[WorkerState]


class Meter:
    """Counts what was answered."""

    def __init__(self, all_tokens: float, all_units: int) -> None:
        self.all_tokens, self.all_units = all_tokens, all_units
        self.tokens, self.units = 0.0, 0.0
        self._recent: deque[tuple[float, float]] = deque()
        self._began: float | None = None

    def begin(self, now: float) -> None:
        """A worker begins to answer; the rate is counted from the first time on."""
        if self._began is None:
            self._began = now

    def count(self, tokens: float, units: float, now: float) -> None:
        """Something was answered; a part of a unit is a fraction of one."""
        self.tokens += tokens
        self.units += units
        self._recent.append((now, tokens))

    def rate(self, now: float) -> float:
        """Tokens a second in the last minute, or since the first worker began to answer."""
        while self._recent and self._recent[0][0] < now - WINDOW:
            self._recent.popleft()
        if self._began is None or now <= self._began:
            return 0.0
        return sum(tokens for _, tokens in self._recent) / min(WINDOW, now - self._began)

    def show(self, queue: Queue, crew: Crew, now: float) -> Snapshot:
        """How far the work is now."""
        return Snapshot(
            tokens=self.tokens,
            all_tokens=self.all_tokens,
            units=int(self.units + 1e-6),
            all_units=self.all_units,
            rate=self.rate(now),
            seconds_left=estimate_left(queue, crew, now),
            workers=[
                WorkerState(
                    one.number, one.node, one.place, one.state, one.model, now - one.since, one.tokens
                )
                for one in crew.members.values()
            ],
        )


def estimate_left(queue: Queue, crew: Crew, now: float) -> float | None:
    """Seconds until everything is answered, if the workers that answer now share what is left."""
    if not queue:
        return 0.0
    speed, running = 0.0, 0.0
    for member in crew.members.values():
        if member.state == "answering" and member.unit is not None:
            seconds = crew.estimate(member, member.unit)
            if seconds is None:
                return None
            speed += 1 / member.slowness
            running += max(0.0, seconds - (now - member.since)) / member.slowness
    if not speed:
        return None
    return (running + sum(crew.left(model, queue) for model in queue.waiting)) / speed
