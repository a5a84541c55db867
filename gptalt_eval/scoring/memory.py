"""What a model keeps of earlier calls: with ``dynamic`` RoPE, the angles for the longest row so far.

The score of a request is that of the request alone, so nothing of this may reach the next one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

KEPT = (int, float, list, tuple, torch.Tensor, type(None))  # types of attributes that a call may replace


class Snapshot:
    """A model's buffers and plain attributes: references only, as a call replaces them."""

    def __init__(self, model: Any) -> None:
        self.modules = [
            (
                module,
                dict(module._buffers),
                {name: value for name, value in vars(module).items() if isinstance(value, KEPT)},
            )
            for module in model.modules()
        ]

    def restore(self) -> None:
        for module, buffers, attributes in self.modules:
            module._buffers.update(buffers)
            vars(module).update(attributes)


@contextlib.contextmanager
def keeping_fresh(model: Any) -> Iterator[None]:
    """While the block lasts and after it, a call that continues no other finds the model as it is now.

    Args:
        model: a transformers model, without PEFT's wrapper.
    """
    snapshot = Snapshot(model)

    def start(_: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        if not continues(named.get("input_ids", *given[:1]), named.get("past_key_values")):
            snapshot.restore()

    handle = model.register_forward_pre_hook(start, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
        snapshot.restore()


def continues(ids: torch.Tensor | None, past: Any) -> bool:
    """Whether a call with these tokens uses what an earlier one has kept for it.

    Some models keep it under another name than ``past_key_values``: then they are given single tokens.
    """
    if past is not None:
        return bool(past.get_seq_length())
    return ids is not None and ids.shape[1] == 1
