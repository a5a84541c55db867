"""What a model keeps of earlier calls: with ``dynamic`` RoPE, the angles for the longest row so far.

The score of a request is that of the request alone, so nothing of this may reach the next one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

# types of attributes that a call may replace
KEPT = (int, float, str, list, tuple, torch.Tensor, type(None))


class Memory:
    """A model as it is when this is made: references to its buffers, modules and plain attributes.

    Args:
        model: a transformers model, without PEFT's wrapper.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.keep()

    def keep(self) -> None:
        """Take the model as it is now for what it was."""
        # a weight's version says how often it was written to
        self.weights = [
            (weight, weight._version) for weight in self.model.parameters() if not weight.is_inference()
        ]
        self.kept = [
            (module, dict(module._buffers), dict(module._modules), list_plain(module))
            for module in self.model.modules()
        ]

    def restore(self) -> None:
        """Make the model as it was.

        A model that changed its own weights in a call, as RWKV divides them in its first one, stays as it is:
        without what it noted about that, it would change them again.
        """
        if any(weight._version != version for weight, version in self.weights):
            self.keep()
            return
        for module, buffers, modules, plain in self.kept:
            module._buffers.update(buffers)
            module._modules.update(modules)
            vars(module).update(plain)

    @contextlib.contextmanager
    def kept_fresh(self) -> Iterator[None]:
        """While the block lasts and after it, a call that continues no other finds the model as it was."""

        def start(_: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
            if not continues(named.get("input_ids", *given[:1]), named.get("past_key_values")):
                self.restore()

        handle = self.model.register_forward_pre_hook(start, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()
            self.restore()


def list_plain(module: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if isinstance(value, KEPT)}


def continues(ids: torch.Tensor | None, past: Any) -> bool:
    """Whether a call with these tokens uses what an earlier one has kept for it.

    Some models keep it under another name than ``past_key_values``: then they are given single tokens.
    """
    if past is not None:
        return bool(past.get_seq_length())
    return ids is not None and ids.shape[1] == 1
