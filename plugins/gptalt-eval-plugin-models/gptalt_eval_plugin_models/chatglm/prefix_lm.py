"""ChatGLM-6B, in the manner of transformers 5; the parameters are called as in its checkpoint.

It differs from the decoders of transformers: what comes before ``<sop>`` sees itself in both directions, a
token has two positions, each of which rotates one half of a head, and the residual is the normalized input,
scaled.
Published as GLM (Du et al. 2022) and GLM-130B (Zeng et al. 2023).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from torch.nn import functional
from transformers import GenerationMixin, PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache
from transformers.configuration_utils import PreTrainedConfig
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

SCALED_LAYERS = 28  # the residual's factor is that of 28 layers, whatever their number


@strict
class ChatGLMConfig(PreTrainedConfig):
    """The settings of ChatGLM-6B, with the names of its config.json."""

    model_type = "chatglm"
    keys_to_ignore_at_inference = ["past_key_values"]  # noqa: RUF012 (as transformers reads it)
    attribute_map = {  # noqa: RUF012
        "num_hidden_layers": "num_layers", "max_position_embeddings": "max_sequence_length",
        "intermediate_size": "inner_hidden_size", "num_key_value_heads": "num_attention_heads",
    }  # fmt: skip

    vocab_size: int = 130_528
    hidden_size: int = 4096
    num_layers: int = 28
    num_attention_heads: int = 32
    inner_hidden_size: int = 16_384
    layernorm_epsilon: float = 1e-5
    max_sequence_length: int = 2048
    use_cache: bool = True
    bos_token_id: int | None = 130_004
    eos_token_id: int | list[int] | None = 130_005
    pad_token_id: int | None = 3
    mask_token_id: int = 130_000
    gmask_token_id: int = 130_001
    tie_word_embeddings: bool = True


def rotate(states: Any, angles: tuple[Any, Any]) -> Any:
    """Rotate [batch, heads, length, size] by angles [batch, length, size]; pairs are half a size apart."""
    left, right = states.chunk(2, -1)
    cosine, sine = angles
    turned = torch.cat((-right, left), -1)
    return states * cosine[:, None] + turned * sine[:, None]


def compute_angles(positions: Any, size: int, dtype: torch.dtype) -> tuple[Any, Any]:
    """Cosine and sine of positions [batch, length]; as published, frequencies have the precision of fp16."""
    exponents = torch.arange(0, size, 2, device=positions.device).float() / size
    computed = torch.float16 if dtype == torch.float16 else torch.float32
    frequencies = (1.0 / 10_000**exponents).half().to(computed)
    turns = positions[..., None].to(computed) * frequencies
    angles = torch.cat((turns, turns), -1)
    return angles.cos().to(dtype), angles.sin().to(dtype)


class ChatGLMAttention(nn.Module):
    def __init__(self, config: ChatGLMConfig, layer: int) -> None:
        super().__init__()
        self.layer, self.heads = layer, config.num_attention_heads
        self.query_key_value = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, states: Any, angles: Any, mask: Any, cache: Cache | None) -> Any:
        batch, length, _ = states.shape
        fused = self.query_key_value(states).view(batch, length, self.heads, -1).transpose(1, 2)
        query, key, value = fused.chunk(3, -1)
        query, key = (
            torch.cat([rotate(half, each) for half, each in zip(both.chunk(2, -1), angles, strict=True)], -1)
            for both in (query, key)
        )
        if cache is not None:
            key, value = cache.update(key, value, self.layer)
        seen = functional.scaled_dot_product_attention(query, key, value.contiguous(), attn_mask=mask)
        return self.dense(seen.transpose(1, 2).reshape(batch, length, -1))


class ChatGLMFeedForward(nn.Module):
    def __init__(self, config: ChatGLMConfig) -> None:
        super().__init__()
        self.dense_h_to_4h = nn.Linear(config.hidden_size, config.inner_hidden_size)
        self.dense_4h_to_h = nn.Linear(config.inner_hidden_size, config.hidden_size)

    def forward(self, states: Any) -> Any:
        return self.dense_4h_to_h(functional.gelu(self.dense_h_to_4h(states), approximate="tanh"))


class ChatGLMBlock(nn.Module):
    def __init__(self, config: ChatGLMConfig, layer: int) -> None:
        super().__init__()
        self.scale = math.sqrt(2 * SCALED_LAYERS)
        self.input_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layernorm_epsilon)
        self.attention = ChatGLMAttention(config, layer)
        self.post_attention_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layernorm_epsilon)
        self.mlp = ChatGLMFeedForward(config)

    def forward(self, states: Any, angles: Any, mask: Any, cache: Cache | None) -> Any:
        states = self.input_layernorm(states)
        states = states * self.scale + self.attention(states, angles, mask, cache)
        states = self.post_attention_layernorm(states)
        return states * self.scale + self.mlp(states)


class ChatGLMPreTrainedModel(PreTrainedModel):
    config: ChatGLMConfig
    config_class = ChatGLMConfig
    base_model_prefix = "transformer"
    _no_split_modules = ["ChatGLMBlock"]  # noqa: RUF012
    _supports_sdpa = True


class ChatGLMModel(ChatGLMPreTrainedModel):
    def __init__(self, config: ChatGLMConfig) -> None:
        super().__init__(config)
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList([ChatGLMBlock(config, layer) for layer in range(config.num_layers)])
        self.final_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layernorm_epsilon)
        self.post_init()

    def get_input_embeddings(self) -> Any:
        return self.word_embeddings

    def set_input_embeddings(self, value: Any) -> None:
        self.word_embeddings = value

    def arrange(self, input_ids: Any, attention_mask: Any = None) -> tuple[Any, Any]:
        """The positions of whole rows, and what may attend to what.

        A row's context ends before its first ``<sop>``. A row without one (a window of a longer text)
        is read as if ``<sop>`` came just before it.

        Args:
            input_ids: token ids [batch, length].
            attention_mask: 0 where a row is padded [batch, length]; None: nowhere.

        Returns:
            positions [batch, 2, length], and whether a token sees another [batch, 1, length, length].
        """
        length = input_ids.shape[1]
        places = torch.arange(length, device=input_ids.device)
        kept = (
            torch.ones_like(input_ids, dtype=torch.bool) if attention_mask is None else attention_mask.bool()
        )
        padded = kept.int().argmax(-1, keepdim=True)  # on the left
        is_sop = (input_ids == self.config.bos_token_id) & kept
        start = torch.where(is_sop.any(-1, keepdim=True), is_sop.int().argmax(-1, keepdim=True), padded - 1)
        after = places[None] >= start
        is_gmask = (input_ids == self.config.gmask_token_id) & kept & ~after
        is_mask = (input_ids == self.config.mask_token_id) & kept & ~after
        masked = torch.where(is_gmask.any(-1, keepdim=True), is_gmask, is_mask)
        hole = torch.where(masked.any(-1, keepdim=True), masked.int().argmax(-1, keepdim=True), padded)
        first = (torch.where(after, hole, places[None]) - padded).clamp(min=0)
        second = torch.where(after, places[None] - start + 1, 0)
        sees = (places[None, None, :] <= places[None, :, None]) | ~after[:, None, :]
        sees = sees & kept[:, None, :]
        itself = torch.eye(length, dtype=torch.bool, device=input_ids.device)[None]
        return torch.stack((first, second), 1), (sees | (itself & ~kept[:, :, None]))[:, None]

    def continue_rows(self, new: int, seen: int, attention_mask: Any, device: Any) -> Any:
        """What new tokens see after a cached prefix: all of it, and those before them."""
        places = torch.arange(seen + new, device=device)
        sees = (places[None] <= places[seen:, None])[None, None]
        return sees if attention_mask is None else sees & attention_mask[:, None, None, :].bool()

    def forward(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        position_ids: Any = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Any = None,
        use_cache: bool | None = None,
        **_: Any,
    ) -> BaseModelOutputWithPast:
        """Hidden states of whole rows, or of what follows a cached prefix.

        Args:
            input_ids: token ids [batch, length].
            attention_mask: 0 where a row is padded [batch, cached + length]; or what sees what
                [batch, 1, length, cached + length], where True or 0.0 is seen.
            position_ids: positions [batch, 2, length]; needed with a cached prefix.
            past_key_values: the cached prefix.
            inputs_embeds: embeddings instead of ids; then mask and positions are needed.
            use_cache: whether to return keys and values.

        Raises:
            ValueError: the positions are missing.
        """
        states = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        if use_cache is None:
            use_cache = self.config.use_cache
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)
        seen = past_key_values.get_seq_length() if past_key_values is not None else 0
        mask = attention_mask if attention_mask is not None and attention_mask.dim() == 4 else None
        if input_ids is not None and not seen and (mask is None or position_ids is None):
            positions, sees = self.arrange(input_ids, attention_mask if mask is None else None)
            position_ids = positions if position_ids is None else position_ids
            mask = sees if mask is None else mask
        if position_ids is None:
            raise ValueError("what follows a cached prefix needs position_ids [batch, 2, length]")
        if mask is None:
            mask = self.continue_rows(states.shape[1], seen, attention_mask, states.device)
        mask = mask if mask.dtype == torch.bool else mask.to(states.dtype)
        size = self.config.hidden_size // self.config.num_attention_heads // 2
        angles = [compute_angles(each, size, states.dtype) for each in position_ids.unbind(1)]
        for layer in self.layers:
            states = layer(states, angles, mask, past_key_values)
        return BaseModelOutputWithPast(self.final_layernorm(states), past_key_values if use_cache else None)


class ChatGLMForCausalLM(ChatGLMPreTrainedModel, GenerationMixin):
    _tied_weights_keys = {"lm_head.weight": "transformer.word_embeddings.weight"}  # noqa: RUF012

    def __init__(self, config: ChatGLMConfig) -> None:
        super().__init__(config)
        self.transformer = ChatGLMModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    @property
    def context_end_id(self) -> int | None:
        """The token that ends a context, which sees itself in both directions."""
        return self.config.bos_token_id

    def get_output_embeddings(self) -> Any:
        return self.lm_head

    def set_output_embeddings(self, new_embeddings: Any) -> None:
        self.lm_head = new_embeddings

    def prepare_inputs_for_generation(
        self, input_ids: Any, past_key_values: Any = None, attention_mask: Any = None, **settings: Any
    ) -> dict[str, Any]:
        seen = past_key_values.get_seq_length() if past_key_values is not None else 0
        positions, sees = self.transformer.arrange(input_ids, attention_mask)
        return {
            "input_ids": input_ids[:, seen:],
            "position_ids": positions[..., seen:],
            "attention_mask": sees[:, :, seen:],
            "past_key_values": past_key_values,
            "use_cache": settings.get("use_cache", True),
        }

    def forward(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        position_ids: Any = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Any = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Any = 0,
        **_: Any,
    ) -> CausalLMOutputWithPast:
        """Logits; see ``ChatGLMModel.forward``."""
        out = self.transformer(
            input_ids, attention_mask, position_ids, past_key_values, inputs_embeds, use_cache
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        states = out.last_hidden_state[:, kept]
        return CausalLMOutputWithPast(logits=self.lm_head(states), past_key_values=out.past_key_values)
