"""Many workers: a simulated cluster, and what handing out units costs on this computer.

    python benchmarks/cluster.py [simulate] [overhead] [sleep] [kills]
    python benchmarks/cluster.py simulate --gpus 8,64 --seeds 3 --without copies,early-moves

simulate  The loop of gptalt_eval/spread as it is, with a pool and a clock that cost nothing, on the survey's
          grid: 16 models x 2 prompt styles x 4 shots x 20 tasks. ``--without`` shows what its choices are
          worth (copies, whole-models, early-moves, sizes), ``--size 6.7`` a survey of models of one size.
overhead  What a unit costs besides its work, with a worker in a process of this computer.
sleep     40 units that sleep for a second, on 4 workers.
kills     Workers are killed while they answer; answers are compared with those of this process.

The simulation assumes that a model of 6.7 billion parameters reads 30,000 tokens a second (``gpu.py``:
30,083 and 30,262 with LLaMA-7B's shape on an H100) and others in inverse proportion to their size. The
sizes are those of 16 models in ``gptalt-eval ls models``. A cell has 1.5 million distinct tokens
(``scale.py``: 5.4 million for MMLU at four numbers of shots). A unit has 250,000, the middle of what
gptalt_eval/spread/cutting.py cuts, and takes up to 10 % more or less time. Starting a worker takes 15 s,
loading a model 60 s. One GPU in ten runs at half speed. In ten minutes 1 % of the workers are lost, with
what they were doing; their GPUs are used again.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import importlib
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from gptalt_eval.spread.children import Place
from gptalt_eval.spread.crew import Crew
from gptalt_eval.spread.local import LocalPool
from gptalt_eval.spread.loop import spread
from gptalt_eval.spread.work import Answered, Event, Loaded, Lost, Report, Result, Started, Unit

SIZES = (6.7, 6.7, 7.1, 6.2, 6.9, 6.9, 6.7, 13, 6.7, 17, 6.6, 12, 6.9, 7.4, 7.9, 13)  # of models, in billions
CELLS = 2 * 4 * 20
CELL_TOKENS, UNIT_TOKENS = 1_500_000, 250_000
RATE = 30_000 * 6.7  # tokens a second, of a model with a billion parameters
START, LOAD = 15.0, 60.0
SLOW, LOST_A_SECOND = 0.1, 0.01 / 600
JITTER = 0.1
NODE = 8  # GPUs of a computer


@dataclass
class SimulatedPool:
    """GPUs whose work is only counted."""

    gpus: int
    sizes: dict[str, float]
    dice: random.Random
    now: float = 0.0
    loads: int = 0
    lost: int = 0
    tokens: int = 0
    events: list[tuple[float, int, Event]] = field(default_factory=list)
    places: dict[int, int] = field(default_factory=dict)  # of the workers that are there
    order: int = 0

    def __post_init__(self) -> None:
        self.speeds = [0.5 if self.dice.random() < SLOW else 1.0 for _ in range(self.gpus)]
        self.free = list(range(self.gpus))

    def clock(self) -> float:
        return self.now

    def expect(self, seconds: float, event: Event) -> None:
        self.order += 1
        heapq.heappush(self.events, (self.now + seconds, self.order, event))

    def count_places(self) -> int:
        return self.gpus

    def start(self) -> int:
        place, self.order = heapq.heappop(self.free), self.order + 1
        worker = self.order
        self.places[worker] = place
        self.expect(START, Started(worker, str(place), str(place // NODE)))
        self.expect(self.dice.expovariate(LOST_A_SECOND), Lost(worker, "simulated"))
        return worker

    def load(self, worker: int, model: str) -> None:
        self.loads += 1
        self.expect(LOAD, Loaded(worker, model, Report(model)))

    def answer(self, worker: int, unit: Unit) -> None:
        self.tokens += unit.tokens
        seconds = unit.tokens * self.sizes[unit.model] / RATE / self.speeds[self.places[worker]]
        seconds *= self.dice.uniform(1 - JITTER, 1 + JITTER)
        self.expect(seconds, Answered(worker, unit, Result([None] * len(unit.asked))))

    def end(self, worker: int) -> None:
        heapq.heappush(self.free, self.places.pop(worker))

    def avoid(self, place: str) -> None:
        raise AssertionError(f"place {place} works")

    def wait(self, seconds: float) -> list[Event]:
        until = self.now + seconds
        while self.events and self.events[0][0] <= until:
            self.now, _, event = heapq.heappop(self.events)
            if event.worker in self.places:
                if isinstance(event, Lost):
                    self.lost += 1
                    self.end(event.worker)
                return [event]
        self.now = until
        return []

    def close(self) -> None:
        self.places.clear()


@contextlib.contextmanager
def leave_out(choices: list[str], dice: random.Random) -> Iterator[None]:
    """Run without some of the loop's choices."""

    def choose_any(crew: Crew, member: object, queue: object) -> str | None:
        return dice.choice(list(queue.waiting)) if queue.waiting else None  # type: ignore[attr-defined]

    with contextlib.ExitStack() as stack:
        if "copies" in choices:
            stack.enter_context(mock.patch.object(Crew, "plan_copies", lambda *_: []))
        if "whole-models" in choices:
            stack.enter_context(mock.patch.object(Crew, "choose_model", choose_any))
        if "early-moves" in choices:
            stack.enter_context(mock.patch.object(Crew, "_move", lambda *_: None))
        yield


