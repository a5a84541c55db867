"""MiniGPT-4 and VL-Vicuna, as transformers' BLIP-2 with a LLaMA as its language model."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import Blip2Config, Blip2ForConditionalGeneration

from gptalt_eval_plugin_models.pictures.merging import MergesPictures

FINAL_EPSILON = 1e-5  # of the layer norm after the vision tower; BLIP-2's settings have one for all, 1e-6


class MiniGPT4ForConditionalGeneration(MergesPictures, Blip2ForConditionalGeneration):
    """BLIP-2 whose pictures can be anywhere in a text, or nowhere; a picture has a place for each query."""

    def __init__(self, config: Blip2Config) -> None:
        super().__init__(config)
        self.slots = config.num_query_tokens
        self.vision_model.post_layernorm.eps = FINAL_EPSILON

    def get_image_features(self, pixel_values: Tensor, **settings: Any) -> Any:
        pixels = pixel_values.to(self.vision_model.embeddings.patch_embedding.weight.dtype)
        return Blip2ForConditionalGeneration.get_image_features(self, pixels, return_dict=True)
