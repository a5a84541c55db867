"""Each format record by record: every word, name and conversion, and what is said of a record that is none."""

import pytest
from gptalt_eval_plugin_elo import Vote
from gptalt_eval_plugin_elo.formats import list_formats
from gptalt_eval_plugin_elo.formats.labelstudio import make_labelstudio
from gptalt_eval_plugin_elo.formats.own import make_columns_format
from gptalt_eval_plugin_elo.formats.survey import Answers, make_survey_format, read_answers
from gptalt_eval_plugin_elo.formats.values import get_optional, get_text
from gptalt_eval_plugin_elo.votes import Word
from gptalt_eval_plugin_elo.winners import UnknownWinner, read_winner

OWN = {
    "question": 3,
    "model_a": "m",
    "model_b": "n",
    "winner": "n",
    "category": "c",
    "annotator": "x",
    "time": "t",
}
ARENA = {
    "question_id": 7,
    "model_a": "m",
    "model_b": "n",
    "winner": "model_b",
    "category": "c",
    "judge": "j",
    "tstamp": 1.5,
}
PANDA = {
    "idx": 3,
    "motivation_app": "Gmail",
    "cmp_key": "m_n",
    "instruction": "i",
    "input": "",
    "response1": "r",
    "response2": "s",
    "annotator1": 0,
    "annotator2": 1,
    "annotator3": 2,
}
TASK = {
    "id": 5, "data": {"prompt": "Why?", "model_a": "m", "model_b": "n", "category": "c"},
    "annotations": [{"completed_by": 1, "created_at": "2026", "result": [{"value": {"selected": "left"}}]}],
}  # fmt: skip


def without(record, *names):
    return {name: value for name, value in record.items() if name not in names}


FORMATS = {each.name: each for each in list_formats()}


def convert(known, record):
    """Votes, and the words of what is none; a fault of the whole record is the last."""
    found = []
    try:
        for each in known.convert(record):
            found.append(read(each) if isinstance(each, Vote) else str(each))
    except ValueError as error:
        found.append(str(error))
    return found


def read(vote):
    """The vote with its outcome, or the word that is not understood."""
    if not isinstance(vote.winner, Word):
        return vote
    try:
        return vote._replace(winner=read_winner(vote.winner, vote[1:3], {}))
    except UnknownWinner:
        return f"the word {vote.winner}"


def test_the_formats_have_names_and_summaries():
    assert list(FORMATS) == [
        "gptalt", "fastchat", "onehot", "fastchat-log", "mt-bench", "pandalm", "labelstudio",
    ]  # fmt: skip
    assert all(each.summary and "\n" not in each.summary for each in FORMATS.values())


@pytest.mark.parametrize(
    ("record", "known"),
    [
        ({"question": 1, "model_a": 1, "model_b": 1, "winner": 1}, ["gptalt"]),
        ({"model_a": 1, "model_b": 1, "winner": 1}, ["fastchat"]),
        ({"question": 1, "model_a": 1, "model_b": 1}, []),
        ({"question": 1, "model_a": 1, "winner": 1}, []),
        ({"model_b": 1, "winner": 1}, []),
        ({"model_a": 1, "model_b": 1}, []),
        ({"Question": 1, "MODEL_A": 1, " model b ": 1, "Winner": 1}, ["gptalt"]),
        ({"Model-A": 1, "Model-B": 1, "WINNER": 1}, ["fastchat"]),
        ({"model_a": 1, "model_b": 1, "winner_model_a": 1, "winner_model_b": 1, "winner_tie": 1}, ["onehot"]),
        ({"model_a": 1, "model_b": 1, "winner_model_a": 1, "winner_model_b": 1}, []),
        ({"type": 1, "tstamp": 1, "models": 1, "states": 1}, ["fastchat-log"]),
        ({"question_id": 1, "model_1": 1, "model_2": 1, "g1_winner": 1, "g2_winner": 1}, ["mt-bench"]),
        (PANDA, ["pandalm"]),
        *((without(PANDA, name), []) for name in ("idx", "cmp_key", "motivation_app", "response2", "input")),
        (without(PANDA, "annotator1", "annotator2", "annotator3"), []),
        ({"cmp_key": 1, "annotator7": 1}, []),
        ({"annotations": 1, "data": 1}, ["labelstudio"]),
        ({"annotations": 1}, []),
        ({"data": 1}, []),
    ],
)
def test_records_are_recognised_by_their_fields(record, known):
    assert [name for name, each in FORMATS.items() if each.recognise(record)] == known


