"""What all engines share, independent of how prefixes are shared in the attention."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch

from gptalt_eval.scoring.logits import Head
from gptalt_eval.scoring.residual import widen
from gptalt_eval.scoring.tree import Ints, Query

SMALL = 64  # tokens in a call that every model takes


@dataclass(frozen=True)
class Answer:
    """The answer to one query.

    Attributes:
        query: the query's index.
        logprob: log-probability of its targets, in nats.
        greedy: whether each target is the model's most likely token.
    """

    query: int
    logprob: float
    greedy: bool


@dataclass(frozen=True)
class Progress:
    """The progress of scoring a tree.

    Attributes:
        computed: tokens that went through the model.
        total: tokens that will go through it in total.
        asked: tokens of all queries without sharing.
        seconds: time spent on the computed ones.
    """

    computed: int
    total: int
    asked: int
    seconds: float


class Engine(ABC):
    """Scores queries with one model; each distinct token is computed once.

    Args:
        model: a causal transformers model, in evaluation mode.
        budget: maximum number of tokens in a call, including padding.
        rows: number of rows of logits that are computed at once.
        autocast: makes the context in which the model is called.
        softmax_dtype: type of the log-softmax.
        wide: whether the residual stream is kept in float32.

    Attributes:
        way: the method of sharing prefixes.
        computed: tokens that went through the model.
        largest: tokens of the largest call.
        checked: tokens of the largest call whose answers were compared with those of the model alone.
    """

    way: str
    largest = 0
    checked = 0

    def __init__(
        self,
        model: Any,
        budget: int,
        rows: int,
        autocast: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext,
        softmax_dtype: torch.dtype = torch.float32,
        wide: bool = False,
    ) -> None:
        self.model = model
        self.budget = budget
        self.rows = rows
        self.autocast = autocast
        self.wide = wide
        self.head = Head(model, autocast, softmax_dtype, find_context_end(model) or 0)
        self.device = model.get_input_embeddings().weight.device
        self.computed = 0

    @contextlib.contextmanager
    def calling(self) -> Iterator[None]:
        """The context in which the model is called."""
        widening = widen(self.model) if self.wide else contextlib.nullcontext()
        with self.autocast(), widening, self.head.withhold():
            yield

    @abstractmethod
    def score(
        self,
        queries: Sequence[Query],
        progress: Callable[[Progress], None] = lambda _: None,
        known: Collection[int] = (),
    ) -> Iterator[list[Answer]]:
        """Answer queries, a few at a time, as soon as they are computed.

        Args:
            queries: the queries.
            progress: called after each step.
            known: queries that an earlier call with the same queries answered; they are not answered again.

        Raises:
            torch.OutOfMemoryError: even the smallest possible call needs too much memory.
        """

    def recover(self, error: Exception, tokens: int, parts: int) -> None:
        """Halve the budgets after a call was too large: for the memory, or for a table in the model.

        Args:
            error: what a call of the model raised; re-raised if a smaller call would not help.
            tokens: number of tokens in the call.
            parts: into how many calls it could be divided; if 1, the error is re-raised.
        """
        too_large = is_out_of_memory(error)
        # after an error of the GPU itself, such as a failed assertion, the process cannot use it any more
        is_lost = isinstance(error, torch.AcceleratorError) and not too_large
        if parts == 1 or is_lost or (not too_large and tokens <= SMALL):
            raise error
        self.budget = max(1, min(self.budget, tokens) // 2)
        if too_large:
            self.rows = max(1, self.rows // 2)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


TOO_LARGE = ("not enough memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")


class Tally:
    """Sums up the answers to queries whose targets are computed in several calls."""

    def __init__(self, counts: Ints) -> None:
        """Args: counts: [Q] the number of targets of each query."""
        self.logprob = np.zeros(len(counts))
        self.greedy = np.ones(len(counts), dtype=bool)
        self.missing = counts.copy()

    def add(self, owners: Ints, values: Any, greedy: Any) -> list[Answer]:
        """Add the results of targets, [S] each; returns the answers that are now complete."""
        np.add.at(self.logprob, owners, values)
        np.logical_and.at(self.greedy, owners, greedy)
        np.subtract.at(self.missing, owners, 1)
        done = np.unique(owners[self.missing[owners] == 0])
        return [Answer(int(i), float(self.logprob[i]), bool(self.greedy[i])) for i in done]


@cache
def find_trim() -> Callable[[int], int] | None:
    """glibc's ``malloc_trim``; other C libraries have none."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None


def return_memory() -> None:
    """Return free memory to the operating system.

    A chunk's tensors leave holes that the next chunk's do not fill: without this, the process grew by half.
    """
    trim = find_trim()
    if trim:
        trim(0)


def is_out_of_memory(error: Exception) -> bool:
    """Whether a call needed too much memory: torch's own error, or what a device's libraries say."""
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in TOO_LARGE)


def unwrap(model: Any) -> Any:
    """The model without PEFT's wrapper; a LoRA's weights are in its layers."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def find_context_end(model: Any) -> int | None:
    """The token that ends the context of a prefix-LM; None: each token sees only those before it."""
    end: int | None = getattr(unwrap(model), "context_end_id", None)
    return end
