"""The embedded sample: what is committed is what the script writes, and its questions are fair."""

import importlib.util
import json
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from gptalt_eval_plugin_scienceqa.columns import SUBJECTS
from gptalt_eval_plugin_scienceqa.drawing import CHOICES, COLOURS, Drawing, draw_at_random
from gptalt_eval_plugin_scienceqa.faults import find_fault
from PIL import Image

PLUGIN = Path(__file__).parents[1]
SAMPLE = PLUGIN / "gptalt_eval_plugin_scienceqa" / "sample"
SPLITS = {"train": 12, "validation": 6, "test": 60}


def load_script():
    spec = importlib.util.spec_from_file_location("draw_sample", PLUGIN / "draw_sample.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read_rows(split):
    return [json.loads(line) for line in (SAMPLE / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()]


def list_files(folder):
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


def test_the_committed_sample_is_what_the_script_writes(tmp_path):
    load_script().write_sample(tmp_path / "sample")
    assert list_files(tmp_path / "sample") == list_files(SAMPLE)
    for name in list_files(SAMPLE):
        written, committed = tmp_path / "sample" / name, SAMPLE / name
        if name.endswith(".png"):  # compression differs between versions of zlib; pixels do not
            assert Image.open(written).tobytes() == Image.open(committed).tobytes(), name
        else:
            assert written.read_bytes() == committed.read_bytes(), name


@pytest.mark.parametrize("split", SPLITS)
def test_each_row_can_be_asked_and_has_the_picture_that_it_names(split):
    rows = read_rows(split)
    assert len(rows) == SPLITS[split]
    assert [
        fault
        for place, row in enumerate(rows)
        if (fault := find_fault(row, place, row["image"] and str(SAMPLE / row["image"])))
    ] == []
    pictured = {row["image"] for row in rows if row["image"]}
    assert pictured == {f"images/{split}/{name}" for name in list_files(SAMPLE / "images" / split)}
    for image in pictured:
        assert Image.open(SAMPLE / image).size == (32, 32)


def test_numbers_are_those_of_one_row_each():
    names = [row["id"] for split in SPLITS for row in read_rows(split)]
    assert len(set(names)) == len(names)


def test_each_option_is_right_equally_often_so_that_no_letter_is_a_good_guess():
    own = [row for row in read_rows("test") if row["image"] and "earlier" not in row["skill"]]
    right = Counter((row["skill"], row["answer"]) for row in own)
    assert set(right.values()) == {2} and len(right) == 12
    assert all(len(row["choices"]) == 4 for row in own)


def test_questions_that_look_back_are_answered_by_the_first_two_examples_alone():
    script = load_script()
    first, second = read_rows("train")[:2]
    assert [first["caption"], second["caption"]] == [example.caption for example in script.EXAMPLES]
    back = [row for row in read_rows("test") if "earlier" in row["skill"]]
    assert len(back) == 12
    for row in back:
        asked, other = (first, second) if "first" in row["question"] else (second, first)
        word = row["choices"][row["answer"]]
        assert word in asked["caption"].lower() and word not in other["caption"].lower()
        assert asked["caption"] in row["solution"]


def test_the_texts_are_of_all_subjects_and_grades_with_hints_and_without():
    texts = [row for row in read_rows("test") if not row["image"]]
    assert len(texts) >= 20
    assert {row["subject"] for row in texts} == set(SUBJECTS)
    assert {int(row["grade"].removeprefix("grade")) <= 6 for row in texts} == {True, False}
    assert {bool(row["hint"]) for row in texts} == {True, False}
    assert all(row["solution"] for row in texts)


def count_pixels(image, colour):
    return sum(image.getpixel((x, y)) == colour for x in range(image.width) for y in range(image.height))


@pytest.mark.parametrize("form", CHOICES["form"])
@pytest.mark.parametrize("colour", COLOURS)
def test_a_drawing_has_its_colour_in_its_cells_and_nowhere_else(colour, form):
    image = Drawing(colour, form, (1, 2), 240).draw()
    cells = [image.crop((x, y, x + 16, y + 16)) for y in (0, 16) for x in (0, 16)]
    inked = [count_pixels(cell, COLOURS[colour]) for cell in cells]
    assert inked[0] == inked[3] == 0 and inked[1] == inked[2] > 40
    assert count_pixels(image, (240, 240, 240)) + sum(inked) == 32 * 32


def test_forms_differ_and_captions_count():
    drawn = {Drawing("red", form, (0,)).draw().tobytes() for form in CHOICES["form"]}
    assert len(drawn) == 4
    assert Drawing("red", "cross", (0, 1, 3)).caption == "Three red crosses."
    assert Drawing("black", "square", (2,)).caption == "One black square."


def test_the_same_seed_draws_the_same():
    assert [draw_at_random(Random(3)) for _ in range(2)] == [draw_at_random(Random(3))] * 2
    assert len({draw_at_random(Random(seed)) for seed in range(50)}) == 50
