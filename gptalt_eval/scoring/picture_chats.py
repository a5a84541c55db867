"""Conversations with pictures, in the chat template and with the settings that the user chose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lm_eval.models.huggingface import HFLM

PLACE = "<image>"  # a picture in a turn's text


class PictureChats:
    """Changes how lm-eval's image-text backend, the next base class, writes conversations.

    lm-eval's passes over ``chat_template_args``, and so over a named template, and uses that of the processor
    whatever the tokenizer was given.

    Attributes:
        takes_texts: whether the tokenizer was given a template whose turns are texts, which is used instead.
    """

    takes_texts = False
    interleave: bool
    processor: Any
    chat_template_args: Mapping[str, Any]

    def apply_chat_template(
        self, chat_history: Sequence[Mapping[str, Any]], add_generation_prompt: bool = True
    ) -> str:
        self.chat_applied = True
        if self.takes_texts:
            return str(HFLM.apply_chat_template(self, list(chat_history), add_generation_prompt))
        turns = [{**turn, "content": list_parts(turn["content"], self.interleave)} for turn in chat_history]
        text: str = self.processor.apply_chat_template(
            turns,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
            **self.chat_template_args,
        )
        return text

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        if self.takes_texts:
            own: str | None = HFLM.chat_template(self, chat_template)
            return own
        found: str | None = super().chat_template(chat_template)  # type: ignore[misc]
        return found


def list_parts(text: str, interleaves: bool) -> list[dict[str, str]]:
    """A turn's content as processors take it: text and pictures, the pictures first if they are not mixed."""
    pieces = text.split(PLACE)
    if not interleaves:
        return [{"type": "image"}] * (len(pieces) - 1) + [{"type": "text", "text": "".join(pieces)}]
    parts: list[dict[str, str]] = []
    for number, piece in enumerate(pieces):
        parts += [{"type": "image"}] if number else []
        parts += [{"type": "text", "text": piece}] if piece else []
    return parts
