"""Counts and lists in sentences."""

import pytest

from gptalt_eval.machine.words import count_things, list_names, say_seconds


@pytest.mark.parametrize(
    ("count", "shown"), [(0, ""), (1, "0"), (2, "0 and 1"), (3, "0, 1 and 2"), (5, "0, 1, 2 and 2 more")]
)
def test_many_names_are_counted(count, shown):
    assert list_names([str(number) for number in range(count)]) == shown


@pytest.mark.parametrize(("count", "shown"), [(0, "0 tasks"), (1, "1 task"), (1200, "1,200 tasks")])
def test_one_is_not_many(count, shown):
    assert count_things(count, "task") == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0:00"), (59.6, "1:00"), (3599.4, "59:59"), (3600, "1:00:00"), (90061, "1 d 01:01:01")],
)
def test_times_are_short(seconds, shown):
    assert say_seconds(seconds) == shown
