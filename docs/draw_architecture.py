"""Draws docs/images/architecture.svg from the imports of the code.

    python docs/draw_architecture.py

Rooms are the folders of gptalt_eval, doors are its modules, and their words are their docstrings. An arrow
means "imports from". Arrows that follow from others are left out, as is the code of tests and templates.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "gptalt_eval"
DRAWING = ROOT / "docs" / "images" / "architecture.svg"
PLUGINS = "plugins"
WIDTH, BOX, HEIGHT, FLOOR, MARGIN = 912, 272, 86, 130, 24  # pixels; FLOOR: from one floor to the next

Graph = Mapping[str, set[str]]


@dataclass(frozen=True)
class Room:
    """A folder or module of the package, or the plugins.

    Attributes:
        name: of the folder or module.
        purpose: the first line of its docstring.
        is_door: whether outsiders import it.
    """

    name: str
    purpose: str
    is_door: bool = False


def list_files() -> Iterator[tuple[str, Path]]:
    """(room, file) for every Python file of the package and the plugins."""
    for file in sorted(PACKAGE.rglob("*.py")):
        yield file.relative_to(PACKAGE).with_suffix("").parts[0], file
    for file in sorted((ROOT / PLUGINS).glob("*/gptalt_eval_plugin_*/**/*.py")):
        yield PLUGINS, file


def list_imports(file: Path) -> Iterator[str]:
    """The rooms that a file imports from, in whichever way."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for parts in (name.split(".") for name in names):
            if parts[0] == PACKAGE.name:
                inside = len(parts) > 1 and (PACKAGE / parts[1]).is_dir()
                is_module = len(parts) > 1 and (PACKAGE / f"{parts[1]}.py").is_file()
                yield parts[1] if inside or is_module else "__init__"


def find_rooms() -> tuple[list[Room], Graph]:
    """The rooms, and for each those that it imports from."""
    graph: dict[str, set[str]] = {}
    for room, file in list_files():
        graph.setdefault(room, set()).update(set(list_imports(file)) - {room})
    return [describe_room(name) for name in graph], graph


def describe_room(name: str) -> Room:
    if name == PLUGINS:
        return Room(name, "One benchmark, model family or way of judging each.")
    folder = PACKAGE / name
    file = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return Room(name, text.split("\n")[0].replace("``", ""), is_door=not folder.is_dir())


def reduce_graph(graph: Graph) -> dict[str, set[str]]:
    """The graph without the arrows that follow from others."""

    def reach(name: str) -> set[str]:
        return graph[name].union(*map(reach, graph[name]))

    return {
        name: {below for below in targets if not any(below in reach(other) for other in targets - {below})}
        for name, targets in graph.items()
    }


def place_rooms(graph: Graph) -> dict[str, int]:
    """The floor of each room, counted from the top: below everything that imports it."""

    def descend(name: str) -> int:
        return max((descend(other) + 1 for other, targets in graph.items() if name in targets), default=0)

    return {name: descend(name) for name in graph}


def place_floors(graph: Graph, floors: Mapping[str, int]) -> dict[str, float]:
    """The middle of each room, in pixels: below the rooms that import it, as far as there is space."""
    importers = {name: {other for other, targets in graph.items() if name in targets} for name in graph}
    middles = dict.fromkeys(graph, WIDTH / 2)
    # first down, then the doors, which nobody imports, to what they use, then down again
    for neighbours in (importers, graph, importers):
        for floor in range(max(floors.values()) + 1):
            wanted = {
                name: sum(middles[other] for other in neighbours[name]) / len(neighbours[name])
                if neighbours[name]
                else middles[name]
                for name, each in floors.items()
                if each == floor
            }
            middles |= spread(wanted)
    return middles


def spread(wanted: Mapping[str, float]) -> dict[str, float]:
    """Places side by side that do not overlap, near to where they are wanted."""
    names = sorted(wanted, key=lambda name: (wanted[name], name))
    step, most = BOX + MARGIN, WIDTH - MARGIN - BOX / 2
    middles: dict[str, float] = {}
    least = MARGIN + BOX / 2
    for place, name in enumerate(names):
        middles[name] = min(max(wanted[name], least), most - step * (len(names) - 1 - place))
        least = middles[name] + step
    return middles


def draw_room(room: Room, middle: float, floor: int) -> Iterator[str]:
    left, top = middle - BOX / 2, MARGIN + floor * FLOOR
    kind = "door" if room.is_door or room.name == PLUGINS else "room"
    title = room.name if room.name == PLUGINS or not room.is_door else f"{room.name}.py"
    yield f'<rect class="{kind}" x="{left:.0f}" y="{top}" width="{BOX}" height="{HEIGHT}" rx="5"/>'
    yield f'<text class="name" x="{middle:.0f}" y="{top + 23}">{escape(title)}</text>'
    for number, line in enumerate(textwrap.wrap(room.purpose, 40)):
        yield f'<text x="{middle:.0f}" y="{top + 42 + number * 16}">{escape(line)}</text>'


def draw_arrow(start: float, from_floor: int, end: float, to_floor: int) -> str:
    top = MARGIN + from_floor * FLOOR + HEIGHT
    bottom = MARGIN + to_floor * FLOOR - 3
    bend = min(FLOOR - HEIGHT, bottom - top)
    curve = f"{start:.0f} {top + bend} {end:.0f} {bottom - bend} {end:.0f} {bottom}"
    return f'<path d="M{start:.0f} {top} C{curve}"/>'


STYLE = """
text { font: 12px system-ui, sans-serif; fill: #33404d; text-anchor: middle }
.name { font: 600 15px ui-monospace, monospace; fill: #14202b }
.room { fill: #e6eef6; stroke: #5b7da0 }
.door { fill: #fdf1dc; stroke: #b98a35 }
path { fill: none; stroke: #5b6b7a; stroke-width: 1.5; marker-end: url(#head) }
"""
HEAD = """\
<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
<polygon points="0,0 8,4 0,8" fill="#5b6b7a"/></marker>"""


def draw() -> str:
    rooms, graph = find_rooms()
    arrows = reduce_graph(graph)
    floors = place_rooms(arrows)
    middles = place_floors(arrows, floors)
    height = MARGIN * 2 + max(floors.values()) * FLOOR + HEIGHT
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img">',
        "<title>The rooms of gptalt-eval; an arrow means: imports from</title>",
        f"<style>{STYLE}</style>",
        HEAD,
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
    ]
    for name in sorted(arrows):
        for below in sorted(arrows[name]):
            lines.append(draw_arrow(middles[name], floors[name], middles[below], floors[below]))
    for room in rooms:
        lines += draw_room(room, middles[room.name], floors[room.name])
    return "\n".join([*lines, "</svg>", ""])


if __name__ == "__main__":
    DRAWING.write_text(draw(), encoding="utf-8")
    print(DRAWING.relative_to(ROOT))
