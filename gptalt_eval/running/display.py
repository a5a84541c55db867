"""The interface through which a run shows its progress."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, cast

from gptalt_eval.contract.plan import Plan


class Display(Protocol):
    """Shows the progress of a run."""

    def begin(self, plan: Plan) -> None: ...
    def say(self, text: str) -> None:
        """Show the current step."""

    def note(self, text: str) -> None:
        """Show at once what one may want to stop the run for; the results have all that is recorded."""

    def refuse(self, reasons: Mapping[str, str]) -> None:
        """Show which tasks, by label, are not evaluated, and why."""

    def fold(self, group: str, members: Mapping[str, bool]) -> None:
        """Show these tasks, by label, as their group, which has a score of its own; True: it is open."""

    def share(self, tasks: int) -> None:
        """Requests of that many tasks are computed together, in an order of their own."""

    def begin_task(self, name: str, items: int) -> None: ...
    def asked(self, requests: int, shared: int) -> None:
        """So many requests of the task are to be answered now, some of them by what is computed together."""

    def answered(self, requests: int) -> None:
        """The given number of further requests is answered."""

    def computed(self, tokens: int, total: int, asked: int, seconds: float) -> None:
        """``tokens`` of ``total`` distinct tokens are computed; without sharing there would be ``asked``."""

    def end_task(self, name: str, result: Mapping[str, Any], group: Mapping[str, Any]) -> None:
        """A task has ended.

        Args:
            name: its label.
            result: its scores; empty: it failed.
            group: those of the group as which it is shown, once all members have scores.
        """

    def end(self) -> None: ...


class Silent:
    """Shows nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


SILENT = cast(Display, Silent())
