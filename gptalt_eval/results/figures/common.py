"""What the figures of a report have in common: their words, and the colours of arms."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized
from dataclasses import dataclass

from gptalt_eval.results.analyse import Score
from gptalt_eval.results.arms import Arm
from gptalt_eval.results.figures.charts import Mark
from gptalt_eval.results.figures.drawing import COLOURS, MARKERS, Style, clean
from gptalt_eval.results.overview import Overview
from gptalt_eval.results.rows import is_usable

MOST_TOLD = 12  # numbers in the text for those who cannot see the figure


@dataclass(frozen=True)
class Figure:
    """A figure of the page.

    Attributes:
        kind: figures of one kind are together.
        title: also the name of the file that it is saved as.
        svg: the drawing.
        alt: what it shows, in words and numbers.
        note: what one must know to read it.
        is_wide: whether it needs the page's whole width.
    """

    kind: str
    title: str
    svg: str
    alt: str
    note: str = ""
    is_wide: bool = False

    def __post_init__(self) -> None:
        """Control characters are shown: the saved file's XML has none."""
        for name in ("title", "alt", "note"):
            object.__setattr__(self, name, clean(getattr(self, name)))


def style_arms(arms: Sequence[Arm], most: int) -> dict[Arm, Style]:
    """The first arms with a colour for each model and a marker for each prompt, if there are not too many.

    Otherwise each arm has its own colour and marker; of those there are seven.
    """
    shown = arms[:most]
    models = list(dict.fromkeys(arm.model for arm in shown))
    prompts = list(dict.fromkeys((arm.prompt_style, arm.num_fewshot) for arm in shown))
    if 1 < len(models) <= COLOURS and 1 < len(prompts) <= MARKERS:
        return {
            arm: Style(models.index(arm.model), prompts.index((arm.prompt_style, arm.num_fewshot)))
            for arm in shown
        }
    return {arm: Style(number, number) for number, arm in enumerate(shown[:COLOURS])}


def make_mark(score: Score, style: Style, hint: str, place: float = 0) -> Mark:
    low, high = find_interval(score)
    return Mark(score.value, low, high, style, hint, place)


def find_interval(score: Score) -> tuple[float, float]:
    """The score's interval; without one, the score itself twice."""
    low, high = score.interval or (score.value, score.value)
    return (low, high) if is_usable(low) and is_usable(high) else (score.value, score.value)


def tell_score(score: Score) -> str:
    low, high = find_interval(score)
    return show_value(score.value) + (f" ({show_value(low)} to {show_value(high)})" if low < high else "")


def show_value(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 1e6 else f"{value:.4g}"


def tell(start: str, facts: Sequence[str]) -> str:
    """A figure in words: its first numbers."""
    rest = len(facts) - MOST_TOLD
    more = f"; and {rest:,} more" if rest > 0 else ""
    return f"{start}: {'; '.join(facts[:MOST_TOLD])}{more}."


def tell_best(overview: Overview, shown: Sized, every: Sized, what: str) -> str:
    """That a figure leaves some out, if it does; arms are sorted by their mean, if they have one."""
    which = "best" if overview.standings else "first"
    return f"The {which} {len(shown)} of {len(every):,} {what}." if len(shown) < len(every) else ""


def join(parts: Iterable[str]) -> str:
    return " · ".join(parts)


def join_sentences(*sentences: str) -> str:
    return " ".join(filter(None, sentences))
