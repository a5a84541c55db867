"""Predictions of others and of our own runs, scored as the leaderboard does."""

import json
from pathlib import Path

import gptalt_eval_plugin_scienceqa as scienceqa
import pytest
from gptalt_eval_plugin_scienceqa.columns import find_columns
from gptalt_eval_plugin_scienceqa.leaderboard import COLUMNS, read_questions, score
from gptalt_eval_plugin_scienceqa.predictions import read_predictions, read_results
from gptalt_eval_plugin_scienceqa.releases import LETTERS
from hypothesis import given
from hypothesis import strategies as st

import gptalt_eval
from gptalt_eval.commands.cli import main
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.testing import make_plugin_set, make_scripted_model


@pytest.fixture
def folder(make_release):
    return make_release()


@pytest.fixture
def questions(folder):
    return read_questions(folder)


@pytest.fixture
def write(tmp_path):
    def write(content, name="model.json"):
        file = tmp_path / name
        file.write_text(content if isinstance(content, str) else json.dumps(content))
        return file

    return write


def choose(questions, shift):
    """An option for each question: right for every third, shifted by a number."""
    return {
        name: row["answer"] if (int(name) + shift) % 3 == 0 else (row["answer"] + 1) % len(row["choices"])
        for name, row in questions.items()
    }


def state(chosen):
    return {name: f"The answer is {LETTERS[index]}. BECAUSE: of (B)." for name, index in chosen.items()}


def write_lines(chosen, changes=None):
    lines = [
        {"question_id": name, "prompt": "?", "text": text, "answer_id": "x", "model_id": "m", "metadata": {}}
        for name, text in (state(chosen) | (changes or {})).items()
    ]
    return "\n".join(map(json.dumps, lines)) + "\n"


def read(file, questions):
    [found] = read_predictions(file, questions)
    return found


def test_columns_against_an_independent_count(questions, write):
    chosen = choose(questions, 0)
    found = score(read(write({"results": chosen, "outputs": state(chosen)}), questions), questions)
    for column in COLUMNS:
        names = [n for n, row in questions.items() if column == "AVG" or column in find_columns(row)]
        right = [name for name in names if int(name) % 3 == 0]
        share = found.columns[column]
        assert (share.right, share.questions) == (len(right), len(names)) and names
    assert (found.notes, found.no_answer, found.columns["AVG"].questions) == ((), 0, 12)


def test_lines_of_llava_give_the_same_as_results(questions, write):
    chosen = choose(questions, 1)
    one = score(read(write({"results": chosen, "outputs": state(chosen)}), questions), questions)
    other = score(read(write(write_lines(chosen), "model.jsonl"), questions), questions)
    bare = {name: LETTERS[index] for name, index in chosen.items()}
    third = score(read(write(write_lines(chosen, bare), "model.jsonl"), questions), questions)
    assert one == other == third


@given(st.lists(st.integers(-1, 1), min_size=12, max_size=12))
def test_any_results(choices):
    questions = {
        str(n): {
            "answer": n % 2, "choices": ["p", "q"], "hint": "", "image": None, "subject": "", "grade": "grade1"
        }
        for n in range(12)
    }  # fmt: skip
    content = {"results": {str(n): index for n, index in enumerate(choices)}}
    found = score(read_results(content, Path("any.json"), questions), questions)
    assert found.columns["AVG"].right == sum(index == n % 2 for n, index in enumerate(choices))
    assert found.no_answer == choices.count(-1)
    assert found.columns["NO"] == found.columns["G1-6"] == found.columns["AVG"]


# ---------------------------------------------------------------------- what does not fit


def test_missing_questions_are_refused_or_as_the_user_says(questions, write):
    chosen = choose(questions, 0)
    gone = [name for name in chosen if name in ("12", "15", "21", "22")]
    file = write({"results": {name: index for name, index in chosen.items() if name not in gone}})
    with pytest.raises(GptaltError, match=r"model: 4 questions without a prediction \(12, 15, 21, \.\.\.\)"):
        score(read(file, questions), questions)
    wrong = score(read(file, questions), questions, "wrong")
    out = score(read(file, questions), questions, "leave_out")
    right = sum(int(name) % 3 == 0 for name in questions if name not in gone)
    assert (wrong.columns["AVG"].right, wrong.columns["AVG"].questions, wrong.no_answer) == (right, 12, 0)
    assert (out.columns["AVG"].right, out.columns["AVG"].questions) == (right, 8)
    assert "4 questions without a prediction (12, 15, 21, ...); counted as wrong." in wrong.notes[0]
    assert out.notes[0].endswith("left out.")


