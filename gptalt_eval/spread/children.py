"""The workers of one computer as the driver sees them, and the process that forks them."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from gptalt_eval.machine.subprocesses import clean_environment
from gptalt_eval.spread.nursery import KILL, NEWS, ORDER, RUNS, START
from gptalt_eval.spread.serve import shorten
from gptalt_eval.spread.work import Unit

ENDS_AFTER = 5.0  # seconds for the process that forks workers
TAIL = 4096  # bytes of a log that are looked at for its last line
# the driver's own list of folders with modules, before anything of ours is imported
RUN = """
import sys
sys.path[:] = sys.argv[3].split("\\n")
from gptalt_eval.spread.nursery import main
main(int(sys.argv[1]), sys.argv[2].split())
"""

Task = tuple[Unit | None, Callable[[], bytes]]


@dataclass(frozen=True)
class Place:
    """Where one worker at a time runs.

    Attributes:
        name: such as ``GPU 0``.
        environ: set in the worker, on top of the driver's, before it imports anything.
    """

    name: str
    environ: Mapping[str, str] = field(default_factory=dict)


class Child:
    """A worker as the driver sees it.

    Attributes:
        wanted: nobody has ended it.
        tasks: what it is to do; None: no more.
        process: its id, once it runs.
        code: how it ended, as ``subprocess`` says it; None: unknown.
        gone: it has ended, and what its pipe still holds can be read.
    """

    def __init__(self, number: int, place: Place, before: Child | None, log: Path | None) -> None:
        self.number = number
        self.place = place
        self.before = before  # at the same place: its memory must be free first
        self.log = log
        self.wanted = True
        self.tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self.process: int | None = None
        self.code: int | None = None
        self.gone = threading.Event()
        self.ours, self.theirs = socket.socketpair()
        self.threads: list[threading.Thread] = []

    def open_pipe(self) -> Connection:
        """The driver's end, for one thread: each closes its own."""
        return Connection(os.dup(self.ours.fileno()))

    def leave(self, code: int | None) -> None:
        """Note that it has ended, and let go of the threads that wait for its pipe."""
        if not self.gone.is_set():
            self.code = code
            with contextlib.suppress(OSError):
                self.ours.shutdown(socket.SHUT_RDWR)
            self.gone.set()

    @property
    def preempted(self) -> bool:
        """Whether it was taken away: by a signal that asks, or with the process that forked it."""
        return self.code == -signal.SIGTERM or (self.code is None and self.process is not None)

    def explain(self) -> str:
        """How it ended, in words, with the last line of its log."""
        line = read_last_line(self.log) if self.log else ""
        return f"{name_end(self.code)}; it printed at last: {line}" if line else name_end(self.code)


def name_end(code: int | None) -> str:
    """How a process ended, in words."""
    if code is None:
        return "the process that starts the workers ended"
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"killed ({name}){': out of memory?' if code == -signal.SIGKILL else ''}"


def read_last_line(log: Path) -> str:
    """The last line of a file that is not empty, fit to be printed."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
            lines = file.read().decode("utf-8", "replace").split("\n")
    except OSError:
        return ""
    return next((line for line in map(shorten, reversed(lines)) if line), "")


class Starter:
    """The driver's side of the process that forks workers.

    Args:
        preload: modules that it imports once for all.
        log: where it and they print; None: nowhere.
    """

    def __init__(self, preload: Sequence[str], log: Path | None) -> None:
        self.socket, theirs = socket.socketpair()
        words = [sys.executable, "-c", RUN, str(theirs.fileno()), " ".join(preload), "\n".join(sys.path)]
        with theirs, (log or Path(os.devnull)).open("ab") as printed:
            self.process = subprocess.Popen(
                words,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                env=clean_environment(),
                start_new_session=True,  # Ctrl-C in the terminal is for the driver alone
            )
        self.children: dict[int, Child] = {}
        self.alive = True
        self.lock = threading.Lock()
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    def start(self, child: Child) -> None:
        """Have a process forked for a worker, unless it is no longer wanted."""
        with self.lock, child.theirs:
            if not self.alive or not child.wanted:
                child.leave(None)
                return
            self.children[child.number] = child
            with contextlib.suppress(OSError):  # it is gone, and `listen` sees that
                socket.send_fds(self.socket, [ORDER.pack(START, child.number)], [child.theirs.fileno()])

    def kill(self, child: Child) -> None:
        """Have a worker's process killed; by its parent, so that the number is of no other process."""
        with self.lock, contextlib.suppress(OSError):
            self.socket.sendall(ORDER.pack(KILL, child.number))

    def listen(self) -> None:
        """Note what becomes of the workers, until the process is gone."""
        with contextlib.suppress(OSError), self.socket.makefile("rb") as news:
            while len(record := news.read(NEWS.size)) == NEWS.size:
                number, process, code = NEWS.unpack(record)
                if code == RUNS:
                    self.children[number].process = process
                else:
                    self.children[number].leave(code)
        with self.lock:
            self.alive = False
            for child in self.children.values():
                child.leave(None)

    def close(self) -> None:
        """End the process, and with it all workers."""
        if all(child.gone.is_set() for child in self.children.values()):
            self.process.kill()  # it may be importing, and has nothing left to do
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
        try:
            self.process.wait(ENDS_AFTER)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.thread.join()
        self.socket.close()
