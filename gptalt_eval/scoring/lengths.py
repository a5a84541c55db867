"""Finds out up to which length an engine answers requests as the model does alone.

Windows, RoPE that changes its angles, top-k attention: what begins beyond some length is right in short rows.
It is tried out at the lengths that are asked if the config has a number that could be such a length, whatever
it is called.
"""

from __future__ import annotations

import copy
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from gptalt_eval.scoring.engine import Engine
from gptalt_eval.scoring.tree import Ints
from gptalt_eval.scoring.trial import LONGEST, Alone, Trial, answer_all, describe, make_rows

# words in the names of numbers that are not lengths
SIZES = {
    "hidden", "intermediate", "vocab", "dim", "d", "embd", "inner", "ffn", "kernel", "state", "rank", "id",
    "head", "heads", "layer", "layers", "expert", "experts",
}  # fmt: skip
SMALLEST = 8
# of the tolerance: behind a threshold, a model can be off by little at first
STRICT = {torch.float32: 0.1, torch.float64: 0.1}
MANY = 20  # requests for each token of the longest: then trying out its length costs about 1 %


class Lengths:
    """Up to which length rows can be asked.

    Args:
        config: the model's text config.
        find_fault: tries a row of a length and shorter ones beside it; returns what is wrong, or nothing.
        limit: longer rows are known to be wrong, for they do not fit into the model's attention window.
        known: rows up to this length are known to be right.

    Attributes:
        limit: longer rows are wrong; None: none are known that are.
        reason: why there is a limit.
    """

    def __init__(
        self, config: Any, find_fault: Callable[[int], str], limit: int | None = None, known: int = LONGEST
    ) -> None:
        self.config = config
        self.find_fault = find_fault
        self.tried = known
        self.limit = limit
        self.reason = "it does not fit into the attention window" if limit else ""

    def reach(self, longest: int, count: int, room: int) -> int | None:
        """The limit, after it was tried out for rows like these.

        Args:
            longest: tokens of the longest row.
            count: number of rows.
            room: length of the model's context.
        """
        if not self.tried:
            self.tried = min(2 * LONGEST, self.limit or room, room)
            if self.tried >= LONGEST and (fault := self.find_fault(self.tried)):
                self.limit, self.reason = 0, fault
        if self.limit is not None:
            longest, room = min(longest, self.limit), min(room, self.limit)
        thresholds = [each for each in list_thresholds(self.config, longest) if each != self.limit]
        if longest > self.tried and (thresholds or count >= MANY * longest):
            # right behind a threshold, the difference would be small
            self.tried = max(longest, min(room, 2 * thresholds[-1] if thresholds else 0))
            if fault := self.find_fault(self.tried):
                steps = list_steps(thresholds, self.tried)
                self.limit = self.tried = find_limit(lambda length: not self.find_fault(length), steps)
                self.reason = fault
        return self.limit


def find_fault(alone: Alone, engine: Engine, length: int) -> str:
    """What is wrong with an engine's answers to a row of a length and shorter ones beside it."""
    engine = copy.copy(engine)  # what it counts is not what was asked

    def answer(rows: Sequence[Ints], trial: Trial) -> Sequence[float]:
        with alone.memory.kept_fresh():
            return answer_all(engine, trial.queries)

    return find_difference(alone, [LONGEST, LONGEST, length, *list_shorter(length), LONGEST], answer)


def find_padding_fault(alone: Alone, length: int) -> str:
    """What is wrong with the answers to a row of a length and shorter ones in one batch of lm-eval's."""

    def answer(rows: Sequence[Ints], trial: Trial) -> Sequence[float]:
        found: list[float] = alone.ask(rows, together=True).expected.tolist()
        return found

    return find_difference(alone, [length, *list_shorter(length)], answer)


def find_generation_fault(alone: Alone, length: int) -> str:
    """What is wrong with lm-eval's tokens after a row of a length and shorter ones in one batch."""
    rows = make_rows(alone.model, [length, *list_shorter(length)])
    try:
        differences = [
            float((one - other).std() / other.std())
            for one, other in zip(alone.predict(rows), (alone.predict([row])[0] for row in rows), strict=True)
        ]
    except Exception as error:  # the model's own code can raise anything
        return describe(error)
    if max(differences) <= alone.tolerance:
        return ""
    return f"its logits differ by {max(differences):.1%} in a batch"


def list_shorter(length: int) -> list[int]:
    """Lengths of rows that a longer one could disturb: beyond the same threshold as it, and before any."""
    return [max(LONGEST, length * 3 // 4), LONGEST]


def find_difference(
    alone: Alone, lengths: Sequence[int], answer: Callable[[Sequence[Ints], Trial], Sequence[float]]
) -> str:
    rows = make_rows(alone.model, lengths)
    try:
        trial = alone.ask(rows)
        difference = trial.measure(answer(rows, trial), parts=len(rows))
    except Exception as error:  # the model's own code can raise anything
        return describe(error)
    if difference <= alone.tolerance * STRICT.get(alone.model.dtype, 1.0):
        return ""
    return f"answers differ by {difference:.2%} of their standard deviation"


def find_limit(is_right: Callable[[int], bool], steps: Sequence[int]) -> int:
    """The largest length that is known to be right.

    Args:
        is_right: tries a length; what is wrong at one is wrong at all longer ones.
        steps: lengths to try, ascending.
    """
    wrong = bisect_left(steps, True, key=lambda length: not is_right(length))
    return steps[wrong - 1] if wrong else LONGEST


def list_steps(thresholds: Sequence[int], wrong: int) -> list[int]:
    """The last lengths before something could change, and some others if it is none of these, ascending."""
    steps = {step for each in thresholds for step in (each - 1, each)}
    steps |= {1 << power for power in range(wrong.bit_length())}
    return sorted(step for step in steps if LONGEST < step < wrong)


def list_thresholds(config: Any, longest: int) -> list[int]:
    """Numbers in a config that could make up a length which rows of ``longest`` tokens reach, ascending.

    A small one could count blocks, or be a block's size.
    """
    numbers = set(list_numbers(config.to_dict()))
    return sorted(number for number in numbers if SMALLEST <= number <= longest)


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
