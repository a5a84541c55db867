"""ChatGLM2-6B as transformers' Glm, with its angles of rotary positions as they were published."""

from __future__ import annotations

from typing import Any

import torch
from transformers import GlmConfig, GlmForCausalLM
from transformers.models.glm.modeling_glm import GlmRotaryEmbedding


class HalfRotaryEmbedding(GlmRotaryEmbedding):
    """In fp16, ChatGLM2-6B computes angles in fp16, and was trained with them; ChatGLM3-6B does not.

    The difference matters: beyond position 512, logits differ by up to 0.25.
    """

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def forward(self, x: Any, position_ids: Any) -> tuple[Any, Any]:
        if x.dtype != torch.float16:
            found: tuple[Any, Any] = super().forward(x, position_ids)
            return found
        rope = self.config.rope_parameters
        size = 2 * self.inv_freq.shape[0]
        exponents = torch.arange(0, size, 2, dtype=torch.float16, device=x.device) / size
        frequencies = 1.0 / rope["rope_theta"] ** exponents
        places = position_ids[..., None].half() / rope.get("factor", 1.0)
        turns = (places * frequencies).float()
        angles = torch.cat((turns, turns), -1)
        return angles.cos().half(), angles.sin().half()


class ChatGLM2ForCausalLM(GlmForCausalLM):
    """A Glm whose angles are those of ChatGLM2-6B."""

    config_class = GlmConfig

    def __init__(self, config: GlmConfig) -> None:
        super().__init__(config)
        self.model.rotary_emb = HalfRotaryEmbedding(config)
