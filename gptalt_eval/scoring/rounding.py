"""How far rounding moves a model's answers, found by rounding more.

Monte Carlo arithmetic (Parker 1997, Monte Carlo Arithmetic: exploiting randomness in floating-point
arithmetic):
random errors as large as those of rounding show how much a computation makes of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from gptalt_eval.scoring.residual import find_layers


@contextlib.contextmanager
def rounding_more(model: Any) -> Iterator[bool]:
    """While the block lasts, each layer's output has random errors of at most its type's unit roundoff.

    Yields:
        whether it has: not if the layers cannot be found.
    """
    layers = find_layers(model)
    # always the same errors, so that a model is always judged alike
    disturb = partial(disturb_output, torch.Generator().manual_seed(0))
    handles = [layer.register_forward_hook(disturb) for layer in layers or ()]
    try:
        yield bool(handles)
    finally:
        for handle in handles:
            handle.remove()


def disturb_output(generator: torch.Generator, _: Any, given: Any, output: Any) -> Any:
    hidden = output[0] if isinstance(output, tuple) else output
    share = torch.finfo(hidden.dtype).eps / 2
    errors = share * (2 * torch.rand(hidden.shape, generator=generator) - 1)
    disturbed = (hidden.float() * (1 + errors.to(hidden.device))).to(hidden.dtype)
    return (disturbed, *output[1:]) if isinstance(output, tuple) else disturbed
