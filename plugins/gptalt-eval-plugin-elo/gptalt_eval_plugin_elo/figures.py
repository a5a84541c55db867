"""Heat maps of win rates, and a calibration plot of the ratings; SVG for the page, PNG for papers."""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gptalt_eval import page_style
from gptalt_eval_plugin_elo.ratings import Floats
from gptalt_eval_plugin_elo.tables import Calibration

WRITTEN = 25  # models whose shares are written into their cells
BESIDE = 16  # letters of a name for which there is room at the side
LONGEST = 24  # letters of a numbered model's name; Chinese ones count twice


@page_style()
def draw_heat_map(
    title: str, models: Sequence[str], shares: Floats, counts: np.ndarray | None = None, centred: bool = False
) -> Any:
    """Shares [models, models] of the row against the column, as a matplotlib figure.

    Args:
        title: of the figure.
        models: rows and columns.
        shares: 0 to 1, or differences from -1 to 1 if ``centred``; nan is empty.
        counts: numbers in small print below each share, if there are not too many models.
        centred: whether these are differences.
    """
    is_written = len(models) <= WRITTEN
    size = 0.8 + (0.52 if is_written else 0.21) * len(models)
    figure, axes = make_axes(size, size)
    low, high = (-0.5, 0.5) if centred else (0.0, 1.0)
    # purple and orange, which colour-blind readers can distinguish
    look: dict[str, Any] = {"cmap": "PuOr", "vmin": low, "vmax": high}
    if is_written:
        edges = np.arange(len(models) + 1) - 0.5
        drawn = axes.pcolormesh(edges, edges, np.ma.masked_invalid(shares), **look)
        axes.invert_yaxis()
        axes.set_aspect("equal")
    else:
        drawn = axes.imshow(np.ma.masked_invalid(shares), interpolation="nearest", **look)
    for row, column in np.argwhere(np.isfinite(shares)) if is_written else ():
        value = float(shares[row, column])
        text = f"{value * 100:+.0f}" if centred else f"{value * 100:.0f}"
        colour = choose_ink(drawn.cmap(drawn.norm(value)))
        if counts is None:
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=10)
        else:
            axes.text(column, row - 0.14, text, ha="center", va="center", color=colour, fontsize=10)
            count = f"({int(counts[row, column]):,})"
            axes.text(column, row + 0.26, count, ha="center", va="center", color=colour, fontsize=7.5)
    names = [f"{shorten(model)}  {number}" for number, model in enumerate(models, 1)]
    every = 1 if is_written else 5  # numbers above the columns, where there is less room
    axes.set_xticks(range(0, len(models), every), range(1, len(models) + 1, every), fontsize=10)
    axes.set_yticks(range(len(models)), names, fontsize=10 if is_written else 8)
    if not is_written:
        figure.colorbar(drawn, shrink=0.5, format="{x:.0%}")
    axes.xaxis.set_ticks_position("top")
    axes.tick_params(length=0)
    axes.set_title(title, pad=12, fontsize=12)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    return figure


def shorten(name: str) -> str:
    """A long name without its middle. Its number is beside it; the ratings' figure has the whole name."""
    sizes = [2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in name]
    if sum(sizes) <= LONGEST:
        return name
    ends = [0, len(name)]
    while sum(sizes[: ends[0] + 1]) <= LONGEST * 0.45:
        ends[0] += 1
    while sum(sizes[ends[1] - 1 :]) <= LONGEST * 0.5:
        ends[1] -= 1
    return f"{name[: ends[0]]}…{name[ends[1] :]}"


def choose_ink(colour: Sequence[float]) -> str:
    """Black or white, whichever has more contrast to a colour of red, green and blue from 0 to 1."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour[:3]]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if luminance > 0.179 else "#ffffff"


@page_style()
def draw_ratings(names: Sequence[str], places: Floats, low: Floats, high: Floats, rated: np.ndarray) -> Any:
    """Ratings with their intervals, the best first; an arrow where an interval has no end.

    Args:
        names: [models].
        places, low, high: [models] where each stands, and its interval.
        rated: [models] whether it has a finite rating; the others' places are hollow.
    """
    above = max(map(len, names)) > BESIDE  # names above their rows
    figure, axes = make_axes(4.2 if above else 3.4, 0.8 + (0.42 if above else 0.26) * len(names))
    rows = np.arange(len(names))[::-1]
    ends = np.concatenate([each[np.isfinite(each)] for each in (places, low, high)])
    left, right = float(ends.min()), float(ends.max())
    margin = 0.05 * (right - left or 1.0)
    for row, place, begin, end, is_rated in zip(rows, places, low, high, rated, strict=True):
        shown = max(begin, left - margin), min(end, right + margin)
        axes.plot(shown, [row, row], color="C0", linewidth=2, solid_capstyle="butt")
        for value, marker, is_open in zip(shown, "<>", (begin == -np.inf, end == np.inf), strict=True):
            if is_open:
                axes.plot([value], [row], marker=marker, color="C0", markersize=5)
        axes.plot([place], [row], "o", color="C0", markersize=6.5, fillstyle="full" if is_rated else "none")
    axes.set_yticks(rows, [""] * len(names) if above else names, fontsize=10.5)
    axes.set_ylim(-0.6, len(names) - (0.3 if above else 0.4))
    for row, name in zip(rows, names, strict=True) if above else ():
        axes.text(0, row + 0.24, name, transform=axes.get_yaxis_transform(), fontsize=10.5)
    axes.tick_params(axis="x", labelsize=10.5)
    axes.locator_params(axis="x", nbins=5)
    axes.grid(axis="y", visible=False)
    axes.set_title("Ratings with 95 % intervals", fontsize=12)
    return figure


@page_style()
def draw_calibration(bins: Sequence[Calibration]) -> Any:
    """Actual over predicted shares; on the diagonal they are equal."""
    figure, axes = make_axes(4.6, 3.6)
    axes.plot([0.5, 1], [0.5, 1], color=axes.spines["left"].get_edgecolor(), linewidth=1.5)
    largest = max((each.votes for each in bins), default=1)
    for each in bins:
        axes.scatter(each.predicted, each.actual, s=20 + 160 * each.votes / largest, color="C0", alpha=0.85)
        axes.annotate(
            f"{each.votes:,}", (each.predicted, each.actual), (6, -15), textcoords="offset points",
            fontsize=10,
        )  # fmt: skip
    axes.tick_params(labelsize=10.5)
    axes.set_xlabel("predicted share of the stronger model", fontsize=10.5)
    axes.set_ylabel("actual share", fontsize=10.5)
    axes.set_title("Calibration (number of votes at each point)", fontsize=12)
    return figure


def make_axes(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    return figure, figure.add_subplot()


@page_style()
def save_png(figure: Any, path: Path) -> None:
    """For a white page."""
    import matplotlib
    from matplotlib import font_manager

    installed = {font.name for font in font_manager.fontManager.ttflist}
    chinese = [
        name for name in ("Noto Sans CJK SC", "WenQuanYi Zen Hei", "Microsoft YaHei") if name in installed
    ]
    with matplotlib.rc_context({"font.sans-serif": [*chinese, "DejaVu Sans"]}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(path, dpi=150, bbox_inches="tight", facecolor="white")
