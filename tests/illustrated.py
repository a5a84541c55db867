"""Runs of questions with pictures, as a run writes them: two examples in front, the pictures beside the samples."""

from __future__ import annotations

import io
import json
from pathlib import Path

from PIL import Image, ImageDraw

from gptalt_eval.contract.pictures import Picture, make_picture
from gptalt_eval.contract.record import Record, load_record
from gptalt_eval.running.thumbnails import Thumbnails

STAMP = "2026-01-01T00-00-00"
COLOURS = ("red", "green", "blue", "orange", "purple")


def draw(number: int, size: tuple[int, int] = (240, 150)) -> Picture:
    """A picture of a number of discs, in a colour that goes with it."""
    image = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(image)
    for place in range(number % 4 + 1):
        left = 10 + place * size[0] // 4
        pen.ellipse((left, 30, left + size[0] // 5, 30 + size[0] // 5), fill=COLOURS[number % len(COLOURS)])
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return make_picture(stream.getvalue(), f"drawing {number}")


SHOTS = (draw(100), draw(101))
START = "".join(f"<image>\nQuestion: Which colour has example {n}?\nAnswer: red\n\n" for n in (1, 2))


def make_question(number: int, with_picture: bool = True, is_right: bool = True, shots: bool = True) -> dict:
    """A sample, with its pictures as objects: as it is before it is written."""
    mark = "<image>\n" if with_picture else ""
    prompt = f"{START if shots else ''}{mark}Question: How many discs are in picture {number}?\nAnswer:"
    visual = [*(SHOTS if shots else ()), *([draw(number)] if with_picture else [])]
    likelihoods = [-1.25, -3.5, -7.0] if is_right else [-4.5, -0.5, -6.0]
    options = (" one", " two", " three")
    return {
        "doc_id": number, "doc": {"question": f"picture {number}"}, "doc_hash": f"d{number}", "prompt_hash": f"p{number}",
        "target_hash": "t", "filter": "none", "metrics": ["acc"], "acc": float(is_right), "target": "0",
        "arguments": [(prompt, option, {"visual": visual}) for option in options],
        "resps": [[[str(value), "False"]] for value in likelihoods],
        "filtered_resps": [[str(value), "False"] for value in likelihoods],
    }  # fmt: skip


def write_illustrated(
    folder: Path, questions: list[dict], task: str = "discs", model: str = "seer", **results: object
) -> Record:
    """A run of one task: its results, samples and pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    mean = sum(question["acc"] for question in questions) / max(1, len(questions))
    content = {
        "results": {task: {"alias": task, "sample_len": len(questions), "acc,none": mean, "acc_stderr,none": 0.1}},
        "group_subtasks": {}, "n-shot": {task: 2}, "configs": {task: {"task": task, "num_fewshot": 2}},
        "higher_is_better": {task: {"acc": True}}, "config": {"prompt_style": None},
        "n-samples": {task: {"original": len(questions), "effective": len(questions)}}, **results,
    }  # fmt: skip
    (folder / f"results_{STAMP}.json").write_text(json.dumps(content))
    run = {
        "status": "complete",
        "model": {"name": model},
        "results": [f"results_{STAMP}.json"],
        "started": "x",
    }
    (folder / "run.json").write_text(json.dumps(run))
    assert Thumbnails(folder).save(questions) == []
    (folder / f"samples_{task}_{STAMP}.jsonl").write_text("".join(map(dump_question, questions)))
    return load_record(folder)


def dump_question(question: dict) -> str:
    arguments = {
        f"gen_args_{number}": {f"arg_{place}": part for place, part in enumerate(request)}
        for number, request in enumerate(question["arguments"])
    }
    return json.dumps({**question, "arguments": arguments}) + "\n"
