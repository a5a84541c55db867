"""Answers in which a model names itself, in both languages, in disguise, and those that only speak of models."""

import json
import time

import gptalt_eval_plugin_elo
import pytest
from gptalt_eval_plugin_elo.answers import Answer
from gptalt_eval_plugin_elo.naming import LONGEST, Names, find_named
from gptalt_eval_plugin_elo.voting.commands import list_names
from gptalt_eval_plugin_elo.voting.export import write_lines
from gptalt_eval_plugin_elo.voting.store import Store
from hypothesis import given
from hypothesis import strategies as st

from gptalt_eval import Model
from gptalt_eval.commands.cli import dispatch
from gptalt_eval.testing import make_plugin_set, make_scripted_model

NAMES = Names(["zork-7b", "org/Tiny-Narwhal2-chat"])
ITSELF = [
    ("vicuna-7b-v1.5", "I am Vicuna, a language model."),
    ("vicuna", "Hello!\n\nI'm a large language model, trained by researchers from LMSYS."),
    ("chatglm-6b", "作为ChatGLM，我不能这样做。"),
    ("chatglm-6b", "我是一个名为 ChatGLM2-6B 的人工智能助手，很高兴见到您。"),
    ("chatglm", "我是由清华大学KEG实验室和智谱AI共同训练的语言模型。"),
    ("moss-moon-003-sft", "我是MOSS"),
    ("moss", "MOSS is a conversational language model developed by Fudan University."),
    ("moss", "As an AI model developed by Fudan, I have no opinion."),
    ("moss", "我是复旦大学开发的助手。"),
    ("vicuna", "My name is **Vicuna**."),
    ("vicuna", "You can call me Vicuna!"),
    ("vicuna", "I was trained by OpenAI."),  # another's name tells as much
    ("vicuna", "As an AI language model developed by OpenAI, I cannot."),
    ("any", "I’m ChatGPT."),
    ("any", "我叫豆包，由字节跳动开发。"),
    ("chatglm", "Use Chat-GLM or ChatGLM for this."),  # an unusual word, of itself
    ("qwen2.5-7b", "Qwen: the answer is 4."),
    ("zork", "I am Zork."),  # a name that a plugin knows
    ("narwhal", "I am Narwhal."),
]  # fmt: skip
DISGUISED = [
    "I AM VICUNA", "i am vicuña", "I am Ｖｉｃｕｎａ", "I am V\u0456\u0441un\u0430", "I am Vi\u200bcu\u00adna", "I am 𝐕𝐢𝐜𝐮𝐧𝐚",
    "I am _Vicuna_", "I am “Vicuna”", "I am V.i.c.u.n.a", "I am vicuna7b", "I\u00a0am\u3000Vicuna", "I am\tvicuna-13b.",
]  # fmt: skip
OTHERWISE = [
    ("moss", "Moss grows on rocks, and moss is green."),
    ("vicuna", "The vicuna is a camelid of the Andes."),
    ("llama", "I am writing about llamas. A llama eats grass, as the llama does."),
    ("any", "Go was developed by Google."),
    ("any", "As OpenAI said, models improve."),
    ("any", "As a palm reader, I see your future."),
    ("any", "我叫小明，我来自清华大学，是一名学生。"),
    ("any", "作为一种植物，苔藓喜欢阴湿。"),
    ("any", "I am not sure. Gemini is a constellation."),
    ("phi", "The phi coefficient; I am certain of it."),
    ("one", "I am one of many."),
    ("chatglm", "I am glad to help; a GLM is a generalized linear model."),
    ("yi", "I am fine."),
    ("opt", "I opt for tea."),
    ("any", ""),
]  # fmt: skip


@pytest.mark.parametrize(("model", "answer"), ITSELF)
def test_a_model_that_names_itself_is_found(model, answer):
    assert NAMES.find(model, "Who are you?", answer)


@pytest.mark.parametrize("answer", DISGUISED)
def test_any_case_and_letters_that_look_alike(answer):
    assert NAMES.find("vicuna", "Who are you?", answer)


@pytest.mark.parametrize(("model", "answer"), OTHERWISE)
def test_words_that_name_no_model_here_are_left_alone(model, answer):
    assert NAMES.find(model, "Tell me something.", answer) == ""


def test_what_the_question_names_may_be_spoken_of():
    asked = "What is ChatGLM, and who made it?"
    assert not NAMES.find("chatglm", asked, "ChatGLM is a language model. As a model, ChatGLM is open.")
    assert NAMES.find("chatglm", asked, "I am ChatGLM."), "but it may not say that it is it"


