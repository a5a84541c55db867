"""Keeps a model's residual stream in float32 and its matrix products in half precision.

Every layer adds to the residual stream, and in bfloat16 each addition rounds all of it to eight bits.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

HALF = (torch.bfloat16, torch.float16)


@contextlib.contextmanager
def widen(model: Any) -> Iterator[None]:
    """While the block lasts, the first layer's input is float32, and matrix products round their input.

    Nothing else needs to change: float32 plus half precision is float32. What is computed before the layers,
    such as rotary angles, keeps the model's type, and so do queries and keys.
    """
    cast = Cast()
    layers = find_layers(model)
    assert layers is not None
    handles = [layers[0].register_forward_pre_hook(start, with_kwargs=True)]
    for module in model.modules():
        dtype = find_dtype(module)
        if dtype in HALF:
            handles.append(module.register_forward_pre_hook(partial(cast, dtype)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def find_layers(model: Any) -> torch.nn.ModuleList | None:
    """The layers of the decoder; a vision tower beside it may have as many."""
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else None
    count = getattr(model.config.get_text_config(), "num_hidden_layers", 0)
    lists = (module for module in (decoder or model).modules() if isinstance(module, torch.nn.ModuleList))
    return next((each for each in lists if len(each) == count > 0), None)


def start(_: Any, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Any]:
    if given:
        return (given[0].float(), *given[1:]), named
    return given, named | {"hidden_states": named["hidden_states"].float()}


def find_dtype(module: torch.nn.Module) -> torch.dtype | None:
    """The type in which a module multiplies; None: it does not multiply, or takes any type."""
    for weight in module.parameters(recurse=False):
        if weight.ndim >= 2 or isinstance(module, torch.nn.LayerNorm):
            return weight.dtype
    return None


class Cast:
    """Rounds a module's input; the common input of queries, keys and values is rounded only once."""

    def __init__(self) -> None:
        self.given: torch.Tensor | None = None
        self.rounded: torch.Tensor | None = None

    def __call__(self, dtype: torch.dtype, _: Any, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if not given or not isinstance(given[0], torch.Tensor) or given[0].dtype != torch.float32:
            return None
        if given[0] is not self.given or self.rounded is None or self.rounded.dtype != dtype:
            self.given, self.rounded = given[0], given[0].to(dtype)
        return (self.rounded, *given[1:])


def can_widen(model: Any, autocast: Callable[[], contextlib.AbstractContextManager[Any]]) -> bool:
    """Whether the residual stream can be widened: not if weights are quantized or already float32."""
    with autocast():
        mixed = torch.is_autocast_enabled(model.get_input_embeddings().weight.device.type)
    plain = not mixed and model.dtype in HALF and not getattr(model, "is_quantized", False)
    return plain and find_layers(model) is not None
