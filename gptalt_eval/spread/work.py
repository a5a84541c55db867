"""What is handed to workers and what comes back: the language of the loop, the pools and the workers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Kind = Literal["loglikelihood", "loglikelihood_rolling", "generate_until"]


@dataclass(frozen=True)
class Unit:
    """Requests that are answered together, and so rounded alike whichever worker answers them.

    Attributes:
        name: SHA-256 of the model, the requests and the way they were cut.
        model: the key of the model that answers.
        kind: of the requests; each kind has a pace of its own.
        tokens: distinct tokens, by which the time for the unit is estimated.
        requests: their number.
        part: which of them are to be answered; None: all. The worker still computes them as a part of the
            whole unit, so that they are rounded in the same way.
    """

    name: str
    model: str
    kind: Kind
    tokens: int
    requests: int
    part: range | None = None

    @property
    def asked(self) -> range:
        """The indices of the requests that are to be answered."""
        return range(self.requests) if self.part is None else self.part


@dataclass(frozen=True)
class Report:
    """What a worker says about a model that it has loaded. Workers whose first three differ are not mixed.

    Attributes:
        fingerprint: SHA-256 of everything that can change an answer.
        way: the method of scoring.
        device: what computes, such as the name of the GPU.
        seconds: how long loading took.
        facts: anything else; only the one who asked for the answers looks at it.
    """

    fingerprint: str
    way: str = ""
    device: str = ""
    seconds: float = 0.0
    facts: Any = None


@dataclass(frozen=True)
class Result:
    """The answers to a unit.

    Attributes:
        answers: one for each index in ``unit.asked``, in that order.
        tokens: how many were computed.
        seconds: how long it took.
    """

    answers: list[Any]
    tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Started:
    """A worker runs. ``place`` is what it runs on (a GPU of a computer), ``node`` the computer."""

    worker: int
    place: str = ""
    node: str = ""


@dataclass(frozen=True)
class Loaded:
    """A worker has loaded a model."""

    worker: int
    model: str
    report: Report


@dataclass(frozen=True)
class Answered:
    """A worker has answered a unit."""

    worker: int
    unit: Unit
    result: Result


@dataclass(frozen=True)
class Failed:
    """A worker met an error while it loaded a model (no unit) or answered a unit; it is still there."""

    worker: int
    unit: Unit | None
    reason: str


@dataclass(frozen=True)
class Lost:
    """A worker is gone. ``preempted``: its computer was taken away, which is not the unit's fault."""

    worker: int
    reason: str
    preempted: bool = False


Event = Started | Loaded | Answered | Failed | Lost


class Worker(Protocol):
    """What runs in a worker's process; made there by a function that can be pickled."""

    def load(self, job: Any) -> Report:
        """Load a model in place of the one before; ``job`` describes it and can be pickled."""

    def answer(self, unit: Unit, payload: bytes) -> Result:
        """Answer a unit of the loaded model; ``payload`` has the requests of the whole unit."""


class Pool(Protocol):
    """Starts, feeds and ends workers. Only ``wait`` and ``close`` may take long."""

    def count_places(self) -> int:
        """How many workers can run now; may grow and shrink."""

    def start(self) -> int:
        """Begin to start a worker; returns its number, which is never used again."""

    def load(self, worker: int, model: str) -> None:
        """Have a worker load a model; reported as ``Loaded`` or ``Failed``."""

    def answer(self, worker: int, unit: Unit) -> None:
        """Have a worker answer a unit; reported as ``Answered`` or ``Failed``."""

    def end(self, worker: int) -> None:
        """Kill a worker, even one that no longer responds; it is not reported as lost."""

    def avoid(self, place: str) -> None:
        """Start no more workers at a place, on which nothing works."""

    def wait(self, seconds: float) -> list[Event]:
        """What has happened; returns at once if something has, else after at most so many seconds."""

    def close(self) -> None:
        """Kill all workers, and wait until they are gone."""


@dataclass(frozen=True)
class Outcome:
    """How spreading ended.

    Attributes:
        given_up: units, or parts of them, that could not be answered, and why.
        models: models that could not be loaded or answered nothing, and why; their units are not repeated
            in ``given_up``.
        reports: what the workers said about each model that was loaded.
    """

    given_up: dict[Unit, str] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    reports: dict[str, Report] = field(default_factory=dict)
