"""Log-probabilities read off a model's logits, with less rounding than the logits have.

A logit of 16 is rounded to a sixteenth in bfloat16. Few of them are asked for, so their last product is done
again in float32; the rest only enter a sum, in which their roundings cancel.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gptalt_eval.scoring.tree import Ints

HALF = (torch.bfloat16, torch.float16)
ROWS = 16  # of logits at a time: in float32, with 250,000 words, 16 MB


@dataclass
class Head:
    """What a model's output embeddings were given, and what they gave."""

    module: Any
    inputs: Any = None  # [..., hidden]
    outputs: Any = None  # [..., vocabulary]

    def multiply(self, logits: torch.Tensor, rows: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor | None:
        """Logits [S] of tokens in rows, in float32; None: not plain products, or not rounded."""
        if self.outputs is not logits or logits.dtype not in HALF:
            return None  # scaled or capped logits are another tensor than the head's
        if type(self.module) is not torch.nn.Linear or self.module.weight.dtype != logits.dtype:
            return None  # quantized, or an adapter's
        weight: torch.Tensor = self.module.weight
        hidden = self.inputs.reshape(-1, self.inputs.shape[-1])[rows].float()
        products = (hidden * weight[tokens].float()).sum(-1)
        return products if self.module.bias is None else products + self.module.bias[tokens].float()


@contextlib.contextmanager
def watch_head(model: Any) -> Iterator[Head]:
    """Notes what passes through the model's output embeddings while this lasts."""
    module = model.get_output_embeddings()
    head = Head(module)

    def note(_: Any, given: tuple[Any, ...], output: Any) -> None:
        head.inputs, head.outputs = given[0], output

    handle = module.register_forward_hook(note) if isinstance(module, torch.nn.Module) else None
    try:
        yield head
    finally:
        if handle is not None:
            handle.remove()


def read_logits(
    logits: torch.Tensor, rows: Ints, targets: Ints, dtype: torch.dtype, head: Head | None = None
) -> tuple[Any, Any]:
    """Log-probabilities of targets, and whether each is its row's most likely token.

    Args:
        logits: [..., vocabulary]: U rows.
        rows: [S] ascending, of which row each target is read.
        targets: [S] token ids.
        dtype: to compute in.
        head: where the logits come from.

    Returns:
        [S] float64 and [S] bool, as numpy arrays.
    """
    if not len(rows):
        return np.zeros(0), np.zeros(0, dtype=bool)
    pairs, inverse = np.unique(np.stack([rows, targets]), axis=1, return_inverse=True)
    row, token = (torch.from_numpy(column).to(logits.device) for column in pairs)
    flat = logits.reshape(-1, logits.shape[-1])
    found: list[tuple[torch.Tensor, ...]] = []
    for begin in range(0, len(flat), ROWS):
        low, high = np.searchsorted(pairs[0], (begin, begin + ROWS))
        block = flat[begin : begin + ROWS].to(dtype)
        logprobs = block.log_softmax(-1)
        at = (row[low:high] - begin, token[low:high])
        best, word = block.max(-1)
        found.append((block[at], logprobs[at], best, word, logprobs.gather(-1, word[:, None])[:, 0]))
    rounded, values, best, word, highest = (torch.cat(column) for column in zip(*found, strict=True))
    if head is not None:
        # a row's likeliest token weighs most in its sum, asked for or not
        unasked = torch.ones(len(flat), dtype=torch.bool, device=logits.device)
        unasked[row[token == word[row]]] = False
        every = torch.cat([row, unasked.nonzero()[:, 0]])
        exact = head.multiply(logits, every, torch.cat([token, word[unasked]]))
        if exact is not None:
            known = (torch.cat([values, highest[unasked]]), torch.cat([rounded, best[unasked]]))
            values = sharpen(*known, exact, every, len(flat))[: len(row)]
    inverse = inverse.ravel()
    likely = rounded == best[row]
    return values.double().cpu().numpy()[inverse], likely.cpu().numpy()[inverse]


def sharpen(
    logprobs: torch.Tensor, rounded: torch.Tensor, exact: torch.Tensor, row: torch.Tensor, rows: int
) -> torch.Tensor:
    """Log-probabilities after some logits of a row are replaced by more exact ones, in its sum too.

    Args:
        logprobs: [S] from the rounded logits.
        rounded, exact: [S] logits.
        row: [S] of which row; no token twice in one.
        rows: their number.
    """
    change = exact.to(logprobs.dtype) - rounded
    # with p the probabilities, a row's sum of exponentials grows by the factor 1 + sum of p * (e^change - 1)
    growth = torch.zeros(rows, dtype=logprobs.dtype, device=logprobs.device)
    growth.index_add_(0, row, logprobs.exp() * change.expm1())
    return logprobs + change - growth.log1p()[row]
