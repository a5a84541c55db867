"""lm-eval's model class for mPLUG-Owl."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import CLIPVisionConfig, LlamaConfig

from gptalt_eval_plugin_models.mplug_owl.family import MPLUG_OWL, read_sizes
from gptalt_eval_plugin_models.mplug_owl.model import MplugOwlConfig, MplugOwlForConditionalGeneration
from gptalt_eval_plugin_models.pictures.backend import PictureLM
from gptalt_eval_plugin_models.pictures.family import CLIP_LARGE
from gptalt_eval_plugin_models.pictures.processors import squeeze


class MplugOwlLM(PictureLM):
    family = MPLUG_OWL

    def make_config(self, config: Mapping[str, Any]) -> Any:
        tower, abstractor = read_sizes(config)
        return MplugOwlConfig(
            vision_config=CLIPVisionConfig(**{name: tower[name] for name in CLIP_LARGE}),
            text_config=LlamaConfig.from_dict(dict(config["text_config"])),
            num_query_tokens=config.get("num_query_tokens", 64),
            abstractor_size=abstractor["hidden_size"],
            abstractor_inner=abstractor["intermediate_size"],
            abstractor_layers=abstractor["num_hidden_layers"],
            abstractor_heads=abstractor["num_attention_heads"],
            abstractor_epsilon=abstractor["layer_norm_eps"],
        )

    def make_model(self, config: Any) -> Any:
        return MplugOwlForConditionalGeneration(config)

    def make_processor(self) -> Any:
        return squeeze(self.config.vision_config.image_size)

    @property
    def places(self) -> list[int]:
        return [self.config.text_config.vocab_size] * (self.config.num_query_tokens + 1)
