"""The first layers of a model in float32: shows faults of its code that rounding in half precision hides."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import torch

from gptalt_eval.scoring.engine import unwrap
from gptalt_eval.scoring.residual import HALF, find_layers
from gptalt_eval.scoring.trial import Alone, find_precision

FEWEST = 2  # layers, of which a state has parts


def make_exact(alone: Alone) -> Alone | None:
    """A model's first layers in float32, with at least one of each kind.

    None: the model is not in half precision, or it cannot be copied so, as quantized weights cannot.
    """
    model = unwrap(alone.model)
    layers = find_layers(model)
    if layers is None or find_precision(alone.model, alone.autocast) not in HALF:
        return None
    count = count_layers(layers)
    try:
        # what is copied already is not copied again
        first = torch.nn.ModuleList(copy.deepcopy(layer) for layer in layers[:count])
        made = copy.deepcopy(model, {id(layers): first}).float()
        shorten(made.config, len(layers), count)
    except Exception:  # the model's own code can raise anything
        return None
    return Alone(made.eval(), contextlib.nullcontext, torch.float32)


def count_layers(layers: torch.nn.ModuleList) -> int:
    """How many of the first layers have among them one of each kind."""
    kinds = [frozenset(type(module) for module in layer.modules()) for layer in layers]
    return min(len(kinds), max(FEWEST, *(kinds.index(kind) + 1 for kind in set(kinds))))


def shorten(config: Any, before: int, count: int) -> None:
    """Make a config that of a model with fewer layers."""
    for each in {id(one): one for one in (config, config.get_text_config())}.values():
        for name, value in list(vars(each).items()):
            if isinstance(value, (list, tuple)) and len(value) == before:
                setattr(each, name, value[:count])
        each.num_hidden_layers = count