# ---------------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("x", "x"), (" x ", "x"), (7, "7"), (1.5, "1.5"), (0, "0"), ("文", "文"),
        (None, "'n' is missing"), ("", "'n' is missing"), ("  ", "'n' is not text: '  '"), (True, "'n' is not text: True"),
        ([], "'n' is not text: []"), ({"a": "b" * 80}, "'n' is not text: " + repr({"a": "b" * 80})[:60]),
    ],
)  # fmt: skip
def test_values_are_texts_or_numbers(value, expected):
    if expected.startswith("'n'"):
        with pytest.raises(ValueError) as caught:
            get_text({"n": value}, "n")
        assert str(caught.value) == expected
    else:
        assert get_text({"n": value}, "n") == get_optional({"n": value}, "n") == expected


def test_some_values_may_be_missing():
    assert get_optional({}, "n") == get_optional({"n": None}, "n") == get_optional({"n": ""}, "n") == ""
    with pytest.raises(ValueError, match=r"^'n' is not text"):
        get_optional({"n": []}, "n")


# ---------------------------------------------------------------------- records


def choose(*values, **more):
    return TASK | {"annotations": [{"result": [{"value": value} for value in values], **more}]}


@pytest.mark.parametrize(
    ("name", "record", "expected"),
    [
        ("gptalt", OWN, [Vote("3", "m", "n", "b", "c", "x", "t")]),
        ("gptalt", OWN | {"category": None, "annotator": "", "time": 5}, [Vote("3", "m", "n", "b", "", "", "5")]),
        ("gptalt", OWN | {"winner": 1}, ["the word 1"]),
        ("gptalt", OWN | {"winner": True}, ["the word true"]),
        ("gptalt", OWN | {"winner": None}, ["the word "]),
        ("gptalt", OWN | {"winner": []}, ["the word []"]),
        ("gptalt", without(OWN, "annotator", "time") | {"judge": "j", "tstamp": 1.5}, [Vote("3", "m", "n", "b", "c", "j", "1.5")]),
        ("gptalt", without(OWN, "annotator") | {"judge_hash": "h", "timestamp": 2}, [Vote("3", "m", "n", "b", "c", "h", "t")]),
        ("gptalt", OWN | {"judge": "j", "tstamp": 1.5}, [Vote("3", "m", "n", "b", "c", "x", "t")]),
        ("gptalt", OWN | {"turn": 2, "anony": False}, [Vote("3/turn 2", "m", "n", "b", "c", "x", "t", blind=False)]),
        ("gptalt", OWN | {"blind": True, "anony": False}, [Vote("3", "m", "n", "b", "c", "x", "t")]),
        ("gptalt", {name.title(): value for name, value in OWN.items()}, [Vote("3", "m", "n", "b", "c", "x", "t")]),
        ("gptalt", without(OWN, "winner") | {"Winner": "a", "WINNER": "b"}, ["two columns are called 'winner'"]),
        ("gptalt", OWN | {"Winner": "m"}, [Vote("3", "m", "n", "b", "c", "x", "t")]),
        ("gptalt", without(OWN, "winner"), ["the word "]),
        ("gptalt", without(OWN, "question"), ["'question' is missing"]),
        ("gptalt", OWN | {"model_a": None}, ["'model_a' is missing"]),
        ("gptalt", OWN | {"model_b": ""}, ["'model_b' is missing"]),
        ("gptalt", OWN | {"winner": "x"}, ["the word x"]),
        ("fastchat", ARENA, [Vote("7", "m", "n", "b", "c", "j", "1.5")]),
        ("fastchat", without(ARENA, "judge") | {"judge_hash": "h"}, [Vote("7", "m", "n", "b", "c", "h", "1.5")]),
        ("fastchat", ARENA | {"judge_hash": "h"}, [Vote("7", "m", "n", "b", "c", "j", "1.5")]),
        ("fastchat", without(ARENA, "judge", "tstamp", "category"), [Vote("7", "m", "n", "b")]),
        ("fastchat", ARENA | {"question_id": None, "conversation_id": "k"}, [Vote("k", "m", "n", "b", "c", "j", "1.5")]),
        ("fastchat", ARENA | {"question_id": "", "id": 0}, [Vote("0", "m", "n", "b", "c", "j", "1.5")]),
        ("fastchat", ARENA | {"winner": "tie (bothbad)"}, [Vote("7", "m", "n", "tie", "c", "j", "1.5")]),
        ("fastchat", without(ARENA, "question_id") | {"conversation_a": [{"content": "Hi"}, {}]}, [Vote("Hi", "m", "n", "b", "c", "j", "1.5")]),
        ("fastchat", without(ARENA, "question_id") | {"conversation_a": []}, [Vote("", "m", "n", "b", "c", "j", "1.5")]),
        ("fastchat", without(ARENA, "question_id") | {"conversation_a": ["Hi"]}, [Vote("", "m", "n", "b", "c", "j", "1.5")]),
        ("fastchat", without(ARENA, "question_id") | {"conversation_a": [{}]}, [Vote("", "m", "n", "b", "c", "j", "1.5")]),
        ("fastchat", ARENA | {"winner": "m"}, [Vote("7", "m", "n", "a", "c", "j", "1.5")]),
        ("fastchat", without(ARENA, "model_b"), ["'model_b' is missing"]),
        ("pandalm", PANDA, [Vote("3", "m", "n", winner, "Gmail", f"annotator{n}") for n, winner in enumerate(("tie", "a", "b"), 1)]),
        ("pandalm", without(PANDA, "motivation_app", "annotator1", "annotator2"), [Vote("3", "m", "n", "b", "", "annotator3")]),
        ("pandalm", PANDA | {"annotator1": 3, "annotator2": True, "annotator3": None}, ["the word 3", "the word true", "the word "]),
        ("pandalm", PANDA | {"annotator1": 1.0, "annotator2": "2.0", "annotator3": "0"}, [Vote("3", "m", "n", winner, "Gmail", f"annotator{n}") for n, winner in enumerate(("a", "b", "tie"), 1)]),
        ("pandalm", PANDA | {"cmp_key": "m"}, ["'cmp_key' does not name two models: 'm'"]),
        ("pandalm", PANDA | {"cmp_key": "m_n_o"}, ["'cmp_key' does not name two models: 'm_n_o'"]),
        ("pandalm", without(PANDA, "idx"), ["'idx' is missing"]),
        ("labelstudio", TASK, [Vote("Why?", "m", "n", "a", "c", "1", "2026")]),
        ("labelstudio", choose({"selected": "right"}, completed_by={"email": "a@b.c", "id": 3}), [Vote("Why?", "m", "n", "b", "c", "a@b.c")]),
        ("labelstudio", choose({"selected": "right"}, completed_by={"id": 3}), [Vote("Why?", "m", "n", "b", "c", "3")]),
        ("labelstudio", choose({"selected": "right"}, completed_by={}), [Vote("Why?", "m", "n", "b", "c")]),
        ("labelstudio", choose({"choices": ["Tie"]}, created_at=None), [Vote("Why?", "m", "n", "tie", "c")]),
        ("labelstudio", choose({"choices": ["so so", "Tie"]}), ["the word so so, Tie"]),
        ("labelstudio", choose({"selected": "left"}, {"choices": ["A"]}), [Vote("Why?", "m", "n", "a", "c")]),
        ("labelstudio", choose({"selected": "left"}, {"choices": ["so so", 3]}), [Vote("Why?", "m", "n", "a", "c")]),
        ("labelstudio", choose({"choices": None}, {"selected": "left"}), [Vote("Why?", "m", "n", "a", "c")]),
        ("labelstudio", choose({"choices": ["B"]}), [Vote("Why?", "m", "n", "b", "c")]),
        ("labelstudio", choose({"selected": "left"}, was_cancelled=True), [Vote("Why?", "m", "n", "skip", "c")]),
        ("labelstudio", choose({"selected": "left"}, was_cancelled=False), [Vote("Why?", "m", "n", "a", "c")]),
        ("labelstudio", choose({"text": ["hm"]}), ["the word "]),
        ("labelstudio", choose({"selected": "middle"}), ["the word middle"]),
        ("labelstudio", choose({"selected": ["left"]}, "x"), ['the word ["left"]']),
        ("labelstudio", TASK | {"annotations": ["x", {}, {"result": 3}, *TASK["annotations"]]}, [
            *["an annotation without 'result'"] * 3, Vote("Why?", "m", "n", "a", "c", "1", "2026")
        ]),
        ("labelstudio", TASK | {"annotations": [{"result": ["x", {"value": 3}, {"value": {"selected": "left"}}]}]}, [Vote("Why?", "m", "n", "a", "c")]),
        ("labelstudio", TASK | {"annotations": []}, []),
        ("labelstudio", TASK | {"annotations": {}}, ["'data' is not an object, or 'annotations' is not a list"]),
        ("labelstudio", TASK | {"data": []}, ["'data' is not an object, or 'annotations' is not a list"]),
        ("labelstudio", TASK | {"data": {"model_a": "m"}}, ["'data' needs 'model_a' and 'model_b', the names of the compared models"]),
        ("labelstudio", TASK | {"data": {"model_a": "m", "model_b": None}}, ["'model_b' is missing"]),
        ("labelstudio", TASK | {"data": {"model_a": "m", "model_b": "n"}}, [Vote("5", "m", "n", "a", "", "1", "2026")]),
        ("labelstudio", without(TASK, "id") | {"data": {"model_a": "m", "model_b": "n"}}, ["'id' is missing"]),
    ],
)  # fmt: skip
def test_each_record(name, record, expected):
    known = {each.name: each for each in list_formats()}
    assert convert(known[name], record) == expected


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("model_a", "model_b"),
        ("model1", "model2"),
        ("model_1", "model_2"),
        ("left_model", "right_model"),
        ("model_left", "model_right"),
    ],
)
def test_each_name_of_label_studios_models(first, second):
    assert convert(FORMATS["labelstudio"], TASK | {"data": {"text": "q", first: "m", second: "n"}}) == [
        Vote("q", "m", "n", "a", "", "1", "2026")
    ]