def test_questions_that_are_not_in_the_test_set_are_refused_or_left_out(questions, write):
    chosen = choose(questions, 0)
    for file in (
        write({"results": chosen | {"1": 0, "9999": 4}}),
        write(write_lines(chosen, {"1": "A", "9999": "E"}), "model.jsonl"),
    ):
        with pytest.raises(GptaltError, match=r"2 questions not in the test set \(1, 9999\)") as caught:
            score(read(file, questions), questions)
        assert "The test set here has 12 of 4,241." in str(caught.value)
        found = score(read(file, questions), questions, unknown="leave_out")
        assert found.columns == score(read(write({"results": chosen}), questions), questions).columns
        assert "2 questions not in the test set (1, 9999); left out." in found.notes[0]


def test_predictions_of_another_dataset_are_refused(questions, write):
    file = write({"results": {"1": 0}})
    with pytest.raises(GptaltError, match="no question of the test set is in it"):
        score(read(file, questions), questions, "wrong", "leave_out")


def test_contradictions_and_guesses_are_counted_and_said(questions, write):
    chosen = choose(questions, 0)
    outputs = state(chosen)
    outputs |= {"11": f"The answer is {LETTERS[(chosen['11'] + 1) % 2]}.", "12": "I cannot tell.", "13": ""}
    found = score(read(write({"results": chosen, "outputs": outputs}), questions), questions)
    contradicted, guessed = found.notes
    assert (
        "1 question whose output states another option than the result (11); the result counts."
        in contradicted
    )
    assert "2 questions whose output states no option (12, 13)" in guessed
    assert found.columns == score(read(write({"results": chosen}), questions), questions).columns


def test_a_reply_without_an_answer_is_counted_apart(questions, write):
    chosen = choose(questions, 0)
    lines = score(read(write(write_lines(chosen, {"11": "Hm.", "12": ""}), "m.jsonl"), questions), questions)
    results = score(read(write({"results": chosen | {"11": -1, "12": -1}}, "m.json"), questions), questions)
    assert lines == results and lines.no_answer == 2 and lines.columns["AVG"].questions == 12


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        ('{"results": {"11": 0, "12": 1, "11": 1}}', "m.json", "1 keys are there twice: '11'"),
        ('{"question_id": "11", "text": "A"}\n\n{"question_id": "11", "text": "A"}', "m.jsonl", "question 11 is in line 1 and in line 3"),
        ('{"question_id": 11, "text": "A"}\n{"question_id": "11", "text": "B"}', "m.jsonl", "question 11 is in line 1 and in line 2"),
        ('{"question_id": "11", "text": "A"}\n{"question_id": "12"', "m.jsonl", "line 2: truncated"),
        ('{"question_id": "11", "text": "A"}\n{"question_id": "12"}', "m.jsonl", "line 2: no question_id, or no text"),
        ('{"question_id": "11", "text": 3}', "m.jsonl", "line 1: no question_id, or no text"),
        ('{"results": {"11": 5}}', "m.json", "the result of question 11 is 5, and it has 5 options"),
        ('{"results": {"11": -2}}', "m.json", "the result of question 11 is -2"),
        ('{"results": {"11": true}}', "m.json", "the result of question 11 is True"),
        ('{"results": {"11": "A"}}', "m.json", "the result of question 11 is 'A'"),
        ('{"results": {"11": 0}, "outputs": {"12": "A"}}', "m.json", "1 questions have an output and no result: 12"),
        ('{"results": [0, 1]}', "m.json", "its format is not known"),
        ('{"answers": {}}', "m.json", "its format is not known"),
        ("[1, 2]", "m.json", "a JSON object was expected"),
        ("", "m.json", "truncated or damaged"),
        ("[" * 100_000, "m.json", "truncated or damaged"),
    ],
)  # fmt: skip
def test_damaged_files_are_refused(questions, write, content, name, said):
    with pytest.raises(GptaltError, match=said):
        list(read_predictions(write(content, name), questions))


def test_what_is_no_text_or_not_there_is_said(questions, tmp_path):
    (tmp_path / "m.json").write_bytes(b"\xff\xfe\x00")
    for name in ("m.json", "missing.json"):
        with pytest.raises(GptaltError, match=f"{name} cannot be read"):
            list(read_predictions(tmp_path / name, questions))


# ---------------------------------------------------------------------- our own runs


