from __future__ import annotations

import random
import time

import pytest
from fake_pool import HANG, FakePool, Kept, failed, go, lost, make_units

from gptalt_eval.spread.limits import Limits
from gptalt_eval.spread.loop import spread
from gptalt_eval.spread.work import Report, Result, Unit


def test_a_thousand_units_with_deaths_hangs_and_stragglers_are_each_answered_once_in_two_seconds():
    dice = random.Random(0)
    pool = FakePool(16)

    def fate(worker, unit):
        luck = dice.random()
        if len(unit.asked) == 1:
            return None  # three workers lost to one request give it up, even if each was bad luck
        return lost(worker) if luck < 0.3 else HANG if luck < 0.32 else None

    pool.answer_fate = fate
    pool.speed = lambda worker: 0.5 if worker % 10 == 0 else 1.0
    units = make_units(500, "a") + make_units(500, "b")
    began = time.process_time()
    outcome, kept, _ = go(units, pool)
    assert time.process_time() - began < 2
    assert len(kept) == 10_000 and not outcome.given_up and not outcome.models


def test_nothing_to_do_starts_no_worker():
    pool = FakePool(4)
    outcome, kept, _ = go([], pool)
    assert not kept and not pool.bodies and not outcome.reports


# who works on what


def test_no_more_workers_are_started_than_there_are_units():
    pool = FakePool(8)
    go(make_units(3), pool)
    assert len(pool.bodies) == 3


def test_work_is_shared_evenly_and_ends_when_it_should():
    pool = FakePool(4)
    go(make_units(40), pool)
    assert pool.now == pytest.approx(1 + 5 + 100, abs=1)  # start, load, 40 units of 10 s on 4 workers


def test_the_largest_units_come_first():
    pool = FakePool(1)
    sizes = [300, 1000, 200, 500]
    go([Unit(f"u{size}", "m", "loglikelihood", size, 1) for size in sizes], pool)
    assert [unit.tokens for _, _, unit in pool.answers] == [1000, 500, 300, 200]


def test_a_worker_finishes_its_model_before_it_loads_another():
    pool = FakePool(2)
    go(make_units(10, "a") + make_units(10, "b"), pool)
    assert sorted(pool.loads) == [(0, "a"), (1, "b")]


def test_a_worker_moves_to_the_model_with_most_work_left_if_that_pays():
    places, units = ["x/gpu0", "y/gpu0"], make_units(8, "a") + make_units(12, "b")
    pool = FakePool(places)
    go(units, pool)
    assert [model for _, model in pool.loads] == ["b", "a", "b"]
    slow = FakePool(places, seconds_to_load=40.0)
    go(units, slow)
    assert [model for _, model in slow.loads] == ["b", "a"]  # 35 s of work for two: less than half a load


def test_workers_leave_a_model_early_for_one_that_turns_out_to_be_slow():
    pool = FakePool([f"node{index}/gpu0" for index in range(8)])
    pool.speed = lambda worker: 0.25 if pool.bodies[worker].model == "slow" else 1.0
    go(make_units(60, "fast") + make_units(60, "slow"), pool)
    # four workers each at first; work of 600 and 2,400 s is best shared by 1.6 and 6.4 of them
    assert [model for _, model in pool.loads[8:10]] == ["slow", "slow"]
    helper = pool.loads[8][0]
    assert sum(worker == helper and unit.model == "fast" for _, worker, unit in pool.answers) < 8  # of 15
    assert pool.now < 6 + 3000 / 8 + 40  # the ideal and one unit


def test_larger_models_get_more_workers_from_the_start():
    pool = FakePool([f"node{index}/gpu0" for index in range(8)])
    pool.speed = lambda worker: 1 / 3 if pool.bodies[worker].model == "large" else 1.0
    units = make_units(60, "small") + make_units(60, "large")
    go(units, pool, sizes={"small": 7e9, "large": 21e9})
    first = [model for _, model in pool.loads[:8]]
    assert (first.count("small"), first.count("large")) == (2, 6)
    assert len(pool.loads) <= 10 and pool.now < 6 + 2400 / 8 + 30


def test_a_model_of_unknown_size_counts_as_usual():
    pool = FakePool([f"node{index}/gpu0" for index in range(9)])
    units = make_units(60, "small") + make_units(60, "unknown") + make_units(60, "large")
    go(units, pool, sizes={"small": 1e9, "large": 3e9, "unknown": 0})
    first = [model for _, model in pool.loads[:9]]
    assert first.count("small") < first.count("unknown") < first.count("large")


