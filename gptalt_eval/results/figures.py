"""The report's figures: matplotlib's SVG, to be put into the page.

Text stays text, in the page's own fonts, so that Chinese names need no font here; colours follow the page,
light or dark.
"""

from __future__ import annotations

import io
import re
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

#: Okabe and Ito's colours, told apart by the colour-blind too (https://jfly.uni-koeln.de/color)
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
#: drawn in these, and then given to the page's own style
PAGE_INK, PAGE_LINE = "#010203", "#040506"
PAGE_COLOURS = {PAGE_INK: "var(--ink)", PAGE_LINE: "var(--line)"}


@dataclass(frozen=True)
class Point:
    """A score and its 95 % interval.

    Attributes:
        place: where on the axis.
        value, low, high: the score and its interval.
    """

    place: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Line:
    name: str
    points: Sequence[Point]


def draw_curves(title: str, lines: Sequence[Line]) -> str:
    """Scores over the number of shots, each with its interval as a band; SVG."""
    figure, axes = make_axes(5.6, 3.2)
    places = sorted({point.place for line in lines for point in line.points})
    entries = []
    for number, line in enumerate(lines):
        colour, marker = choose_style(number)
        points = sorted(line.points, key=lambda point: point.place)
        x = [places.index(point.place) for point in points]
        axes.fill_between(
            x,
            [point.low for point in points],
            [point.high for point in points],
            color=colour,
            alpha=0.15,
            linewidth=0,
        )
        [drawn] = axes.plot(x, [point.value for point in points], color=colour, marker=marker, markersize=5)
        entries.append((drawn, line.name))
    axes.set_xticks(range(len(places)), [str(place) for place in places])
    axes.set_xlim(-0.2, len(places) - 0.8)
    axes.set_xlabel("shots")
    return finish(figure, axes, title, entries)


def draw_dumbbells(title: str, names: tuple[str, str], pairs: Sequence[tuple[str, Point, Point]]) -> str:
    """Two scores of each arm on one line, with their intervals; SVG."""
    figure, axes = make_axes(5.6, 0.9 + 0.42 * len(pairs))
    rows = range(len(pairs))[::-1]
    for row, (_, first, second) in zip(rows, pairs, strict=True):
        axes.plot(
            [first.value, second.value],
            [row, row],
            color=PAGE_LINE,
            linewidth=4,
            zorder=1,
            solid_capstyle="round",
        )
    entries = []
    arms = [[first for _, first, _ in pairs], [second for _, _, second in pairs]]
    for number, (name, points) in enumerate(zip(names, arms, strict=True)):
        colour, marker = choose_style(number)
        y = [row + (0.12 if number else -0.12) for row in rows]
        values = [point.value for point in points]
        spread = [
            [point.value - point.low for point in points],
            [point.high - point.value for point in points],
        ]
        drawn = axes.errorbar(values, y, xerr=spread, fmt=marker, color=colour, elinewidth=1, markersize=6)
        entries.append((drawn, name))
    axes.set_yticks(list(rows), [name for name, _, _ in pairs])
    axes.set_ylim(-0.6, len(pairs) - 0.4)
    axes.grid(axis="y", visible=False)
    return finish(figure, axes, title, entries)


def choose_style(number: int) -> tuple[str, str]:
    return COLOURS[number % len(COLOURS)], MARKERS[(number + number // len(COLOURS)) % len(MARKERS)]


def make_axes(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    axes.grid(color=PAGE_LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(PAGE_LINE)
    axes.tick_params(colors=PAGE_INK, color=PAGE_LINE, labelsize=9)
    axes.xaxis.label.set_color(PAGE_INK)
    return figure, axes


def finish(figure: Any, axes: Any, title: str, entries: Sequence[tuple[Any, str]]) -> str:
    axes.set_title(title, color=PAGE_INK, fontsize=11, loc="left", parse_math=False)
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.16), "ncols": min(len(entries), 3)}
    legend = axes.legend(
        [handle for handle, _ in entries], ["" for _ in entries], frameon=False, fontsize=9, **place
    )
    for text, (_, name) in zip(legend.get_texts(), entries, strict=True):
        text.set(text=name, color=PAGE_INK, parse_math=False)
    for text in axes.get_yticklabels():
        text.set_parse_math(False)
    return make_svg(figure, title)


def make_svg(figure: Any, name: str) -> str:
    """A figure of matplotlib as SVG for a page.

    Text stays text in the page's fonts, the size is the page's, and what was drawn in ``PAGE_INK`` and
    ``PAGE_LINE`` has its colours, light or dark.

    Args:
        figure: matplotlib's.
        name: another one for each figure of a page: their ids must not meet.
    """
    import matplotlib

    written = io.StringIO()
    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": name}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # matplotlib need not have the glyphs of Chinese names: the browser draws them
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(written, format="svg", bbox_inches="tight", transparent=True, metadata={"Date": None})
    svg = written.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    for colour, variable in PAGE_COLOURS.items():
        svg = svg.replace(colour, variable)
    for side in ("width", "height"):
        svg = re.sub(rf'(<svg\b[^>]*?) {side}="[^"]*"', r"\1", svg, count=1)
    prefix = f"f{zlib.crc32(name.encode()):08x}"
    svg = re.sub(r'\b(id="|url\(#|href="#)', rf"\g<1>{prefix}-", svg)
    return re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1; font-family: inherit", svg)
