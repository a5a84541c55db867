"""rich's console for text that may come from others."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from gptalt_eval.machine.plain import show_plain
from gptalt_eval.machine.secrets import hide_text
from gptalt_eval.machine.wrapping import GLUE, wrap


class PlainConsole(Console):
    """Sends control characters only to move its own cursor and to choose its own colours."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else show_plain(hide_text(text)), style, control)


def make_console(stderr: bool = False) -> Console:
    """A rich console that takes text as it is: no markup, no emoji codes, no control characters."""
    return PlainConsole(stderr=stderr, markup=False, emoji=False, highlight=False)


def print_wrapped(console: Console, text: str, label: str = "", style: str = "") -> None:
    """Print a text, on a terminal broken between words.

    Args:
        console: where; a console that is not a terminal gets lines of any length.
        text: the text.
        label: what it begins with, in the style.
        style: rich's name of it.
    """
    whole = show_plain(f"{label} {text}" if label else text)
    whole = wrap(whole, console.width) if console.is_terminal else whole.replace(GLUE, " ")
    shown = Text(whole)
    shown.stylize(style, 0, len(label))
    console.print(shown, soft_wrap=True, highlight=False)