def test_workers_do_not_keep_moving_when_paces_change():
    pool = FakePool([f"node{index}/gpu0" for index in range(8)], seconds_to_load=1.0)
    dice = random.Random(0)
    pool.speed = lambda worker: dice.choice([0.1, 1.0, 5.0])
    go(make_units(200, "a") + make_units(200, "b") + make_units(200, "c"), pool)
    assert len(pool.loads) < 8 + 3 * 8 + 8  # as many moves as each model had workers, and at the end


def test_a_model_that_nobody_holds_finds_a_worker_even_if_its_work_is_short():
    pool = FakePool(1, seconds_to_load=400.0)
    _, kept, _ = go(make_units(2, "a") + make_units(1, "b"), pool)
    assert len(kept) == 30


def test_workers_of_one_computer_serve_one_model():
    pool = FakePool(8)  # two computers with four each
    units = make_units(400, "a") + make_units(400, "b")
    go(units, pool)
    first = dict(reversed(pool.loads))
    nodes = {number: body.node for number, body in pool.bodies.items()}
    for node in ("node0", "node1"):
        held = [model for number, model in first.items() if nodes[number] == node]
        assert len(set(held)) == 1


def test_late_places_are_used():
    pool = FakePool(1, arrivals=[(100.0, "late/gpu0"), (100.0, "late/gpu1")])
    go(make_units(60), pool)
    assert {body.place for body in pool.bodies.values()} == {"node0/gpu0", "late/gpu0", "late/gpu1"}
    assert pool.now < 300  # 600 s for one worker


def test_nothing_is_started_while_there_is_no_place():
    pool = FakePool([], arrivals=[(50.0, "late/gpu0")])
    _, kept, _ = go(make_units(2), pool)
    assert len(kept) == 20 and pool.now > 50


# copies at the end


def test_an_idle_worker_repeats_the_unit_that_would_end_last():
    pool = FakePool(2)
    pool.speed = lambda worker: 0.1 if worker == 0 else 1.0
    _, kept, _ = go(make_units(4), pool)
    assert pool.now < 60  # the slow worker alone would need 100 s for its unit
    assert set(kept.workers.values()) == {1}
    assert max(pool.tried.values()) == 2


def test_a_unit_has_one_copy_at_most():
    pool = FakePool(4)
    pool.speed = lambda worker: 0.05 if worker == 0 else 1.0
    pool.answer_fate = lambda worker, unit: HANG if worker == 0 else None
    go(make_units(8), pool)
    assert max(pool.tried.values()) == 2


def test_no_copy_is_made_that_would_not_be_faster():
    pool = FakePool(2)
    go(make_units(5), pool)
    assert max(pool.tried.values()) == 1


# deadlines


def test_a_worker_that_hangs_is_ended_after_ten_times_the_slowest_unit():
    pool = FakePool(1)
    pool.answer_fate = lambda worker, unit: HANG if worker == 0 and unit.name.endswith("-2") else None
    _, kept, notes = go(make_units(4), pool)
    assert len(kept) == 40
    (when, worker), hung = pool.ends[0], pool.answers[2]
    assert worker == 0 and 100 < when - hung[0] < 101.5  # 10 s a unit
    assert "answering a unit took more than 100 seconds" in notes[0]


def test_before_any_pace_is_known_a_unit_has_the_first_limit():
    pool = FakePool(1)
    pool.answer_fate = lambda worker, unit: HANG if worker == 0 else None
    go(make_units(2), pool, limits=Limits(first=333.0))
    assert 339 < pool.ends[0][0] < 341


def test_short_units_have_the_least_limit():
    pool = FakePool(1)
    pool.answer_fate = lambda worker, unit: HANG if worker == 0 and unit.name.endswith("-2") else None
    go(make_units(4, tokens=10), pool)
    assert 10 < pool.ends[0][0] - pool.answers[2][0] < 11


def test_the_pace_is_that_of_the_model_and_kind():
    pool = FakePool(1)
    pool.answer_fate = lambda worker, unit: HANG if worker == 0 and unit.kind == "generate_until" else None
    go(make_units(4, tokens=1000) + make_units(1, kind="generate_until", tokens=900), pool)
    assert pool.ends[0][0] > 1800


def test_a_load_that_hangs_is_ended():
    pool = FakePool(1)
    pool.load_fate = lambda worker, model: HANG if worker == 0 else None
    _, kept, notes = go(make_units(2), pool)
    assert len(kept) == 20 and "loading model m took more than 1800 seconds" in notes[0]


