"""Otter in the manner of transformers 5: its CLIP, a perceiver, and its LLaMA with gated cross-attention.

Published as Flamingo (Alayrac et al. 2022), OpenFlamingo and Otter (Li et al. 2023).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPVisionModel, GenerationMixin, LlamaForCausalLM, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from gptalt_eval_plugin_models.otter.layers import GatedLayer, OtterConfig, Perceiver
from gptalt_eval_plugin_models.otter.seen import ALONE, NONE, PictureCache, find_seen, mark_alone
from gptalt_eval_plugin_models.pictures.merging import find_tower, repeat_pictures


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
            seen: [batch, length] the picture among these that each token sees: see ``find_seen``.
            use_cache, logits_to_keep, settings: as of the language model.

        Raises:
            ValueError: there are more or fewer pictures than places, or the cache cannot keep them.
        """
        if use_cache is None:
            use_cache = bool(self.config.get_text_config().use_cache)
        if use_cache and past_key_values is None:
            past_key_values = self.make_cache()
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

    def make_cache(self) -> PictureCache:
        cache = PictureCache(config=self.config.get_text_config())
        cache.missing = NONE if self.config.attend_previous else ALONE
        return cache

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
        if not self.config.attend_previous:
            found = mark_alone(places, find_seen(places, features, None, False), kept)
        else:
            found = find_seen(places, features, kept, True)
        if keeps:
            cache.keep(*found)
        return found

    def generate(self, *given: Any, **settings: Any) -> Any:
        """As of transformers, with a cache that keeps pictures."""
        if settings.get("use_cache") is not False and settings.get("past_key_values") is None:
            settings["past_key_values"] = self.make_cache()
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
