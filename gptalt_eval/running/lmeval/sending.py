"""Sends many requests to one or several servers: in order, some at a time, and again if they failed."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from gptalt_eval.contract.errors import GptaltError, ServerGone
from gptalt_eval.planning.served.server import PassingError, RefusedError

T = TypeVar("T")
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0  # seconds after a failure; doubled with each further one
UNREAD = 4  # answers for each thread that may wait to be saved: a kill loses them


@dataclass
class Line:
    """The way to one server.

    Attributes:
        server: what is asked.
        waiting: the numbers of the requests that are to be sent to it, in order.
        opens: when it may be asked again.
        failures: how many times in a row it failed.
        is_lost: whether the server was gone when it was last asked: another one may answer now.
    """

    server: Any
    waiting: deque[int] = field(default_factory=deque)
    opens: float = 0.0
    failures: int = 0
    is_lost: bool = False


class Sender(Generic[T]):
    """Sends requests.

    Args:
        servers: each gets a run of neighbours, and helps another one when it has done its own.
        concurrent: how many requests a server answers at the same time.
        tries: how many times a request is sent, and how many failures in a row mean that a server is gone.
        per_minute: how many requests all servers together get in a minute; None: any number.
        recheck: called with a server that was gone, before it is asked again.
        clock: the time in seconds.
    """

    def __init__(
        self,
        servers: Sequence[Any],
        concurrent: int = 1,
        tries: int = 8,
        per_minute: float | None = None,
        recheck: Callable[[Any], None] = lambda server: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lines = [Line(server) for server in servers]
        self.concurrent = concurrent
        self.tries = tries
        self.spacing = 60 / per_minute if per_minute else 0.0
        self.recheck = recheck
        self.clock = clock
        self.next_slot = 0.0

    def send(self, count: int, ask: Callable[[Any, int], T]) -> Iterator[tuple[int, T | RefusedError]]:
        """Ask for the answers to requests that are numbered from 0; yields each as soon as it is there.

        Args:
            count: their number.
            ask: asks a server for the answer to one of them, in any thread.

        Yields:
            the number of a request, and its answer or why there is none.

        Raises:
            ServerGone: no server answers any more.
            GptaltError: what a server answers shows that the run cannot go on.
        """
        sending = Sending(self, count, ask)
        threads = [
            threading.Thread(target=sending.work, args=(line,), daemon=True)
            for line in self.lines
            for _ in range(min(self.concurrent, max(count, 1)))
        ]
        for thread in threads:
            thread.start()
        try:
            for _ in range(count):
                number, answer = sending.receive()
                if isinstance(answer, GptaltError):
                    raise answer
                yield number, answer
        finally:
            sending.stop()


class Sending(Generic[T]):
    """Requests that are being sent; its methods are called in several threads."""

    def __init__(self, sender: Sender[T], count: int, ask: Callable[[Any, int], T]) -> None:
        self.sender = sender
        self.ask = ask
        self.left = count
        self.unread = 0
        self.failures: Counter[int] = Counter()
        self.is_stopped = False
        self.done: SimpleQueue[tuple[int, Any]] = SimpleQueue()
        self.changed = threading.Condition()
        lines = sender.lines
        self.most_unread = UNREAD * sender.concurrent * len(lines)
        for place, line in enumerate(lines):
            line.waiting = deque(range(count * place // len(lines), count * (place + 1) // len(lines)))

    def work(self, line: Line) -> None:
        """Ask one server until all is answered; a thread does this."""
        while (number := self.take(line)) is not None:
            try:
                if line.is_lost:
                    self.sender.recheck(line.server)
                    line.is_lost = False
                answer: Any = self.ask(line.server, number)
            except PassingError as error:
                self.put_back(line, number, error)
            except Exception as error:  # one thread must not end alone
                self.finish(
                    number, error if isinstance(error, (RefusedError, GptaltError)) else Failed(error)
                )
            else:
                line.failures = 0
                self.finish(number, answer)

    def take(self, line: Line) -> int | None:
        """The request that a server gets next, as soon as it may be asked; None: nothing is left."""
        with self.changed:
            while self.left and not self.is_stopped:
                now = self.sender.clock()
                wait = max(line.opens, self.sender.next_slot) - now
                has_room = self.unread < self.most_unread
                if wait <= 0 and has_room and (number := self.pick(line)) is not None:
                    self.sender.next_slot = now + self.sender.spacing
                    return number
                self.changed.wait(wait if wait > 0 and has_room else None)
            return None

    def pick(self, line: Line) -> int | None:
        """The first of a server's own requests, or the last of the server that has most."""
        if line.waiting:
            return line.waiting.popleft()
        longest = max(self.sender.lines, key=lambda other: len(other.waiting))
        return longest.waiting.pop() if longest.waiting else None

    def put_back(self, line: Line, number: int, error: PassingError) -> None:
        """Note that a request was not answered; it is sent again after the others, or given up."""
        with self.changed:
            now = self.sender.clock()
            line.is_lost = line.is_lost or error.is_lost
            if now >= line.opens:  # else another request has just failed for the same reason
                line.failures += 1
                wait = min(FIRST_WAIT * 2 ** (line.failures - 1), LONGEST_WAIT) * random.uniform(0.5, 1)
                line.opens = now + max(wait, error.wait or 0)
            if all(each.failures >= self.sender.tries for each in self.sender.lines):
                self.done.put((number, ServerGone(f"{error}, after {self.sender.tries} tries.")))
                self.is_stopped = True
            elif self.count(number) >= self.sender.tries:
                self.settle(number, RefusedError(f"{error} ({self.sender.tries} times)"))
            else:
                line.waiting.append(number)
            self.changed.notify_all()

    def count(self, number: int) -> int:
        self.failures[number] += 1
        return self.failures[number]

    def finish(self, number: int, answer: Any) -> None:
        with self.changed:
            self.settle(number, answer)
            self.changed.notify_all()

    def settle(self, number: int, answer: Any) -> None:
        self.left -= 1
        self.unread += 1
        self.done.put((number, answer))

    def receive(self) -> tuple[int, Any]:
        """The next answer."""
        while True:
            try:
                number, answer = self.done.get(timeout=1)  # with a limit, Ctrl-C gets through on Windows too
            except Empty:
                continue
            with self.changed:
                self.unread -= 1
                self.changed.notify_all()
            if isinstance(answer, Failed):
                raise answer.error
            return number, answer

    def stop(self) -> None:
        with self.changed:
            self.is_stopped = True
            self.changed.notify_all()


@dataclass(frozen=True)
class Failed:
    """A fault of ours, found in a thread."""

    error: Exception
