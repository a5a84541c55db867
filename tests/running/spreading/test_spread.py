"""Which key a request has, and what a run is told where there is no answer."""

from types import SimpleNamespace

import pytest
from lm_eval.api.instance import Instance

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.running.lmeval.answers import Answers, make_key
from gptalt_eval.running.spreading.spread import Recall, Spread, list_keys

GREEDY, DRAWN = {"until": ["\n"]}, {"until": ["\n"], "do_sample": True, "temperature": 0.7}


def ask(kind, *arguments, row=0, option=0, repeats=1, task="t"):
    return Instance(kind, {}, arguments, option, (task, row, repeats))


def test_equal_requests_have_equal_keys():
    requests = [ask("loglikelihood", "2+2=", "4", row=row) for row in (0, 7)]
    assert list_keys("loglikelihood", requests) == [make_key("loglikelihood", ("2+2=", "4"))] * 2


def test_a_request_that_is_drawn_has_a_key_for_each_draw():
    keys = list_keys("generate_until", [ask("generate_until", "Q", DRAWN)] * 3)
    assert len(set(keys)) == 3
    other = list_keys("generate_until", [ask("generate_until", "Q", DRAWN, row=1)])
    assert not {*keys} & {*other}


def test_what_is_asked_several_times_may_be_drawn():
    keys = list_keys("generate_until", [ask("generate_until", "Q", GREEDY, repeats=2)] * 2)
    assert len(set(keys)) == 2
    assert len(set(list_keys("generate_until", [ask("generate_until", "Q", GREEDY)] * 2))) == 1


@pytest.mark.parametrize(
    ("kind", "arguments"), [("loglikelihood", ("Q", "A")), ("loglikelihood_rolling", ("Q",))]
)
def test_a_log_likelihood_is_the_same_however_often_it_is_asked(kind, arguments):
    [key] = set(list_keys(kind, [ask(kind, *arguments, repeats=2)] * 2))
    assert key == make_key(kind, arguments)  # as the run itself looks for it


def test_keys_are_the_same_whatever_else_is_asked():
    several = [ask("generate_until", "Q", DRAWN), ask("generate_until", "R", DRAWN, row=1)]
    assert list_keys("generate_until", several)[1:] == list_keys("generate_until", several[1:])


def test_requests_with_pictures_have_keys():
    class Shown(dict):
        """Not JSON."""

    requests = [ask("loglikelihood", "<image> Q", text, Shown(visual=[object()])) for text in ("A", "B")]
    assert len(set(list_keys("loglikelihood", requests))) == 2


@pytest.fixture
def recall(tmp_path):
    answers = Answers(tmp_path / "answers.jsonl")
    return Recall(answers, Spread(SimpleNamespace()), {})


def test_answers_come_in_the_order_of_the_requests(recall):
    requests = [ask("loglikelihood", "Q", text) for text in "ABC"]
    for key, value in zip(list_keys("loglikelihood", requests), (-1.0, -2.0, -3.0), strict=True):
        recall.answers.add(key, (value, False))
    assert recall("loglikelihood", requests[::-1]) == [(-3.0, False), (-2.0, False), (-1.0, False)]


def test_a_request_without_an_answer_says_why(recall):
    requests = [ask("generate_until", "Q", GREEDY)]
    [key] = list_keys("generate_until", requests)
    recall.spread.reasons[key] = "three workers did not survive it"
    with pytest.raises(GptaltError, match="three workers did not survive it") as refused:
        recall("generate_until", requests)
    assert "resume" in refused.value.hint


@pytest.mark.parametrize(("settings", "repeats"), [(GREEDY, 1), (DRAWN, 1), (GREEDY, 2)])
def test_a_prompt_that_was_cut_is_noted_whether_or_not_its_answers_are_drawn(recall, settings, repeats):
    requests = [
        ask("generate_until", text, settings, row=row, repeats=repeats) for row, text in enumerate("QR")
    ]
    for key, cut in zip(list_keys("generate_until", requests), (5, 0), strict=True):
        recall.answers.add(key, "A", cut)
    assert recall("generate_until", requests) == ["A", "A"]
    assert recall.lost == {"Q": 5}


def test_a_continuation_whose_prompt_was_cut_is_noted(recall):
    request = ask("loglikelihood", "Q", "A")
    recall.answers.add(list_keys("loglikelihood", [request])[0], (-1.0, False), 3)
    recall("loglikelihood", [request])
    assert recall.lost == {("Q", "A"): 3}
