"""A run folder of a stranger, whose answers.jsonl has other answers than the model gave: where the folder itself
shows it, they are computed again, and the scores are those of the model."""

import json
import math
import shutil
from pathlib import Path

import pytest
from odd_files import REASONS, replace_file

from gptalt_eval.commands import cli
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.record import load_record
from gptalt_eval.machine import bounds
from gptalt_eval.running.lmeval.answers import Answers, is_answer, read_line
from gptalt_eval.testing import make_plugin_set, make_scripted_model

TASKS = ["piqa (0-shot)", "gsm8k (0-shot)"]


def call(*words):
    cli.dispatch([str(word) for word in words], make_plugin_set(models=[make_scripted_model()]))


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """A complete run, with the answers that it had before it was complete."""
    folder = tmp_path_factory.mktemp("honest")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(Answers, "delete", Answers.close)
        call("run", "--model=scripted", "--tasks=piqa,gsm8k", "--num_fewshot=0", "--data_dir=sample", "--limit=4",
             "--log_samples", "--output_path=out")  # fmt: skip
    return folder / "out" / "scripted"


@pytest.fixture
def theirs(honest, tmp_path, monkeypatch):
    """The same run, interrupted before its first task was finished."""
    monkeypatch.chdir(tmp_path)
    folder = shutil.copytree(honest, tmp_path / "out" / "scripted")
    for file in (*folder.glob("results_*"), *folder.glob("samples_*"), folder / "report.html"):
        file.unlink(missing_ok=True)
    change_run(folder, status="interrupted", done=[], missing=TASKS, results=[])
    content = json.loads((folder / "run.json").read_text())
    change_run(folder, cells=[{**cell, "results": None} for cell in content["cells"]])
    return folder


def change_run(folder, **changes):
    content = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**content, **changes}))


def list_scores(folder):
    record = load_record(folder)
    return {task: scores for results in record.results for task, scores in results["results"].items()}


def list_answers(folder):
    record = load_record(folder)
    return {
        name: [(line["doc_id"], line["resps"]) for line in record.read_samples(0, name)]
        for name in ("piqa", "gsm8k")
    }


def change(lines, make):
    """The lines with what ``make`` puts in place of each answer."""
    return [json.dumps([key, make(answer), *rest]) for key, answer, *rest in map(json.loads, lines)]


def of_choice(value):
    return lambda answer: [value, True] if isinstance(answer, list) else 17


