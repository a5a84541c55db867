"""The figures of a report: which ones it has, from the scores of its arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gptalt_eval.results.analyse import Score
from gptalt_eval.results.arms import Arm
from gptalt_eval.results.figures import Line, Point, draw_curves, draw_dumbbells
from gptalt_eval.results.overview import Overview
from gptalt_eval.results.rows import is_usable


def make_point(place: int, score: Score) -> Point:
    low, high = score.interval or (score.value, score.value)
    return Point(place, score.value, low, high)


def draw_figures(overview: Overview) -> list[tuple[str, str]]:
    """Figures by title: a curve over several shot counts, a dumbbell plot for each pair of prompt styles."""
    figures = []
    for column, by_arm in overview.scores.items():
        task = column.title
        lines: dict[str, list[Point]] = {}
        styles = list(dict.fromkeys(arm.prompt_style for arm in by_arm))
        for arm, found in by_arm.items():
            name = f"{arm.model}, {arm.prompt_style}" if len(styles) > 1 else arm.model
            if arm.num_fewshot is not None and is_usable(found[0].value):
                lines.setdefault(name, []).append(make_point(arm.num_fewshot, found[0]))
        if any(len(points) > 1 for points in lines.values()):
            drawn = draw_curves(f"{task}: {scores_name(by_arm)}", [Line(*line) for line in lines.items()])
            figures.append((f"{task} by number of shots", drawn))
        for style in styles[1:]:
            pairs = pair_styles(by_arm, styles[0], style)
            if pairs:
                title = f"{task}: {styles[0]} vs. {style}"
                figures.append((title, draw_dumbbells(title, (styles[0], style), pairs)))
    return figures


def scores_name(by_arm: Mapping[Arm, Sequence[Score]]) -> str:
    return next(iter(by_arm.values()))[0].metric


def pair_styles(
    by_arm: Mapping[Arm, Sequence[Score]], first: str, second: str
) -> list[tuple[str, Point, Point]]:
    pairs = []
    for arm, found in by_arm.items():
        other = by_arm.get(Arm(arm.model, second, arm.num_fewshot))
        if arm.prompt_style == first and other and is_usable(found[0].value) and is_usable(other[0].value):
            name = f"{arm.model}, {arm.shots}"
            pairs.append((name, make_point(0, found[0]), make_point(0, other[0])))
    return pairs
