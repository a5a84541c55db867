"""Whatever goes wrong, and in whatever order: the loop ends, and each request is answered once or given up."""

from __future__ import annotations

import random

from fake_pool import HANG, FakePool, failed, go, lost
from hypothesis import given, settings
from hypothesis import strategies as st

from gptalt_eval.spread.limits import Limits, Paces
from gptalt_eval.spread.queue import Queue, cut, pick, weigh
from gptalt_eval.spread.work import Report, Result, Unit

KINDS = ("loglikelihood", "generate_until")
units = st.lists(
    st.builds(
        lambda model, kind, tokens, requests: (model, kind, tokens, requests),
        st.sampled_from("abc"),
        st.sampled_from(KINDS),
        st.integers(0, 5000),
        st.integers(0, 20),
    ),
    max_size=30,
).map(lambda rows: [Unit(f"unit {index}", *row) for index, row in enumerate(rows)])
shares = st.sampled_from([0.0, 0.0, 0.1, 0.5, 1.0])


@settings(max_examples=100, deadline=None)
@given(
    units,
    st.integers(0, 6),
    st.lists(
        st.tuples(st.floats(0, 500), st.sampled_from(["late/gpu0", "late/gpu1", "later/gpu0"])), max_size=3
    ),
    st.fixed_dictionaries(
        {fate: shares for fate in ("death", "hang", "failure", "preemption", "load", "start", "other")}
    ),
    st.integers(0, 2**32),
)
def test_it_always_ends_with_each_request_answered_once_or_given_up(units, places, arrivals, chance, seed):
    dice = random.Random(seed)
    pool = FakePool(max(places, 0 if arrivals else 1), arrivals=arrivals)

    def happens(what):
        return dice.random() < chance[what] * (pool.count < 3000)  # computers are not taken away for ever

    def answer_fate(worker, unit):
        if happens("preemption"):
            return lost(worker, "spot", preempted=True)
        if happens("death"):
            return lost(worker)
        if happens("failure"):
            return failed(worker, unit)
        return HANG if happens("hang") else None

    pool.answer_fate = answer_fate
    pool.load_fate = lambda worker, model: (
        dice.choice([failed(worker, None), lost(worker), HANG]) if happens("load") else None
    )
    pool.start_fate = lambda worker, place: dice.choice([lost(worker), HANG]) if happens("start") else None
    pool.report = lambda worker, model: Report(
        model, dice.choice(["tree", "rows"]) if happens("other") else "tree"
    )
    pool.speed = lambda worker: (0.3, 1.0, 1.1)[worker % 3]
    limits = Limits(starting=30.0, loading=60.0, first=200.0)
    outcome, kept, notes = go(units, pool, limits=limits)
    if not any(chance.values()):
        assert not outcome.models and not outcome.given_up and not notes
        assert len(kept) == sum(unit.requests for unit in units)
    assert all(outcome.given_up.values()) and all(outcome.models.values())


@given(units, st.data())
def test_a_queue_counts_what_waits(units, data):
    queue = Queue(units, Limits())
    taken = []
    for _ in range(data.draw(st.integers(0, 60))):
        waiting = sorted(queue.waiting)
        if taken and (not waiting or data.draw(st.booleans())):
            unit = taken.pop()
            queue.drop(unit, 1)
            what = data.draw(st.sampled_from(["died", "failed", "kept", "back"]))
            if what == "kept":
                queue.kept(unit)
            elif what == "back":
                queue.give_back(unit)
            else:
                getattr(queue, what)(unit, "reason")
        elif waiting:
            taken.append(queue.take(data.draw(st.sampled_from(waiting)), 1))
        wait = [unit for unit in queue.find_open() if unit not in taken]
        assert queue.waiting == {
            model: number for model in "abc" if (number := sum(unit.model == model for unit in wait))
        }
        for model, kinds in queue.tokens.items():
            for kind in KINDS:
                assert kinds[kind] == sum(
                    unit.tokens for unit in wait if (unit.model, unit.kind) == (model, kind)
                )


@given(st.integers(2, 500), st.integers(0, 10**6))
def test_halves_ask_together_what_the_whole_asks(requests, tokens):
    whole = Unit("u", "m", "loglikelihood", tokens, requests)
    first, second = cut(whole)
    assert [*first.asked, *second.asked] == list(range(requests))
    assert abs(len(first.asked) - len(second.asked)) <= 1
    assert abs(weigh(first) + weigh(second) - tokens) < 1e-6
    result = Result([f"answer {index}" for index in range(requests)], tokens, 1.0)
    assert pick(whole, first, result).answers + pick(whole, second, result).answers == result.answers
    quarter = cut(second)[0] if len(second.asked) > 1 else second
    answers = pick(second, quarter, pick(whole, second, result)).answers
    assert answers == [f"answer {index}" for index in quarter.asked]


def test_paces_are_those_of_whole_units():
    paces, unit = Paces(Limits(), {}), Unit("u", "m", "loglikelihood", 1000, 10)
    assert paces.estimate("m", "loglikelihood", 500) is None and paces.load is None
    assert paces.allow_unit(unit) == 1800 and paces.allow_load() == 1800
    paces.saw_answer(cut(unit)[0], 0.1)
    assert paces.estimate("m", "loglikelihood", 500) is None
    paces.saw_answer(unit, 20.0)
    paces.saw_answer(unit, 10.0)
    assert paces.estimate("m", "loglikelihood", 500) == 7.5  # 30 s for 2,000 tokens
    assert paces.estimate("new", "generate_until", 500) == 7.5  # as the others, until it is known
    assert paces.allow_unit(unit) == 200
    assert paces.allow_unit(Unit("v", "m", "loglikelihood", 10, 1)) == 10
    assert paces.allow_unit(Unit("w", "m", "generate_until", 10, 1)) == 1800
    paces.saw_load(3.0)
    assert paces.allow_load() == 60
    paces.saw_load(50.0)
    assert paces.allow_load() == 500 and paces.load == 26.5
    paces.saw_load(500.0)
    assert paces.allow_load() == 1800


def test_before_an_answer_time_is_in_proportion_to_size():
    paces = Paces(Limits(), {"small": 1.0, "large": 4.0})
    assert paces.weigh("large", 10) == 40 and paces.weigh("unknown", 10) == 25
    paces.saw_answer(Unit("u", "small", "loglikelihood", 1000, 1), 10.0)
    assert paces.estimate("large", "loglikelihood", 1000) == 40
    paces.saw_answer(Unit("u", "large", "loglikelihood", 1000, 1), 20.0)
    assert paces.estimate("large", "loglikelihood", 1000) == 20
    assert paces.estimate("small", "loglikelihood", 1000) == 10
    assert paces.estimate("large", "generate_until", 1000) == 30 / 5000 * 4000
