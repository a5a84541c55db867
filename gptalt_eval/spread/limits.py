"""How long things may take and how often they may go wrong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from gptalt_eval.spread.work import Unit


@dataclass(frozen=True)
class Limits:
    """Seconds and numbers after which the loop stops waiting or trying.

    Attributes:
        starting: seconds until a worker must have started.
        loading: seconds until a model must be loaded, before any load was seen.
        first: seconds for a unit, before any unit of its model and kind was answered.
        least: a unit never has less than so many seconds.
        factor: a unit or a load may take so many times what the slowest one seen took.
        deaths: a request that so many workers did not survive is given up.
        failures: a unit that failed so often is given up; so is a model that nothing could load.
        fruitless: a place where so many workers in a row answered nothing is avoided while others work.
        in_a_row: so many losses and failures of a model without one answer in between, and it is given up.
    """

    starting: float = 300.0
    loading: float = 1800.0
    first: float = 1800.0
    least: float = 10.0
    factor: float = 10.0
    deaths: int = 3
    failures: int = 3
    fruitless: int = 3
    in_a_row: int = 8


class Paces:
    """Seconds a token for each model and kind, and seconds a load; both as seen by the loop."""

    def __init__(self, limits: Limits, sizes: Mapping[str, float]) -> None:
        self.limits = limits
        self._sizes = {model: size for model, size in sizes.items() if size > 0}
        self._usual_size = sum(self._sizes.values()) / len(self._sizes) if self._sizes else 1.0
        self.slowest: dict[tuple[str, str], float] = {}
        self._sums: defaultdict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0.0])
        self._all = [0.0, 0.0]
        self._known: set[str] = set()
        self._loads: list[float] = []
        self._slowest_load = 0.0

    def saw_answer(self, unit: Unit, seconds: float) -> None:
        """Learn from an answer. A part says little: computing it can take as long as the whole unit."""
        if unit.part is not None or unit.tokens <= 0:
            return
        key = unit.model, unit.kind
        self._known.add(unit.model)
        self.slowest[key] = max(self.slowest.get(key, 0.0), seconds / unit.tokens)
        for sums, tokens in (
            (self._sums[key], unit.tokens),
            (self._all, self.weigh(unit.model, unit.tokens)),
        ):
            sums[0] += seconds
            sums[1] += tokens

    def saw_load(self, seconds: float) -> None:
        """Learn from a load."""
        self._loads.append(seconds)
        self._slowest_load = max(self._slowest_load, seconds)

    @property
    def load(self) -> float | None:
        """The seconds of a usual load; None before the first."""
        return sum(self._loads[-100:]) / len(self._loads[-100:]) if self._loads else None

    def knows(self, model: str) -> bool:
        """Whether a unit of a model was answered."""
        return model in self._known

    def weigh(self, model: str, tokens: float) -> float:
        """Tokens by what they cost before that is known: in proportion to the model's size."""
        return tokens * self._sizes.get(model, self._usual_size)

    def estimate(self, model: str, kind: str, tokens: float) -> float | None:
        """The seconds that a usual worker needs; None before any unit of any model was answered."""
        if own := self._sums.get((model, kind)):
            return own[0] / own[1] * tokens
        seconds, seen = self._all
        return seconds / seen * self.weigh(model, tokens) if seen else None

    def allow_unit(self, unit: Unit) -> float:
        """The seconds after which a worker that still answers this unit counts as hung."""
        slowest = self.slowest.get((unit.model, unit.kind))
        if slowest is None:
            return self.limits.first
        return max(self.limits.least, self.limits.factor * slowest * unit.tokens)

    def allow_load(self) -> float:
        """The seconds after which a worker that still loads counts as hung."""
        if not self._loads:
            return self.limits.loading
        return min(self.limits.loading, max(60.0, self.limits.factor * self._slowest_load))
