"""What the report's figures are drawn with: shapes and text as SVG, and how wide text is.

Text stays text, in the page's fonts, so that Chinese names need no font here. Its width is an estimate, and
rather too wide. Colours are the page's CSS variables, so that a figure follows its light or dark mode.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import cos, pi, sin
from xml.sax.saxutils import escape, quoteattr

from gptalt_eval.machine.plain import show_plain

SIZE = 13.0  # px of the text, in a figure of its natural width
SMALL = 12.5
LEADING = 1.25
LONGEST = 2_000  # characters of a text
COLOURS = 7  # the page's --s1 to --s7, which colour-blind readers can distinguish
MARKERS = 7
INK, SOFT, GRID, PAGE = "var(--ink)", "var(--soft)", "var(--line)", "var(--page)"
#: widths of letters in shares of the text's size, in a wide font (DejaVu Sans)
WIDTHS = {
    **dict.fromkeys("ijlI|'", 0.3), **dict.fromkeys(" .,:;!/\\ft()[]-·`", 0.4),
    **dict.fromkeys("\"rcsz*J_–", 0.56), **dict.fromkeys("+=<>~#^OQGDHNUVXAK", 0.84),
    **dict.fromkeys("mw%MW@—…", 1.0),
}  # fmt: skip
BREAKS = re.compile(r"[^\s/_\-.,:·]*[\s/_\-.,:·]*")


@dataclass(frozen=True)
class Style:
    """How a point is drawn: the number of its colour and of its marker, from 0."""

    colour: int = 0
    marker: int = 0
    is_hollow: bool = False

    @property
    def paint(self) -> str:
        return f"var(--s{self.colour % COLOURS + 1})"


@dataclass(frozen=True)
class Key:
    """An entry of a legend."""

    name: str
    style: Style


def measure(text: str, size: float = SIZE) -> float:
    """The width of a text in px."""
    return size * sum(map(measure_letter, text))


def measure_letter(letter: str) -> float:
    if letter in WIDTHS:
        return WIDTHS[letter]
    if unicodedata.combining(letter):
        return 0.0
    if letter < "\u0530":  # Latin, Greek, Cyrillic
        return (0.72 if letter.isupper() else 0.65) + (0.13 if letter > "\x7f" else 0)
    if ord(letter) >= 0x1F000:
        return 1.4
    return 1.02


def clean(text: str) -> str:
    """A text in one line, with control characters shown: XML has none. Of a very long one, the beginning."""
    plain = show_plain(" ".join(text.split()))
    return plain if len(plain) <= LONGEST else f"{plain[:LONGEST]}…"


def wrap(text: str, width: float, size: float = SIZE, most: int = 3) -> list[str]:
    """A text in lines of at most some width, broken between its parts (``model · prompt``) where possible.

    Otherwise it is broken at spaces and punctuation. More than ``most`` lines end in an ellipsis.
    """
    lines = [""]
    for part in clean(text).split(" · "):
        joined = f"{lines[-1]} · {part}" if lines[-1] else part
        if measure(joined, size) <= width:
            lines[-1] = joined
        else:
            lines += break_words(part, width, size)
    lines = [line.strip() for line in lines if line.strip()] or [""]
    if len(lines) > most:
        last = lines[most - 1]
        while last and measure(f"{last}…", size) > width:
            last = last[:-1]
        lines = [*lines[: most - 1], f"{last}…"]
    return lines


def break_words(text: str, width: float, size: float) -> list[str]:
    lines = [""]
    for word in BREAKS.findall(text):
        if lines[-1] and measure(lines[-1] + word.rstrip(), size) > width:
            lines.append("")
        for letter in word:
            if lines[-1] and letter != " " and measure(lines[-1] + letter, size) > width:
                lines.append("")
            lines[-1] += letter
    return lines


def shorten(text: str, width: float, size: float) -> str:
    """A text in one line, without its middle if it is too long."""
    shown = plain = clean(text)
    while measure(shown, size) > width and len(plain) > 2:
        half = len(plain) // 2
        plain = plain[:half] + plain[half + 1 :]
        shown = f"{plain[:half]}…{plain[half:]}"
    return shown


def show(number: float) -> str:
    text = f"{number:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def write(kind: str = "", **attributes: object) -> str:
    """Attributes of an element; empty ones are left out, and ``_`` becomes ``-``.

    Its class begins with ``f-``, so that the page's styles do not apply.
    """
    parts = [f' class="f-{kind}"'] if kind else []
    for key, value in attributes.items():
        if value not in (None, ""):
            text = show(value) if isinstance(value, (int, float)) else str(value)
            parts.append(f" {key.replace('_', '-')}={quoteattr(text)}")
    return "".join(parts)


@dataclass
class Canvas:
    """An SVG while it is drawn. A ``kind`` is a class of elements; a ``hint`` is shown at the pointer."""

    width: float
    parts: list[str] = field(default_factory=list)

    def draw(self, tag: str, kind: str = "", hint: str = "", inner: str = "", **attributes: object) -> None:
        inner = escape(inner) + (f"<title>{escape(clean(hint))}</title>" if hint else "")
        self.parts.append(f"<{tag}{write(kind, **attributes)}>{inner}</{tag}>")

    def line(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        colour: str = GRID,
        width: float = 1,
        kind: str = "",
        dash: str = "",
    ) -> None:
        (x1, y1), (x2, y2) = start, end
        self.draw(
            "line", kind, x1=x1, y1=y1, x2=x2, y2=y2, stroke=colour, stroke_width=width, stroke_dasharray=dash
        )

    def text(
        self,
        x: float,
        y: float,
        text: str,
        kind: str = "",
        anchor: str = "",
        size: float = SIZE,
        colour: str = INK,
        turn: float = 0,
        hint: str = "",
        is_framed: bool = False,
    ) -> None:
        """A line of text; where grid lines pass below it, it may be on a ground of the page's colour.

        (Not every program knows SVG's ``paint-order``, which would need no rectangle.)
        """
        if is_framed:
            width, height = measure(clean(text), size), size * LEADING
            self.draw("rect", "ground", x=x, y=y - size, width=width, height=height, fill=PAGE)
        turned = f"rotate({show(turn)} {show(x)} {show(y)})" if turn else ""
        self.draw(
            "text", kind, hint, clean(text), x=x, y=y, text_anchor=anchor, font_size=size, fill=colour,
            font_weight="600" if kind == "section" else "", transform=turned,
        )  # fmt: skip

    def marker(self, x: float, y: float, style: Style, hint: str = "", kind: str = "point") -> None:
        """A point, with a border in the page's colour so that it stands out from what it covers."""
        fill, border = (PAGE, style.paint) if style.is_hollow else (style.paint, PAGE)
        self.draw(
            "path", kind, hint, d=draw_shape(style.marker % MARKERS), fill=fill, stroke=border,
            stroke_width=2 if style.is_hollow else 1, transform=f"translate({show(x)} {show(y)})",
        )  # fmt: skip

    def legend(self, keys: Sequence[Key], x: float, y: float) -> float:
        """Entries in as many lines as they need; the place below them."""
        left, height = x, SIZE * LEADING + 3
        for key in keys:
            lines = wrap(key.name, self.width - x - 22, SMALL)
            needed = 18 + max(measure(line, SMALL) for line in lines) + 14
            if left > x and left + needed - 14 > self.width:
                left, y = x, y + height
            self.marker(left + 6, y + 8, key.style, kind="key")
            for number, line in enumerate(lines):
                self.text(left + 17, y + 12.5 + number * SMALL * LEADING, line, "key", size=SMALL)
            y += (len(lines) - 1) * SMALL * LEADING
            left += needed
        return y + height if keys else y

    def finish(self, height: float) -> str:
        """The SVG; the page sets its size."""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {show(self.width)} {show(height)}"'
            f' width="{show(self.width)}" height="{show(height)}">'
            f"{''.join(self.parts)}</svg>"
        )


def draw_shape(marker: int) -> str:
    """The path of a marker around (0, 0): circle, square, triangle, diamond, triangle down, plus, star."""
    if marker == 0:
        return "M-4.6 0a4.6 4.6 0 1 0 9.2 0a4.6 4.6 0 1 0 -9.2 0Z"
    if marker == 5:
        return "M-1.8 -5.2h3.6v3.4h3.4v3.6h-3.4v3.4h-3.6v-3.4h-3.4v-3.6h3.4Z"
    corners, radius, turn = {
        1: (4, 5.8, 45),
        2: (3, 6.2, -90),
        3: (4, 6.0, 0),
        4: (3, 6.2, 90),
        6: (5, 6.4, -90),
    }[marker]
    angles = [turn + 360 * step / corners for step in range(corners)]
    radii = [radius] * corners
    if marker == 6:
        angles = [turn + 36 * step for step in range(10)]
        radii = [radius, radius * 0.45] * 5
    points = [
        f"{show(radius * cos(angle * pi / 180))} {show(radius * sin(angle * pi / 180))}"
        for radius, angle in zip(radii, angles, strict=True)
    ]
    return f"M{'L'.join(points)}Z"
