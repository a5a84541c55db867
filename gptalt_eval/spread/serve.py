"""In a worker's process: makes the worker, hands it what arrives, and answers in the loop's language."""

from __future__ import annotations

import pickle
import sys
import traceback
from dataclasses import dataclass
from typing import Any

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.machine.plain import print_plain as print
from gptalt_eval.machine.plain import show_plain
from gptalt_eval.machine.secrets import hide_text
from gptalt_eval.spread.work import Answered, Event, Failed, Loaded, Unit, Worker

LONGEST = 500  # characters of a reason: it is one line of a report


@dataclass(frozen=True)
class ToLoad:
    """Load a model; ``job`` is what the worker's ``load`` gets."""

    model: str
    job: Any


@dataclass(frozen=True)
class ToAnswer:
    """Answer a unit."""

    unit: Unit
    payload: bytes


class Desk:
    """Between a worker and its pool; an error of the worker becomes an event.

    Args:
        number: the worker's.
        make: the pickled function that makes it; called for the first model, so that what it imports is
            imported by a process whose environment is set.
    """

    def __init__(self, number: int, make: bytes) -> None:
        self.number = number
        self.make = make
        self.worker: Worker | None = None

    def reply(self, task: ToLoad | ToAnswer) -> Event:
        """Do what is asked; what came of it."""
        unit = task.unit if isinstance(task, ToAnswer) else None
        try:
            if self.worker is None:
                self.worker = pickle.loads(self.make)()
            if isinstance(task, ToAnswer):
                return Answered(self.number, task.unit, self.worker.answer(task.unit, task.payload))
            return Loaded(self.number, task.model, self.worker.load(task.job))
        except Exception as error:
            print(traceback.format_exc(), file=sys.stderr)
            return Failed(self.number, unit, describe(error))

    def reply_bytes(self, task: bytes) -> bytes:
        """The same for pickled tasks; what cannot be pickled is an error too."""
        unit = None
        try:
            read = pickle.loads(task)
            unit = read.unit if isinstance(read, ToAnswer) else None
            return pickle.dumps(self.reply(read), pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            print(traceback.format_exc(), file=sys.stderr)
            return pickle.dumps(Failed(self.number, unit, describe(error)))


def describe(error: BaseException) -> str:
    """An error in one line, without secrets; ours say in words what happened."""
    if isinstance(error, GptaltError):
        return shorten(str(error))
    return shorten(f"{type(error).__name__}: {error}".rstrip(": "))


def shorten(text: str) -> str:
    """A text of others in one line that can be printed."""
    line = show_plain(" ".join(hide_text(text).split()))
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} ..."
