"""The settings and layers of Otter."""

from __future__ import annotations

from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
)
from transformers.configuration_utils import PreTrainedConfig
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

from gptalt_eval_plugin_models.otter.seen import ALONE

GROWTH = 4  # of the feed-forward layers
CROSS_HEADS, CROSS_SIZE = 8, 64  # of all published models


@strict
class OtterConfig(PreTrainedConfig):
    """The settings of Otter.

    Attributes:
        vision_config, text_config: those of its CLIP and its LLaMA.
        media_token_id: the id of a picture's place in a text.
        cross_attn_every_n_layers: how far apart the layers are that look at pictures.
        attend_previous: whether a token sees the last picture before it; else the next one after it, and
            rows without pictures skip what looks at them, as in OpenFlamingo's first release.
        perceiver_latents, perceiver_layers, perceiver_heads, perceiver_head_size: sizes of the perceiver.
    """

    model_type = "otter"
    sub_configs = {"vision_config": CLIPVisionConfig, "text_config": LlamaConfig}  # noqa: RUF012

    vision_config: Any = None
    text_config: Any = None
    media_token_id: int = 32_001
    cross_attn_every_n_layers: int = 4
    attend_previous: bool = True
    perceiver_latents: int = 64
    perceiver_layers: int = 6
    perceiver_heads: int = 8
    perceiver_head_size: int = 64


def make_feed_forward(size: int) -> nn.Sequential:
    inner = GROWTH * size
    layers = (nn.Linear(size, inner, bias=False), nn.GELU(), nn.Linear(inner, size, bias=False))
    return nn.Sequential(nn.LayerNorm(size), *layers)


class Look(nn.Module):
    """Attention of some vectors to others.

    Args:
        size: of the vectors that look, and of the result.
        seen: of the vectors that are seen.
        heads, head_size: their number and size.
    """

    def __init__(self, size: int, seen: int, heads: int, head_size: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(size, heads * head_size, bias=False)
        self.to_kv = nn.Linear(seen, 2 * heads * head_size, bias=False)
        self.to_out = nn.Linear(heads * head_size, size, bias=False)

    def look(self, looking: Tensor, seen: Tensor, visible: Tensor | None = None) -> Tensor:
        """What [batch, length, size] sees of [batch, keys, seen]; visible: [batch, 1, length, keys]."""
        key, value = self.to_kv(seen).chunk(2, -1)
        query, key, value = (
            each.unflatten(-1, (self.heads, -1)).transpose(1, 2) for each in (self.to_q(looking), key, value)
        )
        found = functional.scaled_dot_product_attention(query, key, value, attn_mask=visible)
        return found.transpose(1, 2).flatten(2)


class PerceiverLayer(Look):
    def __init__(self, config: OtterConfig) -> None:
        size = config.vision_config.hidden_size
        super().__init__(size, size, config.perceiver_heads, config.perceiver_head_size)
        self.norm_media, self.norm_latents = nn.LayerNorm(size), nn.LayerNorm(size)
        self.feed_forward = make_feed_forward(size)

    def forward(self, patches: Tensor, latents: Tensor) -> Tensor:
        normed = self.norm_latents(latents)
        seen = torch.cat([self.norm_media(patches), normed], 1)
        latents = latents + self.to_out(self.look(normed, seen))
        return latents + self.feed_forward(latents)


class Perceiver(nn.Module):
    """Makes a few vectors of a picture's patches."""

    def __init__(self, config: OtterConfig) -> None:
        super().__init__()
        size = config.vision_config.hidden_size
        self.latents = nn.Parameter(torch.zeros(config.perceiver_latents, size))
        self.layers = nn.ModuleList(PerceiverLayer(config) for _ in range(config.perceiver_layers))
        self.norm = nn.LayerNorm(size)

    def forward(self, patches: Tensor) -> Tensor:
        latents = self.latents.expand(len(patches), -1, -1)
        for layer in self.layers:
            latents = layer(patches, latents)
        return self.norm(latents)


class GatedLook(Look):
    """Adds what a token sees of its picture; one without a picture goes through the second part only."""

    def __init__(self, config: OtterConfig) -> None:
        size, seen = config.text_config.hidden_size, config.vision_config.hidden_size
        super().__init__(size, seen, CROSS_HEADS, CROSS_SIZE)
        self.norm = nn.LayerNorm(size)
        self.skips = not config.attend_previous
        self.attn_gate, self.ff_gate = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
        self.feed_forward = make_feed_forward(size)

    def forward(self, states: Tensor, pictures: Tensor | None, seen: Tensor | None) -> Tensor:
        """Args: pictures: [batch, pictures, vectors, size]; seen: [batch, length]: see ``find_seen``."""
        given = states
        if pictures is not None and seen is not None and pictures.shape[1]:
            _, count, vectors, _ = pictures.shape
            owners = torch.arange(count, device=states.device).repeat_interleave(vectors)
            visible = seen[..., None] == owners
            blind = ~visible.any(-1, keepdim=True)
            keys = pictures.flatten(1, 2).to(self.to_kv.weight.dtype)
            found = self.look(self.norm(states), keys, (visible | blind)[:, None])
            states = states + self.to_out(found.masked_fill(blind, 0.0)) * self.attn_gate.tanh()
        states = states + self.feed_forward(states) * self.ff_gate.tanh()
        if not self.skips or seen is None:
            return states
        return torch.where(seen[..., None] == ALONE, given, states)


class GatedLayer(LlamaDecoderLayer):
    """A layer of LLaMA, with what comes before it in some of them."""

    def __init__(self, config: OtterConfig, number: int) -> None:
        super().__init__(config.text_config, number)
        looks = (number + 1) % config.cross_attn_every_n_layers == 0
        self.gated_cross_attn_layer = GatedLook(config) if looks else None

    def forward(
        self, hidden_states: Tensor, *given: Any, pictures: Any = None, seen: Any = None, **named: Any
    ) -> Any:
        if self.gated_cross_attn_layer is not None:
            hidden_states = self.gated_cross_attn_layer(hidden_states, pictures, seen)
        return super().forward(hidden_states, *given, **named)
