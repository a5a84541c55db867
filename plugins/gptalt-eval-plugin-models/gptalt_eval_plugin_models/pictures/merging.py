"""Language models that read a picture as a run of embeddings in their input."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import GenerationMixin


class MergesPictures(GenerationMixin):
    """A model whose ``language_model`` reads pictures among its tokens; comes before its transformers class.

    A picture has ``slots`` places in a row. Their ids are beyond the vocabulary, so no text can contain them.

    Attributes:
        slots: places of a picture.
    """

    language_model: Any
    slots: int
    main_input_name = "input_ids"
    generate = GenerationMixin.generate

    @property
    def vocabulary(self) -> int:
        """Ids from here on are places of pictures."""
        return int(self.language_model.config.vocab_size)

    @property
    def dtype(self) -> torch.dtype:
        """That of the language model: other parts may stay in fp32."""
        found: torch.dtype = self.language_model.dtype
        return found

    def get_input_embeddings(self) -> Any:
        return self.language_model.get_input_embeddings()

    def get_output_embeddings(self) -> Any:
        return self.language_model.get_output_embeddings()

    def get_image_features(self, pixel_values: Tensor, **settings: Any) -> Any:
        """Encode pictures [pictures, 3, height, width]; ``pooler_output`` is [pictures, slots, hidden]."""
        raise NotImplementedError

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        pixel_values: Tensor | None = None,
        image_features: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        **settings: Any,
    ) -> Any:
        """The language model's answer.

        Args:
            input_ids: [batch, length].
            attention_mask, position_ids, past_key_values, inputs_embeds: as of the language model.
            pixel_values: [pictures, 3, height, width], in the order of their places, row by row.
            image_features: [places, hidden], instead of pictures: what was encoded before, place by place.
            use_cache, logits_to_keep, settings: as of the language model.

        Raises:
            ValueError: the pictures do not fill the places.
        """
        if input_ids is not None:
            inputs_embeds = self.embed(input_ids, pixel_values, image_features)
        elif pixel_values is not None or image_features is not None:
            raise ValueError("pictures need input_ids, which have places for them")
        if inputs_embeds is not None:
            input_ids = None
        return self.language_model(
            input_ids=input_ids, inputs_embeds=inputs_embeds, attention_mask=attention_mask,
            position_ids=position_ids, past_key_values=past_key_values, use_cache=use_cache,
            logits_to_keep=logits_to_keep, **settings,
        )  # fmt: skip

    def embed(self, ids: Tensor, pixel_values: Tensor | None, features: Tensor | None) -> Tensor:
        """The embeddings [batch, length, hidden] of tokens and pictures."""
        places = ids >= self.vocabulary
        if pixel_values is not None:
            count_pictures(places, self.slots, len(pixel_values))
            features = self.get_image_features(pixel_values).pooler_output.flatten(0, 1)
        count = int(places.sum())
        if count != (0 if features is None else len(features)):
            given = "no picture" if features is None else f"features of {len(features)} places"
            raise ValueError(f"{count} places of pictures, and {given}")
        found: Tensor = self.get_input_embeddings()(ids.masked_fill(places, 0))
        if features is None:
            return found
        return found.masked_scatter(places[..., None], features.to(found.device, found.dtype))

    def _expand_inputs_for_generation(
        self, expand_size: int = 1, is_encoder_decoder: bool = False, input_ids: Any = None, **inputs: Any
    ) -> tuple[Any, dict[str, Any]]:
        """Several answers to each row: its pictures are repeated together, as its tokens are."""
        pictures = inputs.pop("pixel_values", None)
        if pictures is not None:
            counts = (input_ids >= self.vocabulary).sum(-1) // self.slots
            pictures = repeat_pictures(pictures, counts.tolist(), expand_size)
        ids, inputs = super()._expand_inputs_for_generation(
            expand_size, is_encoder_decoder, input_ids, **inputs
        )
        return ids, inputs if pictures is None else {**inputs, "pixel_values": pictures}


def count_pictures(places: Tensor, slots: int, pictures: int) -> None:
    """Check that places [batch, length] are runs of whole pictures, as many as there are.

    Raises:
        ValueError: they are not.
    """
    count = int(places.sum())
    if count != slots * pictures:
        raise ValueError(f"{count} places of pictures, and {pictures} pictures of {slots} places each")
    runs = places.nonzero().view(pictures, slots, 2)
    whole = runs[:, -1] - runs[:, 0] == runs.new_tensor([0, slots - 1])
    if not bool(whole.all()):
        raise ValueError(f"the places of a picture are not {slots} in one run")


def repeat_pictures(pictures: Tensor, counts: list[int], times: int) -> Tensor:
    """The pictures of each row, several times.

    Args:
        pictures: those of all rows.
        counts: how many are each row's.
        times: how often each row is repeated.
    """
    return torch.cat([part for part in pictures.split(counts) for _ in range(times)])


def find_tower(model: Any) -> Any:
    """CLIP's vision tower; some releases of transformers wrap it once more."""
    return getattr(model, "vision_model", model)
