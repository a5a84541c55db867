"""mPLUG-Owl in the manner of transformers 5: its CLIP and LLaMA, and the abstractor between them.

Published as mPLUG-Owl (Ye et al. 2023).
"""

from __future__ import annotations

from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    GenerationMixin,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)
from transformers.configuration_utils import PreTrainedConfig
from transformers.modeling_outputs import BaseModelOutputWithPooling

from gptalt_eval_plugin_models.pictures.merging import MergesPictures, find_tower


@strict
class MplugOwlConfig(PreTrainedConfig):
    """The settings of mPLUG-Owl.

    Attributes:
        vision_config, text_config: those of its CLIP and its LLaMA.
        num_query_tokens: vectors that a picture becomes; one more marks its end.
        abstractor_size, abstractor_inner, abstractor_layers, abstractor_heads, abstractor_epsilon: sizes of
            the abstractor.
    """

    model_type = "mplug-owl"
    sub_configs = {"vision_config": CLIPVisionConfig, "text_config": LlamaConfig}  # noqa: RUF012

    vision_config: Any = None
    text_config: Any = None
    num_query_tokens: int = 64
    abstractor_size: int = 1024
    abstractor_inner: int = 4096
    abstractor_layers: int = 6
    abstractor_heads: int = 16
    abstractor_epsilon: float = 1e-6


class PreciseNorm(nn.LayerNorm):
    """A layer norm that computes in fp32."""

    def forward(self, states: Tensor) -> Tensor:
        weight, bias = self.weight.float(), self.bias.float()
        normed = functional.layer_norm(states.float(), self.normalized_shape, weight, bias, self.eps)
        return normed.type_as(states)


class AbstractorLayer(nn.Module):
    """Queries look at the picture and at themselves; what is added to are the normed queries."""

    def __init__(self, config: MplugOwlConfig) -> None:
        super().__init__()
        size, inner, seen = config.abstractor_size, config.abstractor_inner, config.vision_config.hidden_size
        self.heads = config.abstractor_heads
        self.norm1, self.normk, self.norm2 = PreciseNorm(size), PreciseNorm(seen), PreciseNorm(size)
        self.query, self.key, self.value = nn.Linear(size, size), nn.Linear(seen, size), nn.Linear(seen, size)
        self.out_proj = nn.Linear(size, size)
        self.w1, self.w2, self.w3 = nn.Linear(size, inner), nn.Linear(inner, size), nn.Linear(size, inner)
        self.ffn_ln = PreciseNorm(inner, eps=config.abstractor_epsilon)

    def forward(self, queries: Tensor, picture: Tensor) -> Tensor:
        queries = self.norm1(queries)
        visible = torch.cat([queries, self.normk(picture)], 1)
        query, key, value = (
            made.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for made in (self.query(queries), self.key(visible), self.value(visible))
        )
        seen = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        queries = queries + self.out_proj(seen)
        normed = self.norm2(queries)
        return queries + self.w2(self.ffn_ln(functional.silu(self.w1(normed)) * self.w3(normed)))


class Abstractor(nn.Module):
    """Makes a few vectors of a picture's patches."""

    def __init__(self, config: MplugOwlConfig) -> None:
        super().__init__()
        hidden = config.text_config.hidden_size
        self.layers = nn.ModuleList(AbstractorLayer(config) for _ in range(config.abstractor_layers))
        self.visual_fc = nn.Linear(config.abstractor_size, hidden)
        self.vit_eos = nn.Parameter(torch.zeros(1, 1, hidden))

    def forward(self, queries: Tensor, picture: Tensor) -> Tensor:
        for layer in self.layers:
            queries = layer(queries, picture)
        return torch.cat([self.visual_fc(queries), self.vit_eos.expand(len(queries), -1, -1)], 1)


class MplugOwlForConditionalGeneration(MergesPictures, PreTrainedModel, GenerationMixin):
    """mPLUG-Owl; a picture has a place for each query, and one for its end."""

    config_class = MplugOwlConfig
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    def __init__(self, config: MplugOwlConfig) -> None:
        super().__init__(config)
        self.slots = config.num_query_tokens + 1
        self.language_model = LlamaForCausalLM._from_config(config.text_config)
        self.vision_model = find_tower(CLIPVisionModel._from_config(config.vision_config))
        self.query_tokens = nn.Parameter(torch.zeros(1, config.num_query_tokens, config.abstractor_size))
        self.abstractor = Abstractor(config)
        self.post_init()

    def get_image_features(self, pixel_values: Tensor, **settings: Any) -> Any:
        pixels = pixel_values.to(self.query_tokens.dtype)
        states = self.vision_model(pixel_values=pixels).last_hidden_state
        patches = self.vision_model.post_layernorm(states)
        features = self.abstractor(self.query_tokens.expand(len(pixels), -1, -1), patches)
        return BaseModelOutputWithPooling(last_hidden_state=patches, pooler_output=features)
