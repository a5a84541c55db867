"""A release of our own: the files of ScienceQA's, with questions and drawn pictures of ours."""

from __future__ import annotations

import json

import pytest
from PIL import Image

SUBJECTS = ("natural science", "social science", "language science")
COUNTS = {"train": 8, "val": 2, "test": 12}


def make_problem(number, split):
    choices = [f"colour {number} {letter}" for letter in "pqrst"[: 2 + number % 4]]
    return {
        "question": f"Which is  right in {number}?", "choices": choices, "answer": number % len(choices),
        "hint": f"The hint of {number}." if number % 3 else "", "image": None if number % 2 else "image.png",
        "task": "closed choice", "grade": f"grade{1 + number % 12}", "subject": SUBJECTS[number % 3],
        "topic": "colours", "category": "Colours", "skill": "Name colours", "split": split,
        "lecture": f"A lecture\nof {number}." if number % 5 else "", "solution": f"Since {number}." if number % 4 else "",
    }  # fmt: skip


@pytest.fixture
def make_release(tmp_path):
    """Write a release; returns the folder for ``--data_dir``."""

    def make(counts=COUNTS, change=None, pictures=True, beside=True, draw=None):
        root = tmp_path / "data" / "scienceqa"
        root.mkdir(parents=True, exist_ok=True)
        problems, splits, captions = {}, {}, {}
        for split, count in counts.items():
            for _ in range(count):
                name = str(len(problems) + 1)
                problems[name] = make_problem(int(name), split)
                splits.setdefault(split, []).append(name)
                if problems[name]["image"]:
                    captions[name] = f"a picture of {name}"
                    if pictures:
                        file = root / "images" / split / name / "image.png"
                        file.parent.mkdir(parents=True, exist_ok=True)
                        Image.new("RGB", (8, 8), (int(name) * 7 % 256, 90, 30)).save(file)
        if change:
            change(problems, splits)
        (root / "problems.json").write_text(json.dumps(problems))
        if beside:
            (root / "pid_splits.json").write_text(json.dumps(splits))
            (root / "captions.json").write_text(json.dumps({"source": "ours", "captions": captions}))
        return root.parent

    return make


@pytest.fixture
def find_picture():
    return lambda folder, name, split="test": folder / "scienceqa" / "images" / split / name / "image.png"
