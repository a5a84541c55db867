"""What lm-eval's model classes for models that see pictures have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gptalt_eval_plugin_models.backend import NativeLM
from gptalt_eval_plugin_models.llama.tokenizer import LlamaPieceTokenizer

IMAGE = "<image>"  # a picture in a message
PRIVATE = range(0xE000, 0xF8FF)  # letters that mean nothing: one stands for the same, typed by someone


class PictureLM(NativeLM):
    """A model that sees pictures, asked about texts.

    No text contains a picture: ``<image>`` in a question is read as these letters. Those who ask about
    pictures, as the core's ``PictureReader``, use ``make_processor``, ``places`` and ``encode_pictures``.

    Args:
        pretrained: the folder.
        settings: as of ``HFLM``.
    """

    def _create_model(self, pretrained: str, *args: Any, **settings: Any) -> None:
        super()._create_model(
            pretrained, *args, **{name: value for name, value in settings.items() if name != "base"}
        )

    def make_tokenizer(self, folder: Path) -> Any:
        return LlamaPieceTokenizer.from_pretrained(folder)

    def make_processor(self) -> Any:
        """Makes of pictures what ``pixel_values`` of the model must be."""
        raise NotImplementedError

    @property
    def places(self) -> list[int]:
        """The ids that stand for a picture in a row."""
        raise NotImplementedError

    def trim(self, text: str, before: bool, after: bool) -> str:
        """A text as it is read with a picture before it, or after it."""
        return text

    def encode_pictures(self, texts: Sequence[str]) -> list[int]:
        """The ids of texts with a picture between each two; only the first has a beginning."""
        ids: list[int] = []
        for number, text in enumerate(texts):
            ids += self.places if number else []
            text = self.trim(text, number > 0, number < len(texts) - 1)
            first = not number and not text.startswith(self.tokenizer.bos_token)
            ids += self.tokenizer.encode(text, add_special_tokens=first)
        return ids

    def apply_chat_template(
        self, chat_history: Sequence[Mapping[str, str]], *given: Any, **named: Any
    ) -> str:
        """A conversation without pictures: what a template writes for one is left out."""
        contents = "".join(turn["content"] for turn in chat_history)
        typed = next(letter for letter in map(chr, PRIVATE) if letter not in contents)
        turns = [{**turn, "content": turn["content"].replace(IMAGE, typed)} for turn in chat_history]
        text: str = super().apply_chat_template(turns, *given, **named)
        return text.replace(IMAGE, "").replace(typed, IMAGE)
