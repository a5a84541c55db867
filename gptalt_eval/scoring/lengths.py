"""Finds out up to which length an engine answers requests as the model does alone.

Windows, RoPE that changes its angles, top-k attention: what begins beyond some length is right in short rows.
It is tried out at the lengths that are asked if the config has a number that could be such a length, whatever
it is called.
"""

from __future__ import annotations

import copy
from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gptalt_eval.scoring.engine import Engine, unwrap
from gptalt_eval.scoring.memory import keeping_fresh
from gptalt_eval.scoring.trial import LONGEST, Alone, answer_all, describe, make_rows

# words in the names of numbers that are no lengths
SIZES = {
    "hidden", "intermediate", "vocab", "dim", "d", "embd", "inner", "ffn", "kernel", "state", "rank", "id",
    "head", "heads", "layer", "layers", "expert", "experts",
}  # fmt: skip
MANY = 20  # requests for each token of the longest: then trying out its length costs about 1 %


class Lengths:
    """Up to which length requests can be asked.

    Args:
        alone: the model.
        engine: answers as the model alone does if rows are short.

    Attributes:
        limit: longer requests are lm-eval's; None: none are known that are.
        reason: why there is a limit, if it was found by trying out.
    """

    def __init__(self, alone: Alone, engine: Engine) -> None:
        self.alone = alone
        self.engine = engine
        self.config = alone.model.config.get_text_config()
        self.tried = LONGEST
        self.limit = find_window(self.config)
        self.reason = ""

    def reach(self, longest: int, count: int, room: int) -> int | None:
        """The limit, after it was tried out for requests like these.

        Args:
            longest: tokens of the longest request.
            count: number of requests.
            room: length of the model's context.
        """
        if self.limit is not None:
            longest = min(longest, self.limit)
        thresholds = list_thresholds(self.config, longest)
        if longest > self.tried and (thresholds or count >= MANY * longest):
            # right behind a threshold, the difference would be small
            farthest = max(longest, min(room, 2 * max(thresholds, default=0)))
            found = find_limit(self.is_right, thresholds, farthest)
            self.tried = farthest
            if found is not None:
                self.tried = self.limit = found
        return self.limit

    def is_right(self, length: int) -> bool:
        """Whether rows are answered right, a row of this length and short ones beside it."""
        lengths = [LONGEST, LONGEST, length, LONGEST, LONGEST]
        engine = copy.copy(self.engine)  # what it counts is not what was asked
        try:
            trial = self.alone.ask(make_rows(self.config.vocab_size, lengths))
            with keeping_fresh(unwrap(self.alone.model)):
                found = answer_all(engine, trial.queries)
        except Exception as error:  # the model's own code can raise anything
            self.reason = describe(error)
            return False
        difference = trial.measure(found, parts=len(lengths))
        self.reason = f"answers differ by {difference:.0%} of their standard deviation"
        return difference <= self.alone.tolerance


def find_limit(is_right: Callable[[int], bool], thresholds: list[int], farthest: int) -> int | None:
    """The largest length that is known to be right; None: all are.

    Args:
        is_right: tries a length; what is wrong at one is wrong at all longer ones.
        thresholds: lengths at which something could begin to be wrong, ascending.
        farthest: the longest that is tried.
    """
    if is_right(farthest):
        return None
    steps = sorted({step for each in thresholds for step in (each - 1, each) if step > LONGEST})
    wrong = bisect_left(steps, True, key=lambda length: not is_right(length))
    return steps[wrong - 1] if wrong else LONGEST


def list_thresholds(config: Any, longest: int) -> list[int]:
    """Numbers in a config that could be a length which rows of up to ``longest`` tokens reach, ascending."""
    numbers = set(list_numbers(config.to_dict()))
    return sorted(number for number in numbers if LONGEST < number <= longest)


def list_numbers(value: Any, name: str = "") -> Iterator[int]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from list_numbers(each, str(key))
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from list_numbers(each, name)
    elif isinstance(value, (int, np.integer)) and not SIZES & set(name.split("_")):
        yield int(value)


def find_window(config: Any) -> int | None:
    """Tokens that a position of the model sees at most, itself included; None: all before it."""
    kinds = getattr(config, "layer_types", None)
    slides = "sliding_attention" in kinds if kinds else getattr(config, "use_sliding_window", True)
    windows = [getattr(config, "sliding_window", None) if slides else None]
    if not kinds or "chunked_attention" in kinds:
        windows.append(getattr(config, "attention_chunk_size", None))
    return min((window for window in windows if window), default=None)
