"""Answers that are computed ahead, found when they are asked for, and kept."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.machine import bounds
from gptalt_eval.running.lmeval.answers import Answers, is_answer, read_line
from gptalt_eval.running.lmeval.observed import ObservedLM


class Counter:
    def __init__(self):
        self.asks, self.shared, self.answers, self.tokens = 0, 0, 0, []

    def asked(self, requests, shared):
        self.asks += requests
        self.shared += shared

    def answered(self, requests):
        self.answers += requests

    def computed(self, tokens, total, asked, seconds):
        self.tokens.append((tokens, total, asked, seconds))


class Streaming(LM):
    """Scores in batches of two, the last requests first, as a tree may."""

    def __init__(self):
        super().__init__()
        self.choice = SimpleNamespace(engine=object())
        self.streamed, self.plain = [], []

    def answer(self, request):
        return -float(len(request.args[1])), False

    def stream_loglikelihood(self, requests, known=()):
        self.laid_out = [request.args for request in requests]
        order = [place for place in reversed(range(len(requests))) if place not in known]
        for places in (order[begin : begin + 2] for begin in range(0, len(order), 2)):
            self.streamed += [requests[place].args for place in places]
            for place in places:
                self.cache_hook.add_partial(
                    "loglikelihood", requests[place].args, self.answer(requests[place])
                )
            yield [(place, self.answer(requests[place])) for place in places]

    def loglikelihood(self, requests):
        self.plain += [request.args for request in requests]
        answers = [self.answer(request) for request in requests]
        for request, answer in zip(requests, answers, strict=True):
            self.cache_hook.add_partial("loglikelihood", request.args, answer)
        return answers

    def loglikelihood_rolling(self, requests):
        raise AssertionError("not asked here")

    def generate_until(self, requests):
        raise AssertionError("not asked here")


def make_requests(*ends):
    return [
        Instance("loglikelihood", {}, ("context", end), number, doc_id=number)
        for number, end in enumerate(ends)
    ]


REQUESTS = make_requests("a", "bb", "ccc", "dddd", "eeeee", "ffffff")


@pytest.fixture
def lm():
    return Streaming()


def test_expected_answers_are_found_and_computed_only_as_far_as_needed(lm):
    watcher = Counter()
    observed = ObservedLM(lm, watcher)
    observed.expect(REQUESTS)
    assert observed.loglikelihood(REQUESTS[4:]) == [(-5.0, False), (-6.0, False)]
    assert len(lm.streamed) == 2
    assert observed.loglikelihood(REQUESTS[:1]) == [(-1.0, False)]
    assert len(lm.streamed) == 6
    assert lm.plain == []
    assert (watcher.asks, watcher.answers) == (3, 3)


def test_a_request_that_nobody_expected_is_asked_plainly(lm):
    watcher = Counter()
    observed = ObservedLM(lm, watcher)
    observed.expect(REQUESTS[:2])
    asked = [*REQUESTS[:2], *make_requests("surprise")]
    assert [answer for answer, _ in observed.loglikelihood(asked)] == [-1, -2, -8]
    assert lm.plain == [("context", "surprise")]
    assert (watcher.asks, watcher.answers) == (3, 3)


def test_identical_requests_are_computed_once(lm):
    observed = ObservedLM(lm, Counter())
    observed.expect([*REQUESTS, *REQUESTS])
    assert len(observed.loglikelihood([*REQUESTS, *REQUESTS])) == 12
    assert len(lm.streamed) == 6


def test_answers_computed_ahead_are_kept_and_not_computed_again(lm, tmp_path):
    """As after a stop: the second run starts with what the first had streamed."""
    first = ObservedLM(lm, Counter(), Answers(tmp_path / "answers.jsonl"))
    first.expect(REQUESTS)
    first.loglikelihood(REQUESTS[4:])
    second_lm = Streaming()
    second = ObservedLM(second_lm, Counter(), Answers(tmp_path / "answers.jsonl"))
    second.expect(REQUESTS)
    assert [answer for answer, _ in second.loglikelihood(REQUESTS)] == [-1, -2, -3, -4, -5, -6]
    assert sorted(second_lm.streamed) == sorted(request.args for request in REQUESTS[:4])


def test_what_is_missing_of_a_run_is_laid_out_with_all_of_it(lm, tmp_path):
    answers = Answers(tmp_path / "answers.jsonl")
    answers.keep("loglikelihood", REQUESTS[3].args, (-4.0, False))
    observed = ObservedLM(lm, Counter(), answers)
    observed.expect(REQUESTS, missing={request.args for request in REQUESTS[2:5]})
    assert [answer for answer, _ in observed.loglikelihood(REQUESTS[2:5])] == [-3, -4, -5]
    assert lm.laid_out == [request.args for request in REQUESTS]
    assert sorted(lm.streamed) == [REQUESTS[2].args, REQUESTS[4].args]
    assert lm.plain == []


def test_a_model_that_cannot_stream_expects_nothing(lm):
    lm.choice.engine = None
    observed = ObservedLM(lm, Counter())
    observed.expect(REQUESTS)
    observed.loglikelihood(REQUESTS)
    assert lm.streamed == []
    assert len(lm.plain) == 6


def test_an_interruption_passes_through(lm):
    def interrupt(requests, known):
        yield [(0, (-1.0, False))]
        raise KeyboardInterrupt

    lm.stream_loglikelihood = interrupt
    observed = ObservedLM(lm, Counter())
    observed.expect(REQUESTS)
    assert observed.loglikelihood(REQUESTS[:1]) == [(-1.0, False)]
    with pytest.raises(KeyboardInterrupt):
        observed.loglikelihood(REQUESTS[1:])


# ------------------------------------------------------------------ the file of answers


def test_answers_come_back_as_they_were(tmp_path):
    path = tmp_path / "below" / "answers.jsonl"
    answers = Answers(path)
    answers.keep("loglikelihood", ("a", "b"), (-0.1, True))
    answers.keep("loglikelihood", ("a", "c"), (np.float32(-1.5), np.bool_(False)))
    answers.keep("loglikelihood_rolling", ("a",), float("-inf"))
    answers.keep("generate_until", ("a", {"until": ["\n"]}), "Line\none, \u2028 line 2, \ud800")
    answers.keep("loglikelihood", ("a", "b"), (-0.1, True))
    answers.close()
    assert len(path.read_bytes().split(b"\n")) == 5, "a line each, and once"
    again = Answers(path)
    assert again.recall("loglikelihood", ("a", "b")) == (-0.1, True)
    assert again.recall("loglikelihood", ("a", "c")) == (-1.5, False)
    assert again.recall("loglikelihood_rolling", ("a",)) == float("-inf")
    assert again.recall("generate_until", ("a", {"until": ["\n"]})) == "Line\none, \u2028 line 2, \ud800"
    assert again.recall("loglikelihood", ("a", "d")) is None
    again.delete()
    assert not path.exists()


DRAWN = [
    {"do_sample": True}, {"do_sample": True, "temperature": 0.0}, {"do_sample": 1}, {"do_sample": "true"},
    {"temperature": 1.5}, {"temperature": "0.7"}, {"temperature": 0.2, "top_p": 0.9},
    {"do_sample": False, "temperature": 0.7},  # services draw then, and lm-eval's own backend does not
    {"do_sample": None, "temperature": 1}, {"temperature": "high"}, {"temperature": [0.5]},
]  # fmt: skip
GREEDY = [
    {}, {"until": ["x"]}, {"do_sample": False}, {"do_sample": False, "temperature": 0.0}, {"temperature": 0},
    {"temperature": "0"}, {"do_sample": 0}, {"temperature": None}, {"top_p": 0.9}, {"top_k": 40, "num_beams": 4},
]  # fmt: skip


@pytest.mark.parametrize("settings", DRAWN, ids=repr)
def test_what_is_drawn_at_random_is_not_kept(tmp_path, settings):
    answers = Answers(tmp_path / "answers.jsonl")
    answers.keep("generate_until", ("a", settings), "text")
    assert answers.recall("generate_until", ("a", settings)) is None
    assert (tmp_path / "answers.jsonl").read_text() == ""


@pytest.mark.parametrize("settings", GREEDY, ids=repr)
def test_what_is_not_drawn_is_kept(tmp_path, settings):
    answers = Answers(tmp_path / "answers.jsonl")
    answers.keep("generate_until", ("a", settings), "text")
    assert answers.recall("generate_until", ("a", settings)) == "text"


@pytest.mark.parametrize(
    "settings",
    [one for one in DRAWN + GREEDY if one.get("temperature", 0) not in (None, "high", [0.5])],
    ids=repr,
)
def test_whatever_lm_evals_backend_samples_counts_as_drawn(settings):
    """By lm-eval's own reading; ours may call more of them drawn, never fewer."""
    from lm_eval.models.utils import normalize_gen_kwargs

    from gptalt_eval.running.lmeval.answers import is_drawn

    assert is_drawn(settings) or not normalize_gen_kwargs(dict(settings))["do_sample"]


