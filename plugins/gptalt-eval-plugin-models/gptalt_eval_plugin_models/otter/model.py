"""Otter in the manner of transformers 5: its CLIP, a perceiver, and its LLaMA with gated cross-attention.

Published as Flamingo (Alayrac et al. 2022), OpenFlamingo and Otter (Li et al. 2023).
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
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

from gptalt_eval_plugin_models.otter.seen import PictureCache, find_seen
from gptalt_eval_plugin_models.pictures.merging import find_tower, repeat_pictures

GROWTH = 4  # of the feed-forward layers
CROSS_HEADS, CROSS_SIZE = 8, 64  # of all published models


@strict
class OtterConfig(PreTrainedConfig):
    """The settings of Otter.

    Attributes:
        vision_config, text_config: those of its CLIP and its LLaMA.
        media_token_id: the id of a picture's place in a text.
        cross_attn_every_n_layers: how far apart the layers are that look at pictures.
        attend_previous: whether a token sees the last picture before it; else the next one after it.
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
        self.attn_gate, self.ff_gate = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
        self.feed_forward = make_feed_forward(size)

    def forward(self, states: Tensor, pictures: Tensor | None, seen: Tensor | None) -> Tensor:
        """Args: pictures: [batch, pictures, vectors, size]; seen: [batch, length] each token's, -1: none."""
        if pictures is not None and seen is not None and pictures.shape[1]:
            _, count, vectors, _ = pictures.shape
            owners = torch.arange(count, device=states.device).repeat_interleave(vectors)
            visible = seen[..., None] == owners
            blind = ~visible.any(-1, keepdim=True)
            keys = pictures.flatten(1, 2).to(self.to_kv.weight.dtype)
            found = self.look(self.norm(states), keys, (visible | blind)[:, None])
            states = states + self.to_out(found.masked_fill(blind, 0.0)) * self.attn_gate.tanh()
        return states + self.feed_forward(states) * self.ff_gate.tanh()


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


class OtterForConditionalGeneration(PreTrainedModel, GenerationMixin):
    """Otter; a picture has one place in a text, and the tokens after it see the picture.

    Its own code lets generated tokens see no picture; here, answers do not depend on what is cached.
    """

    config_class = OtterConfig
    main_input_name = "input_ids"
    slots = 1
    _supports_sdpa = True
    _supports_attention_backend = True

    def __init__(self, config: OtterConfig) -> None:
        super().__init__(config)
        text = config.text_config
        self.lang_encoder = LlamaForCausalLM._from_config(text)
        layers = (GatedLayer(config, number) for number in range(text.num_hidden_layers))
        self.lang_encoder.model.layers = nn.ModuleList(layers)
        self.vision_encoder = find_tower(CLIPVisionModel._from_config(config.vision_config))
        self.perceiver = Perceiver(config)
        self.post_init()

    def get_input_embeddings(self) -> Any:
        return self.lang_encoder.get_input_embeddings()

    def get_output_embeddings(self) -> Any:
        return self.lang_encoder.get_output_embeddings()

    def get_decoder(self) -> Any:
        return self.lang_encoder.model

    def get_image_features(self, pixel_values: Tensor, **settings: Any) -> Any:
        """Encode pictures [pictures, 3, height, width]; ``pooler_output`` is [pictures, vectors, size]."""
        pixels = pixel_values.to(self.perceiver.latents.dtype)
        patches = self.vision_encoder(pixel_values=pixels).last_hidden_state[:, 1:]
        return BaseModelOutputWithPooling(last_hidden_state=patches, pooler_output=self.perceiver(patches))

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        pixel_values: Tensor | None = None,
        image_features: Tensor | None = None,
        seen: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        **settings: Any,
    ) -> Any:
        """The language model's answer.

        Args:
            input_ids: [batch, length]; ``media_token_id`` stands where a picture is.
            attention_mask, position_ids: as of the language model.
            past_key_values: a cache; with pictures it must be a ``PictureCache``, which is also the default.
            pixel_values: [pictures, 3, height, width], in the order of their places, row by row.
            image_features: [batch, pictures, vectors, size], instead: encoded pictures of each row.
            seen: [batch, length] the picture among these that each token sees, -1: none.
            use_cache, logits_to_keep, settings: as of the language model.

        Raises:
            ValueError: there are more or fewer pictures than places, or the cache cannot keep them.
        """
        if use_cache is None:
            use_cache = bool(self.config.get_text_config().use_cache)
        if use_cache and past_key_values is None:
            past_key_values = PictureCache(config=self.config.get_text_config())
        if (image_features is None) != (seen is None):
            raise ValueError("image_features and seen are given together")
        if image_features is None:
            image_features, seen = self.find_pictures(
                input_ids, attention_mask, past_key_values, pixel_values
            )
        elif pixel_values is not None:
            raise ValueError("either pixel_values or image_features can be given")
        return self.lang_encoder(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids,
            past_key_values=past_key_values, use_cache=use_cache, logits_to_keep=logits_to_keep,
            pictures=image_features, seen=seen, **settings,
        )  # fmt: skip

    def find_places(self, ids: Tensor, mask: Tensor | None) -> Tensor:
        """Where pictures stand [batch, length]; padding can have any id."""
        places = ids == self.config.media_token_id
        return places if mask is None or mask.ndim != 2 else places & mask[:, -ids.shape[1] :].bool()

    def find_pictures(
        self, ids: Tensor, mask: Tensor | None, cache: Any, pixel_values: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """Encoded pictures of each row [batch, pictures, vectors, size], and which one each token sees."""
        places = self.find_places(ids, mask)
        if pixel_values is None and cache is not None and cache.get_seq_length():
            places = torch.zeros_like(places)  # the model itself said it
        count, given = int(places.sum()), 0 if pixel_values is None else len(pixel_values)
        if count != given:
            raise ValueError(f"{count} places of pictures, and {given} pictures")
        known = cache.get_seq_length() if cache is not None else 0
        keeps = isinstance(cache, PictureCache)
        if given and known and not self.config.attend_previous:
            raise ValueError("a text sees its next picture, so all pictures must be in the first call")
        if given and cache is not None and not keeps:
            raise ValueError("only a PictureCache keeps pictures: give that, or use_cache=False")
        features = None if pixel_values is None else self.get_image_features(pixel_values).pooler_output
        kept = cache.picture if keeps else None
        found = find_seen(places, features, kept, self.config.attend_previous)
        if keeps and self.config.attend_previous:
            cache.keep(*found)
        return found

    def generate(self, *given: Any, **settings: Any) -> Any:
        """As of transformers, with a cache that keeps pictures."""
        if settings.get("use_cache") is not False and settings.get("past_key_values") is None:
            settings["past_key_values"] = PictureCache(config=self.config.get_text_config())
        return super().generate(*given, **settings)

    def _expand_inputs_for_generation(
        self, expand_size: int = 1, is_encoder_decoder: bool = False, input_ids: Any = None, **inputs: Any
    ) -> tuple[Any, dict[str, Any]]:
        """Several answers to each row: its pictures are repeated together, as its tokens are."""
        pictures = inputs.pop("pixel_values", None)
        if pictures is not None:
            counts = self.find_places(input_ids, inputs.get("attention_mask")).sum(-1)
            pictures = repeat_pictures(pictures, counts.tolist(), expand_size)
        ids, inputs = super()._expand_inputs_for_generation(
            expand_size, is_encoder_decoder, input_ids, **inputs
        )
        return ids, inputs if pictures is None else {**inputs, "pixel_values": pictures}
