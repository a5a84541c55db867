"""Requests to servers that fail: each is answered once, or there is one message."""

import threading
import time
from collections import Counter
from itertools import pairwise

import pytest

from gptalt_eval.contract.errors import GptaltError, ServerGone
from gptalt_eval.planning.served.server import PassingError, RefusedError
from gptalt_eval.running.lmeval import sending
from gptalt_eval.running.lmeval.sending import Sender


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(sending, "FIRST_WAIT", 0.002)
    monkeypatch.setattr(sending, "LONGEST_WAIT", 0.02)


def collect(sender, count, ask):
    answers = list(sender.send(count, ask))
    assert sorted(number for number, _ in answers) == list(range(count))
    return dict(answers)


def test_one_server_is_asked_in_order():
    asked = []
    assert collect(Sender("a"), 5, lambda server, number: asked.append(number) or number * 2) == {
        0: 0, 1: 2, 2: 4, 3: 6, 4: 8,
    }  # fmt: skip
    assert asked == [0, 1, 2, 3, 4]


def test_servers_get_neighbours_and_help_each_other():
    asked = {"slow": [], "quick": []}
    gate = threading.Event()

    def ask(server, number):
        asked[server].append(number)
        if server == "slow":
            gate.wait(5)
        elif len(asked["quick"]) == 7:
            gate.set()
        return number

    collect(Sender(["slow", "quick"]), 8, ask)
    assert asked["slow"] == [0], "the others were done by the free server"
    assert asked["quick"] == [4, 5, 6, 7, 3, 2, 1], "its own first, then the last of the other one"


def test_failures_that_pass_are_tried_again():
    seen = Counter()

    def ask(server, number):
        seen[number] += 1
        if seen[number] <= number % 3:
            raise PassingError("busy")
        return "yes"

    assert set(collect(Sender("a", concurrent=4, tries=20), 30, ask).values()) == {"yes"}
    assert seen == {number: number % 3 + 1 for number in range(30)}


def test_a_server_that_is_gone_ends_it_with_one_message():
    def ask(server, number):
        if number >= 3:
            raise PassingError("there is no server at http://x", is_lost=True)
        return number

    answers = []
    with pytest.raises(ServerGone, match=r"there is no server at http://x, after 4 tries\."):
        answers.extend(Sender("a", tries=4).send(6, ask))
    assert answers == [] or [number for number, _ in answers] == [0, 1, 2]


def test_what_came_before_a_server_was_gone_is_received():
    def ask(server, number):
        if number >= 3:
            raise PassingError("gone")
        return number

    received = []
    with pytest.raises(ServerGone):
        for pair in Sender("a", tries=3).send(6, ask):
            received.append(pair)
    assert received == [(0, 0), (1, 1), (2, 2)]


def test_another_server_does_the_work_of_one_that_is_gone():
    def ask(server, number):
        if server == "gone":
            raise PassingError("no", is_lost=True)
        return server

    assert set(collect(Sender(["gone", "there"], tries=5), 12, ask).values()) == {"there"}


def test_a_request_that_always_fails_is_given_up_and_the_others_are_answered():
    def ask(server, number):
        if number == 1:
            raise PassingError("status 500")
        time.sleep(0.004)
        return number

    answers = collect(Sender("a", concurrent=2, tries=3), 40, ask)
    assert isinstance(answers.pop(1), RefusedError)
    assert answers == {number: number for number in range(40) if number != 1}


def test_a_refused_request_is_sent_once():
    seen = Counter()

    def ask(server, number):
        seen[number] += 1
        if number == 1:
            raise RefusedError("status 400: too long")
        return number

    answers = collect(Sender("a"), 3, ask)
    assert str(answers[1]) == "status 400: too long" and seen == {0: 1, 1: 1, 2: 1}


def test_a_server_says_how_long_to_wait():
    times = []

    def ask(server, number):
        times.append(time.monotonic())
        if len(times) == 1:
            raise PassingError("slowly", wait=0.2)
        return number

    collect(Sender("a", concurrent=3), 3, ask)
    later = [at for at in times if at - times[0] > 0.19]
    assert len(later) >= 2, "nothing that was not under way already is sent before"


@pytest.mark.parametrize("servers", [["a"], ["a", "b"]])
def test_a_rate_limit_is_that_of_all_servers_together(servers):
    times = []
    collect(Sender(servers, concurrent=4, per_minute=60 / 0.05), 6, lambda *_: times.append(time.monotonic()))
    times.sort()
    assert times[-1] - times[0] >= 0.05 * 5 * 0.9
    assert min(b - a for a, b in pairwise(times)) > 0.03


def test_a_server_that_came_back_is_looked_at_first():
    checked, failed = [], []

    def ask(server, number):
        if not failed:
            failed.append(number)
            raise PassingError("gone", is_lost=True)
        return number

    collect(Sender("a", recheck=checked.append), 3, ask)
    assert checked == ["a"]

    def recheck(server):
        raise ServerGone("another model")

    failed.clear()
    with pytest.raises(ServerGone, match="another model"):
        list(Sender("a", recheck=recheck).send(3, ask))


@pytest.mark.parametrize("error", [GptaltError("no key"), ZeroDivisionError("a bug")])
def test_other_errors_end_it(error):
    def ask(server, number):
        raise error

    with pytest.raises(type(error), match=str(error)):
        list(Sender("ab", concurrent=3).send(9, ask))


def test_few_answers_wait_to_be_saved_and_none_is_asked_for_after_the_end():
    seen = []
    answers = Sender("a", concurrent=2).send(100, lambda server, number: seen.append(number))
    next(answers)
    time.sleep(0.1)
    assert len(seen) <= 1 + 2 * (sending.UNREAD + 1)
    answers.close()
    count = len(seen)
    time.sleep(0.05)
    assert len(seen) <= count + 2


def test_nothing_to_send():
    assert list(Sender("a").send(0, None)) == []