def test_what_shows_a_picture_is_not_kept(tmp_path):
    answers = Answers(tmp_path / "answers.jsonl")
    arguments = ("a", {"until": []}, {"visual": [object()]})
    answers.keep("generate_until", arguments, "text")
    assert answers.recall("generate_until", arguments) is None
    assert (tmp_path / "answers.jsonl").read_text() == ""


def test_what_is_asked_several_times_is_answered_each_time(tmp_path):
    """A service may draw whatever the settings say."""

    class Drawing(Streaming):
        texts = iter("abcdefghijkl")

        def generate_until(self, requests):
            answers = [next(self.texts) for _ in requests]
            for request, answer in zip(requests, answers, strict=True):
                self.cache_hook.add_partial("generate_until", request.args, answer)
            return answers

    def ask(repeats):
        return [
            Instance("generate_until", {}, ("a", {"until": []}), 0, doc_id=0, metadata=("t", 0, repeats))
        ] * repeats

    observed = ObservedLM(Drawing(), Counter(), Answers(tmp_path / "answers.jsonl"))
    assert observed.generate_until(ask(4)) == ["a", "b", "c", "d"]
    assert observed.generate_until(ask(4)) == ["e", "f", "g", "h"]
    assert observed.generate_until(ask(1)) == observed.generate_until(ask(1)) == ["i"]
    assert observed.loglikelihood(REQUESTS[:1]) == [(-1.0, False)]
    assert len(Answers(tmp_path / "answers.jsonl").known) == 2, "the greedy answer and the log-likelihood"


