"""A small prefix-LM with ChatGLM-6B's geometry: context, ``[gMASK]``, ``<sop>``, answer; two positions a token."""

import torch
from lm_eval.models.huggingface import HFLM
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import DynamicCache, GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

GMASK, SOP = 4, 3


class PrefixConfig(PreTrainedConfig):
    model_type = "test_prefix_lm"
    vocab_size: int = 150
    hidden_size: int = 32
    num_hidden_layers: int = 2
    num_attention_heads: int = 4
    max_position_embeddings: int = 64
    bos_token_id: int | None = SOP
    eos_token_id: int | None = 1
    pad_token_id: int | None = 2


class Layer(nn.Module):
    def __init__(self, config, index):
        super().__init__()
        size = config.hidden_size
        self.index, self.heads = index, config.num_attention_heads
        self.norm, self.other_norm = nn.LayerNorm(size), nn.LayerNorm(size)
        self.mixed, self.dense = nn.Linear(size, 3 * size), nn.Linear(size, size)
        self.up, self.down = nn.Linear(size, 2 * size), nn.Linear(2 * size, size)

    def forward(self, hidden, angles, mask, past):
        rows, length, size = hidden.shape
        normed = self.norm(hidden)
        parts = self.mixed(normed).view(rows, length, self.heads, -1).transpose(1, 2).chunk(3, -1)
        query, key, value = rotate(parts[0], angles), rotate(parts[1], angles), parts[2]
        if past is not None:
            key, value = past.update(key, value, self.index)
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=mask)
        hidden = normed * 2 + self.dense(mixed.transpose(1, 2).reshape(rows, length, size))
        normed = self.other_norm(hidden)
        return normed * 2 + self.down(nn.functional.gelu(self.up(normed)))


def rotate(states, angles):
    """Half of each head by the first position, half by the second."""
    turned = []
    for half, (cosine, sine) in zip(states.chunk(2, -1), angles, strict=True):
        one, other = half.chunk(2, -1)
        turned.append(half * cosine + torch.cat([-other, one], -1) * sine)
    return torch.cat(turned, -1)


class PrefixForCausalLM(PreTrainedModel, GenerationMixin):
    config_class = PrefixConfig
    _no_split_modules = ("Layer",)
    _supports_sdpa = True

    def __init__(self, config):
        super().__init__(config)
        self.embed = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList([Layer(config, index) for index in range(config.num_hidden_layers)])
        self.norm = nn.LayerNorm(config.hidden_size)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    @property
    def context_end_id(self):
        return self.config.bos_token_id

    def get_input_embeddings(self):
        return self.embed

    def get_output_embeddings(self):
        return self.lm_head

    def place(self, ids, keep=None):
        """Positions [B, 2, L] and what sees what [B, 1, L, L], of complete rows."""
        keep = torch.ones_like(ids).bool() if keep is None else keep.bool()
        places = torch.arange(ids.shape[1], device=ids.device)
        if not (ids == SOP).any(-1).all():
            raise ValueError("a row without <sop>")
        start = (ids == SOP).int().argmax(-1, keepdim=True)
        mask_place = (ids == GMASK).int().argmax(-1, keepdim=True)
        answers = places >= start
        padding = (keep.int().argmax(-1, keepdim=True)).int()
        first = torch.where(answers, mask_place, places) - padding
        second = torch.where(answers, places - start + 1, 0)
        seen = (places <= places[:, None]) | ~answers[:, None]
        seen = (seen & keep[:, None]) | torch.eye(ids.shape[1], device=ids.device).bool()
        return torch.stack([first.clamp(min=0), second], 1), seen[:, None]

    def prepare_inputs_for_generation(self, input_ids, past_key_values=None, attention_mask=None, **settings):
        seen = past_key_values.get_seq_length() if past_key_values is not None else 0
        positions, mask = self.place(input_ids, attention_mask)
        return {
            "input_ids": input_ids[:, seen:], "position_ids": positions[..., seen:],
            "attention_mask": mask[:, :, seen:], "past_key_values": past_key_values, "use_cache": True,
        }  # fmt: skip

    def forward(
        self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, use_cache=None,
        logits_to_keep=0, **settings,
    ):  # fmt: skip
        if attention_mask is None or attention_mask.ndim == 2:
            position_ids, attention_mask = self.place(input_ids, attention_mask)
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)
        hidden = self.embed(input_ids)
        quarter = self.config.hidden_size // self.config.num_attention_heads // 4
        speed = 100.0 ** -(torch.arange(quarter, device=hidden.device) / quarter)
        angles = [(places[:, None, :, None] * speed).repeat(1, 1, 1, 2) for places in position_ids.unbind(1)]
        angles = [(angle.cos().to(hidden.dtype), angle.sin().to(hidden.dtype)) for angle in angles]
        for layer in self.layers:
            hidden = layer(hidden, angles, attention_mask, past_key_values)
        logits = self.lm_head(self.norm(hidden)[:, -logits_to_keep:])
        return CausalLMOutputWithPast(logits=logits, past_key_values=past_key_values if use_cache else None)


def make_model():
    torch.manual_seed(0)
    model = PrefixForCausalLM(PrefixConfig()).eval()
    for weight in model.parameters():
        if weight.ndim > 1:
            nn.init.normal_(weight, std=0.3)
    return model


class Encoding(HFLM):
    def _encode_pair(self, context, continuation):
        ids = self.tok_encode(context, add_special_tokens=False)
        return [*ids, GMASK, SOP], self.tok_encode(continuation, add_special_tokens=False)
