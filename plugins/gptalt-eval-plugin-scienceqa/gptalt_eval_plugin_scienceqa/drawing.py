"""Draws shapes, and asks about their colour, form and number, and about those of a picture shown before.

The pictures of the embedded sample, and those with which the small model of the demo is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from PIL import Image, ImageDraw

COLOURS = {"red": (214, 39, 40), "green": (44, 160, 44), "blue": (31, 80, 220), "black": (20, 20, 20)}
FORMS = ("circle", "square", "triangle", "cross")
NUMBERS = ("one", "two", "three", "four")
#: by what is asked: the options, always in this order, of which each is right as often as the others
CHOICES = {"colour": tuple(COLOURS), "form": FORMS, "number": NUMBERS}
ASKED = {"colour": "Which colour is it?", "form": "Which form is it?", "number": "How many are there?"}
ORDINALS = ("first", "second")
SIDE = 32  # pixels
CELL = SIDE // 2  # each shape is in one of four cells
MARGIN = 2


@dataclass(frozen=True)
class Drawing:
    """What is in a picture: equal shapes, in some of its four cells.

    Attributes:
        colour, form: of each shape.
        cells: where they are.
        background: the lightness of the rest.
        shift: by how many pixels each shape is off the middle of its cell.
    """

    colour: str
    form: str
    cells: tuple[int, ...]
    background: int = 255
    shift: tuple[int, int] = (0, 0)

    @property
    def caption(self) -> str:
        many = "s" if len(self.cells) > 1 else ""
        plural = "crosses" if many and self.form == "cross" else f"{self.form}{many}"
        return f"{NUMBERS[len(self.cells) - 1].capitalize()} {self.colour} {plural}."

    def draw(self) -> Image.Image:
        """The picture, 32 x 32 pixels."""
        image = Image.new("RGB", (SIDE, SIDE), (self.background,) * 3)
        pen = ImageDraw.Draw(image)
        for cell in self.cells:
            left = cell % 2 * CELL + MARGIN + self.shift[0]
            top = cell // 2 * CELL + MARGIN + self.shift[1]
            draw_form(pen, self.form, left, top, CELL - 2 * MARGIN - 1, COLOURS[self.colour])
        return image


def draw_form(
    pen: ImageDraw.ImageDraw, form: str, left: int, top: int, size: int, fill: tuple[int, int, int]
) -> None:
    right, bottom = left + size, top + size
    if form == "circle":
        pen.ellipse((left, top, right, bottom), fill)
    elif form == "square":
        pen.rectangle((left, top, right, bottom), fill)
    elif form == "triangle":
        pen.polygon([(left, bottom), (right, bottom), ((left + right) // 2, top)], fill)
    else:
        third = size // 3
        pen.rectangle((left + third, top, right - third, bottom), fill)
        pen.rectangle((left, top + third, right, bottom - third), fill)


@dataclass(frozen=True)
class Question:
    """A question about a drawing, or about one that was shown before it.

    Attributes:
        drawing: the picture.
        skill: what it asks about: ``colour``, ``form`` or ``number``.
        back: of which picture: an index in ORDINALS, if it is that of an example; None: its own.
        answer: which of the options is right.
    """

    drawing: Drawing
    skill: str
    back: int | None
    answer: int

    @property
    def choices(self) -> tuple[str, ...]:
        return CHOICES[self.skill]

    @property
    def text(self) -> str:
        if self.back is None:
            return ASKED[self.skill]
        return ask_back(self.skill, self.back)


def draw_at_random(random: Random) -> Drawing:
    return Drawing(
        random.choice(list(COLOURS)),
        random.choice(FORMS),
        tuple(sorted(random.sample(range(4), random.randint(1, 4)))),
        random.randint(225, 255),
        (random.randint(-1, 1), random.randint(-1, 1)),
    )


def ask_about(drawing: Drawing, skill: str) -> Question:
    """A question about the colour, the form or the number of the shapes in a picture."""
    return Question(drawing, skill, None, find_answer(drawing, skill))


def look_back(drawing: Drawing, skill: str, examples: Sequence[Drawing], back: int) -> Question:
    """A question about the picture of an example; its own picture does not help."""
    return Question(drawing, skill, back, find_answer(examples[back], skill))


def ask_back(skill: str, back: int) -> str:
    return f"Which {skill} was in the {ORDINALS[back]} picture?"


def find_answer(drawing: Drawing, skill: str) -> int:
    seen = {"colour": drawing.colour, "form": drawing.form, "number": NUMBERS[len(drawing.cells) - 1]}
    return CHOICES[skill].index(seen[skill])
