from __future__ import annotations

import random
import time

from fake_pool import HANG, FakePool, lost

from gptalt_eval.spread.loop import spread
from gptalt_eval.spread.work import Unit


def make_units(number, model="m", tokens=1000, requests=10, kind="loglikelihood"):
    return [Unit(f"{model}-{kind}-{index}", model, kind, tokens, requests) for index in range(number)]


class Kept(dict):
    """(unit, index): answer; each request is kept once."""

    def __init__(self):
        super().__init__()
        self.workers = {}

    def __call__(self, unit, result, worker):
        assert len(result.answers) == len(unit.asked)
        for index, answer in zip(unit.asked, result.answers, strict=True):
            assert (unit.name, index) not in self, "kept twice"
            assert answer == (unit.name, index), "another request's answer"
            self[unit.name, index] = answer
            self.workers[unit.name, index] = worker


def go(units, pool, **options):
    kept, notes = Kept(), []
    outcome = spread(units, pool, kept, clock=pool.clock, note=notes.append, **options)
    asked = {(unit.name, index) for unit in units if unit.model not in outcome.models for index in unit.asked}
    given_up = [(unit.name, index) for unit in outcome.given_up for index in unit.asked]
    assert len(given_up) == len(set(given_up))
    assert not kept.keys() & set(given_up)
    assert asked <= kept.keys() | set(given_up)
    return outcome, kept, notes


def test_a_thousand_units_with_deaths_hangs_and_stragglers_are_each_answered_once_in_two_seconds():
    dice = random.Random(0)
    pool = FakePool(16)

    def fate(worker, unit):
        luck = dice.random()
        if len(unit.asked) == 1:
            return None  # whoever loses three workers to one request gives it up, even if it was bad luck
        return lost(worker) if luck < 0.3 else HANG if luck < 0.32 else None

    pool.answer_fate = fate
    pool.speed = lambda worker: 0.5 if worker % 10 == 0 else 1.0
    units = make_units(500, "a") + make_units(500, "b")
    began = time.process_time()
    outcome, kept, _ = go(units, pool)
    assert time.process_time() - began < 2
    assert len(kept) == 10_000 and not outcome.given_up and not outcome.models
