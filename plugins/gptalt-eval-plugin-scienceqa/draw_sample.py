"""Writes the embedded sample: drawings with questions, and the questions of texts.yaml.

Run it after changing the drawings or the texts:

    python plugins/gptalt-eval-plugin-scienceqa/draw_sample.py
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import gptalt_eval_plugin_scienceqa
import yaml
from gptalt_eval_plugin_scienceqa.drawing import (
    CHOICES,
    COLOURS,
    FORMS,
    ORDINALS,
    Drawing,
    Question,
    ask_about,
    draw_at_random,
    look_back,
)

HERE = Path(__file__).parent
SAMPLE = Path(gptalt_eval_plugin_scienceqa.__file__).parent / "sample"
SEED = 9
SPLITS = ("train", "validation", "test")
#: the examples that questions look back at: they differ in all that is asked
EXAMPLES = (Drawing("red", "circle", (0, 3)), Drawing("blue", "square", (0, 1, 2)))
TIMES = 2  # that each question about a picture of an example is asked, with other pictures of its own
Row = dict[str, Any]


def list_questions(random: Random) -> dict[str, list[Question]]:
    """The questions with a picture, by split; in test each option is right equally often."""
    skills = list(CHOICES)
    train = [ask_about(EXAMPLES[0], "colour"), ask_about(EXAMPLES[1], "form")]
    train += [ask_about(draw_at_random(random), skill) for skill in skills * 2]
    validation = [ask_about(draw_at_random(random), skill) for skill in skills]
    test = [ask_about(drawing, skill) for skill in skills for drawing in draw_balanced(random)]
    for back in range(len(ORDINALS)):
        for skill in skills * TIMES:
            test.append(look_back(draw_at_random(random), skill, EXAMPLES, back))
    return {"train": train, "validation": validation, "test": test}


def draw_balanced(random: Random) -> list[Drawing]:
    """Eight pictures, in which each colour, form and number is there twice."""
    columns = [random.sample(values, 8) for values in (list(COLOURS) * 2, FORMS * 2, (1, 2, 3, 4) * 2)]
    made = []
    for colour, form, number in zip(*columns, strict=True):
        cells = tuple(sorted(random.sample(range(4), number)))
        made.append(Drawing(colour, form, cells, random.randint(225, 255)))
    return made


def make_row(question: Question) -> Row:
    """A question with a picture in the schema of ScienceQA; the picture is not there yet."""
    seen = question.drawing if question.back is None else EXAMPLES[question.back]
    which = "The picture" if question.back is None else f"The {ORDINALS[question.back]} picture"
    earlier = "" if question.back is None else " in an earlier picture"
    return {
        "question": question.text, "choices": list(question.choices), "answer": question.answer, "hint": "",
        "task": "closed choice", "grade": f"grade{1 + len(question.drawing.cells) % 3}",
        "subject": "natural science", "topic": "shapes", "category": "Pictures of shapes",
        "skill": f"Name the {question.skill}{earlier}",
        "lecture": "Shapes in a picture have a colour, a form and a number.",
        "solution": f"{which} shows: {seen.caption}", "caption": question.drawing.caption,
    }  # fmt: skip


def make_text_row(entry: list[Any]) -> Row:
    """A question of texts.yaml in the schema of ScienceQA."""
    _, grade, subject, topic, question, choices, right, hint = entry
    return {
        "question": question, "choices": choices, "answer": choices.index(right), "hint": hint,
        "task": "closed choice", "grade": f"grade{grade}", "subject": subject, "topic": topic,
        "category": topic.capitalize(), "skill": f"Answer a question about {topic}",
        "lecture": hint, "solution": f"The right option is: {right.rstrip('.')}.", "caption": "",
    }  # fmt: skip


def make_rows() -> Iterator[tuple[str, Row, Drawing | None]]:
    """Split, row and drawing of every question; their numbers go through all splits, as in the release."""
    texts = yaml.safe_load((HERE / "texts.yaml").read_text(encoding="utf-8"))
    questions = list_questions(Random(SEED))
    number = 0
    for split in SPLITS:
        pictured = [(make_row(each), each.drawing) for each in questions[split]]
        for row, drawing in [*pictured, *((make_text_row(each), None) for each in texts if each[0] == split)]:
            number += 1
            image = f"images/{split}/{number}.png" if drawing else None
            yield split, {"id": str(number), "image": image, **row}, drawing


def write_sample(folder: Path) -> None:
    """Write the sample into a folder, in place of what is there."""
    shutil.rmtree(folder, ignore_errors=True)
    lines: dict[str, list[str]] = {split: [] for split in SPLITS}
    for split, row, drawing in make_rows():
        lines[split].append(json.dumps(row, ensure_ascii=False) + "\n")
        if drawing:
            file = folder / row["image"]
            file.parent.mkdir(parents=True, exist_ok=True)
            drawing.draw().save(file, optimize=True)
    for split, text in lines.items():
        (folder / f"{split}.jsonl").write_text("".join(text), encoding="utf-8")


if __name__ == "__main__":
    write_sample(SAMPLE)
