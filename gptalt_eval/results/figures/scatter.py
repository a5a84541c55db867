"""The report's scatter plot: scores over what they cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import hypot

from gptalt_eval.results.figures.charts import SHARE, WIDTH, Mark, draw_mark, list_values
from gptalt_eval.results.figures.drawing import GRID, SMALL, SOFT, Canvas, measure, shorten
from gptalt_eval.results.figures.scales import Scale, make_log_scale, make_scale


@dataclass(frozen=True)
class Spot:
    """A point of a scatter plot: ``mark.place`` is its place on the horizontal axis."""

    name: str
    mark: Mark
    is_front: bool = False


def draw_scatter(
    spots: Sequence[Spot], axis: str, height_axis: str, marked: Sequence[tuple[float, str]] = ()
) -> str:
    """Scores over a quantity on a logarithmic axis; points that no other one beats in both are connected.

    Args:
        spots: the points.
        axis, height_axis: what the axes show.
        marked: values and labels that the horizontal axis may have; empty: powers of ten and the like.
    """
    canvas = Canvas(WIDTH)
    top, bottom = 26.0, 310.0
    scale = make_scale([value for spot in spots for value in list_values([spot.mark])], bottom, top, 5, SHARE)
    left = max(measure(label, SMALL) for _, label in scale.ticks) + 10
    across = make_log_scale([spot.mark.place for spot in spots], left + 4, WIDTH - 8, marked)
    canvas.text(0, 12, height_axis, size=SMALL, colour=SOFT)
    for value, label in scale.ticks:
        canvas.line((left, scale.place(value)), (WIDTH, scale.place(value)), GRID, 1, "grid")
        canvas.text(left - 6, scale.place(value) + 4, label, anchor="end", size=SMALL, kind="tick")
    for value, label in space_ticks(across):
        canvas.line((across.place(value), top), (across.place(value), bottom), GRID, 1, "grid")
        canvas.text(across.place(value), bottom + 16, label, anchor="middle", size=SMALL, kind="place")
    canvas.text((left + WIDTH) / 2, bottom + 33, axis, anchor="middle", size=SMALL, colour=SOFT)
    points = [(across.place(spot.mark.place), scale.place(spot.mark.value)) for spot in spots]
    front = sorted(point for point, spot in zip(points, spots, strict=True) if spot.is_front)
    if len(front) > 1:
        path = "L".join(f"{x:.2f} {y:.2f}" for x, y in front)
        canvas.draw(
            "path",
            kind="front",
            d=f"M{path}",
            fill="none",
            stroke=SOFT,
            stroke_width=1.3,
            stroke_dasharray="5 3",
        )
    for spot, (x, y) in zip(spots, points, strict=True):
        mark = spot.mark
        draw_mark(canvas, mark, x, y, scale.place(mark.low), scale.place(mark.high), upright=True)
    reaches = [(scale.place(spot.mark.high), scale.place(spot.mark.low)) for spot in spots]
    lines = [(x - 1, high, x + 1, low) for (x, _), (high, low) in zip(points, reaches, strict=True)]
    order = sorted(range(len(spots)), key=lambda place: (not spots[place].is_front, -spots[place].mark.value))
    labels = [Label(spots[place].name, points[place], reaches[place]) for place in order]
    label_points(canvas, labels, (left, top - 6, WIDTH, bottom), [*lines, *list_obstacles(front)])
    return canvas.finish(bottom + 38)


def space_ticks(scale: Scale) -> list[tuple[float, str]]:
    """The ticks whose labels do not touch the one before."""
    kept: list[tuple[float, str]] = []
    end = -1e9
    for value, label in scale.ticks:
        half = measure(label, SMALL) / 2
        if scale.place(value) - half > end + 6 and scale.place(value) + half <= WIDTH:
            kept.append((value, label))
            end = scale.place(value) + half
    return kept


Place = tuple[float, float]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Label:
    """A name, its point, and the upper and the lower end of the point's interval."""

    name: str
    point: Place
    reach: Place


def label_points(canvas: Canvas, labels: Sequence[Label], area: Box, lines: Sequence[Box]) -> None:
    """Write each name near its point, where it covers no other and no point, if there is room.

    Args:
        canvas: the figure.
        labels: what to write, the most important first.
        area: where there may be text.
        lines: what is better not crossed.
    """
    taken = [
        (label.point[0] - 6, label.point[1] - 6, label.point[0] + 6, label.point[1] + 6) for label in labels
    ]
    for label in labels:
        shown = shorten(label.name, 150, SMALL)
        width = measure(shown, SMALL)
        found = find_room(label, width, area, [*taken, *lines]) or find_room(label, width, area, taken)
        if found:
            box, leader = found
            if leader:
                canvas.line(hold(label.point, box), label.point, SOFT, 0.8, "leader")
            hint = label.name if shown != label.name else ""
            canvas.text(box[0], box[1] + SMALL, shown, "label", size=SMALL, hint=hint)
            taken += [box, *leader]


def find_room(label: Label, width: float, area: Box, taken: Sequence[Box]) -> tuple[Box, list[Box]] | None:
    """The best free place of a name, and what the line to its point covers."""
    x, y = label.point
    for box in list_boxes(label.point, label.reach, width, SMALL * 1.2):
        line = () if box[0] < x < box[2] else list_obstacles([hold(label.point, box), label.point])
        leader = [each for each in line if not overlaps(each, (x - 12, y - 12, x + 12, y + 12))]
        if contains(area, box) and not any(overlaps(one, other) for one in (box, *leader) for other in taken):
            return box, leader
    return None


def hold(point: Place, box: Box) -> Place:
    """The place of a box that is nearest to a point."""
    return min(max(point[0], box[0]), box[2]), min(max(point[1], box[1]), box[3])


def list_boxes(point: Place, reach: Place, width: float, height: float) -> Iterator[Box]:
    """Where a name may be, the best place first.

    Args:
        point: what is named.
        reach: the upper and the lower end of its interval.
        width, height: of the name.
    """
    half = width / 2
    sides = [(9.0, 0.0), (-9.0 - width, 0.0)]
    beyond = [(-half, reach[0] - point[1] - 9), (-half, reach[1] - point[1] + 9)]
    farther = [(left, down) for down in (-12, 12, -24, 24, -38, 38, -52, 52) for left, _ in sides]
    slanted = [(left, down) for _, down in beyond for left in (-6.0, 6.0 - width)]
    for left, down in (*sides, *beyond, *slanted, *farther):
        x, middle = point[0] + left, point[1] + down
        yield x, middle - height / 2, x + width, middle + height / 2


def list_obstacles(line: Sequence[Place]) -> Iterator[Box]:
    """Small boxes along a line."""
    for (x, y), (end, bottom) in pairwise(line):
        steps = max(1, int(hypot(end - x, bottom - y) / 4))
        for step in range(steps + 1):
            across, down = x + (end - x) * step / steps, y + (bottom - y) * step / steps
            yield across - 1, down - 1, across + 1, down + 1


def contains(area: Box, box: Box) -> bool:
    return area[0] <= box[0] and area[1] <= box[1] and box[2] <= area[2] and box[3] <= area[3]


def overlaps(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
