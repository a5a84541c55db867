"""Workers on the computers of a Ray cluster: one a GPU, or some GPUs of one computer together."""

from __future__ import annotations

import contextlib
import pickle
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.machine.version import __version__
from gptalt_eval.spread.cluster import join
from gptalt_eval.spread.serve import ToAnswer, ToLoad, describe, shorten
from gptalt_eval.spread.work import Event, Failed, Lost, Started, Unit, Worker

ARRIVES_IN = 60.0  # seconds for an answer that a worker has ready
KNOCKS_FOR = 2.0  # seconds to find out whether a computer is still there


def make_courier() -> Any:
    """The class of the actors: local, so that Ray sends it along and it runs where our package is missing."""

    class Courier:
        def __init__(self, number: int, make: bytes) -> None:
            self.number, self.make = number, make
            self.desk: Any = None

        def begin(self) -> tuple[str, str, list[Any], str | None]:
            """The computer, the node, the GPUs, and our package's version there."""
            import socket

            import ray

            try:
                from gptalt_eval.machine.version import __version__ as version
            except ImportError:
                version = ""
            node = ray.get_runtime_context().get_node_id()
            return socket.gethostname(), node, list(ray.get_gpu_ids()), version

        def reply(self, task: bytes) -> bytes:
            from gptalt_eval.spread.serve import Desk

            self.desk = self.desk or Desk(self.number, self.make)
            reply: bytes = self.desk.reply_bytes(task)
            return reply

    return Courier


@dataclass
class Hand:
    """A worker as the driver sees it.

    Attributes:
        node: what Ray calls its computer.
        problem: why it cannot be used.
    """

    actor: Any
    node: str = ""
    problem: str = ""


