"""Workers for the tests of pools: they answer with sums of floating-point numbers, slowly."""

import hashlib
import importlib
import math
import os
import signal
import sys
import time
from dataclasses import dataclass

from gptalt_eval.spread.work import Report, Result, Unit


@dataclass
class Job:
    """How a worker behaves."""

    seconds: float = 0.02
    error: str = ""
    imported: str = ""


class Sums:
    """Answers each request with a number that depends on the whole unit."""

    def load(self, job):
        self.job = job
        print("loading")
        if job.imported:
            importlib.import_module(job.imported)
        if job.error:
            raise ValueError(job.error)
        return Report(
            "one", device="cpu", facts={"process": os.getpid(), "place": os.environ.get("PLACE_OF_TEST")}
        )

    def answer(self, unit, payload):
        until = time.monotonic() + self.job.seconds
        if payload == b"exit":
            print("the last words")
            sys.exit(3)
        if payload == b"error":
            raise ValueError("not\nthis \x1b[31m one")
        if payload in (b"SIGTERM", b"SIGKILL", b"SIGSTOP"):
            os.kill(os.getpid(), getattr(signal, payload.decode()))
        if payload == b"mute":
            os.closerange(3, 256)
            time.sleep(1000)
        if payload == b"stdin":
            return Result([sys.stdin.read()])
        if payload == b"forever":
            sum(range(10**15))  # the interpreter does nothing else meanwhile
        start = int(hashlib.sha256(payload).hexdigest()[:8], 16)
        answers = [math.fsum(math.sin(start + place) for place in range(1000 + each)) for each in unit.asked]
        time.sleep(max(0, until - time.monotonic()))
        return Result(answers, tokens=len(payload), seconds=self.job.seconds)


def make_units(count, model="model"):
    return [Unit(f"unit-{number}", model, "loglikelihood", 100, 3) for number in range(count)]


def answer_here(units):
    """What one process answers."""
    worker = Sums()
    worker.load(Job(seconds=0))
    return {unit.name: worker.answer(unit, unit.name.encode()).answers for unit in units}
