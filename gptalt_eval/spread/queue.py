"""The units that are left: which wait, which are being answered, and which were cut or given up."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace

from gptalt_eval.spread.limits import Limits
from gptalt_eval.spread.work import Result, Unit


def weigh(unit: Unit) -> float:
    """The tokens of the requests that are asked of a unit."""
    return unit.tokens * len(unit.asked) / max(1, unit.requests)


def cut(unit: Unit) -> tuple[Unit, Unit]:
    """Two halves of what a unit asks."""
    asked = unit.asked
    middle = (asked.start + asked.stop) // 2
    return replace(unit, part=range(asked.start, middle)), replace(unit, part=range(middle, asked.stop))


def pick(unit: Unit, part: Unit, result: Result) -> Result:
    """The answers to a part, out of those to the unit that contains it."""
    first, share = unit.asked.start, len(part.asked) / max(1, len(unit.asked))
    answers = result.answers[part.asked.start - first : part.asked.stop - first]
    return Result(answers, round(result.tokens * share), result.seconds * share)


class Queue:
    """Every unit or part is open until it was kept or given up; an open one waits or is being answered."""

    def __init__(self, units: Iterable[Unit], limits: Limits) -> None:
        self.limits = limits
        self.given_up: dict[Unit, str] = {}
        self.models: dict[str, str] = {}  # given up, and why
        self.running: defaultdict[Unit, set[int]] = defaultdict(set)
        self.waiting: Counter[str] = Counter()  # model: units
        self.tokens: defaultdict[str, Counter[str]] = defaultdict(Counter)  # model: kind: tokens that wait
        self.grew = False  # something waits that did not wait before
        self._open: defaultdict[str, list[Unit]] = defaultdict(list)
        self._heaps: defaultdict[str, list[tuple[int, float, int, Unit]]] = defaultdict(list)
        self._waits: set[Unit] = set()
        self._deaths: Counter[Unit] = Counter()
        self._failures: Counter[Unit] = Counter()
        self._count = 0
        for unit in dict.fromkeys(units):
            self._add(unit)

    def __bool__(self) -> bool:
        return bool(self._open)

    def _add(self, unit: Unit) -> None:
        self._open[unit.name].append(unit)
        self._wait(unit)

    def _wait(self, unit: Unit) -> None:
        """Queue an open unit: those that had trouble last, since it may be theirs; then the largest first."""
        self._count += 1
        trouble = self._deaths[unit] + self._failures[unit]
        heapq.heappush(self._heaps[unit.model], (trouble, -weigh(unit), self._count, unit))
        self._waits.add(unit)
        self.waiting[unit.model] += 1
        self.tokens[unit.model][unit.kind] += unit.tokens
        self.grew = True

    def _leave(self, unit: Unit) -> None:
        """A unit no longer waits; its entry in the heap is skipped when it is met."""
        if unit in self._waits:
            self._waits.remove(unit)
            self.tokens[unit.model][unit.kind] -= unit.tokens
            self.waiting[unit.model] -= 1
            if not self.waiting[unit.model]:
                del self.waiting[unit.model], self.tokens[unit.model]

    def _close(self, unit: Unit) -> None:
        self._leave(unit)
        self._open[unit.name].remove(unit)
        if not self._open[unit.name]:
            del self._open[unit.name]

    def is_open(self, unit: Unit) -> bool:
        """Whether an answer to this unit, as it was cut, is still wanted."""
        return unit in self._open.get(unit.name, ())

    def find_open(self) -> Iterator[Unit]:
        """All units and parts without an answer."""
        for units in self._open.values():
            yield from units

    def take(self, model: str, worker: int) -> Unit | None:
        """The next unit of a model, now answered by a worker."""
        heap = self._heaps[model]
        while heap:
            unit = heapq.heappop(heap)[-1]
            if unit in self._waits:
                self._leave(unit)
                self.running[unit].add(worker)
                return unit
        return None

    def drop(self, unit: Unit, worker: int) -> None:
        """A worker no longer answers a unit."""
        self.running[unit].discard(worker)
        if not self.running[unit]:
            del self.running[unit]

    def settle(self, unit: Unit, result: Result) -> list[tuple[Unit, Result]]:
        """What is new in an answer: the unit itself, or those of its parts that have no answer yet."""
        if self.is_open(unit):
            return [(unit, result)]
        asked = unit.asked
        return [
            (part, pick(unit, part, result))
            for part in self._open.get(unit.name, ())
            if asked.start <= part.asked.start and part.asked.stop <= asked.stop
        ]

    def kept(self, unit: Unit) -> None:
        """The answer to a unit or part is safe."""
        self._close(unit)

    def give_back(self, unit: Unit) -> None:
        """Queue a unit again through no fault of its own, unless it is being answered elsewhere."""
        if self.is_open(unit) and unit not in self.running and unit not in self._waits:
            self._wait(unit)

    def died(self, unit: Unit, reason: str) -> str | None:
        """A worker died of a unit, perhaps: queue it again, cut it, or give it up.

        Returns what was done, if it was one of the last two.
        """
        if not self.is_open(unit):
            return None
        self._deaths[unit] += 1
        if len(unit.asked) > 1 and self._deaths[unit] >= 2:
            self._close(unit)
            for part in cut(unit):
                self._deaths[part] = 1
                self._add(part)
            return "cut in two"
        if self._deaths[unit] >= self.limits.deaths:
            return self._give_up(
                unit, f"{self._deaths[unit]} workers were lost while they answered it: {reason}"
            )
        self.give_back(unit)
        return None

    def failed(self, unit: Unit, reason: str) -> str | None:
        """A unit met an error: queue it again or give it up."""
        if not self.is_open(unit):
            return None
        self._failures[unit] += 1
        if self._failures[unit] >= self.limits.failures:
            return self._give_up(unit, reason)
        self.give_back(unit)
        return None

    def _give_up(self, unit: Unit, reason: str) -> str:
        self._close(unit)
        self.given_up[unit] = reason
        return "given up"

    def give_up_model(self, model: str, reason: str) -> None:
        """No unit of a model is asked for any more."""
        self.models[model] = reason
        for unit in [unit for unit in self.find_open() if unit.model == model]:
            self._close(unit)
