"""rich's console for text that may come from others."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from gptalt_eval.machine.plain import show_plain
from gptalt_eval.machine.secrets import hide_text


class PlainConsole(Console):
    """Sends control characters only to move its own cursor and to choose its own colours."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else show_plain(hide_text(text)), style, control)


def make_console(stderr: bool = False) -> Console:
    """A rich console that takes text as it is: no markup, no emoji codes, no control characters."""
    return PlainConsole(stderr=stderr, markup=False, emoji=False, highlight=False)