def test_each_name_of_label_studios_question():
    names = ("question", "question_id", "prompt", "text", "instruction")
    data = {"model_a": "m", "model_b": "n", **{name: name for name in names}}
    for name in names:
        [found] = convert(FORMATS["labelstudio"], TASK | {"data": data})
        assert found.question == data.pop(name) == name


def test_columns_of_other_names():
    known = make_columns_format({"question": "prompt", "winner": "choice", "annotator": "who"})
    assert (known.name, known.summary) == ("columns", "columns that --columns names")
    record = {
        "prompt": "p",
        "model_a": "m",
        "model_b": "n",
        "choice": "n",
        "who": "x",
        "question": "no",
        "time": "t",
    }
    assert known.recognise(record) and not known.recognise(without(record, "prompt"))
    assert convert(known, record) == [Vote("p", "m", "n", "b", "", "x", "t")]
    shown = without(record, "who", "time") | {"Judge": "j", "tstamp": 1.5, "anony": "False", "turn": 2}
    assert convert(known, shown) == [Vote("p/turn 2", "m", "n", "b", "", "j", "1.5", blind=False)]
    for name in ("prompt", "model_a", "model_b"):
        assert convert(known, without(record, name)) == [f"'{name}' is missing"]
    for name in ("prompt", "model_a", "model_b"):
        assert convert(known, record | {name: ""}) == [f"'{name}' is missing"]
    for silent in (record | {"choice": ""}, without(record, "choice")):
        assert convert(known, silent) == ["the word "], "it can be somebody's tie"
    assert convert(known, {name.upper(): value for name, value in without(record, "question").items()}) == [
        Vote("p", "m", "n", "b", "", "x", "t")
    ]