TAMPERED = {
    "not a number": lambda lines: change(lines, of_choice(math.nan)),
    "infinite": lambda lines: change(lines, of_choice(math.inf)),
    "more than certain": lambda lines: change(lines, of_choice(0.5)),
    "a truth value": lambda lines: change(lines, of_choice(True)),
    "text": lambda lines: change(lines, of_choice("0")),
    "another verdict": lambda lines: change(lines, lambda answer: [-0.1, 7] if isinstance(answer, list) else {}),
    "too short": lambda lines: change(lines, lambda answer: [-0.1] if isinstance(answer, list) else None),
    "too long": lambda lines: change(lines, lambda answer: [-0.1, True, 1] if isinstance(answer, list) else ["x"]),
    "of another kind": lambda lines: change(lines, lambda answer: "text" if isinstance(answer, list) else [-0.1, True]),
    "nested": lambda lines: change(lines, lambda answer: [[-0.1, True]]),
    "without an answer": lambda lines: [json.dumps([json.loads(line)[0]]) for line in lines],
    "with too much": lambda lines: [json.dumps([key, -0.1 if isinstance(answer, str) else [-0.1, True], 0, 1]) for key, answer, *_ in map(json.loads, lines)],
    "cut by less than nothing": lambda lines: [json.dumps([key, [-0.1, True], -1]) for key, *_ in map(json.loads, lines)],
    "contradicted": lambda lines: [*lines, *change(lines, lambda answer: [-0.1, True] if isinstance(answer, list) else "17")],
    "contradicted before": lambda lines: [*change(lines, lambda answer: [-0.1, True] if isinstance(answer, list) else "17"), *lines],
    "of other requests": lambda lines: [json.dumps([f"{key}x", [-0.1, True]]) for key, *_ in map(json.loads, lines)],
    "keys that are none": lambda lines: [json.dumps([[key], [-0.1, True]]) for key, *_ in map(json.loads, lines)],
    "no lines": lambda lines: [],
    "cut off": lambda lines: [line[: len(line) // 2] for line in lines],
    "nested without end": lambda lines: ["[" * 100_000],
}  # fmt: skip


@pytest.mark.parametrize("name", [*TAMPERED])
def test_what_cannot_be_an_answer_is_computed_again(theirs, honest, name):
    lines = (theirs / "answers.jsonl").read_text().splitlines()
    assert len(lines) > 8, "choices and texts"
    (theirs / "answers.jsonl").write_text("\n".join(TAMPERED[name](lines)) + "\n")
    call("resume", theirs)
    assert load_record(theirs).is_complete
    assert list_scores(theirs) == list_scores(honest)
    assert list_answers(theirs) == list_answers(honest)


def test_honest_answers_are_not_computed_again(theirs, monkeypatch):
    def fail(*_):
        raise AssertionError("asked again")

    model = make_scripted_model(likelihood=fail, generate=fail)
    cli.dispatch(["resume", str(theirs)], make_plugin_set(models=[model]))
    assert load_record(theirs).is_complete


def test_answers_of_an_unknown_model_are_not_used(theirs, honest):
    """We write answers only after the model's fingerprint is in run.json."""
    lines = (theirs / "answers.jsonl").read_text().splitlines()
    (theirs / "answers.jsonl").write_text(
        "\n".join(change(lines, lambda a: [-0.1, True] if isinstance(a, list) else "17"))
    )
    model = json.loads((theirs / "run.json").read_text())["model"]
    change_run(theirs, model={**model, "fingerprint": None})
    call("resume", theirs)
    assert list_scores(theirs) == list_scores(honest)


def test_tasks_of_an_unknown_model_are_not_combined_with_others(honest, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = shutil.copytree(honest, tmp_path / "out" / "scripted")
    model = json.loads((folder / "run.json").read_text())["model"]
    change_run(
        folder, status="interrupted", done=TASKS[:1], missing=TASKS[1:], model={**model, "fingerprint": None}
    )
    with pytest.raises(GptaltError, match="does not say which model its finished tasks were computed with"):
        call("resume", folder)


def test_answers_of_another_model_are_refused(theirs):
    model = json.loads((theirs / "run.json").read_text())["model"]
    change_run(theirs, model={**model, "fingerprint": "0" * 64})
    with pytest.raises(GptaltError, match="has changed since"):
        call("resume", theirs)


def test_a_line_without_end_is_a_message(theirs, monkeypatch):
    monkeypatch.setattr(bounds, "LONGEST_LINE", 1000)
    (theirs / "answers.jsonl").write_text("x" * 5000)
    with pytest.raises(
        GptaltError, match=r"answers\.jsonl is damaged: a line has more than 1,000 characters"
    ):
        Answers(theirs / "answers.jsonl")


@pytest.mark.parametrize(
    ("kind", "answer", "can_be"),
    [
        ("loglikelihood", (-1.5, True), True), ("loglikelihood", (0.0, False), True), ("loglikelihood", (-1, 1), True),
        ("loglikelihood", (1e-7, True), True),
        ("loglikelihood", (float("-inf"), False), True), ("loglikelihood", (0.01, True), False), ("loglikelihood", (-1.5,), False), ("loglikelihood", -1.5, False),
        ("loglikelihood_rolling", -1.5, True), ("loglikelihood_rolling", (-1.5,), True),
        ("loglikelihood_rolling", (-1.5, False), True), ("loglikelihood_rolling", (), False),
        ("loglikelihood_rolling", (-1.5, False, 1), False), ("loglikelihood_rolling", "x", False),
        ("generate_until", "x", True), ("generate_until", "", True), ("generate_until", ("x",), False),
    ],
)  # fmt: skip
def test_what_can_be_an_answer(kind, answer, can_be):
    assert is_answer(kind, answer) is can_be


def test_a_line_has_three_parts_at_most():
    assert read_line('["k", [-1.5, true]]') == ("k", (-1.5, True), 0)
    assert read_line('["k", "text", 3]') == ("k", "text", 3)
    for line in ('["k"]', '["k", 1, true]', '["k", 1, 1.5]', '["k", 1, 1, 1]', "[1, 2]", "{}", '"ab"'):
        with pytest.raises((ValueError, TypeError)):
            read_line(line)


def test_what_cannot_be_known_is_documented():
    page = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
    assert "answers that a model could have given" in " ".join(page.split())


@pytest.mark.parametrize("kind", REASONS)
def test_something_else_in_place_of_the_answers_is_said_in_one_message(theirs, kind, monkeypatch, capsys):
    replace_file(theirs / "answers.jsonl", kind, monkeypatch)
    with pytest.raises(GptaltError, match=f"answers.jsonl {REASONS[kind]}"):
        call("resume", theirs, "--trust")
    assert "Traceback" not in capsys.readouterr().err