def test_once_a_load_was_seen_the_next_ones_have_ten_times_as_long():
    pool = FakePool(1, seconds_to_load=20.0)
    pool.load_fate = lambda worker, model: HANG if worker == 0 and model == "b" else None
    go(make_units(3, "a", tokens=2000) + make_units(1, "b"), pool)
    assert 200 < pool.ends[0][0] - (1 + 20 + 60) < 202


def test_a_worker_that_does_not_start_is_ended():
    pool = FakePool(1)
    pool.start_fate = lambda worker, place: HANG if worker == 0 else None
    _, kept, notes = go(make_units(2), pool)
    assert len(kept) == 20 and 300 < pool.ends[0][0] < 302 and "starting took more than 300" in notes[0]


# deaths and failures


def test_a_request_that_kills_is_isolated_by_halves_and_given_up():
    pool = FakePool(2)
    poison = 137
    pool.answer_fate = lambda worker, unit: (
        lost(worker, "exit code -11") if unit.name == "m-loglikelihood-1" and poison in unit.asked else None
    )
    outcome, kept, notes = go(make_units(5, requests=256), pool)
    ((unit, reason),) = outcome.given_up.items()
    assert unit.name == "m-loglikelihood-1" and unit.asked == range(poison, poison + 1)
    assert "exit code -11" in reason and "3 workers" in reason
    assert len(kept) == 5 * 256 - 1
    killed = sum(body.ended for body in pool.bodies.values())
    assert killed == 2 + 7 + 2  # the whole twice, parts of 128 to 2 once each, and the single one twice
    assert any("cut in two" in text for text in notes) and any("given up" in text for text in notes)


def test_a_unit_that_kills_is_tried_after_the_others_of_its_model():
    pool = FakePool(1)
    pool.answer_fate = lambda worker, unit: lost(worker) if unit.name.endswith("-0") else None
    go(make_units(10, requests=1), pool)
    assert [unit.name[-1] for _, _, unit in pool.answers] == list("012345678900")


def test_preemption_is_not_the_fault_of_a_unit():
    pool = FakePool(1)
    pool.answer_fate = lambda worker, unit: lost(worker, "node left", preempted=True) if worker < 30 else None
    outcome, kept, _ = go(make_units(3), pool)
    assert len(kept) == 30 and not outcome.given_up
    assert all(unit.part is None for unit in pool.tried)


def test_a_unit_that_fails_three_times_is_given_up_without_cutting_it():
    pool = FakePool(2)
    pool.answer_fate = lambda worker, unit: failed(worker, unit) if unit.name.endswith("-3") else None
    units = make_units(6)
    outcome, kept, notes = go(units, pool)
    assert outcome.given_up == {units[3]: "CUDA out of memory"}
    assert pool.tried[units[3]] == 3 and len(kept) == 50
    assert not any(body.ended for body in pool.bodies.values())  # an exception costs no worker
    assert notes == ["A unit of model m was given up: CUDA out of memory"]


def test_deaths_and_failures_are_counted_apart():
    pool = FakePool(1)
    fates = iter([failed, lost, failed, None])

    def fate(worker, unit):
        how = next(fates)
        if how is None:
            return None
        return how(worker, unit) if how is failed else how(worker)

    pool.answer_fate = fate
    outcome, kept, _ = go(make_units(1), pool)
    assert len(kept) == 10 and not outcome.given_up


def test_too_few_answers_are_a_failure():
    pool = FakePool(1)
    units, kept = make_units(2), Kept()
    usual = pool.plan

    def plan(worker, seconds, fate, event):
        if getattr(event, "unit", None) == units[0]:
            event.result.answers.pop()
        usual(worker, seconds, fate, event)

    pool.plan = plan
    outcome = spread(units, pool, kept, clock=pool.clock)
    assert outcome.given_up == {units[0]: "9 answers came to 10 requests"}


def test_an_answer_to_a_unit_that_was_cut_meanwhile_counts_for_the_parts_that_are_left():
    pool = FakePool(3)
    whole = Unit("whole", "m", "loglikelihood", 4000, 8)
    pool.speed = lambda worker: 0.2 if pool.answers[-1][2] == whole and pool.tried[whole] == 2 else 1.0

    def fate(worker, unit):
        if unit == whole:
            return lost(worker) if pool.tried[whole] in (1, 3) else None  # the second try is slow and answers
        return HANG if unit.part else None

    pool.answer_fate = fate
    outcome, kept, _ = go([whole, *make_units(30, tokens=400)], pool)
    assert {unit.asked for unit in pool.tried if unit.part} >= {range(4), range(4, 8)}
    assert len(kept) == 8 + 300 and not outcome.given_up


