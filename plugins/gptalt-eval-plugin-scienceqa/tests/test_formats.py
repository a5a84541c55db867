"""Prompts in the release's formats, against an independent writer; of five real rows, their hashes."""

import hashlib
import json

import pytest
from gptalt_eval_plugin_scienceqa.formats import (
    ANSWERED,
    FORMATS,
    GIVEN,
    answers_first,
    write_answer,
    write_context,
    write_question,
)
from gptalt_eval_plugin_scienceqa.releases import read_release
from hypothesis import given
from hypothesis import strategies as st

#: by what a format gives, the lines of its prompt: those of the release
LINES = {
    "CQM": ["Context: {C}", "Question: {Q}", "Options: {M}"],
    "QCM": ["Question: {Q}", "Context: {C}", "Options: {M}"],
    "QCML": ["Question: {Q}", "Context: {C}", "Options: {M}", "BECAUSE: {L}"],
    "QCME": ["Question: {Q}", "Context: {C}", "Options: {M}", "BECAUSE: {E}"],
    "QCMLE": ["Question: {Q}", "Context: {C}", "Options: {M}", "BECAUSE: {L} {E}"],
    "QCLM": ["Question: {Q}", "Context: {C}", "BECAUSE: {L}", "Options: {M}"],
    "QCEM": ["Question: {Q}", "Context: {C}", "BECAUSE: {E}", "Options: {M}"],
    "QCLEM": ["Question: {Q}", "Context: {C}", "BECAUSE: {L} {E}", "Options: {M}"],
}
#: by what it answers; AL has the solution, AE the lecture, as in the release
ENDS = {
    "A": "The answer is {A}.",
    "AL": "The answer is {A}. BECAUSE: {E}",
    "AE": "The answer is {A}. BECAUSE: {L}",
    "ALE": "The answer is {A}. BECAUSE: {L} {E}",
    "AEL": "The answer is {A}. BECAUSE: {E} {L}",
    "LA": "{L} The answer is {A}.",
    "EA": "{E} The answer is {A}.",
    "LEA": "{L} {E} The answer is {A}.",
    "ELA": "{E} {L} The answer is {A}.",
}
#: SHA-256 and length of a real row's example in a format: the data's licence does not let us copy them
GOLDEN = {
    ("1", "QCM-A"): "87900fa4cb9c1ee3302eb39edb2080249fefb26682acc47f230f6e8ebe59b4ff 154",
    ("11", "CQM-A"): "929dbd4315cc77bf58e2cb58627af5e7843236722226529a3febd7dc46326b78 154",
    ("23", "QCM-ALE"): "9185bd7d5dbfe006268628481566d1d7c2aa9b01b0854f6c1bcac8f5fc74b614 1664",
    ("1002", "QCML-A"): "fe4bee27ec00780a2d65ca7e900cd7293e45dd7602664d7b5705194b613e0aaf 166",
    ("4", "QCLEM-LEA"): "9bf8dea8d1051f7d0f67182d39bef4c1613b3a09ada2e3b7d34c44fdd0a2b4a2 2441",
}


def fill(problem, caption=""):
    """What stands for each letter, from a question as it is in problems.json."""
    context = f"{problem['hint']} {caption}".strip() or "N/A"
    return {
        "Q": problem["question"],
        "C": context,
        "M": " ".join(f"({'ABCDE'[place]}) {choice}" for place, choice in enumerate(problem["choices"])),
        "L": problem.get("lecture", "").replace("\n", "\\n"),
        "E": problem.get("solution", "").replace("\n", "\\n"),
        "A": "ABCDE"[problem["answer"]],
    }


def expect(problem, format, caption="", is_example=True):
    """The whole text, with the release's clean-up of the whole: each two blanks become one."""
    before, after = format.split("-")
    end = f"Answer: {ENDS[after]}" if is_example else "Answer:"
    text = "\n".join([*LINES[before], end]).format(**fill(problem, caption))
    text = text.replace("  ", " ").strip()
    if text.endswith("BECAUSE:"):
        text = text.replace("BECAUSE:", "").strip()
    return text


def write(row, format, use_caption=False):
    question = write_question(row, format, write_context(row, use_caption))
    return f"{question} {write_answer(row, format)}"