def simulate(
    gpus: int,
    seed: int,
    sizes: tuple[float, ...] = SIZES,
    cells: int = CELLS,
    without: list[str] | None = None,
) -> dict[str, float]:
    """Seconds that a cluster needs for the grid, and the ideal: the work divided by the real speeds."""
    dice = random.Random(seed)
    models = {f"model {number}": size for number, size in enumerate(sizes)}
    count = cells * CELL_TOKENS // UNIT_TOKENS
    units = [
        Unit(f"{model} {number}", model, "loglikelihood", UNIT_TOKENS, 1)
        for model in models
        for number in range(count)
    ]
    pool = SimulatedPool(gpus, models, dice)
    kept: list[Unit] = []
    began = time.process_time()
    with leave_out(without or [], dice):
        outcome = spread(
            units,
            pool,
            lambda unit, result, worker: kept.append(unit),
            sizes={} if "sizes" in (without or []) else models,
            clock=pool.clock,
        )
    assert len(set(kept)) == len(kept) == len(units) and not outcome.given_up and not outcome.models
    ideal = sum(UNIT_TOKENS * models[unit.model] / RATE for unit in units) / sum(pool.speeds)
    return {
        "units": len(units),
        "ideal": ideal,
        "seconds": pool.now,
        "loads": pool.loads,
        "lost": pool.lost,
        "twice": pool.tokens / (len(units) * UNIT_TOKENS) - 1,
        "cpu": time.process_time() - began,
    }


def average(gpus: int, seeds: int, sizes: tuple[float, ...], without: list[str]) -> dict[str, float]:
    """The means of several simulated runs."""
    rows = [simulate(gpus, seed, sizes, without=without) for seed in range(seeds)]
    return {name: sum(row[name] for row in rows) / seeds for name in rows[0]}


def print_simulation(options: argparse.Namespace) -> None:
    print(
        "| GPUs | units | ideal, s | simulated, s | above the ideal | above ideal and load |"
        " above ideal, start and load | loads | workers lost | computed twice | CPU of the loop, s |"
    )
    sizes = (options.size,) * len(SIZES) if options.size else SIZES
    print("|---" * 11 + "|")
    for gpus in options.gpus:
        row = average(gpus, options.seeds, sizes, options.without)
        shares = [row["seconds"] / (row["ideal"] + more) - 1 for more in (0, LOAD, START + LOAD)]
        print(
            f"| {gpus} | {row['units']:,.0f} | {row['ideal']:,.0f} | {row['seconds']:,.0f} |",
            *(f"{share:.1%} |" for share in shares),
            f"{row['loads']:,.0f} | {row['lost']:.0f} | {row['twice']:.1%} | {row['cpu']:.1f} |",
            flush=True,
        )


class Worker:
    """Sleeps as long as it is told, and answers with a product in float32, which is rounded."""

    def load(self, job: float) -> Report:
        self.seconds = job
        return Report("one")

    def answer(self, unit: Unit, payload: bytes) -> Result:
        time.sleep(self.seconds)
        numbers = np.frombuffer(payload, dtype=np.uint8).astype(np.float32)
        product = np.sin(numbers[:10_000].reshape(100, 100)) @ np.cos(numbers[-10_000:].reshape(100, 100))
        return Result([product[place].tobytes() for place in unit.asked], unit.tokens)


