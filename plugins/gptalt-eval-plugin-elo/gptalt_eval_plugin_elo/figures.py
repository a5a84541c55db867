"""Heat maps of win rates, and a calibration plot of the ratings; SVG for the page, PNG for papers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gptalt_eval import page_style
from gptalt_eval_plugin_elo.ratings import Floats
from gptalt_eval_plugin_elo.tables import Calibration

NUMBERED = 25  # models whose shares are written into their cells


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
    numbered = len(models) <= NUMBERED
    size = max(4.0, 1.6 + (0.62 if numbered else 0.24) * len(models))
    figure, axes = make_axes(size, size * 0.92)
    low, high = (-0.5, 0.5) if centred else (0.0, 1.0)
    # purple and orange, which colour-blind readers can distinguish
    axes.imshow(np.ma.masked_invalid(shares), cmap="PuOr", vmin=low, vmax=high, interpolation="nearest")
    small = 8 if len(models) <= 10 else 6.5
    for row, column in np.argwhere(np.isfinite(shares)) if numbered else ():
        value = float(shares[row, column])
        dark = abs(value - (low + high) / 2) > 0.36
        text = f"{value * 100:+.0f}" if centred else f"{value * 100:.0f}"
        if counts is not None:
            text += f"\n({int(counts[row, column])})"
        colour = "#ffffff" if dark else "#1c2430"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=small)
    names = {"fontsize": None if numbered else 7}
    axes.set_xticks(
        range(len(models)), models, rotation=45 if numbered else 90, ha="left" if numbered else "center",
        rotation_mode="anchor" if numbered else "default", **names,
    )  # fmt: skip
    axes.set_yticks(range(len(models)), models, **names)
    if not numbered:
        figure.colorbar(axes.images[0], shrink=0.5, format="{x:.0%}")
    axes.xaxis.set_ticks_position("top")
    axes.tick_params(length=0)
    axes.set_title(title, pad=14)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    return figure


@page_style()
def draw_ratings(names: Sequence[str], places: Floats, low: Floats, high: Floats, rated: np.ndarray) -> Any:
    """Ratings with their intervals, the best first; an arrow where an interval has no end.

    Args:
        names: [models].
        places, low, high: [models] where each stands, and its interval.
        rated: [models] whether it has a finite rating; the others' places are hollow.
    """
    figure, axes = make_axes(6.4, 0.9 + 0.26 * len(names))
    rows = np.arange(len(names))[::-1]
    ends = np.concatenate([each[np.isfinite(each)] for each in (places, low, high)])
    left, right = float(ends.min()), float(ends.max())
    margin = 0.05 * (right - left or 1.0)
    for row, place, begin, end, is_rated in zip(rows, places, low, high, rated, strict=True):
        shown = max(begin, left - margin), min(end, right + margin)
        axes.plot(shown, [row, row], color="#0072b2", linewidth=2, alpha=0.6, solid_capstyle="butt")
        for value, marker, is_open in zip(shown, "<>", (begin == -np.inf, end == np.inf), strict=True):
            if is_open:
                axes.plot([value], [row], marker=marker, color="#0072b2", markersize=5)
        axes.plot(
            [place], [row], "o", color="#0072b2", markersize=6, fillstyle="full" if is_rated else "none"
        )
    axes.set_yticks(rows, names)
    axes.set_ylim(-0.7, len(names) - 0.3)
    axes.grid(axis="y", visible=False)
    axes.set_title("Ratings with 95 % intervals")
    return figure


@page_style()
def draw_calibration(bins: Sequence[Calibration]) -> Any:
    """Actual over predicted shares; on the diagonal they are equal."""
    figure, axes = make_axes(4.6, 3.6)
    axes.plot([0.5, 1], [0.5, 1], color=axes.spines["left"].get_edgecolor(), linewidth=1.5)
    largest = max((each.votes for each in bins), default=1)
    for each in bins:
        axes.scatter(
            each.predicted, each.actual, s=20 + 160 * each.votes / largest, color="#0072b2", alpha=0.75
        )
        axes.annotate(
            f"{each.votes:,}", (each.predicted, each.actual), (6, -9), textcoords="offset points",
            fontsize=8,
        )  # fmt: skip
    axes.set_xlabel("predicted share of the stronger model")
    axes.set_ylabel("actual share")
    axes.set_title("Calibration (number of votes at each point)")
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