def test_the_names_are_those_of_the_release():
    assert set(LINES) == set(GIVEN) and set(ENDS) == set(ANSWERED)
    assert len(FORMATS) == len(set(FORMATS)) == 72


@pytest.fixture
def problems(shared_data):
    return json.loads((shared_data / "scienceqa/problems.json").read_text())


@pytest.fixture
def rows(shared_data):
    file = shared_data / "scienceqa/problems.json"
    return {row["id"]: row for split in ("train", "val", "test") for row in read_release(file, split)}


def loses_more_labels(problem, format):
    """The release takes away every BECAUSE: if the text ends with one; we, only that of the answer."""
    before, after = format.split("-")
    reasons = {
        "AL": ("solution",),
        "AE": ("lecture",),
        "ALE": ("lecture", "solution"),
        "AEL": ("lecture", "solution"),
    }
    empty = not any(problem.get(name) for name in reasons.get(after, ("question",)))
    return empty and ("L" in before or "E" in before)


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_of_every_real_row(format, problems, rows):
    compared = 0
    for name, row in rows.items():
        question = write_question(row, format, write_context(row, False))
        assert question == expect(problems[name], format, is_example=False), name
        if not loses_more_labels(problems[name], format):
            assert write(row, format) == expect(problems[name], format), name
            compared += 1
    assert compared >= 129, "those with a solution, of which the release has fewer than of lectures"


def test_captions_stand_in_the_context(problems, rows, shared_data):
    captions = json.loads((shared_data / "scienceqa/captions.json").read_text())["captions"]
    shown = 0
    for name, row in rows.items():
        caption = captions.get(name, "") if problems[name]["image"] else ""
        assert write(row, "QCM-A", True) == expect(problems[name], "QCM-A", caption)
        shown += bool(caption)
    assert shown == 443


@pytest.mark.parametrize(("name", "format"), GOLDEN)
def test_golden_prompts(name, format, problems, rows):
    text = write(rows[name], format)
    assert f"{hashlib.sha256(text.encode()).hexdigest()} {len(text)}" == GOLDEN[name, format]
    assert text == expect(problems[name], format)


ROW = {
    "id": "7", "question": "Which?", "choices": ["red", "blue"], "answer": 1, "hint": "", "image": None,
    "lecture": "One.\nTwo.", "solution": "So.", "caption": "a box",
}  # fmt: skip


def test_an_empty_context_is_said():
    assert write_context(ROW, True) == "N/A", "a caption without a picture is none"
    assert write_context(ROW | {"image": "x"}, False) == "N/A"
    assert write_context(ROW | {"image": "x"}, True) == "a box"
    assert write_context(ROW | {"image": "x", "hint": "Look."}, True) == "Look. a box"
    hub = {key: value for key, value in ROW.items() if key != "caption"} | {"image": "x"}
    assert write_context(hub, True) == "N/A"


def test_a_reason_that_is_missing_leaves_no_label():
    assert write_answer(ROW | {"solution": ""}, "QCM-AL") == "The answer is B."
    assert write_answer(ROW | {"lecture": "", "solution": ""}, "QCM-ALE") == "The answer is B."
    assert write_answer(ROW | {"lecture": ""}, "QCM-LEA") == "So. The answer is B."


def test_which_formats_answer_first():
    assert {name for name in FORMATS if not answers_first(name)} == {
        f"{given}-{answered}" for given in GIVEN for answered in ("LA", "EA", "LEA", "ELA")
    }


TEXT = st.text("ab .\n\\(){}A", max_size=12)


@given(st.sampled_from(FORMATS), TEXT, TEXT, TEXT, st.lists(TEXT, min_size=2, max_size=5), st.integers(0, 1))
def test_any_text(format, hint, lecture, solution, choices, answer):
    """Where the parts are joined, blanks are ours: the text without them is the release's."""
    row = ROW | {"hint": hint, "lecture": lecture, "solution": solution, "choices": choices, "answer": answer}
    if loses_more_labels({"lecture": lecture.strip(), "solution": solution.strip()}, format):
        return
    assert "".join(write(row, format).split()) == "".join(expect(row, format).split())