class RayPool:
    """Workers that are actors of a Ray cluster. Restarts and deadlines are the loop's, not Ray's.

    Args:
        make: makes the worker in its process; can be pickled, and imported on the other computers.
        jobs: of each model, what the worker's ``load`` gets.
        read: the requests of a unit.
        address: ``auto`` or ``HOST:PORT``.
        gpus_per_worker: all of one computer, and until one with GPUs joins, the pool waits for it. None: one
            each, or in a cluster without GPUs a worker for each CPU.

    Raises:
        GptaltError: there is no such cluster, or its computers with GPUs have too few.
    """

    def __init__(
        self,
        make: Callable[[], Worker],
        jobs: Mapping[str, Any],
        read: Callable[[Unit], bytes],
        address: str,
        gpus_per_worker: int | None = None,
    ) -> None:
        self.make = pickle.dumps(make)
        self.jobs = jobs
        self.read = read
        self.ray, self.joined = join(address)
        self.gpus = gpus_per_worker or 1
        self.hands: dict[int, Hand] = {}
        self.started = 0
        self.calls: dict[Any, tuple[int, Unit | None]] = {}  # by Ray's reference to what will come back
        self.events: list[Event] = []
        self.computers: dict[str, str] = {}  # by node: its name
        self.places: dict[str, str] = {}  # seen so far, with their nodes
        self.avoided: set[str] = set()
        self.gone: set[str] = set()  # nodes that Ray still counts
        self.scout: Any = None  # the next actor, which has a cluster that grows on demand start a computer
        self.plugs: list[Any] = []  # actors that hold an avoided place, so that Ray starts nothing there
        most = self.count_most_gpus()
        self.resource = "GPU" if most or gpus_per_worker else "CPU"
        if 0 < most < self.gpus:
            self.close()
            raise GptaltError(
                f"No computer of the cluster has {self.gpus} GPUs; the most is {most}.",
                f"Type --gpus_per_worker {most}.",
            )
        needs = {"num_gpus": self.gpus, "num_cpus": 0} if self.resource == "GPU" else {"num_cpus": 1}
        settings = {"max_restarts": 0, "max_task_retries": 0, "max_concurrency": 1}
        self.courier = self.ray.remote(**needs, **settings)(make_courier())

    def list_nodes(self) -> list[dict[str, Any]]:
        nodes: list[dict[str, Any]] = self.ray.nodes()
        return [node for node in nodes if node["Alive"] and node["NodeID"] not in self.gone]

    def count_most_gpus(self) -> int:
        """The GPUs of the computer that has the most."""
        return max((int(node["Resources"].get("GPU", 0)) for node in self.list_nodes()), default=0)

    @property
    def waits_for_gpus(self) -> bool:
        """Whether no computer that the workers could run on has joined yet."""
        return self.resource == "GPU" and not self.count_most_gpus()

    def count_places(self) -> int:
        """How many workers can run now; computers may join and leave."""
        if self.waits_for_gpus and self.scout is None:
            self.scout = self.courier.remote(self.started, self.make)
        return sum(map(self.count_places_of, self.list_nodes()))

    def count_places_of(self, node: Mapping[str, Any]) -> int:
        avoided = sum(1 for place in self.avoided if self.places[place] == node["NodeID"])
        count = int(node["Resources"].get(self.resource, 0))
        if self.resource == "CPU":  # they are one place
            return 0 if avoided else count
        return max(0, count // self.gpus - avoided)

    def start(self) -> int:
        """Begin to start a worker; returns its number. It waits until Ray finds room for it."""
        number, self.started = self.started, self.started + 1
        scout, self.scout = self.scout, None
        self.begin(number, scout)
        return number

    def begin(self, number: int, actor: Any = None) -> None:
        hand = self.hands[number] = Hand(actor or self.courier.remote(number, self.make))
        self.calls[hand.actor.begin.remote()] = number, None

    def load(self, worker: int, model: str) -> None:
        """Have a worker load a model; reported as ``Loaded`` or ``Failed``."""
        if self.hands[worker].problem:
            self.events.append(Failed(worker, None, self.hands[worker].problem))
        else:
            self.call(worker, None, lambda: ToLoad(model, self.jobs[model]))

    def answer(self, worker: int, unit: Unit) -> None:
        """Have a worker answer a unit; reported as ``Answered`` or ``Failed``."""
        self.call(worker, unit, lambda: ToAnswer(unit, self.read(unit)))

    def call(self, worker: int, unit: Unit | None, task: Callable[[], ToLoad | ToAnswer]) -> None:
        try:
            packed = pickle.dumps(task(), pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            self.events.append(Failed(worker, unit, describe(error)))
        else:  # as an argument, Ray keeps it no longer than the call
            self.calls[self.hands[worker].actor.reply.remote(packed)] = worker, unit

    def end(self, worker: int) -> None:
        """Kill a worker, even one that is stopped; it is not reported as lost."""
        hand = self.hands.pop(worker, None)
        self.calls = {ref: call for ref, call in self.calls.items() if call[0] != worker}
        self.events = [event for event in self.events if event.worker != worker]
        if hand:
            self.kill(hand.actor)

    def kill(self, actor: Any) -> None:
        with contextlib.suppress(self.ray.exceptions.RayError, ValueError):  # it is dead already
            self.ray.kill(actor, no_restart=True)

    def avoid(self, place: str) -> None:
        """Start no more workers at a place."""
        self.avoided.add(place)

    def wait(self, seconds: float) -> list[Event]:
        """What has happened; returns at once if something has, else after at most so many seconds."""
        found, self.events = self.events, []
        seconds = 0 if found else max(seconds, 0)
        waiting = list(self.calls)
        if not waiting:
            time.sleep(seconds)
        elif self.ray.wait(waiting, timeout=seconds)[0]:
            for ref in self.ray.wait(waiting, num_returns=len(waiting), timeout=0)[0]:
                if ref in self.calls:
                    found += self.take(ref)
        return found

    def take(self, ref: Any) -> list[Event]:
        """What has come back from a worker."""
        worker, _ = self.calls.pop(ref)
        hand = self.hands[worker]
        try:
            value = self.ray.get(ref, timeout=ARRIVES_IN)
        except self.ray.exceptions.RayError as error:
            self.end(worker)
            return [Lost(worker, explain(error), self.is_preempted(error, hand.node))]
        return [pickle.loads(value)] if isinstance(value, bytes) else self.greet(worker, hand, *value)

    def greet(
        self, worker: int, hand: Hand, host: str, node: str, gpus: list[Any], version: str
    ) -> list[Event]:
        """A worker runs, unless it does where none is to run."""
        others = {name for other, name in self.computers.items() if other != node}
        name = self.computers.setdefault(node, f"{host} {node[:6]}" if host in others else host)
        hand.node = node
        place = f"{name} (GPU {', '.join(map(str, gpus))})" if gpus else name
        self.places[place] = node
        if place in self.avoided:
            self.plugs.append(hand.actor)
            self.begin(worker)
            return []
        if version != __version__:
            has = f"has gptalt-eval {version}" if version else "has no gptalt-eval"
            hand.problem = f"{name} {has}, this computer {__version__}"
        return [Started(worker, place, name)]

    def is_preempted(self, error: Any, node: str) -> bool:
        """Whether a worker was taken away, alone or with its computer, or sent to one that is gone."""
        said = getattr(error, "preempted", False) or (not node and "never ran" in str(error))
        return said or "SIGTERM" in str(error) or not self.is_there(node)

    def is_there(self, node: str) -> bool:
        """Whether a computer is still there: Ray itself counts it for half a minute after its end."""
        if not node:
            return True
        found = next((each for each in self.list_nodes() if each["NodeID"] == node), None)
        if found is None:
            return False
        try:
            where = found["NodeManagerAddress"], found["NodeManagerPort"]
            socket.create_connection(where, timeout=KNOCKS_FOR).close()
        except OSError:
            self.gone.add(node)
            return False
        return True

    def close(self) -> None:
        """Kill all workers and leave the cluster."""
        for worker in list(self.hands):
            self.end(worker)
        for actor in [*self.plugs, self.scout]:
            if actor is not None:
                self.kill(actor)
        if self.joined:
            self.ray.shutdown()


def explain(error: Exception) -> str:
    """Why a worker was lost, without Ray's advice."""
    last = (str(error).strip().splitlines() or [""])[-1]
    return shorten(last.rpartition("exit detail: ")[2].partition(" Some common causes")[0])
