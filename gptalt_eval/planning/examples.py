"""Where a prompt's few-shot examples come from, by the rules of lm-eval's ConfigurableTask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SPLITS = ("training_split", "validation_split", "test_split")  # in the order in which lm-eval looks
DEFAULT_SAMPLER = "default"


@dataclass(frozen=True)
class ExamplePool:
    """The rows among which lm-eval chooses the examples of a prompt.

    Attributes:
        split: the split that they are; None: they are written out, or there are none.
        written: how many ``fewshot_config: samples`` writes out; None: none, or a function makes them.
        named: whether the definition names the split for examples.
        sampler: ``default`` draws, ``first_n`` takes the first; empty: a class of the task's own.
        is_scored: whether they are the rows that are scored.
        leaves_out: whether lm-eval leaves the scored row out. The default sampler then draws one more than
            is shown, even if the examples are other rows.
    """

    split: str | None
    written: int | None
    named: bool
    sampler: str
    is_scored: bool
    leaves_out: bool

    @property
    def shows_own_answer(self) -> bool:
        """Whether the scored row can be among its own examples."""
        return self.is_scored and not self.leaves_out

    def count_usable(self, rows: int) -> int:
        """The largest number of examples that a prompt can have, from a pool of ``rows`` rows."""
        one_less = self.leaves_out and (self.sampler == DEFAULT_SAMPLER or self.is_scored)
        return max(rows - one_less, 0)


def find_pool(config: Mapping[str, Any]) -> ExamplePool:
    """The pool of a task's merged YAML, as lm-eval 0.4.13 finds it.

    lm-eval leaves the scored row out if the split named for examples equals ``test_split``; that is also so
    if neither is given.
    """
    fewshot = config.get("fewshot_config")
    fewshot = fewshot if isinstance(fewshot, Mapping) else {}
    named = fewshot["split"] if "split" in fewshot else config.get("fewshot_split")
    samples = fewshot.get("samples") if named is None else None
    split = named if named is not None or samples is not None else find_first_split(config, SPLITS)
    is_scored = split is not None and split == find_first_split(config, ("test_split", "validation_split"))
    sampler = fewshot.get("sampler", DEFAULT_SAMPLER)
    made = config.get("process_docs")
    is_changed = (
        named is not None and fewshot.get("process_docs", made) != made
    )  # no row equals the scored one
    return ExamplePool(
        str(split) if split is not None else None,
        len(samples) if isinstance(samples, list) else None,
        named is not None,
        sampler if isinstance(sampler, str) else "",
        is_scored,
        named == config.get("test_split") and not is_changed,
    )


def find_first_split(config: Mapping[str, Any], keys: tuple[str, ...]) -> str | None:
    return next((str(config[key]) for key in keys if config.get(key)), None)
