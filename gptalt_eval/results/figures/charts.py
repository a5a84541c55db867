"""The report's charts of points with intervals: in rows, or over the number of shots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gptalt_eval.results.figures.drawing import (
    GRID,
    LEADING,
    SIZE,
    SMALL,
    SOFT,
    Canvas,
    Key,
    Style,
    measure,
    wrap,
)
from gptalt_eval.results.figures.scales import Scale, make_scale

WIDTH = 400.0
SHARE = (0.0, 1.0)
PLAIN = Style()


@dataclass(frozen=True)
class Mark:
    """A point and its 95 % interval.

    Attributes:
        value, low, high: the score and its interval, which may have no width.
        style: how it is drawn.
        hint: shown when one points at it.
        place: where on the horizontal axis, if it has one of its own.
    """

    value: float
    low: float
    high: float
    style: Style = PLAIN
    hint: str = ""
    place: float = 0.0


@dataclass(frozen=True)
class Row:
    """A row of a chart.

    Attributes:
        label: what it is.
        marks: its points.
        chance: what guessing scores; None: unknown.
        notes: text at the right end.
    """

    label: str
    marks: Sequence[Mark]
    chance: float | None = None
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Section:
    """Rows under a title; an empty one: none."""

    title: str
    rows: Sequence[Row]


def list_values(marks: Sequence[Mark], *others: float | None) -> list[float]:
    values = [value for mark in marks for value in (mark.value, mark.low, mark.high)]
    return values + [value for value in others if value is not None]


def draw_rows(
    sections: Sequence[Section], keys: Sequence[Key] = (), axis: str = "", heads: Sequence[str] = (),
    is_linked: bool = False,
) -> str:  # fmt: skip
    """Points with intervals, a row each, on one axis.

    Args:
        sections: the rows.
        keys: the legend.
        axis: what the axis shows.
        heads: titles of the rows' notes.
        is_linked: whether the points of a row are connected, in their order.
    """
    rows = [row for section in sections for row in section.rows]
    canvas = Canvas(WIDTH)
    notes = [
        max(measure(text, SMALL) for text in texts) + 10
        for texts in zip(heads, *(row.notes for row in rows), strict=True)
    ]
    widest = max(measure(row.label) for row in rows)
    beside = widest <= 0.38 * WIDTH  # otherwise labels are above their rows
    left, right = (widest + 12 if beside else 0), WIDTH - sum(notes)
    values = [value for row in rows for value in list_values(row.marks, row.chance)]
    scale = make_inner_scale(values, left, right)
    top = canvas.legend(keys, 0, 0) + 4
    y = top + 18
    for section in sections:
        if section.title:
            for line in wrap(section.title, WIDTH):
                canvas.text(0, y + 15, line, "section", is_framed=True)
                y += SIZE * LEADING
            y += 5
        for row in section.rows:
            y = draw_row(canvas, row, scale, y, beside, is_linked, notes)
    draw_axis(canvas, scale, top + 14, y + 2, axis)
    x = WIDTH - sum(notes)
    for head, width in zip(heads, notes, strict=True):
        x += width
        canvas.text(x, top + 10, head, anchor="end", size=SMALL, colour=SOFT)
    return canvas.finish(y + (38 if axis else 20))


def make_inner_scale(values: Sequence[float], left: float, right: float) -> Scale:
    """A horizontal axis whose labels and points do not reach beyond its ends."""
    margin = 10.0
    for _ in range(3):  # other labels may be wider
        most = max(2, int((right - left - 2 * margin) / 44))
        scale = make_scale(values, left + margin, right - margin, most=most, within=SHARE)
        widest = max(measure(label, SMALL) for _, label in scale.ticks)
        if widest / 2 <= margin:
            break
        margin = widest / 2 + 1
    return scale


def draw_row(
    canvas: Canvas, row: Row, scale: Scale, y: float, beside: bool, is_linked: bool, notes: Sequence[float]
) -> float:
    """Draw a row; the place below it."""
    marks = row.marks
    step = 9.5
    height = max(20.0, step * len(marks) + 7)
    if not beside:
        lines = wrap(row.label, WIDTH)
        for number, line in enumerate(lines):
            canvas.text(0, y + 14 + number * SIZE * LEADING, line, "label", is_framed=True)
        y += len(lines) * SIZE * LEADING + 1
    if len(marks) > 2:
        canvas.line((0, y + height), (WIDTH, y + height))
    middle = y + height / 2
    if beside:
        canvas.text(scale.start - 12, middle + SIZE * 0.35, row.label, anchor="end", kind="label")
    if row.chance is not None:
        x = scale.place(row.chance)
        canvas.line((x, y + 2), (x, y + height - 2), SOFT, 1.5, "chance", "2 2")
    places = [middle + (number - (len(marks) - 1) / 2) * step for number in range(len(marks))]
    if is_linked:
        for (one, upper), (other, lower) in zip(
            zip(marks, places, strict=True), list(zip(marks, places, strict=True))[1:], strict=False
        ):
            canvas.line((scale.place(one.value), upper), (scale.place(other.value), lower), SOFT, 1, "link")
    for mark, place in zip(marks, places, strict=True):
        draw_mark(canvas, mark, scale.place(mark.value), place, scale.place(mark.low), scale.place(mark.high))
    x = WIDTH - sum(notes)
    for note, width in zip(row.notes, notes, strict=True):
        x += width
        canvas.text(x, middle + SMALL * 0.35, note, anchor="end", size=SMALL, kind="note")
    return y + height


def draw_mark(
    canvas: Canvas, mark: Mark, x: float, y: float, low: float, high: float, upright: bool = False
) -> None:
    """A point at (x, y) with its interval between two places of an axis."""
    if low != high:
        ends = ((x, low), (x, high)) if upright else ((low, y), (high, y))
        canvas.line(*ends, mark.style.paint, 1.8, "interval")
    canvas.marker(x, y, mark.style, mark.hint)


def draw_axis(canvas: Canvas, scale: Scale, top: float, bottom: float, title: str) -> None:
    """Grid lines below everything else, and their labels at the bottom; at the top too in a high figure."""
    drawn, canvas.parts = canvas.parts, []
    for value, label in scale.ticks:
        x = scale.place(value)
        canvas.line((x, top + 2), (x, bottom), GRID, 1, "grid")
        canvas.text(x, bottom + 14, label, anchor="middle", size=SMALL, kind="tick")
        if bottom - top > 420:
            canvas.text(x, top - 3, label, anchor="middle", size=SMALL, kind="tick")
    if title:
        canvas.text(
            (scale.start + scale.end) / 2, bottom + 31, title, anchor="middle", size=SMALL, colour=SOFT
        )
    canvas.parts += drawn


@dataclass(frozen=True)
class Line:
    """The points of an arm over the number of shots.

    Attributes:
        name: of the arm.
        marks: its points; ``place`` is the number of shots.
        style: how it is drawn.
    """

    name: str
    marks: Sequence[Mark]
    style: Style = PLAIN


def draw_curves(
    lines: Sequence[Line], keys: Sequence[Key] = (), axis: str = "shots", chance: float | None = None,
    also: Sequence[float] = (),
) -> str:  # fmt: skip
    """Scores over the number of shots, with intervals side by side.

    Args:
        lines: one an arm.
        keys: the legend; empty: each line's name.
        axis: what the horizontal axis shows.
        chance: what guessing scores; None: unknown.
        also: values that the vertical axis includes, so that figures which are compared share it.
    """
    canvas = Canvas(WIDTH)
    top = canvas.legend(keys or [Key(line.name, line.style) for line in lines], 0, 0) + 12
    bottom = top + 200
    values = [value for line in lines for value in list_values(line.marks)]
    scale = make_scale([*values, *also, *([] if chance is None else [chance])], bottom, top, 5, SHARE)
    left = max(measure(label, SMALL) for _, label in scale.ticks) + 8
    places = sorted({mark.place for line in lines for mark in line.marks})
    width = (WIDTH - left) / len(places)
    for value, label in scale.ticks:
        canvas.line((left, scale.place(value)), (WIDTH, scale.place(value)), GRID, 1, "grid")
        canvas.text(left - 6, scale.place(value) + 4, label, anchor="end", size=SMALL, kind="tick")
    if chance is not None:
        y = scale.place(chance)
        canvas.line((left, y), (WIDTH, y), SOFT, 1.5, "chance", "2 3")
    middles = {place: left + width * (number + 0.5) for number, place in enumerate(places)}
    for place, x in middles.items():
        canvas.text(x, bottom + 20, f"{place:g}", anchor="middle", size=SMALL, kind="place")
    canvas.text((left + WIDTH) / 2, bottom + 37, axis, anchor="middle", size=SMALL, colour=SOFT)
    step = min(13.0, width * 0.7 / len(lines))
    for number, line in enumerate(lines):
        shift = (number - (len(lines) - 1) / 2) * step
        marks = sorted(line.marks, key=lambda mark: mark.place)
        points = [(middles[mark.place] + shift, scale.place(mark.value)) for mark in marks]
        path = "L".join(f"{x:.2f} {y:.2f}" for x, y in points)
        canvas.draw(
            "path",
            kind="curve",
            d=f"M{path}",
            fill="none",
            stroke=line.style.paint,
            stroke_width=1.3,
            stroke_opacity=0.7,
        )
        for mark, (x, y) in zip(marks, points, strict=True):
            draw_mark(canvas, mark, x, y, scale.place(mark.low), scale.place(mark.high), upright=True)
    return canvas.finish(bottom + 42)
