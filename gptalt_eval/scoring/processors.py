"""Pictures and prompts as image-text models read them, by transformers' processors or a backend's own."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image

from gptalt_eval.scoring.engine import unwrap
from gptalt_eval.scoring.joining import FullInputs, find_dims
from gptalt_eval.scoring.pictures import Inputs, Picture, make_picture

PLACE = "<image>"  # a picture in a prompt, in lm-eval and here
SAMPLE = (
    160,
    96,
)  # pixels of a picture with which a model is tried out: neither side a multiple of the other
FAKE = "<fake_token_around_image>"  # on both sides of a picture of Idefics


class Unreadable(ValueError):
    """A picture that a model's processor refuses; the message says why."""


class PictureReader:
    """Reads the pictures and prompts of one model.

    A backend that reads them itself offers ``make_processor()`` (it makes of pictures what the model takes),
    ``places`` (the ids that stand for a picture) and ``encode_pictures(texts)`` (the ids of texts with a
    picture between each two). Those of other backends are read by transformers' processor.

    Args:
        lm: lm-eval's model, with ``model``, ``tokenizer``, ``tok_encode`` and ``processor``.
    """

    def __init__(self, lm: Any) -> None:
        self.lm = lm
        self.model = unwrap(lm.model)
        self.is_own = hasattr(lm, "encode_pictures")
        self.processor = lm.make_processor() if self.is_own else lm.processor
        self.takes = inspect.signature(self.model.forward).parameters

    @property
    def reads_text(self) -> bool:
        """Whether a picture's features depend on a text."""
        return hasattr(self.processor, "qformer_tokenizer")

    @cached_property
    def feature_id(self) -> int:
        """The id that the model itself takes for a picture's feature."""
        if self.is_own:
            return int(self.lm.places[0])
        named = ("image_token_id", "image_token_index")
        found = (getattr(each, name, None) for each in (self.model.config, self.processor) for name in named)
        return int(next(each for each in found if each is not None))

    @cached_property
    def mark(self) -> str:
        """A picture in a text, as the tokenizer knows it."""
        mark = getattr(self.processor, "image_token", None)
        mark = self.lm.tokenizer.decode([self.feature_id]) if mark is None else mark
        return str(getattr(mark, "content", mark))

    @cached_property
    def edges(self) -> tuple[str, str]:
        """What a processor writes around a picture: blanks, which can be one token with those of a text."""
        text = self.write(self.process([make_noise(0)])) or ""
        if self.is_fenced:
            return FAKE, FAKE
        return text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]

    @cached_property
    def is_fenced(self) -> bool:
        """Whether a picture is between two tokens, and blanks beside these are dropped: so of Idefics."""
        fake = self.lm.tokenizer.convert_tokens_to_ids(FAKE)
        writes = self.is_own or self.write(self.process([make_noise(0)])) is not None
        return not writes and fake not in (None, self.lm.tokenizer.unk_token_id)

    @property
    def is_prefixed(self) -> bool:
        """Whether token types say where a prompt, seen both ways, ends and its answer begins (PaliGemma)."""
        tells_pictures = getattr(self.processor, "return_mm_token_type_ids", True)
        return "token_type_ids" in self.takes and not tells_pictures

    @cached_property
    def full(self) -> FullInputs:
        dims = find_dims(self.process, [make_noise(0), make_noise(1)])
        return FullInputs(self.feature_id, dims, frozenset(self.takes), self.is_prefixed, self.sample(0))

    @cached_property
    def looks_around(self) -> bool:
        """Whether the processor makes of a picture among others of its prompt something else than alone.

        LLaVA-OneVision cuts a picture into tiles only if it is the only one.
        """
        if self.is_own:
            return False
        images = [make_noise(0), make_noise(1)]
        alone, dims = self.process(images[:1]), find_dims(self.process, images)
        try:
            together = self.process([images])
        except Exception:  # it takes no pictures by prompt, and so does not know which are in one
            return False
        return any(
            not torch.equal(alone[name], together[name].narrow(dim, 0, min(size, together[name].shape[dim])))
            for name, dim in dims.items()
            for size in (alone[name].shape[dim],)
            if name in self.takes
        )

    def read(self, image: Image.Image, instruction: str = "") -> Picture:
        """A picture, as the model's processor makes it.

        Args:
            image: the picture.
            instruction: the text that it is encoded for, if ``reads_text``.

        Raises:
            Unreadable: the processor refuses it.
        """
        try:
            made = self.process([image])
        except Exception as error:  # each processor raises what it likes
            size = f"{image.width:,} x {image.height:,}"
            raise Unreadable(f"the model's processor refuses a picture of {size} pixels: {error}") from error
        inputs = {name: value for name, value in made.items() if name in self.takes}
        if self.reads_text:
            asked = self.processor.qformer_tokenizer([instruction], return_tensors="pt", truncation=True)
            inputs |= {f"qformer_{name}": asked[name] for name in ("input_ids", "attention_mask")}
        grid = self.find_grid(inputs)
        return make_picture(inputs, self.lay_out(made, grid), grid, mark=self.feature_id)

    def process(self, images: Sequence[Any]) -> Mapping[str, Any]:
        """What the processor makes of pictures, or of a list of them for each prompt."""
        settings = {**(getattr(self.processor, "images_kwargs", None) or {}), "return_tensors": "pt"}
        if self.is_own:
            return dict(self.processor(list(images), return_tensors="pt"))
        made = self.processor.image_processor(convert_all(images), **settings)
        return {"pixel_values": made[None]} if isinstance(made, torch.Tensor) else dict(made)

    def find_grid(self, inputs: Inputs) -> tuple[int, int] | None:
        if "image_grid_thw" not in inputs:
            return None
        times, height, width = inputs["image_grid_thw"][0].tolist()
        size = self.processor.image_processor.merge_size
        return times * height // size, width // size

    def lay_out(self, made: Mapping[str, Any], grid: tuple[int, int] | None) -> list[int]:
        """The tokens that a picture stands for; -1: one of its features."""
        if self.is_own:
            return [-1] * len(self.lm.places)
        text = self.write(made)
        if text is None:
            return self.count_places(grid)
        ids = self.lm.tokenizer.encode(text.strip(), add_special_tokens=False)
        return [-1 if each == self.feature_id else each for each in ids]

    def write(self, made: Mapping[str, Any]) -> str | None:
        """What the processor writes for a picture; None: it does not do so."""
        try:
            return str(self.processor.replace_image_token(made, 0))
        except (AttributeError, NotImplementedError):
            return None

    def count_places(self, grid: tuple[int, int] | None) -> list[int]:
        if grid is not None:
            return [-1] * (grid[0] * grid[1])
        if count := getattr(self.model.config, "num_query_tokens", None):
            return [-1] * int(count)
        return [-1]

    def sample(self, seed: int) -> Picture:
        """A picture of noise, to try a model with."""
        return self.read(make_noise(seed), f"What is in picture {seed}?")

    def forward_inputs(self, items: Sequence[int | Picture]) -> dict[str, torch.Tensor]:
        """The keyword arguments with which the model's own forward takes a prompt."""
        ids = [each for item in items for each in (item.layout if isinstance(item, Picture) else [item])]
        return self.make_inputs(ids, [item for item in items if isinstance(item, Picture)])

    def make_inputs(
        self, ids: Sequence[int], pictures: Sequence[Picture], suffix: int = 0
    ) -> dict[str, torch.Tensor]:
        """Like ``forward_inputs``.

        Args:
            ids: of a prompt; -1: a picture's feature.
            pictures: its pictures, in order.
            suffix: how many of the last ids belong to the answer.
        """
        return self.full.make(ids, pictures, suffix)

    def split(self, text: str) -> list[str]:
        """The texts before, between and after the pictures of a prompt."""
        return text.replace(self.mark, PLACE).split(PLACE) if not self.is_own else text.split(PLACE)

    def encode(self, text: str) -> list[int | None]:
        """The ids of a prompt, with None where a picture is."""
        return self.encode_finished(self.finish(text))

    def finish(self, text: str) -> str:
        """A prompt with what its processor adds; as a rule, nothing."""
        if not self.is_prefixed:
            return text
        *before, last = self.split(text)
        return "".join(f"{each}{PLACE}" for each in before) + f"{self.lm.tokenizer.bos_token}{last}\n"

    def encode_finished(self, text: str) -> list[int | None]:
        texts = self.split(text)
        if self.is_own:
            return mark_places(self.lm.encode_pictures(texts), self.lm.places)
        # as in the processor, such pictures at the beginning come before the first token of a text
        first = next(place for place, text in enumerate([*texts, "."]) if text.strip())
        first = min(first, len(texts) - 1) if hasattr(self.processor, "num_query_tokens") else 0
        mark = self.lm.tokenizer.convert_tokens_to_ids(self.mark)
        text = self.mark.join(self.edges).join(texts[first:])
        if self.is_fenced:
            text = re.sub(f" *({FAKE}) *", r"\1", text).replace(2 * FAKE, FAKE)
        ids: list[int | None] = [None if each == mark else each for each in self.lm.tok_encode(text)]
        return [*[None] * first, *ids]

    def encode_pair(self, context: str, continuation: str) -> tuple[list[int | None], list[int | None]]:
        """The ids of a prompt and its answer, divided as lm-eval does it."""
        stripped = context.rstrip() or context
        finished = self.finish(stripped)
        whole = self.encode_finished(finished + context[len(stripped) :] + continuation)
        before = self.encode_finished(finished)
        return whole[: len(before)], whole[len(before) :]


def mark_places(ids: Sequence[int], places: Sequence[int]) -> list[int | None]:
    """Ids with None instead of each run of places."""
    found: list[int | None] = []
    at = 0
    while at < len(ids):
        is_place = list(ids[at : at + len(places)]) == list(places)
        found.append(None if is_place else ids[at])
        at += len(places) if is_place else 1
    return found


def convert_all(images: Sequence[Any]) -> list[Any]:
    return [convert_all(each) if isinstance(each, list) else convert(each) for each in images]


def convert(image: Image.Image) -> Image.Image:
    """A picture without transparency, as transformers' processors see it: on white."""
    if "A" in image.getbands() or "transparency" in image.info:
        shown = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), shown).convert("RGB")
    return image.convert("RGB")


def make_noise(seed: int) -> Image.Image:
    width, height = SAMPLE
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)
