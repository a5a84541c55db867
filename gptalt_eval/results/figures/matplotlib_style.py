"""Figures that plugins draw with matplotlib, as SVG for their pages.

Text stays text, in the page's fonts, so that Chinese names need no font here. Colours follow the page's light
or dark mode: a figure is drawn in the light page's colours, which become the page's CSS variables in the SVG.
"""

from __future__ import annotations

import contextlib
import io
import re
import unicodedata
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from gptalt_eval.machine.plain import show_plain

#: the light page's colours, each changed by one so that no other colour is replaced by mistake
INK, LINE, ACCENT = "#1c2431", "#dde3eb", "#1f6f8c"
STYLE: Mapping[str, Any] = MappingProxyType({
    "text.color": INK, "text.parse_math": False, "axes.labelcolor": INK, "axes.edgecolor": LINE,
    "axes.titlesize": 11, "axes.titlelocation": "left", "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "axes.axisbelow": True, "grid.color": LINE, "grid.linewidth": 0.8,
    "xtick.color": LINE, "ytick.color": LINE, "xtick.labelcolor": INK, "ytick.labelcolor": INK,
    "xtick.labelsize": 9, "ytick.labelsize": 9, "legend.frameon": False, "legend.fontsize": 9,
})  # fmt: skip


@contextlib.contextmanager
def page_style() -> Iterator[None]:
    """Matplotlib's settings for the figures of a page; also a decorator of what draws one.

    Text has the page's text colour, axes and grid the colour of its lines, ``"C0"`` is the page's accent, and
    text is never parsed as a formula. Pass the figure to :func:`make_svg` or, for a white page, to
    matplotlib's own ``savefig`` (inside ``page_style`` too, since ticks are made only then).
    """
    import matplotlib
    from matplotlib.rcsetup import cycler

    with matplotlib.rc_context({**STYLE, "axes.prop_cycle": cycler(color=[ACCENT])}):
        yield


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
    with page_style(), matplotlib.rc_context(settings), warnings.catch_warnings():
        # matplotlib may lack the glyphs of Chinese names: the browser draws them
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(
            written, format="svg", bbox_inches=find_extent(figure), transparent=True, metadata={"Date": None}
        )
    svg = written.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = svg.replace(INK, "var(--ink)").replace(LINE, "var(--line)").replace(ACCENT, "var(--accent)")
    for side in ("width", "height"):
        svg = re.sub(rf'(<svg\b[^>]*?) {side}="[^"]*"', r"\1", svg, count=1)
    svg = name_styles(svg)
    prefix = f"f{zlib.crc32(name.encode()):08x}"
    svg = re.sub(r'\b(id="|url\(#|href="#)', rf"\g<1>{prefix}-", svg)
    return svg


def find_extent(figure: Any) -> Any:
    """What of a figure is drawn on, in inches, with a margin.

    Matplotlib measures the letters that its fonts lack, such as Chinese ones, too narrow.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    drawn = [figure.get_tightbbox(renderer)]
    for text in figure.findobj(Text):
        wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text.get_text())
        if wide and text.get_visible():
            missing = 0.42 * wide * text.get_fontsize() / 72
            extent = text.get_window_extent(renderer).transformed(figure.dpi_scale_trans.inverted())
            if text.get_rotation():
                drawn.append(extent.padded(missing))
            else:
                share = {"left": 0.0, "center": 0.5, "right": 1.0}[text.get_horizontalalignment()]
                left, right = extent.x0 - share * missing, extent.x1 + (1 - share) * missing
                drawn.append(Bbox.from_extents(left, extent.y0, right, extent.y1))
    return Bbox.union(drawn).padded(0.1)


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


def show_plain_label(make: Callable[..., object], *place: Any) -> str:
    return show_plain(str(make(*place)))


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