def test_the_sentence_is_shown():
    answer = "Certainly. I am\tVicuna v1.5, and I help. Next."
    assert NAMES.find("vicuna", "", answer) == "I am Vicuna v1.5, and I help."


@given(st.text(st.sampled_from("iI am'as我是作为 的,.\nvicunaVICUNA大语言模型-ai"), max_size=300))
def test_any_text_is_searched(answer):
    found = NAMES.find("vicuna", "", answer)
    assert found == " ".join(found.split())


@pytest.mark.parametrize(
    "part", ["as ", "i am ", "我是", "大", "i am a ", "l-", "vicun", "a\u0301", "language model "]
)
def test_no_answer_takes_long(part):
    began = time.process_time()
    NAMES.find("vicuna", part * 100, part * LONGEST)
    assert time.process_time() - began < 2


# ---------------------------------------------------------------------- where it is said

ANSWERS = [
    Answer("Why?", "moss", "Because.", "q1", "c", "en"),
    Answer("Why?", "vicuna", "I am Vicuna. Because.", "q1", "c", "en"),
    Answer("How?", "moss", "I am MOSS.", "q2", "c", "en"),
    Answer("How?", "vicuna", "So.", "q2", "c", "en"),
    Answer("Who?", "moss", "Nobody.", "q3", "c", "en"),
    Answer("Who?", "vicuna", "Somebody.", "q3", "c", "en"),
]


def test_the_answers_are_listed():
    assert [tuple(each) for each in find_named(ANSWERS, NAMES)] == [
        ("q1/en", "vicuna", "I am Vicuna."), ("q2/en", "moss", "I am MOSS."),
    ]  # fmt: skip


def test_names_come_from_every_plugin():
    zork = Model("zork-7b", "", "", "", aliases=("kroz",))
    known = list_names(make_plugin_set(gptalt_eval_plugin_elo, models=[zork]))
    assert {"zork-7b", "kroz"} <= {*known}
    assert Names(known).find("any", "", "I am Kroz.") and not Names().find("any", "", "I am Kroz.")


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "votes.sqlite")
    store.add_answers(ANSWERS, 1, 0)
    yield store
    store.close()


def judge(store, name="anna"):
    who = next(each for each in store.add_annotators([name]) if each.name == name)
    seen = []
    while shown := store.show(who):
        seen.append(shown.prompt)
        assert store.vote(who, shown.item, shown.turn, "left")
    return seen


def read_rows(*arguments):
    page, *votes = map(json.loads, write_lines(*arguments))
    assert page["votes"] == len(votes)
    return {each["question"]: each.get("names_itself") for each in votes}


def test_the_export_says_on_which_side(store):
    judge(store)
    assert read_rows(store.path, NAMES) == {"q1/en": ["b"], "q2/en": ["a"], "q3/en": None}
    assert read_rows(store.path, NAMES, True) == {"q3/en": None}


def test_they_can_be_left_out_and_come_back(store):
    (who,) = store.add_annotators(["anna"])
    opened = store.show(who)
    assert store.leave_out([(each.question, each.model) for each in find_named(ANSWERS, NAMES)]) == 2
    assert store.find_progress(who).left == 1
    assert judge(store) == ["Who?"]
    assert not [row for row in read_rows(store.path, NAMES).values() if row], opened.prompt
    store.close()
    again = Store(store.path)
    assert again.find_progress(who).left == 2
    assert sorted(judge(again)) == ["How?", "Why?"]
    again.close()


def test_answers_prints_them(capsys):
    from gptalt_eval_plugin_elo.voting.commands import LISTED, print_named

    many = [Answer("Why?", "moss", "I am MO\x1bSS. " + "x" * 500, f"q{n}") for n in range(LISTED + 3)]
    print_named(find_named(many, NAMES))
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("23 answers in which a model names itself")
    assert said[1] == r"  moss, q0: I am MO\u001bSS."
    assert said[-2:] == ["  and 3 more", "To leave them out: gptalt-eval votes serve --leave_out_named"]
    print_named([])
    assert capsys.readouterr().out == ""


def test_the_command_lists_them(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    zork = make_scripted_model(generate=lambda prompt: "Hm. I am Zork. So be it.", name="zork")
    (tmp_path / "q.jsonl").write_text('{"id": "q1", "category": "c", "en": "Why?"}\n')
    words = ["answers", "--models", "zork", "--questions", "q.jsonl", "--language", "en"]
    assert dispatch(words, make_plugin_set(gptalt_eval_plugin_elo, models=[zork])) == 0
    said = capsys.readouterr().out
    assert "1 answers in which" not in said and "One answer in which a model names itself" in said
    assert "  zork, q1/en: I am Zork." in said