# ---------------------------------------------------------------------- the survey

ANSWERS = Answers(("m", "n", "o"), ("p", "q"), ("写作", "数学"))


@pytest.mark.parametrize(
    ("asked", "given", "expected"),
    [
        ([[0, 0, 1], [1, 2, 0]], [1, -1], [Vote("0", "m", "n", "a", "写作", "ann"), Vote("1", "o", "m", "b", "数学", "ann")]),
        ([[0, 1, 2]] * 2, [-2, 0], [Vote("0", "n", "o", "tie", "写作", "ann"), Vote("0", "n", "o", "skip", "写作", "ann")]),
        ([[0, 0, 1]], [2], ["the word 2"]),
        ([[0, 0, 1]], [True], ["the word true"]),
        ([[0, 0, 1], [2, 0, 1]], [1, 1], [Vote("0", "m", "n", "a", "写作", "ann"), "entry 1: there is no question 2; the table has 2"]),
        ([[0, 3, 1]], [1], ["entry 0: there is no model 3; the table has 3"]),
        ([[0, 0, -1]], [1], ["entry 0: there is no model -1; the table has 3"]),
        ([[0, 0]], [1], ["entry 0: [0, 0] instead of [question, model, model]"]),
        ([[0, 0, "1"]], [1], ["entry 0: [0, 0, '1'] instead of [question, model, model]"]),
        (["x"], [1], ["entry 0: 'x' instead of [question, model, model]"]),
        ([[0, 0, 1]], [1, 1], ["'que_idx' has 1 entries, but 'que_rec' has 2", Vote("0", "m", "n", "a", "写作", "ann")]),
        ("x", [1], ["'que_idx' and 'que_rec' are not lists"]),
        ([], 3, ["'que_idx' and 'que_rec' are not lists"]),
    ],
)  # fmt: skip
def test_an_annotators_file(asked, given, expected):
    known = make_survey_format(ANSWERS, "ann")
    record = {"que_idx": asked, "que_rec": given}
    assert known.name == "survey" and known.recognise(record)
    assert known.summary == "the survey's: a CSV of answers, a JSON of each annotator"
    assert not known.recognise({"que_idx": []}) and not known.recognise({"que_rec": []})
    assert convert(known, record) == expected