def run(folder, output, names="scienceqa", **settings):
    model = make_scripted_model(generate=lambda prompt: "B" if len(prompt) % 2 else "who knows")
    return gptalt_eval.evaluate(
        "scripted", names, plugins=make_plugin_set(scienceqa, models=[model]), data_dir=str(folder),
        output_path=str(output), **{"log_samples": True, **settings},
    )  # fmt: skip


def test_our_own_runs_have_the_scores_that_they_printed(folder, questions, tmp_path):
    record = run(folder, tmp_path / "out", num_fewshot="0,2")
    lines = [score(each, questions) for each in read_predictions(tmp_path / "out", questions)]
    assert [line.name for line in lines] == [
        f"scripted: scienceqa_{kind}, {how}, {shots}-shot"
        for shots in (0, 2)
        for kind, how in (("ll", "by log-likelihood"), ("gen", "by generation"))
    ]
    printed = [
        scores for results in record.results for task, scores in results["results"].items() if "_" in task
    ]
    for line, scores in zip(lines, printed, strict=True):
        for column, share in line.columns.items():
            key = "acc,none" if column == "AVG" else f"acc_{column},none"
            assert share.right / share.questions == pytest.approx(scores[key])
        assert line.no_answer / 12 == pytest.approx(scores.get("no_answer,none", 0))
    assert {line.no_answer for line in lines} != {0}


def test_a_run_of_some_questions_is_missing_the_others(folder, questions, tmp_path):
    run(folder, tmp_path / "out", "scienceqa_ll", limit=5)
    [found] = read_predictions(tmp_path / "out", questions)
    with pytest.raises(GptaltError, match="7 questions without a prediction"):
        score(found, questions)
    assert score(found, questions, "leave_out").columns["AVG"].questions == 5


def test_runs_that_cannot_be_scored_say_why(folder, questions, tmp_path):
    run(folder, tmp_path / "a", "scienceqa_ll", log_samples=False)
    with pytest.raises(GptaltError, match="the rows of scienceqa_ll are not saved"):
        list(read_predictions(tmp_path / "a", questions))
    gptalt_eval.evaluate(
        "scripted", "piqa", plugins=make_plugin_set(models=[make_scripted_model()]), data_dir="sample",
        output_path=str(tmp_path / "b"), log_samples=True,
    )  # fmt: skip
    with pytest.raises(GptaltError, match="has no task of ScienceQA"):
        list(read_predictions(tmp_path / "b", questions))
    (tmp_path / "c").mkdir()
    with pytest.raises(GptaltError, match="contains no run"):
        list(read_predictions(tmp_path / "c", questions))


# ---------------------------------------------------------------------- the command


def test_one_table_for_all(folder, questions, write, tmp_path, capsys):
    chosen = choose(questions, 0)
    run(folder, tmp_path / "out", "scienceqa_ll")
    words = [
        write({"results": chosen}),
        write(write_lines(choose(questions, 1)), "llava.jsonl"),
        tmp_path / "out",
    ]
    assert main(["scienceqa", "score", *map(str, words), "--data_dir", str(folder)]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == [*COLUMNS, "none"]
    assert lines[0::3][:3] == ["model", "llava", "scripted: scienceqa_ll, by log-likelihood, 2-shot"]
    assert all(len(line) <= 80 for line in (header, *lines))
    assert lines[1].split()[0] == "percent" and lines[1].split()[-2:] == ["33.33", "0.00"]
    assert lines[2].split()[-2:] == ["12", "0"]


def test_json(folder, questions, write, capsys, monkeypatch):
    monkeypatch.setenv("GPTALT_DATA", str(folder))
    assert main(["scienceqa", "score", str(write({"results": choose(questions, 0)})), "--json"]) == 0
    [line] = json.loads(capsys.readouterr().out)
    assert line["columns"]["AVG"] == {"accuracy": 4 / 12, "right": 4, "questions": 12}
    assert line["name"] == "model" and list(line["columns"]) == list(COLUMNS)


@pytest.mark.parametrize("given", [[], ["--data_dir", "nowhere"]])
def test_the_test_set_must_be_there(write, capsys, given):
    assert main(["scienceqa", "score", str(write({"results": {}})), *given]) == 2
    assert "--data_dir FOLDER" in capsys.readouterr().err


def test_a_folder_without_the_release_is_said(tmp_path):
    with pytest.raises(GptaltError, match=r"no test set in .* \(looked for scienceqa/problems.json\)"):
        read_questions(tmp_path)


def test_a_test_set_with_faults_is_refused(make_release):
    def change(problems, splits):
        problems["13"]["answer"] = 9

    with pytest.raises(GptaltError, match="1 with an answer that is not one of the options"):
        read_questions(make_release(change=change))
