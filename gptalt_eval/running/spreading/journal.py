"""Keeps what workers answer, unit by unit: on disk before the unit counts as done."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gptalt_eval.contract.handed import open_growing, open_plain
from gptalt_eval.contract.run import RunWorker
from gptalt_eval.machine.bounds import read_lines
from gptalt_eval.machine.storage import name_file
from gptalt_eval.running.lmeval.answers import Answers
from gptalt_eval.spread.work import Kind, Result, Unit


@dataclass(frozen=True)
class Where:
    """Who answers: a worker of this run, and what it computes on."""

    worker: str
    node: str = ""
    device: str = ""


class Journal:
    """The answers of a run's workers, in its file of answers, and beside it who computed each unit.

    Args:
        answers: the file of answers; those of an interrupted run are in it.
        units: the file that says who computed what: a JSON object per line.
    """

    def __init__(self, answers: Path, units: Path) -> None:
        self.answers = Answers(answers)
        self.units = open_growing(units)
        self.path = units
        self.reasons: dict[str, str] = {}

    def knows(self, kind: Kind, key: str) -> bool:
        """Whether there is an answer to a request; what no answer can be is forgotten."""
        return self.answers.check(kind, key)

    def keep(self, unit: Unit, keys: Sequence[str], result: Result, where: Where) -> None:
        """Write the answers of a unit, and then that they are there.

        Args:
            unit: the unit, or a part of it.
            keys: of all requests of the unit.
            result: the answers to ``unit.asked``.
            where: who answered.
        """
        for place, (answer, lost) in zip(unit.asked, result.answers, strict=True):
            self.answers.add(keys[place], answer, lost)
        sync(self.answers.file, self.answers.path)
        line = {
            "unit": unit.name, "requests": len(unit.asked), "worker": where.worker, "node": where.node,
            "device": where.device, "tokens": result.tokens, "seconds": result.seconds,
        }  # fmt: skip
        with name_file(self.path):
            self.units.write(json.dumps(line) + "\n")
        sync(self.units, self.path)

    def close(self) -> None:
        """Close the files; what counts was written before, so that a full disk is said only once."""
        for file in (self.answers, self.units):
            with contextlib.suppress(OSError):
                file.close()


def sync(file: Any, path: Path) -> None:
    """Have the disk hold what was written, whatever happens to this computer."""
    with name_file(path):
        file.flush()
        os.fsync(file.fileno())


def sum_up(units: Path) -> tuple[RunWorker, ...]:
    """Who computed how much, by the lines of a file; damaged lines are skipped."""
    found: dict[tuple[str, str, str], RunWorker] = {}
    if not units.is_file():
        return ()
    with open_plain(units, "rb") as file, contextlib.suppress(ValueError):  # a line without an end
        for line in read_lines(file):
            try:
                row = json.loads(line)
                name = (str(row["worker"]), str(row["node"]), str(row["device"]))
                before = found.get(name, RunWorker(*name))
                found[name] = replace(
                    before,
                    units=before.units + 1,
                    requests=before.requests + int(row["requests"]),
                    tokens=before.tokens + int(row["tokens"]),
                    seconds=round(before.seconds + float(row["seconds"]), 1),
                )
            except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
                continue
    return tuple(found.values())
