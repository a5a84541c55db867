"""The report's heat map: shares of rows and columns as colours and as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, cos, floor, pi, sin

from gptalt_eval.results.figures.drawing import LEADING, SIZE, SMALL, SOFT, Canvas, measure, wrap

#: cividis (Nuñez, Anderton and Renslow, 2018): as dark or light to colour-blind readers as to others
STOPS = ((0, 34, 78), (53, 69, 108), (102, 105, 112), (148, 142, 119), (200, 182, 102), (254, 232, 56))
CELL = (30.0, 19.0)
LONGEST = 160.0  # px of a column's name in one line
TURN = pi / 3  # of the columns' names


def draw_heat_map(
    names: Sequence[str], columns: Sequence[str], shares: Sequence[Sequence[float | None]]
) -> str:
    """A cell for each row and column, with its share in percent.

    Args:
        names: of the rows.
        columns: of the columns.
        shares: [rows, columns] from 0 to 1; None: unknown.
    """
    known = [share for row in shares for share in row if share is not None]
    low, high = floor(min(known) * 10) / 10, ceil(max(known) * 10) / 10
    if high <= low:
        low, high = max(0.0, low - 0.1), low + 0.1
    heads = [wrap(column, LONGEST, SMALL) for column in columns]
    most = max(map(len, heads))
    pitch = SMALL * LEADING / sin(TURN)  # between the lines of a turned name, along the axis
    wide, tall = max(CELL[0], most * pitch + 3, min(60, 240 / len(columns))), CELL[1]
    left = max(measure(name, SMALL) for name in names) + 10
    longest = max(measure(line, SMALL) for head in heads for line in head)
    top = longest * sin(TURN) + SMALL + 8
    canvas = Canvas(left + wide * len(columns) + longest * cos(TURN))
    for number, head in enumerate(heads):
        x = left + number * wide + (wide - len(head) * pitch) / 2 + SMALL
        for place, line in enumerate(head):
            canvas.text(x + place * pitch, top - 6, line, size=SMALL, turn=-TURN * 180 / pi, kind="head")
    for row, (name, values) in enumerate(zip(names, shares, strict=True)):
        y = top + row * tall
        canvas.text(left - 8, y + tall / 2 + 4, name, anchor="end", size=SMALL, kind="label")
        for column, share in enumerate(values):
            if share is not None:
                x = left + column * wide
                draw_cell(
                    canvas, (x, y, wide, tall), share, (low, high), f"{name}, {columns[column]}: {share:.3f}"
                )
    return canvas.finish(draw_key(canvas, left, top + len(names) * tall + 10, (low, high)))


def draw_cell(
    canvas: Canvas, box: tuple[float, float, float, float], share: float, ends: tuple[float, float], hint: str
) -> None:
    x, y, width, height = box
    fill = find_colour((share - ends[0]) / (ends[1] - ends[0]))
    canvas.draw("rect", "cell", hint, x=x, y=y, width=width - 1, height=height - 1, fill=fill)
    middle, text = x + (width - 1) / 2, f"{share * 100:.0f}"
    canvas.text(middle, y + height / 2 + 3.5, text, "share", "middle", 11, choose_ink(fill))


def draw_key(canvas: Canvas, x: float, y: float, ends: tuple[float, float]) -> float:
    """What the colours mean; the place below it."""
    label = f"{ends[0] * 100:.0f} %"
    canvas.text(x, y + 10, label, size=SMALL, colour=SOFT)
    x += measure(label, SMALL) + 6
    for step in range(20):
        canvas.draw(
            "rect",
            kind="key",
            x=x + 5 * step,
            y=y + 1,
            width=5.3,
            height=SIZE - 2,
            fill=find_colour(step / 19),
        )
    canvas.text(x + 107, y + 10, f"{ends[1] * 100:.0f} %", size=SMALL, colour=SOFT)
    return y + 18


def find_colour(share: float) -> str:
    """The colour of a place between the ends of the scale, from 0 to 1."""
    place = min(max(share, 0.0), 1.0) * (len(STOPS) - 1)
    below = min(int(place), len(STOPS) - 2)
    mixed = [
        round(one + (place - below) * (other - one))
        for one, other in zip(STOPS[below], STOPS[below + 1], strict=True)
    ]
    return "#" + "".join(f"{part:02x}" for part in mixed)


def choose_ink(colour: str) -> str:
    """Black or white, whichever has more contrast to a colour."""
    return "#000000" if find_luminance(colour) > 0.179 else "#ffffff"


def find_luminance(colour: str) -> float:
    """The relative luminance of WCAG 2."""
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
