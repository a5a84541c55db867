"""The interface through which a run shows its progress."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from gptalt_eval.contract.plan import Plan


class Display(Protocol):
    """Shows the progress of a run."""

    def begin(self, plan: Plan) -> None: ...
    def say(self, text: str) -> None:
        """Show the current step."""

    def note(self, text: str) -> None:
        """Show what the user must know about the results."""

    def begin_task(self, name: str, items: int) -> None: ...
    def asked(self, requests: int) -> None:
        """The given number of requests of the task goes to the model now."""

    def answered(self, requests: int) -> None:
        """The given number of further requests is answered."""

    def computed(self, tokens: int, total: int, asked: int, seconds: float) -> None:
        """``tokens`` of ``total`` distinct tokens are computed; without sharing there would be ``asked``."""

    def end_task(self, name: str, result: Mapping[str, Any]) -> None: ...
    def end(self) -> None: ...
