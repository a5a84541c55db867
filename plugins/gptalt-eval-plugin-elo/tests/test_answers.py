"""``gptalt-eval answers``: questions, models that answer by rule, files that are added to."""

import json
from collections import Counter

import gptalt_eval_plugin_elo
import pytest
from gptalt_eval_plugin_elo.answers import FILE, QUESTIONS, read_answers, read_questions

from gptalt_eval import GptaltError
from gptalt_eval.commands.cli import dispatch
from gptalt_eval.testing import make_plugin_set, make_scripted_model

OWN = [
    {"id": "q1", "category": "maths & logic", "en": "What is 2 + 2?", "zh": "二加二等于几？", "expected_en": "4"},
    {"id": "q2", "category": "maths & logic", "en": "What is 3 + 3?"},
    {"id": "q3", "category": "写作", "zh": "写一首诗。"},
]  # fmt: skip


class Asked(list):
    """Every prompt that any of the models was given; the user stops them after so many."""

    stop = None

    def append(self, prompt):
        if len(self) == self.stop:
            raise KeyboardInterrupt
        super().append(prompt)


@pytest.fixture
def asked():
    return Asked()


@pytest.fixture
def answer(tmp_path, asked, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def make(name):
        def generate(prompt):
            asked.append((name, prompt))
            return f"  {name}: {prompt[-30:]}\n"

        return make_scripted_model(generate=generate, name=name)

    plugins = make_plugin_set(gptalt_eval_plugin_elo, models=[make("one"), make("two"), make("three")])
    questions = tmp_path / "mine.jsonl"
    questions.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in OWN), encoding="utf-8")

    def call(*words, own=True):
        given = ["--questions", str(questions)] if own else []
        return dispatch(["answers", *given, *words], plugins)

    return call


def test_the_questions_that_come_along():
    questions = read_questions(QUESTIONS, ("zh", "en"))
    assert len(questions) == 100
    by_category = Counter(question.category for question in questions if question.language == "zh")
    assert len(by_category) == 9 and sum(by_category.values()) == 50 and min(by_category.values()) >= 5
    assert all(question.prompt and question.expected for question in questions)


def test_every_model_answers_every_question(answer, asked, tmp_path, capsys):
    assert answer("--models", "one,two") == 0
    answers = read_answers(tmp_path / "answers")
    assert Counter((each.model, each.language) for each in answers) == {
        (model, language): 2 for model in ("one", "two") for language in ("en", "zh")
    }
    first = next(each for each in answers if (each.model, each.key) == ("one", "q1/en"))
    assert (first.category, first.prompt, first.expected) == ("maths & logic", "What is 2 + 2?", "4")
    assert first.answer.startswith("one: ") and first.answer.endswith("<assistant>")
    assert {prompt for _, prompt in asked} >= {
        "<user>What is 2 + 2?<assistant>",
        "<user>写一首诗。<assistant>",
    }
    printed = capsys.readouterr().out
    assert "one: 4 answers" in printed
    assert "gptalt-eval votes serve --answers answers --annotators YOU" in printed


def test_a_model_that_comes_later_is_added(answer, asked, tmp_path):
    answer("--models", "one")
    answer("--models", "two,one")
    assert {each.model for each in read_answers(tmp_path / "answers")} == {"one", "two"}
    assert Counter(name for name, _ in asked) == {"one": 4, "two": 4}, "what is there is not asked again"


def test_what_was_interrupted_is_gone_on_with(answer, asked, tmp_path):
    asked.stop = 3
    with pytest.raises(GptaltError, match="Stopped"):
        answer("--models", "one")
    assert len(asked) == 3 and not (tmp_path / "answers" / FILE).exists()
    asked.stop = None
    answer("--models", "one")
    assert len(read_answers(tmp_path / "answers")) == 4
    assert len(asked) == 4 and len(set(asked)) == 4, "no question is asked twice"


@pytest.mark.parametrize("name", ["../../out", "a/b", "..", "名 字", "x" * 60])
def test_names_stay_in_the_folder(answer, tmp_path, name):
    answer("--models", "one", "--name", name, "--limit", "1", "--language", "en")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answers", "mine.jsonl"]
    assert read_answers(tmp_path / "answers")[0].model == name


def test_questions_that_changed_are_asked_again(answer, asked, tmp_path):
    answer("--models", "one", "--language", "en")
    questions = tmp_path / "mine.jsonl"
    questions.write_text(questions.read_text(encoding="utf-8").replace("2 + 2", "2 + 5"), encoding="utf-8")
    answer("--models", "one", "--language", "en")
    assert [prompt for _, prompt in asked].count("<user>What is 3 + 3?<assistant>") == 1
    answers = {each.key: each for each in read_answers(tmp_path / "answers")}
    assert answers["q1/en"].prompt == "What is 2 + 5?" and "2 + 5" in answers["q1/en"].answer