def read(unit: Unit) -> bytes:
    """Requests of a usual unit: 250,000 tokens of 4 bytes."""
    return np.random.default_rng(int(unit.name)).bytes(4 * UNIT_TOKENS)


@contextlib.contextmanager
def open_pool(workers: int, seconds: float) -> Iterator[LocalPool]:
    """Processes of this computer."""
    sys.path.insert(0, str(Path(__file__).parent))
    make = importlib.import_module("cluster").Worker  # not __main__'s, which the workers do not import
    places = [Place(f"place {number}") for number in range(workers)]
    pool = LocalPool(make, {"model": seconds}, read, places, preload=["cluster"], logs=None)
    try:
        yield pool
    finally:
        pool.close()


def answer_units(count: int, workers: int, seconds: float, kills: int = 0) -> dict[str, Any]:
    """Have processes of this computer answer units, and kill some of them meanwhile."""
    units = [Unit(str(number), "model", "loglikelihood", UNIT_TOKENS, 100) for number in range(count)]
    answers: dict[tuple[str, int], Any] = {}
    kept = 0
    times, killed = [], 0
    with open_pool(workers, seconds) as pool:

        def keep(unit: Unit, result: Result, worker: int) -> None:
            nonlocal killed, kept
            kept += len(unit.asked)
            answers.update(
                {(unit.name, place): each for place, each in zip(unit.asked, result.answers, strict=True)}
            )
            times.append(time.monotonic())
            process = pool.children[worker].process
            if killed < kills and len(times) % 4 == 0 and process is not None:
                os.kill(process, signal.SIGKILL)
                killed += 1

        began = time.monotonic()
        outcome = spread(units, pool, keep)
    here = Worker()
    here.load(0.0)
    expected = {unit.name: here.answer(unit, read(unit)).answers for unit in units}
    equal = all(expected[name][place] == answer for (name, place), answer in answers.items())
    assert len(answers) == kept == sum(unit.requests for unit in units) and not outcome.given_up
    return {"seconds": times[-1] - began, "answering": times[-1] - times[0], "killed": killed, "equal": equal}


def measure_overhead(count: int = 300) -> str:
    """What a unit costs, without its own work: reading, sending and computing the answers to it."""
    row = answer_units(count, 1, 0.0)
    own = Worker()
    own.load(0.0)
    unit = Unit("0", "model", "loglikelihood", UNIT_TOKENS, 100)
    began = time.monotonic()
    for _ in range(20):
        own.answer(unit, read(unit))
    work = (time.monotonic() - began) / 20
    cost = row["answering"] / (count - 1) - work
    return f"overhead of a unit: {1000 * cost:.1f} ms, besides {1000 * work:.1f} ms of work"


def measure_sleep(seconds: float = 1.0) -> str:
    """40 units that sleep, on 4 workers."""
    row = answer_units(40, 4, seconds)
    share = 10 * seconds / row["seconds"]
    return f"40 sleeping units on 4 workers: {row['seconds']:.2f} s, {share:.1%} of the ideal"


def measure_kills(kills: int = 20) -> str:
    """Workers killed while they answer."""
    row = answer_units(5 * kills, 2, 0.05, kills)
    return f"{row['killed']} kills in {row['seconds']:.1f} s; all answers bitwise equal: {row['equal']}"


MEASURES = {"overhead": measure_overhead, "sleep": measure_sleep, "kills": measure_kills}


def split(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help="default: all")
    parser.add_argument("--gpus", type=split, default=["8", "64", "128", "512"])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--size", type=float, help="of every model, in billions of parameters")
    parser.add_argument("--without", type=split, default=[], metavar="copies,whole-models,early-moves,sizes")
    options = parser.parse_args()
    options.gpus = [int(gpus) for gpus in options.gpus]
    for part in options.parts or ["simulate", *MEASURES]:
        if part == "simulate":
            print_simulation(options)
        elif part in MEASURES:
            print(MEASURES[part]())
        else:
            parser.error(f"'{part}' is not one of simulate, {', '.join(MEASURES)}")


if __name__ == "__main__":
    main()