# guards against work without end


def test_a_model_of_which_eight_units_in_a_row_fail_is_given_up_and_the_others_are_answered():
    pool = FakePool(1)
    pool.answer_fate = lambda worker, unit: failed(worker, unit, "bad kernel") if unit.model == "a" else None
    outcome, kept, notes = go(make_units(20, "a") + make_units(5, "b"), pool)
    assert outcome.models == {"a": "bad kernel"} and not outcome.given_up
    assert len(kept) == 50
    assert sum(unit.model == "a" for _, _, unit in pool.answers) == 8
    assert "Model a was given up: bad kernel" in notes


def test_a_computer_that_takes_all_its_workers_along_does_not_cost_the_model():
    pool = FakePool([f"node0/gpu{index}" for index in range(8)])
    pool.answer_fate = lambda worker, unit: lost(worker, "node died") if worker < 8 else None
    outcome, kept, _ = go(make_units(40), pool)
    assert not outcome.models and len(kept) == 400


def test_an_answer_in_between_forgives_a_model():
    pool = FakePool(1)
    pool.answer_fate = lambda worker, unit: (
        lost(worker) if pool.tried[unit] == 1 and unit.tokens > 500 else None
    )
    sizes = ([1000] * 7 + [400]) * 3
    units = [Unit(f"u{index}", "m", "loglikelihood", size, 1) for index, size in enumerate(sizes)]
    outcome, _, _ = go(units[:8], pool)
    assert not outcome.models


def test_a_model_that_never_loads_is_given_up_after_three_times():
    pool = FakePool(1)
    pool.load_fate = lambda worker, model: failed(worker, None, "no such file") if model == "a" else None
    outcome, kept, _ = go(make_units(3, "a") + make_units(3, "b"), pool)
    assert outcome.models == {"a": "no such file"} and len(kept) == 30
    assert sum(model == "a" for _, model in pool.loads) == 3
    assert len(pool.ends) == 3  # a worker that could not load is not used again


def test_a_model_that_never_loads_ends_with_many_workers_too():
    pool = FakePool(16)
    pool.load_fate = lambda worker, model: failed(worker, None, "no such file")
    outcome, _, _ = go(make_units(100), pool)
    assert outcome.models == {"m": "no such file"}
    assert len(pool.loads) < 40


def test_a_computer_on_which_nothing_loads_costs_the_others_no_model():
    pool = FakePool([f"bad/gpu{index}" for index in range(8)] + ["good/gpu0"])
    pool.load_fate = lambda worker, model: (
        failed(worker, None, "disk is full") if pool.bodies[worker].node == "bad" else None
    )
    outcome, kept, _ = go([unit for name in "abcdef" for unit in make_units(6, name)], pool)
    assert not outcome.models and len(kept) == 360
    assert pool.avoided == {f"bad/gpu{index}" for index in range(8)}


def test_a_place_where_three_workers_in_a_row_answer_nothing_is_avoided():
    pool = FakePool(3)
    pool.answer_fate = lambda worker, unit: (
        lost(worker, "Xid 79") if pool.bodies[worker].place == "node0/gpu1" else None
    )
    outcome, kept, notes = go(make_units(60), pool)
    assert pool.avoided == {"node0/gpu1"} and len(kept) == 600 and not outcome.given_up
    assert "No more workers are started at node0/gpu1" in notes


def test_a_place_is_not_avoided_while_nothing_works_elsewhere():
    pool = FakePool(1)
    pool.answer_fate = lambda worker, unit: lost(worker) if worker < 4 else None
    _, kept, _ = go(make_units(6), pool)
    assert not pool.avoided and len(kept) == 60


def test_workers_that_never_start_give_everything_up():
    pool = FakePool(4)
    pool.start_fate = lambda worker, place: lost(worker, "ModuleNotFoundError: torch")
    outcome, kept, _ = go(make_units(9, "a") + make_units(9, "b"), pool)
    assert not kept
    assert outcome.models == dict.fromkeys("ab", "ModuleNotFoundError: torch")
    assert len(pool.bodies) < 20