def test_one_model_under_two_names(answer, tmp_path, capsys):
    answer("--models", "one")
    answer("--models", "one", "--name", "one, plain", "--plain")
    answers = {(each.model, each.key): each.answer for each in read_answers(tmp_path / "answers")}
    assert answers["one, plain", "q3/zh"] == "one: 写一首诗。"
    assert answers["one", "q3/zh"] == "one: <user>写一首诗。<assistant>"


def test_languages_and_a_limit(answer, tmp_path):
    answer("--models", "one", "--language", "en", "--limit", "1")
    assert [each.key for each in read_answers(tmp_path / "answers")] == ["q1/en"]


def test_the_questions_of_the_plugin_are_asked_without_more(answer, tmp_path):
    answer("--models", "one", "--limit", "1", own=False)
    answers = read_answers(tmp_path / "answers")
    assert len({each.category for each in answers}) == 9 and len(answers) == 18


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--models", "on"], r"no model 'on'.*\n.*one"),
        (["--models", "one,two", "--name", "x"], "--name can only be used with one model"),
        (["--models", "one", "--name", "x" * 2000], r"--name: the name 'x{40}\.\.\.' has 2,000 characters"),
        (["--models", "one", "--name", "o\u200fne"], r"--name: .* contains U\+200F, which cannot be seen"),
        (["--models", "one", "--name", "o\x1b[2Jne"], r"--name: .* contains U\+001B"),
        (["--models", "one", "--limit", "0"], "no questions would be asked"),
        (["--models", "one", "--language", "de"], r"mine.jsonl contains no question in 'de'"),
        (["--models", "one", "--questions", "gone.jsonl"], "There is no file gone.jsonl"),
    ],
)
def test_mistakes_are_explained(answer, asked, words, expected):
    with pytest.raises(GptaltError, match=expected):
        answer(*words)
    assert asked == []


def test_a_model_without_a_chat_template_is_asked_plainly(tmp_path, monkeypatch):
    from dataclasses import replace

    monkeypatch.chdir(tmp_path)
    base = replace(make_scripted_model(name="base"), chat_template=False)
    plugins = make_plugin_set(gptalt_eval_plugin_elo, models=[base])
    words = ["answers", "--models", "base", "--limit", "1", "--language", "en"]
    with pytest.raises(GptaltError, match=r"'base' has no chat template.\n.*--plain"):
        dispatch(words, plugins)
    assert dispatch([*words, "--plain"], plugins) == 0


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (['{"id": "a"}'], "contains no question in 'en'"),
        (['{"en": "x"}'], "line 1: a question needs 'id'"),
        (['{"id": "a", "en": "x"}', '{"id": "a", "en": "y"}'], "line 2: the id 'a' appears twice"),
        (["not JSON"], "line 1: truncated or damaged"),
        ([""], "contains no question"),
    ],
)
def test_questions_that_are_none(tmp_path, lines, expected):
    file = tmp_path / "q.jsonl"
    file.write_text("\n".join(lines))
    with pytest.raises(GptaltError, match=expected):
        read_questions(file, ("en",))


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"prompt": "a", "model": "m"}, "line 2: an answer needs the texts prompt, model, answer"),
        ({"prompt": "a", "model": "m", "answer": 5}, "line 2: an answer needs the texts"),
        ({"prompt": "p", "model": "m", "answer": "again"}, "line 2: m answers p twice"),
        ({"prompt": "p", "model": "x" * 2001, "answer": ""}, "line 2: 'model' is 2001 characters long"),
        ({"prompt": "p", "model": "x\0y", "answer": ""}, "line 2: 'model' contains a NUL byte"),
        ({"prompt": "p\0", "model": "x", "answer": ""}, "line 2: 'question' contains a NUL byte"),
        ({"prompt": "p", "model": "x", "answer": "", "category": "c" * 2001}, "line 2: 'category' is 2001"),
        ({"prompt": "p", "model": " \t", "answer": ""}, "line 2: the model has no name"),
    ],
)
def test_answers_that_are_none(tmp_path, row, expected):
    file = tmp_path / FILE
    first = {"prompt": "p", "model": "m", "answer": "\ud800 half a character"}
    file.write_text(json.dumps(first) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(GptaltError, match=expected):
        read_answers(file)
    file.write_text(json.dumps(first) + "\n")
    assert read_answers(tmp_path)[0].answer == "? half a character"
