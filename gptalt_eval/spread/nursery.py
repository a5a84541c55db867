"""A process that imports what all workers need and forks one whenever it is told to; they end with it.

Not multiprocessing's ``forkserver``: that one has workers import the user's script again, and hands each of
them the pipe that keeps the server alive, so that a stopped worker would outlive its driver.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import select
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from gptalt_eval.spread.serve import Desk
from gptalt_eval.spread.work import Started

ORDER = struct.Struct("!cq")  # what to do, the worker's number; START comes with the worker's end of its pipe
START, KILL = b"s", b"k"
NEWS = struct.Struct("!qqq")  # the worker's number, its process, how it ended or RUNS
RUNS = 1 << 32
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


def main(number: int, modules: Sequence[str]) -> None:
    """Serve the driver at the other end of a socket, until it is gone.

    Args:
        number: the socket's file descriptor.
        modules: imported before the first fork; one that cannot be imported is left to the workers.
    """
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)  # the driver decides, and we end when it is gone
    driver = socket.socket(fileno=number)
    die_with_parent(signal.SIGKILL)  # nobody looks at the socket during the imports
    for module in modules:
        with contextlib.suppress(Exception):
            importlib.import_module(module)
    die_with_parent(0)  # else we would die with the thread that started us
    Nursery(driver).serve()


def die_with_parent(sent: int) -> None:
    """Have the kernel send a signal when the thread that started this process ends (0: none)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(DIE_WITH_PARENT, int(sent), 0, 0, 0)


class Nursery:
    """Forks workers, tells how they end, and kills them all when the driver is gone."""

    def __init__(self, driver: socket.socket) -> None:
        self.driver = driver
        self.living: dict[int, int] = {}  # process: the worker's number
        self.ended, ending = os.pipe()
        for end in (self.ended, ending):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(ending, warn_on_full_buffer=False)

    def serve(self) -> None:
        """Do what the driver asks, until it is gone."""
        try:
            while True:
                ready, _, _ = select.select([self.driver.fileno(), self.ended], [], [])
                if self.ended in ready:
                    os.read(self.ended, 4096)
                self.bury()
                if self.driver.fileno() in ready and not self.obey():
                    return
        except OSError:  # the driver went away between two lines
            return
        finally:
            for process in self.living:
                kill_group(process)

    def obey(self) -> bool:
        """Do one thing that the driver asks; whether it is still there."""
        order, pipes, _, _ = socket.recv_fds(self.driver, ORDER.size, 1)
        while order and len(order) < ORDER.size:
            more = self.driver.recv(ORDER.size - len(order))
            order = order + more if more else b""
        if not order:
            return False
        what, number = ORDER.unpack(order)
        if what == START:
            self.start(number, pipes[0])
        else:  # one that was never started is gone already
            for process in [process for process, each in self.living.items() if each == number]:
                kill_group(process)
        return True

    def start(self, number: int, pipe: int) -> None:
        parent = os.getpid()
        process = os.fork()
        if process == 0:
            status = 70
            try:
                self.become_worker(number, pipe, parent)
                status = 0
            except SystemExit as wanted:
                status = wanted.code if isinstance(wanted.code, int) else 1 if wanted.code else 0
            except BaseException:
                traceback.print_exc()
            finally:
                with contextlib.suppress(Exception):
                    sys.stdout.flush()
                    sys.stderr.flush()
                os._exit(status)  # nothing of the nursery's own is to run here
        os.close(pipe)
        set_group(process)  # the child does too: one of the two is first
        self.living[process] = number
        self.driver.sendall(NEWS.pack(number, process, RUNS))

    def become_worker(self, number: int, pipe: int, parent: int) -> None:
        die_with_parent(signal.SIGKILL)
        if os.getppid() != parent:  # it died before we asked
            return
        set_group(0)
        os.set_inheritable(pipe, False)
        signal.set_wakeup_fd(-1)
        for each in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_DFL)
        self.driver.close()
        self.pipe = Connection(pipe)  # open until the process ends: the driver kills those who close it
        work(number, self.pipe)

    def bury(self) -> None:
        """Tell the driver how processes ended, and kill what they have left."""
        while self.living:
            try:
                process, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if process == 0:
                return
            kill_group(process)
            number = self.living.pop(process, None)
            if number is not None:
                code = os.waitstatus_to_exitcode(status)
                self.driver.sendall(NEWS.pack(number, process, code))


def set_group(process: int) -> None:
    """Make a process (0: this one) lead a group, with what it will start, to be killed together."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.setpgid(process, process)


def kill_group(leader: int) -> None:
    """Kill a process and all that it has started; one that is stopped dies too."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def work(number: int, driver: Connection) -> None:
    """The life of a worker: what it is and where, then one task after the other, until the driver is gone."""
    place, environ, make, log = driver.recv()
    os.environ.update(environ)
    redirect(log)
    driver.send(Started(number, place, socket.gethostname()))
    desk = Desk(number, make)
    while True:
        try:
            task = driver.recv_bytes()
        except EOFError:
            return
        driver.send_bytes(desk.reply_bytes(task))


def redirect(log: Path | None) -> None:
    """Have all that is printed, by libraries in C too, go to a file."""
    target = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for stream in (1, 2):
        os.dup2(target, stream)
    os.close(target)
    sys.stdout = open(1, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