def test_the_file_is_left_as_it_is_and_closed(tmp_path):
    path = tmp_path / "not" / "there" / "answers.jsonl"
    answers = Answers(path)
    answers.keep("loglikelihood", ("a", "b"), (-0.1, True))
    answers.close()
    assert answers.file.closed
    whole = path.read_bytes()
    again = Answers(path)
    again.delete()
    again.delete()  # nothing to remove any more
    assert again.file.closed
    path.write_bytes(whole)
    Answers(path).close()
    assert path.read_bytes() == whole, "a whole last line is not ended once more"


def test_keys_are_lm_evals(tmp_path):
    from lm_eval.api.model import hash_args

    answers = Answers(tmp_path / "answers.jsonl")
    answers.keep("loglikelihood", ("a", "b"), (-0.1, True))
    assert list(answers.known) == [hash_args("loglikelihood", ("a", "b"))]


@given(cut=st.integers(0, 400), broken=st.binary(max_size=40).filter(lambda text: b"\n" not in text))
def test_a_kill_costs_the_line_that_was_being_written(tmp_path_factory, cut, broken):
    path = tmp_path_factory.mktemp("answers") / "answers.jsonl"
    answers = Answers(path)
    for number in range(4):
        answers.keep("loglikelihood", ("a", str(number)), (-float(number), True))
    answers.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:cut] + broken)
    found = Answers(path)
    known = [found.recall("loglikelihood", ("a", str(number))) for number in range(4)]
    complete = whole[:cut].count(b"\n")
    assert known[:complete] == [(-float(number), True) for number in range(complete)]
    found.keep("loglikelihood", ("b", ""), (-7.0, False))
    found.close()
    assert Answers(path).recall("loglikelihood", ("b", "")) == (-7.0, False)


def test_tokens_that_were_cut_are_remembered_with_the_answer(tmp_path):
    answers = Answers(tmp_path / "answers.jsonl")
    answers.keep("loglikelihood", ("long", "a"), (-1.0, True), 7)
    answers.keep("loglikelihood", ("short", "a"), (-2.0, False))
    answers.close()
    lines = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert [line[1:] for line in lines] == [[[-1.0, True], 7], [[-2.0, False]]]
    again = Answers(tmp_path / "answers.jsonl")
    assert again.recall_lost("loglikelihood", ("long", "a")) == 7
    assert again.recall_lost("loglikelihood", ("short", "a")) == 0
    assert again.recall_lost("generate_until", ("p", {"do_sample": True})) == 0
    empty = Answers(tmp_path / "empty.jsonl")
    assert empty.recall_lost("loglikelihood", ("long", "a")) == 0


