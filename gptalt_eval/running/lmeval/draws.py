"""The few-shot examples that a task draws: heard of, or fixed, while a prompt is built."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any


@contextlib.contextmanager
def watch_draws(task: Any, drawn: Callable[[list[Any]], None]) -> Iterator[None]:
    """Inside the block, hear of the examples that a task draws."""

    def draw(original: Callable[..., Any], *args: Any, **settings: Any) -> list[Any]:
        rows = list(original(*args, **settings))
        drawn(rows)
        return rows

    with replace_draws(task, draw):
        yield


@contextlib.contextmanager
def fix_draws(task: Any, rows: Sequence[Any]) -> Iterator[None]:
    """Inside the block, a task's examples are these rows."""
    with replace_draws(task, lambda *_, **__: list(rows)):
        yield


@contextlib.contextmanager
def replace_draws(task: Any, draw: Callable[..., list[Any]]) -> Iterator[None]:
    sampler = task.sampler
    sampler.sample = functools.partial(draw, sampler.sample)
    try:
        yield
    finally:
        del sampler.sample
