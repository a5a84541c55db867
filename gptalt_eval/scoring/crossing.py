"""Models whose tokens see pictures by cross-attention: each token the nearest picture before it."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch

from gptalt_eval.scoring.tree import Ints


class Crossing(Protocol):
    """How a model's forward is given encoded pictures, and which of them each token sees."""

    def encode(self, inputs: Mapping[str, torch.Tensor]) -> Sequence[torch.Tensor]:
        """What is seen of each picture, [vectors, size]."""

    def give(self, states: Sequence[torch.Tensor], seen: Ints) -> dict[str, torch.Tensor]:
        """Arguments of the forward.

        Args:
            states: what is seen of some pictures.
            seen: [B, T] the index among these of the picture that each token sees; -1: none.
        """


class SeenByIndex:
    """A model that takes ``image_features`` and ``seen``, as those of plugins do."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def encode(self, inputs: Mapping[str, torch.Tensor]) -> Sequence[torch.Tensor]:
        made: Sequence[torch.Tensor] = self.model.get_image_features(**inputs).pooler_output
        return made

    def give(self, states: Sequence[torch.Tensor], seen: Ints) -> dict[str, torch.Tensor]:
        if not states:
            return {}
        return {"image_features": repeat(states, len(seen)), "seen": torch.from_numpy(seen)}


class SeenByMask:
    """Idefics, which takes what its perceiver makes of pictures, and insists on it."""

    def __init__(self, model: Any) -> None:
        self.inner = model.model
        config = model.config
        self.blank = (config.perceiver_config.resampler_n_latents, config.vision_config.embed_dim)

    def encode(self, inputs: Mapping[str, torch.Tensor]) -> Sequence[torch.Tensor]:
        pixels = inputs["pixel_values"].flatten(0, 1)
        patches = self.inner.vision_model(pixel_values=pixels).last_hidden_state
        made: Sequence[torch.Tensor] = self.inner.perceiver_resampler(patches)
        return made

    def give(self, states: Sequence[torch.Tensor], seen: Ints) -> dict[str, torch.Tensor]:
        known = states or [torch.zeros(self.blank, dtype=self.inner.dtype)]
        visible = torch.from_numpy(seen)[..., None] == torch.arange(len(known))
        return {"perceiver_embeddings": repeat(known, len(seen)), "image_attention_mask": visible.long()}


def repeat(states: Sequence[torch.Tensor], rows: int) -> torch.Tensor:
    """The same pictures for each row: [rows, pictures, vectors, size]."""
    return torch.stack(list(states)).expand(rows, -1, -1, -1)


@contextlib.contextmanager
def filling(model: Any, crossing: Crossing | None) -> Iterator[None]:
    """While this lasts, a model that insists on pictures is told that a text has none."""

    def fill(_: Any, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        assert crossing
        ids = given[0] if given else named["input_ids"]
        blank = crossing.give((), np.full(tuple(ids.shape), -1))
        return given, {**{name: value.to(ids.device) for name, value in blank.items()}, **named}

    handle = model.register_forward_pre_hook(fill, with_kwargs=True) if crossing else None
    try:
        yield
    finally:
        if handle:
            handle.remove()


def find_crossing(model: Any) -> Crossing | None:
    """How a model is given pictures for its cross-attention; None: it reads them among tokens."""
    takes = inspect.signature(model.forward).parameters.keys()
    if {"image_features", "seen"} <= takes and getattr(model.config, "attend_previous", True):
        return SeenByIndex(model)
    if {"perceiver_embeddings", "image_attention_mask"} <= takes and model.config.use_resampler:
        return SeenByMask(model)
    return None