@pytest.mark.parametrize(
    ("request_type", "answer"),
    [
        ("loglikelihood", -1.0), ("loglikelihood", [-1.0]), ("loglikelihood", [-1.0, True, 0]),
        ("loglikelihood", ["-1", True]), ("loglikelihood", [-1.0, "x"]), ("loglikelihood_rolling", []),
        ("loglikelihood_rolling", "text"), ("loglikelihood_rolling", ["x", 1.0]), ("generate_until", 1.0),
        ("generate_until", ["text"]),
    ],
)  # fmt: skip
def test_what_cannot_be_an_answer_is_not_taken_for_one(tmp_path, request_type, answer):
    arguments = {"generate_until": ("p", {"until": []}), "loglikelihood_rolling": ("p",)}.get(
        request_type, ("p", "a")
    )
    answers = Answers(tmp_path / "answers.jsonl")
    answers.keep(request_type, arguments, answer)
    answers.close()
    again = Answers(tmp_path / "answers.jsonl")
    assert again.recall(request_type, arguments) is None
    again.keep(request_type, arguments, "kept")  # so that it is computed anew, and saved
    assert again.known


def test_a_rolling_answer_is_a_number_or_a_pair(tmp_path):
    answers = Answers(tmp_path / "answers.jsonl")
    answers.keep("loglikelihood_rolling", ("p",), -3.5)
    answers.keep("loglikelihood_rolling", ("q",), [-3.5, False])
    answers.close()
    again = Answers(tmp_path / "answers.jsonl")
    assert again.recall("loglikelihood_rolling", ("p",)) == -3.5
    assert again.recall("loglikelihood_rolling", ("q",)) == (-3.5, False)


@pytest.mark.parametrize(
    ("line", "read"),
    [
        ('["key", [-1.5, true]]', ("key", (-1.5, True), 0)),
        ('["key", "a text"]', ("key", "a text", 0)),
        ('["key", -2.5, 7]', ("key", -2.5, 7)),
        ('["key", -2.5, 0]', ("key", -2.5, 0)),
        ('["key", -2.5, 7, 8]', None),
        ('["key", -2.5, -1]', None),
        ('["key", -2.5, "7"]', None),
        ('["key", -2.5, true]', None),
        ('["key"]', None),
        ('[3, "a text"]', None),
        ('{"key": -2.5, "answer": 1}', None),
        ('"ab"', None),
        ("[", None),
    ],
)
def test_a_line_of_answers(line, read):
    if read:
        assert read_line(line) == read
        return
    with pytest.raises(ValueError):
        read_line(line)


@pytest.mark.parametrize(
    ("kind", "answer", "is_one"),
    [
        ("loglikelihood", (-1.5, True), True),
        ("loglikelihood", (0, 1), True),
        ("loglikelihood", (0.001, False), True),
        ("loglikelihood", (0.0011, False), False),
        ("loglikelihood", (0.5, False), False),
        ("loglikelihood", (float("nan"), False), False),
        ("loglikelihood", (True, False), False),
        ("loglikelihood", (-1.5, 2), False),
        ("loglikelihood", (-1.5,), False),
        ("loglikelihood", -1.5, False),
        ("loglikelihood", "-1.5", False),
        ("loglikelihood_rolling", (-1.5,), True),
        ("loglikelihood_rolling", -1.5, True),
        ("loglikelihood_rolling", (-1.5, True), True),
        ("loglikelihood_rolling", (-1.5, True, True), False),
        ("loglikelihood_rolling", 0.5, False),
        ("generate_until", "", True),
        ("generate_until", (-1.5, True), False),
    ],
)
def test_what_can_be_an_answer(kind, answer, is_one):
    assert is_answer(kind, answer) is is_one


def test_a_line_longer_than_any_answer_is_named_and_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(bounds, "LONGEST_LINE", 100)
    file = tmp_path / "answers.jsonl"
    file.write_text("x" * 102)
    with pytest.raises(GptaltError) as raised:
        Answers(file)
    assert raised.value.what.startswith(f"{file} is damaged: ") and raised.value.what.endswith(".")
    assert raised.value.hint == "Delete it: its answers are computed again."


def test_no_line_answers_what_is_drawn_anew_or_has_a_picture(tmp_path):
    """Such requests have no key; somebody else's file may have an empty one."""
    file = tmp_path / "answers.jsonl"
    file.write_text('["", "forged", 3]\n[null, "forged", 3]\n')
    answers = Answers(file)
    for kind, arguments in (
        ("generate_until", ("prompt", {"do_sample": True, "temperature": 1.0})),
        ("loglikelihood", ("prompt", " end", {"visual": [object()]})),
    ):
        assert answers.recall(kind, arguments) is None and answers.recall_lost(kind, arguments) == 0
    answers.close()
