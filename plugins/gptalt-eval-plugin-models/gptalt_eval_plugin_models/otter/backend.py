"""lm-eval's model class for Otter."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import AddedToken, CLIPVisionConfig, LlamaConfig

from gptalt_eval_plugin_models.llama.tokenizer import LlamaPieceTokenizer
from gptalt_eval_plugin_models.otter.family import OTTER, VOCABULARY, read_sizes
from gptalt_eval_plugin_models.otter.layers import OtterConfig
from gptalt_eval_plugin_models.otter.model import OtterForConditionalGeneration
from gptalt_eval_plugin_models.pictures.backend import PictureLM
from gptalt_eval_plugin_models.pictures.family import CLIP_LARGE
from gptalt_eval_plugin_models.pictures.processors import crop

#: Otter's own tokens, by how far their ids are from that of a picture's place
ADDED = {-1: "<|endofchunk|>", 1: "<answer>", 2: "<PAD>"}


class OtterLM(PictureLM):
    family = OTTER

    def make_config(self, config: Mapping[str, Any]) -> Any:
        tower, perceiver = read_sizes(config)
        return OtterConfig(
            vision_config=CLIPVisionConfig(**{name: tower[name] for name in CLIP_LARGE}),
            text_config=LlamaConfig.from_dict(dict(config["text_config"])),
            media_token_id=config.get("media_token_id", VOCABULARY + 1),
            cross_attn_every_n_layers=config["cross_attn_every_n_layers"],
            **{f"perceiver_{name}": size for name, size in perceiver.items()},
        )

    def make_model(self, config: Any) -> Any:
        return OtterForConditionalGeneration(config)

    def make_tokenizer(self, folder: Path) -> Any:
        """LLaMA's, with Otter's tokens; that of a picture is not among them: no text contains one.

        The code of 2023 dropped blanks and line breaks beside tokens that were added as these were.
        """
        place = self.config.media_token_id
        beside = {"lstrip": True, "rstrip": True, "normalized": False, "special": True}
        added = {place + far: AddedToken(name, **beside) for far, name in ADDED.items()}
        return LlamaPieceTokenizer(str(folder / "tokenizer.model"), added_tokens_decoder=added)

    def _create_model(self, *args: Any, **settings: Any) -> None:
        super()._create_model(*args, **settings)
        self.model.generation_config.suppress_tokens = self.places  # an answer contains no picture

    def trim(self, text: str, before: bool, after: bool) -> str:
        """Without blanks beside a picture, which is one of these tokens."""
        text = text.lstrip() if before else text
        return text.rstrip() if after else text

    def make_processor(self) -> Any:
        return crop(self.config.vision_config.image_size)

    @property
    def places(self) -> list[int]:
        return [self.config.media_token_id]
