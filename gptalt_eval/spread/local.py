"""Workers in processes of this computer: one a place, such as a GPU."""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.spread.children import Child, Place, Starter
from gptalt_eval.spread.serve import ToAnswer, ToLoad, describe
from gptalt_eval.spread.work import Event, Failed, Lost, Unit, Worker

ENDS_IN = 2.0  # seconds between the end of a worker's pipe and that of its process
GONE_AFTER = 10.0  # seconds that killed processes may take: the driver of a GPU can hold them


class LocalPool:
    """Workers in processes of this computer.

    Nothing that a worker does holds the caller up: each worker has threads for what goes in and out.
    When this process ends, however it ends, the workers are killed.

    Args:
        make: makes the worker in its process; can be pickled.
        jobs: of each model, what the worker's ``load`` gets.
        read: the requests of a unit; called in other threads, never twice at once.
        places: where workers run, one at each.
        preload: modules that are imported once for all workers; they must not touch a GPU.
        logs: the folder for what the workers print; None: it is dropped.

    Raises:
        GptaltError: this system cannot fork.
    """

    def __init__(
        self,
        make: Callable[[], Worker],
        jobs: Mapping[str, Any],
        read: Callable[[Unit], bytes],
        places: Sequence[Place],
        *,
        preload: Sequence[str] = (),
        logs: Path | None,
    ) -> None:
        if not hasattr(os, "fork"):
            raise GptaltError(
                f"Several workers on one computer need Linux or macOS; this is {sys.platform}.",
                "Leave out --workers.",
            )
        self.make = pickle.dumps(make)
        self.jobs = jobs
        self.read = read
        self.places = list(places)
        self.preload = preload
        self.logs = logs
        if logs:
            logs.mkdir(parents=True, exist_ok=True)
        self.reading = threading.Lock()
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.children: list[Child] = []
        self.latest: dict[str, Child] = {}  # at each place
        self.starter = Starter(preload, self.name_log("start"))

    def count_places(self) -> int:
        """How many workers can run now."""
        return len(self.places)

    def start(self) -> int:
        """Begin to start a worker; returns its number."""
        free = [place for place in self.places if self.is_free(place)]
        if not free:
            raise RuntimeError("each place has a worker already")
        place = next((each for each in free if self.is_empty(each)), free[0])
        if not self.starter.alive:
            self.starter.close()
            self.starter = Starter(self.preload, self.name_log("start"))
        number = len(self.children)
        child = Child(number, place, self.latest.get(place.name), self.name_log(f"worker-{number}"))
        self.children.append(child)
        self.latest[place.name] = child
        for target in (self.send, self.receive):
            thread = threading.Thread(
                target=target, args=(child, child.open_pipe(), self.starter), daemon=True
            )
            child.threads.append(thread)
            thread.start()
        return number

    def is_free(self, place: Place) -> bool:
        """Whether no worker at a place is needed any more."""
        return self.is_empty(place) or not self.latest[place.name].wanted

    def is_empty(self, place: Place) -> bool:
        """Whether no process is left at a place."""
        return place.name not in self.latest or self.latest[place.name].gone.is_set()

    def name_log(self, name: str) -> Path | None:
        return self.logs / f"{name}.log" if self.logs else None

    def load(self, worker: int, model: str) -> None:
        """Have a worker load a model; reported as ``Loaded`` or ``Failed``."""
        self.children[worker].tasks.put((None, lambda: pickle.dumps(ToLoad(model, self.jobs[model]))))

    def answer(self, worker: int, unit: Unit) -> None:
        """Have a worker answer a unit; reported as ``Answered`` or ``Failed``."""
        self.children[worker].tasks.put((unit, lambda: pickle.dumps(ToAnswer(unit, self.read_one(unit)))))

    def read_one(self, unit: Unit) -> bytes:
        with self.reading:
            return self.read(unit)

    def end(self, worker: int) -> None:
        """Kill a worker, even one that is stopped; it is not reported as lost."""
        child = self.children[worker]
        child.wanted = False
        child.tasks.put(None)
        self.starter.kill(child)

    def avoid(self, place: str) -> None:
        """Start no more workers at a place."""
        self.places = [each for each in self.places if each.name != place]

    def wait(self, seconds: float) -> list[Event]:
        """What has happened; returns at once if something has, else after at most so many seconds."""
        found: list[Event] = []
        with contextlib.suppress(queue.Empty):
            found.append(self.events.get(timeout=max(seconds, 0)))
            while True:
                found.append(self.events.get_nowait())
        return [event for event in found if self.children[event.worker].wanted]

    def close(self) -> None:
        """Kill all workers, and wait until they are gone."""
        for child in self.children:
            self.end(child.number)
        until = time.monotonic() + GONE_AFTER
        for child in self.children:
            child.gone.wait(max(0, until - time.monotonic()))
        self.starter.close()
        for child in self.children:
            for thread in child.threads:
                thread.join(max(0, until - time.monotonic()))

    def send(self, child: Child, pipe: Any, starter: Starter) -> None:
        """One thread a worker: starts it, and writes to its pipe, which may be full for long."""
        if child.before:
            child.before.gone.wait()
            child.before = None
        starter.start(child)
        with pipe, contextlib.suppress(OSError):  # it is gone, and `receive` sees that
            pipe.send((child.place.name, dict(child.place.environ), self.make, child.log))
            while (task := child.tasks.get()) is not None:
                unit, pack = task
                try:
                    packed = pack()
                except Exception as error:
                    self.events.put(Failed(child.number, unit, describe(error)))
                    continue
                pipe.send_bytes(packed)

    def receive(self, child: Child, pipe: Any, starter: Starter) -> None:
        """One thread a worker: reads its pipe, and at the end says why there is nothing more."""
        with pipe, contextlib.suppress(EOFError, OSError):
            while True:
                self.events.put(pickle.loads(pipe.recv_bytes()))
        if not child.gone.wait(ENDS_IN):  # it has closed its pipe only
            starter.kill(child)
            child.gone.wait()
        child.tasks.put(None)
        child.ours.close()
        self.events.put(Lost(child.number, child.explain(), child.preempted))
