"""lm-eval's model class for MiniGPT-4 and VPGTrans."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import Blip2Config, Blip2QFormerConfig, Blip2VisionConfig, LlamaConfig

from gptalt_eval_plugin_models.minigpt4.family import MINIGPT4
from gptalt_eval_plugin_models.minigpt4.model import MiniGPT4ForConditionalGeneration
from gptalt_eval_plugin_models.pictures.backend import PictureLM
from gptalt_eval_plugin_models.pictures.family import find_base
from gptalt_eval_plugin_models.pictures.processors import squeeze
from gptalt_eval_plugin_models.streaming import Checkpoint, Source


class MiniGPT4LM(PictureLM):
    """MiniGPT-4 or VPGTrans.

    Args:
        pretrained: the folder with EVA-CLIP, BLIP-2 and the model's own file.
        base: the folder of its Vicuna.
        settings: as of ``HFLM``.
    """

    family = MINIGPT4

    def make_config(self, config: Mapping[str, Any]) -> Any:
        text = LlamaConfig.from_dict(dict(config["text_config"]))
        return Blip2Config(
            vision_config=Blip2VisionConfig(**config["vision_config"]).to_dict(),
            qformer_config=Blip2QFormerConfig(**config["qformer_config"]).to_dict(),
            text_config=text.to_dict(),
            num_query_tokens=config["num_query_tokens"],
            image_token_index=text.vocab_size,
        )

    def make_model(self, config: Any) -> Any:
        return MiniGPT4ForConditionalGeneration(config)

    def make_tokenizer(self, folder: Path) -> Any:
        base = find_base(self.args)
        return super().make_tokenizer(base if base and folder == self.folder else folder)

    def make_source(self) -> Source:
        return JoinedBiases(Checkpoint(self.headers))

    def make_processor(self) -> Any:
        return squeeze(self.config.vision_config.image_size)

    @property
    def places(self) -> list[int]:
        return [self.config.image_token_index] * self.config.num_query_tokens


class JoinedBiases:
    """Published weights, with the bias of a query as that of query, key and value: the key has none."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        for name, tensor in self.checkpoint:
            other = f"{name.removesuffix('q_bias')}v_bias"
            if name.endswith(".attn.q_bias") and other in self.checkpoint.headers:
                value = self.checkpoint.read(other)
                yield name, torch.cat([tensor, torch.zeros_like(tensor), value])
            else:
                yield name, tensor
