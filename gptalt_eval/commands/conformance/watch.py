"""Observes, in a separate process, what importing a plugin does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from gptalt_eval.commands.conformance import watched

HEAVY = ("torch", "transformers", "datasets", "lm_eval")
PATIENCE = 120  # seconds


@dataclass(frozen=True)
class Watched:
    """What was observed while a plugin was imported and its hooks were called.

    Attributes:
        seconds: processor time, without that of gptalt-eval itself.
        heavy: those of ``HEAVY`` that were imported.
        events: what it wrote, downloaded, changed or started, in words.
        printed: what it printed.
        error: the error that it raised; empty: none.
    """

    seconds: float
    heavy: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    printed: str = ""
    error: str = ""


def watch(value: str) -> Watched:
    """Import the object of an entry point (``module:attribute``), and observe that."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        paths = os.pathsep.join(str(Path(path).resolve()) for path in sys.path)
        try:
            done = subprocess.run(
                [sys.executable, "-B", "-m", watched.__name__, value, str(report)],
                env={**os.environ, "PYTHONPATH": paths}, cwd=folder, stdin=subprocess.DEVNULL,
                capture_output=True, text=True, timeout=PATIENCE, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return Watched(PATIENCE, error=f"it did not finish within {PATIENCE} seconds")
        if not report.is_file():
            return Watched(0, error=f"the process that imported it exited with code {done.returncode}")
        found = json.loads(report.read_text(encoding="utf-8"))
    heavy = tuple(name for name in HEAVY if name in found["modules"])
    return Watched(found["seconds"], heavy, tuple(found["events"]), done.stdout.strip(), found["error"])
