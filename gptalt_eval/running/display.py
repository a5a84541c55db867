"""What a run tells whoever watches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from gptalt_eval.contract.plan import Plan


class Display(Protocol):
    """Shows how a run goes on."""

    def begin(self, plan: Plan) -> None: ...
    def say(self, text: str) -> None:
        """What is being done now."""

    def note(self, text: str) -> None:
        """What the user has to know about the results."""

    def begin_task(self, name: str, items: int) -> None: ...
    def asked(self, requests: int) -> None:
        """So many requests of the task go to the model now."""

    def answered(self, requests: int) -> None:
        """So many more of them are answered."""

    def computed(self, tokens: int, total: int, asked: int, seconds: float) -> None:
        """Of the ``total`` distinct tokens among all ``asked`` ones, so many are computed by now."""

    def end_task(self, name: str, result: Mapping[str, Any]) -> None: ...
    def end(self) -> None: ...
