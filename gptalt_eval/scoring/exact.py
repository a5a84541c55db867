"""The first layers of a model in float32: shows faults of its code that rounding in half precision hides."""

from __future__ import annotations

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
    layers = find_layers(unwrap(alone.model))
    if layers is None or find_precision(alone.model, alone.autocast) not in HALF:
        return None
    count = count_layers(layers)
    try:
        # what is copied already is not copied again
        copied: dict[int, Any] = {}  # so that the layers have the config of the copy, not one of their own
        copied[id(layers)] = torch.nn.ModuleList(copy.deepcopy(layer, copied) for layer in layers[:count])
        made = copy.deepcopy(alone.memory.model, copied).float()
        shorten(made.config, len(layers), count)
        return alone.ask_instead(made.eval())
    except Exception:  # the model's own code can raise anything
        return None


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
