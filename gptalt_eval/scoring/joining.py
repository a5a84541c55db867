"""What a model's own forward takes for a prompt with several pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import pad

from gptalt_eval.scoring.pictures import Picture

Process = Callable[[Sequence[Any]], Mapping[str, Any]]


def find_dims(process: Process, images: Sequence[Any]) -> dict[str, int]:
    """In which dimension each input of the pictures of one prompt is joined: the one that grows.

    Args:
        process: makes the inputs of pictures.
        images: two pictures of the same size.
    """
    one, two = process(images[:1]), process(images)
    dims = {}
    for name, value in one.items():
        if isinstance(value, torch.Tensor):
            pairs = enumerate(zip(value.shape, two[name].shape, strict=True))
            dims[name] = next((dim for dim, (alone, both) in pairs if alone != both), 0)
    return dims


@dataclass(frozen=True)
class FullInputs:
    """Makes the arguments of a model's own forward.

    Attributes:
        feature_id: the id of a picture's feature.
        dims: in which dimension an input of several pictures is joined; 0 if it is missing.
        takes: the parameters of the forward.
        prefix: whether ``token_type_ids`` tell a prompt from its answer, not pictures from text.
        sample: a picture, for models that insist on one.
    """

    feature_id: int
    dims: Mapping[str, int]
    takes: frozenset[str]
    prefix: bool
    sample: Picture

    def make(
        self, ids: Sequence[int], pictures: Sequence[Picture], suffix: int = 0
    ) -> dict[str, torch.Tensor]:
        """The keyword arguments for a prompt; see ``PictureReader.make_inputs``."""
        made = {"input_ids": torch.tensor([[self.feature_id if each < 0 else each for each in ids]])}
        features = torch.tensor([each < 0 for each in ids])
        if "token_type_ids" in self.takes and (pictures or self.prefix):
            after = torch.arange(len(ids)) >= len(ids) - suffix
            made["token_type_ids"] = (after if self.prefix else features)[None].int()
        if not pictures:
            return made | self.make_blank(len(ids))
        inputs = [picture.load() for picture in pictures]
        for name in inputs[0]:
            made[name] = join([each[name] for each in inputs], self.dims.get(name, 0))
        if "mm_token_type_ids" in self.takes:
            made["mm_token_type_ids"] = features[None].int()
        seen = find_seen(features)
        if "image_attention_mask" in self.takes:
            made["image_attention_mask"] = seen[None].long()
        if "cross_attention_mask" in self.takes:
            tiles = made["aspect_ratio_mask"].bool()
            made["cross_attention_mask"] = (seen[None, :, :, None] & tiles[:, None]).long()
        return made

    def make_blank(self, length: int) -> dict[str, torch.Tensor]:
        """For a prompt without pictures, if the model insists on one: a picture that no token sees."""
        if "image_attention_mask" not in self.takes:
            return {}
        blank = {name: torch.zeros_like(value) for name, value in self.sample.load().items()}
        return {**blank, "image_attention_mask": torch.zeros(1, length, 1, dtype=torch.long)}


def join(values: Sequence[torch.Tensor], dim: int) -> torch.Tensor:
    """Values joined in a dimension; shorter ones are padded with zeros in the others."""
    sizes = [max(sizes) for sizes in zip(*(value.shape for value in values), strict=True)]
    padded = []
    for value in values:
        missing = [0 if each == dim else sizes[each] - value.shape[each] for each in range(value.ndim)]
        padded.append(pad(value, [side for each in missing[::-1] for side in (0, each)]))
    return torch.cat(padded, dim)


def find_seen(features: torch.Tensor) -> torch.Tensor:
    """Which pictures each token sees by cross-attention [length, pictures]: the nearest before it.

    Pictures side by side are seen together.

    Args:
        features: [length] whether a token stands for a picture, which has one such token.
    """
    starts = features.nonzero()[:, 0].tolist()
    ends = [*starts[1:], len(features)]
    for number in range(len(starts) - 2, -1, -1):
        if starts[number + 1] == starts[number] + 1:
            ends[number] = ends[number + 1]
    at = torch.arange(len(features))[:, None]
    seen: torch.Tensor = (at >= torch.tensor(starts)) & (at < torch.tensor(ends))
    return seen
