"""Log-probabilities from a few logits at a time, with less rounding error than the logits have.

Logits of the whole vocabulary for every token would take more memory than everything else. Where they are
plain products of the last hidden states, the model does not compute them; they are computed here in blocks:
in half precision, all rows with a slice of the vocabulary, because a CPU multiplies this twice as fast as a
few rows with all of it; otherwise a few rows at a time.

In bfloat16, a logit of 16 is rounded to a sixteenth. Only few logits are needed exactly, so they are computed
again in float32; the others only enter a sum, in which their rounding errors cancel.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.nn.functional import linear

from gptalt_eval.scoring.residual import HALF
from gptalt_eval.scoring.tree import Ints

CACHED = 1 << 20  # logits that are read at a time on a CPU, so that they stay in its cache
WIDTH = 256  # of the parts in which the highest logit is searched for
WIDE = 2048  # slices are a multiple of this: others ran at two thirds of the speed
Figures = tuple[torch.Tensor, torch.Tensor]  # [S] each: log-probabilities, and whether most likely


class Head:
    """A model's output embeddings.

    Args:
        model: a causal transformers model, in evaluation mode.
        autocast: makes the context in which the model is called.
        dtype: type of the log-softmax.
        token: a row that the model takes.

    Attributes:
        plain: whether the model returns the output embeddings' products as they are, not scaled or capped.
    """

    def __init__(
        self,
        model: Any,
        autocast: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext,
        dtype: torch.dtype = torch.float32,
        token: int = 0,
    ) -> None:
        self.module = model.get_output_embeddings()
        self.autocast = autocast
        self.dtype = dtype
        self.hidden: torch.Tensor | None = None  # [..., hidden size]
        self.plain = isinstance(self.module, torch.nn.Module) and self.is_last(model, token)

    def is_last(self, model: Any, token: int) -> bool:
        """Whether a model returns the output embeddings' result unchanged."""
        made: list[Any] = []
        handle = self.module.register_forward_hook(lambda _, given, output: made.append((given, output)))
        try:
            with torch.no_grad(), self.autocast():
                device = model.get_input_embeddings().weight.device
                logits = model(torch.tensor([[token]], device=device)).logits
        finally:
            handle.remove()
        return len(made) == 1 and len(made[0][0]) == 1 and made[0][1] is logits

    @contextlib.contextmanager
    def withhold(self) -> Iterator[None]:
        """Make the model compute only one row of logits, and keep the hidden states of the others."""
        if not self.plain:
            yield
            return

        def take(_: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
            self.hidden = given[0]
            return (given[0][..., :1, :],)

        # takes it before it is rounded for the product, if it is float32
        handle = self.module.register_forward_pre_hook(take, prepend=True)
        try:
            yield
        finally:
            handle.remove()

    def read(self, logits: torch.Tensor, rows: Ints, targets: Ints, rows_at_once: int) -> tuple[Any, Any]:
        """Log-probabilities of targets, and whether each is its row's most likely token.

        Args:
            logits: [..., vocabulary] as the model returned them; of only one row if they were withheld.
            rows: [S] each target's row, ascending.
            targets: [S] token ids.
            rows_at_once: number of rows that are computed at once, if they were withheld.

        Returns:
            [S] float64 and [S] bool, as numpy arrays.
        """
        hidden, self.hidden = self.hidden, None
        if not len(rows):
            return np.zeros(0), np.zeros(0, dtype=bool)
        pairs, inverse = np.unique(np.stack([rows, targets]), axis=1, return_inverse=True)
        if hidden is None:
            found = [self.read_rows(logits.reshape(-1, logits.shape[-1]), pairs)]
        else:
            needed, pairs[0] = np.unique(pairs[0], return_inverse=True)
            hidden = hidden.reshape(-1, hidden.shape[-1])[torch.from_numpy(needed).to(hidden.device)]
            if self.is_rounded(logits):
                found = [self.read_slices(hidden, pairs, rows_at_once)]
            else:
                found = list(self.read_blocks(hidden.to(logits.dtype), pairs, rows_at_once))
        values, likely = (torch.cat(column).cpu().numpy() for column in zip(*found, strict=True))
        return values[inverse.ravel()], likely[inverse.ravel()]

    def read_blocks(self, hidden: torch.Tensor, pairs: Ints, rows_at_once: int) -> Iterator[Figures]:
        """Like ``read_rows``, from hidden states [U, hidden size], a few rows at a time."""
        begins = range(0, len(hidden), rows_at_once)
        for begin, block in zip(begins, hidden.split(rows_at_once), strict=True):
            low, high = np.searchsorted(pairs[0], (begin, begin + rows_at_once))
            with self.autocast():
                logits = self.module(block)
            yield self.read_rows(logits, np.stack([pairs[0, low:high] - begin, pairs[1, low:high]]))

    def read_rows(self, logits: torch.Tensor, pairs: Ints) -> Figures:
        """Results for distinct pairs of row and token.

        Args:
            logits: [U, vocabulary].
            pairs: [2, S] rows (ascending) and token ids.
        """
        best, _, total = self.sum_up(logits)
        row, token = (torch.from_numpy(column).to(logits.device) for column in pairs)
        found = logits[row, token]
        return (found.to(self.dtype) - total[row]).double(), found == best[row]

    def read_slices(self, hidden: torch.Tensor, pairs: Ints, rows_at_once: int) -> Figures:
        """Like ``read_rows``, from [U, hidden size], with as many logits at a time as that many rows have."""
        weight, bias = self.module.weight, self.module.bias
        rounded_hidden = hidden.to(weight.dtype)
        words = rows_at_once * len(weight) // len(hidden)
        words = max(WIDTH, words // WIDE * WIDE or words // WIDTH * WIDTH)
        row, token = (torch.from_numpy(column).to(hidden.device) for column in pairs)
        rounded = rounded_hidden.new_empty(len(row))
        slices = []
        for begin in range(0, len(weight), words):
            part = slice(begin, begin + words)
            logits = linear(rounded_hidden, weight[part], None if bias is None else bias[part])
            within = (token >= part.start) & (token < part.stop)
            rounded[within] = logits[row[within], token[within] - begin]
            best, word, total = self.sum_up(logits)
            slices.append((best, word + begin, total))
        highest, words_of, totals = (torch.stack(column) for column in zip(*slices, strict=True))
        best, place = highest.max(0)
        word, total = words_of.gather(0, place[None])[0], totals.logsumexp(0)
        values = rounded.to(self.dtype) - total[row]
        # a row's most likely token has the largest weight in its sum, even if it is not a target
        untargeted = torch.ones(len(hidden), dtype=torch.bool, device=hidden.device)
        untargeted[row[token == word[row]]] = False
        every = torch.cat([row, untargeted.nonzero()[:, 0]])
        exact = self.multiply(hidden[every], torch.cat([token, word[untargeted]]))
        untargeted_values = best[untargeted].to(self.dtype) - total[untargeted]
        known = (torch.cat([values, untargeted_values]), torch.cat([rounded, best[untargeted]]))
        values = sharpen(*known, exact, every, len(hidden))[: len(row)]
        return values.double(), rounded == best[row]

    def sum_up(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """For each row [U]: the highest logit, its token, and the log-sum-exp."""
        size = max(1, CACHED // logits.shape[-1]) if logits.device.type == "cpu" else len(logits)
        found = []
        for rows in logits.split(size):
            best, word = find_highest(rows)
            high = best.to(self.dtype)
            if rows.dtype in HALF:
                total = rows.to(self.dtype, copy=True).sub_(high[:, None]).exp_().sum(-1).log() + high
            else:  # as lm-eval does: its sum of 50,000 terms is off by 1e-5, which is visible in long texts
                total = high - rows.to(self.dtype).log_softmax(-1).gather(-1, word[:, None])[:, 0]
            found.append((best, word, total))
        best, word, total = (torch.cat(column) for column in zip(*found, strict=True))
        return best, word, total

    def is_rounded(self, logits: torch.Tensor) -> bool:
        """Whether logits are rounded and can be computed exactly: not with quantized or adapted weights."""
        if logits.dtype not in HALF or type(self.module) is not torch.nn.Linear:
            return False
        weight = self.module.weight  # on another device if weights are loaded for each call
        return bool(weight.dtype == logits.dtype and weight.device == logits.device)

    def multiply(self, hidden: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Logits [S] in float32: of one token for each row of [S, hidden size]."""
        products = (hidden.float() * self.module.weight[tokens].float()).sum(-1)
        return products if self.module.bias is None else products + self.module.bias[tokens].float()


def find_highest(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The highest value of each row and its first index, like ``rows.max(-1)``.

    On a CPU, torch finds the value alone four times as fast, so its index is searched for in a small part.
    """
    if rows.device.type != "cpu" or rows.shape[-1] < WIDTH:
        best, word = rows.max(-1)
        return best, word
    whole = rows.shape[-1] // WIDTH * WIDTH
    parts = rows[:, :whole].unflatten(-1, (-1, WIDTH))
    best, part = parts.amax(-1).max(-1)
    word = part * WIDTH + parts[torch.arange(len(rows)), part].argmax(-1)
    if whole < rows.shape[-1]:
        last, place = rows[:, whole:].max(-1)
        word = torch.where(last > best, whole + place, word)
        best = torch.maximum(best, last)
    return best, word


def sharpen(
    logprobs: torch.Tensor, rounded: torch.Tensor, exact: torch.Tensor, row: torch.Tensor, rows: int
) -> torch.Tensor:
    """Log-probabilities after some logits are replaced by more exact ones, also in their row's sum.

    Args:
        logprobs: [S] computed from the rounded logits.
        rounded, exact: [S] logits.
        row: [S] each logit's row; no token appears twice in one row.
        rows: number of rows.
    """
    change = exact.to(logprobs.dtype) - rounded
    # with p the probabilities, a row's sum of exponentials grows by the factor 1 + sum of p * (e^change - 1)
    growth = torch.zeros(rows, dtype=logprobs.dtype, device=logprobs.device)
    growth.index_add_(0, row, logprobs.exp() * change.expm1())
    return logprobs + change - growth.log1p()[row]