def test_some_workers_that_do_not_start_do_not_stop_the_others():
    pool = FakePool(12)
    pool.start_fate = lambda worker, place: lost(worker) if worker % 12 < 9 and worker < 24 else None
    outcome, kept, _ = go(make_units(60), pool)
    assert len(kept) == 600 and not outcome.models


# workers that differ


def test_a_worker_with_other_hardware_is_refused_and_its_place_avoided():
    pool = FakePool(3)
    pool.report = lambda worker, model: Report(
        "print", "tree", "A100" if pool.bodies[worker].place == "node0/gpu2" else "H100"
    )
    outcome, kept, notes = go(make_units(30), pool)
    assert pool.avoided == {"node0/gpu2"} and len(kept) == 300
    assert outcome.reports["m"].device == "H100"
    assert not {worker for worker in kept.workers.values()} & {worker for _, worker in pool.ends}
    assert notes[0] == "Worker 2 (node0/gpu2) was refused: its device is A100 instead of H100"


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (Report("print", "row by row", "H100"), "its way of scoring is row by row instead of tree"),
        (
            Report("other", "tree", "H100"),
            "its model, libraries or settings are not those of the first worker",
        ),
    ],
)
def test_what_differs_is_said_in_words(report, words):
    pool = FakePool(3)
    pool.report = lambda worker, model: report if worker == 2 else Report("print", "tree", "H100")
    _, kept, notes = go(make_units(30), pool)
    assert len(kept) == 300 and notes[0].endswith(words)


def test_a_resumed_run_refuses_other_hardware_even_if_it_is_all_there_is():
    pool = FakePool(2)
    outcome, kept, _ = go(make_units(4), pool, expected={"m": Report("print of m", "tree", "A100")})
    assert not kept and "its device is H100 instead of A100" in outcome.models["m"]


def test_a_resumed_run_with_a_changed_model_says_so():
    pool = FakePool(2)
    pool.report = lambda worker, model: Report("new" if model == "a" else "old", "tree", "H100")
    old = Report("old", "tree", "H100")
    outcome, kept, _ = go(make_units(4, "a") + make_units(4, "b"), pool, expected={"a": old, "b": old})
    assert outcome.models == {"a": "the model has changed since the run was started"}
    assert len(kept) == 40 and not pool.avoided


def test_a_resumed_run_accepts_what_its_first_workers_reported():
    pool = FakePool(2)
    _, kept, notes = go(make_units(4), pool, expected={"m": Report("print of m", "tree", "H100", 99.0)})
    assert len(kept) == 40 and not notes


# what the caller is told


def test_an_answer_counts_only_after_it_was_kept():
    pool = FakePool(1)
    calls = []

    def keep(unit, result, worker):
        calls.append(unit)
        if len(calls) == 3:
            raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        spread(make_units(5), pool, keep, clock=pool.clock)
    assert len(calls) == 3


def test_progress_is_counted_and_estimated_honestly():
    pool = FakePool(4)
    seen = []
    go(make_units(80), pool, watch=lambda snapshot: seen.append((pool.now, snapshot)))
    assert len(seen) < 2.5 * pool.now
    first, (ended, last) = seen[0][1], seen[-1]
    assert (first.units, first.all_units, first.tokens, first.all_tokens) == (0, 80, 0, 80_000)
    assert first.seconds_left is None and first.rate == 0
    assert (last.units, last.tokens, last.seconds_left) == (80, 80_000, 0)
    middle = next(snapshot for now, snapshot in seen if now > 100)
    assert middle.rate == pytest.approx(400, rel=0.2)  # four workers of 100 tokens a second
    assert middle.seconds_left == pytest.approx(ended - 100, rel=0.1)
    assert {one.state for one in middle.workers} == {"answering"} and len(middle.workers) == 4
    assert middle.workers[0].model == "m" and 0 <= middle.workers[0].seconds <= 10
    assert sum(one.tokens for one in middle.workers) == middle.tokens
    states = {one.state for _, snapshot in seen for one in snapshot.workers}
    assert states >= {"starting", "loading", "answering"}


def test_a_unit_without_tokens_or_requests_is_answered():
    pool = FakePool(1)
    kept = []
    spread(
        [Unit("empty", "m", "loglikelihood", 0, 0)], pool, lambda *call: kept.append(call), clock=pool.clock
    )
    assert [(unit.name, result.answers) for unit, result, _ in kept] == [("empty", [])]
    assert isinstance(kept[0][1], Result)
