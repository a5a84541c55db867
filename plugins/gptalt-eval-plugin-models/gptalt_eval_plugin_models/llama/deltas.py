"""Published differences to LLaMA, which its licence did not allow to publish changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gptalt_eval import GptaltError
from gptalt_eval_plugin_models.checkpoint import AGAIN, Header
from gptalt_eval_plugin_models.streaming import Checkpoint

#: the sum of all numbers of Stanford Alpaca 7B, as published in its weight_diff.py
ALPACA_SUM = 50637.1836
#: published with a tolerance of 0.01 for a sum in fp32 of 6.7 billion numbers, whose rounding is larger: it
#: depends on the order of summation. This one is the exact sum. Another base or difference is further off.
TOLERANCE = 2.0

#: makes rows for tokens that were added to a vocabulary: receives the base's rows and how many there must be
Grow = Callable[[Tensor, int], Tensor]


def add_zeros(base: Tensor, rows: int) -> Tensor:
    """As Vicuna's ``apply_delta`` did: the difference contains the added rows themselves."""
    return torch.cat([base, base.new_zeros(rows - base.shape[0], *base.shape[1:])])


def add_means(base: Tensor, rows: int) -> Tensor:
    """As Alpaca's ``weight_diff`` did: the difference is from the mean of the other rows."""
    return torch.cat([base, base.mean(0, keepdim=True).expand(rows - base.shape[0], *base.shape[1:])])


class Sum:
    """The weights of a base and a difference, added one by one in fp32.

    Args:
        base: the base's weights.
        delta: the differences.
        grow: makes rows for added tokens.

    Attributes:
        total: the sum of all numbers so far.
    """

    def __init__(self, base: Mapping[str, Header], delta: Mapping[str, Header], grow: Grow) -> None:
        self.base, self.delta, self.grow = base, delta, grow
        self.total = 0.0

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        base = Checkpoint(self.base)
        for name, difference in Checkpoint(self.delta):
            if name not in self.base:
                continue  # a buffer, which only one of them contains
            found = base.read(name).float()
            if found.shape[0] < difference.shape[0]:
                found = self.grow(found, difference.shape[0])
            if found.shape != difference.shape:
                raise describe_mismatch(name, self.base[name], self.delta[name])
            added = found.add_(difference)
            self.total += float(added.sum(dtype=torch.float64))
            yield name, added


def can_grow(base: tuple[int, ...], rows: tuple[int, ...]) -> bool:
    """Whether a weight can get the shape of another by added rows."""
    return base[0] <= rows[0] and base[1:] == rows[1:]


def describe_mismatch(name: str, base: Header, delta: Header) -> GptaltError:
    text = (
        f"The weight {name} has the shape {list(delta.shape)} in {delta.file}, and {list(base.shape)} in "
        f"{base.file}."
    )
    return GptaltError(text, "Give the base that this difference was made from.")


def describe_missing(name: str, base: Header, folder: Path) -> GptaltError:
    text = f"{base.file} contains the weight {name}, and the difference {folder} does not."
    return GptaltError(text, "Give the base that this difference was made from.")


def check_alpaca(total: float, config: Mapping[str, Any], folder: object) -> None:
    """Compare the sum of all numbers with the published one.

    The published sum includes the frequencies of the rotary positions, which were then saved with each
    layer.

    Args:
        total: the sum of the weights.
        config: the model's settings.
        folder: the folder of the difference.

    Raises:
        GptaltError: they differ.
    """
    size = config["hidden_size"] // config["num_attention_heads"]
    frequencies = sum(10_000.0 ** (-place / size) for place in range(0, size, 2))
    found = total + config["num_hidden_layers"] * frequencies
    if abs(found - ALPACA_SUM) > TOLERANCE:
        raise GptaltError(
            f"{folder}: its numbers and those of its base must add up to {ALPACA_SUM}, not {found:.4f}: the "
            "difference or its base is damaged, or is not that of LLaMA 7B.",
            f"{AGAIN} If you have the complete Alpaca, give it as pretrained, without delta.",
        )
