"""The report's figures: SVG by matplotlib, embedded in the page.

Text stays text, in the page's fonts, so that Chinese names need no font here. Colours follow the page's light
or dark mode: a figure is drawn in the light page's colours, which become the page's CSS variables in the SVG.
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from gptalt_eval.machine.plain import show_plain

#: Okabe and Ito's colours, which colour-blind readers can distinguish (https://jfly.uni-koeln.de/color)
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
#: the light page's colours, each changed by one so that no other colour is replaced by mistake
INK, LINE = "#1c2431", "#dde3eb"
STYLE: Mapping[str, Any] = MappingProxyType({
    "text.color": INK, "text.parse_math": False, "axes.labelcolor": INK, "axes.edgecolor": LINE,
    "axes.titlesize": 11, "axes.titlelocation": "left", "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "axes.axisbelow": True, "grid.color": LINE, "grid.linewidth": 0.8,
    "xtick.color": LINE, "ytick.color": LINE, "xtick.labelcolor": INK, "ytick.labelcolor": INK,
    "xtick.labelsize": 9, "ytick.labelsize": 9, "legend.frameon": False, "legend.fontsize": 9,
})  # fmt: skip


@dataclass(frozen=True)
class Point:
    """A score and its 95 % interval.

    Attributes:
        place: its position on the axis.
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


@contextlib.contextmanager
def page_style() -> Iterator[None]:
    """Matplotlib's settings for the figures of a page; also a decorator of what draws one.

    Text has the page's text colour, axes and grid the colour of its lines, and text is never parsed as a
    formula. Pass the figure to :func:`make_svg` or, for a white page, to matplotlib's own ``savefig`` (inside
    ``page_style`` too, since ticks are made only then).
    """
    import matplotlib

    with matplotlib.rc_context(dict(STYLE)):
        yield


@page_style()
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


@page_style()
def draw_dumbbells(title: str, names: tuple[str, str], pairs: Sequence[tuple[str, Point, Point]]) -> str:
    """Two scores of each arm on one line, with their intervals; SVG."""
    figure, axes = make_axes(5.6, 0.9 + 0.42 * len(pairs))
    rows = range(len(pairs))[::-1]
    for row, (_, first, second) in zip(rows, pairs, strict=True):
        axes.plot(
            [first.value, second.value],
            [row, row],
            color=LINE,
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
    return figure, figure.add_subplot()


def finish(figure: Any, axes: Any, title: str, entries: Sequence[tuple[Any, str]]) -> str:
    axes.set_title(title)
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.16), "ncols": min(len(entries), 3)}
    legend = axes.legend([handle for handle, _ in entries], ["" for _ in entries], **place)
    for text, (_, name) in zip(legend.get_texts(), entries, strict=True):
        text.set(text=name)  # legend() would skip a label that begins with "_"
    return make_svg(figure, title)


@page_style()
def make_svg(figure: Any, name: str) -> str:
    """A matplotlib figure as SVG for a page.

    Text stays text in the page's fonts, the page sets the size, and the colours of :func:`page_style` become
    the page's, light or dark.

    Args:
        figure: the matplotlib figure.
        name: unique on the page, because it makes the ids in the SVG unique.
    """
    import matplotlib

    show_plain_texts(figure)
    name = show_plain(name)
    written = io.StringIO()
    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": name}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # matplotlib may lack the glyphs of Chinese names: the browser draws them
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(written, format="svg", bbox_inches="tight", transparent=True, metadata={"Date": None})
    svg = written.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = svg.replace(INK, "var(--ink)").replace(LINE, "var(--line)")
    for side in ("width", "height"):
        svg = re.sub(rf'(<svg\b[^>]*?) {side}="[^"]*"', r"\1", svg, count=1)
    svg = name_styles(svg)
    prefix = f"f{zlib.crc32(name.encode()):08x}"
    svg = re.sub(r'\b(id="|url\(#|href="#)', rf"\g<1>{prefix}-", svg)
    return svg


def show_plain_texts(figure: Any) -> None:
    """Show control characters in a figure's texts: XML has none, and matplotlib draws no half characters."""
    from matplotlib.text import Text
    from matplotlib.ticker import FuncFormatter

    for text in figure.findobj(Text):
        text.set_text(show_plain(text.get_text()))
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        formatter = axis.get_major_formatter()  # it makes the labels of ticks again when they are drawn
        if isinstance(formatter, FuncFormatter):
            formatter.func = partial(show_plain_label, formatter.func)


def show_plain_label(make: Callable[..., str], *place: Any) -> str:
    return show_plain(make(*place))


def name_styles(svg: str) -> str:
    """The SVG with attributes in place of ``style=``, which the page's policy does not allow.

    What matplotlib says in a style sheet about all lines becomes attributes of the outermost element.
    """
    svg = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1; font-family: inherit", svg)
    sheet = re.search(r"<style[^>]*>\s*\*\s*\{([^}]*)\}\s*</style>", svg)
    if sheet:
        svg = svg.replace(sheet[0], "").replace("<svg", f'<svg style="{sheet[1]}"', 1)
    return re.sub(r"<\w[^<>]*>", lambda tag: re.sub(r'\bstyle="([^"]*)"', name_style, tag[0]), svg)


def name_style(style: re.Match[str]) -> str:
    """``fill: none; stroke: red`` as ``fill="none" stroke="red"``; of a property given twice, the last."""
    pairs = [part.split(":", 1) for part in style[1].split(";") if ":" in part]
    last = {name.strip(): value.strip() for name, value in pairs}
    return " ".join(f'{name}="{value}"' for name, value in last.items())