@pytest.mark.parametrize(
    ("columns", "category", "question"),
    [
        (("no", "类别", "问题"), "类别", "问题"),
        (("no", "类型", "问题"), "类型", "问题"),
        (("类别", "no", "问题"), "类别", "问题"),
        (("问题", "no", "类型"), "类型", "问题"),
        (("Question", "no", " Category "), " Category ", "Question"),
        (("type", "prompt", "no"), "type", "prompt"),
        (("no", "kind", "text"), "kind", "text"),
    ],
)
def test_the_table_of_answers(columns, category, question):
    rows = [{name: f"{name}{row}" for name in (*columns, "M", "N")} for row in range(2)]
    assert read_answers(iter(rows)) == Answers(
        ["M", "N"], [f"{question}0", f"{question}1"], [f"{category}0", f"{category}1"]
    )


def test_a_model_may_be_called_like_a_column():
    row = {"no": "0", "kind": "k", "text": "t", "Category": "A", "prompt": "B"}
    assert read_answers([row]) == Answers(["Category", "prompt"], ["t"], ["k"])


def test_a_time_is_text():
    task = TASK | {"annotations": [TASK["annotations"][0] | {"created_at": 5}]}
    assert [vote.time for vote in make_labelstudio()(task)] == ["5"]


def test_a_table_of_too_few_columns():
    for rows, count in (([], 0), ([dict.fromkeys("abcd", "")], 4)):
        with pytest.raises(ValueError, match=f"^{count} columns; the models start at the fourth$"):
            read_answers(rows)
