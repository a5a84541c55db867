"""lm-eval's model classes for ChatGLM."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, GlmConfig, GlmForCausalLM

from gptalt_eval_plugin_models.backend import NativeLM
from gptalt_eval_plugin_models.chatglm import layouts
from gptalt_eval_plugin_models.chatglm.family import CHATGLM
from gptalt_eval_plugin_models.chatglm.glm import ChatGLM2ForCausalLM
from gptalt_eval_plugin_models.chatglm.prefix_lm import ChatGLMConfig, ChatGLMForCausalLM
from gptalt_eval_plugin_models.chatglm.tokenizers import (
    ChatGLM2Tokenizer,
    ChatGLM3Tokenizer,
    ChatGLMTokenizer,
)
from gptalt_eval_plugin_models.fast_tokenizers import choose_tokenizer, make_chatglm

PREFIX = "[gMASK]<sop>"
ENDS = ("<|user|>", "<|observation|>")  # with which another's turn begins


class ChatGLMLM(NativeLM):
    """Any ChatGLM; which one it is, config.json says."""

    family = CHATGLM

    @property
    def name(self) -> str | None:
        return self.family.name_model(self.published)

    def make_config(self, config: Mapping[str, Any]) -> Any:
        if self.name == layouts.V1:
            apart = layouts.HEAD in self.headers
            return ChatGLMConfig(**layouts.convert_first(config), tie_word_embeddings=not apart)
        return GlmConfig(**layouts.convert_later(config))

    def make_model(self, config: Any) -> Any:
        makers = {layouts.V1: ChatGLMForCausalLM, layouts.V2: ChatGLM2ForCausalLM, layouts.V3: GlmForCausalLM}
        return makers[str(self.name)](config)

    def fill(self, model: Any, dtype: torch.dtype) -> Any:
        model = super().fill(model, dtype)
        if self.name == layouts.V1:
            embedding = model.transformer.word_embeddings
            if torch.equal(embedding.weight, model.lm_head.weight):  # as published, though saved twice
                model.lm_head.weight = embedding.weight
        return model

    def make_tokenizer(self, folder: Path) -> Any:
        if self.converted:
            return AutoTokenizer.from_pretrained(folder)
        if self.name == layouts.V1:
            images = layouts.IMAGE_TOKENS if self.published["vocab_size"] == layouts.FIRST_VOCABULARY else 0
            return ChatGLMTokenizer.from_pretrained(folder, num_image_tokens=images)
        if self.name == layouts.V2:
            return ChatGLM2Tokenizer.from_pretrained(folder)
        return ChatGLM3Tokenizer.from_pretrained(folder, encode_special_tokens=True)

    def make_standard_tokenizer(self, template: str | None) -> tuple[Any, str]:
        slow, note = super().make_standard_tokenizer(template)
        if self.name == layouts.V1:
            return slow, note
        fast, note = choose_tokenizer(make_chatglm(slow), slow)
        fast.chat_template = slow.chat_template
        if fast is slow:
            return slow, note
        if self.name == layouts.V2:
            return (
                fast,
                "Encode a rendered conversation with tokenizer(text), which puts [gMASK]sop before it.\n",
            )
        if fast.chat_template:
            fast.chat_template = PREFIX + fast.chat_template
        return fast, "Its tokenizer takes <|user|> and the like for roles wherever they are in a text.\n"

    def list_standard_settings(self, model: Any) -> dict[str, Any] | None:
        return None if self.name == layouts.V1 else super().list_standard_settings(model)

    def list_ends(self) -> list[int]:
        if self.name != layouts.V3:
            return []
        tokenizer = self.make_tokenizer(self.folder)
        return [2, *(tokenizer.convert_tokens_to_ids(role) for role in ENDS)]

    def _get_backend(self, *args: Any, **settings: Any) -> None:
        super()._get_backend(*args, **settings)
        if self.converted and self.name == layouts.V2:
            self.AUTO_MODEL_CLASS = ChatGLM2ForCausalLM

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """As each was trained: ChatGLM-6B has ``[gMASK]<sop>`` between the two, the later ones before both.

        lm-eval leaves these out of a text that begins with a text like one of them.
        """
        if self.converted:
            pair: tuple[list[int], list[int]] = super()._encode_pair(context, continuation)
            return pair
        if self.name == layouts.V1:
            ids = self.tok_encode(context.rstrip() or context)
            suffix = self.tokenizer.suffix
            bare = continuation.removeprefix(" ") or continuation  # separates it from what is not before it
            ids = ids if ids[-2:] == suffix else [*ids, *suffix]
            return ids, self.tok_encode(bare, add_special_tokens=False)
        before, after = super()._encode_pair(context, continuation)
        has_none = context.startswith(self.tokenizer.bos_token) and self.add_bos_token is not False
        return ([*self.tokenizer.prefix, *before] if has_none else before), after

    def tok_batch_encode(
        self,
        strings: list[str],
        padding_side: str = "left",
        left_truncate_len: int | None = None,
        truncation: bool = False,
    ) -> tuple[Any, Any]:
        """Like lm-eval's, but what is cut of a prompt is never ``[gMASK]sop``."""
        if self.converted:
            pair: tuple[Any, Any] = super().tok_batch_encode(
                strings, padding_side, left_truncate_len, truncation
            )
            return pair
        rows = []
        for string in strings:
            ids = self.tokenizer.encode(string, add_special_tokens=False)
            before, after = self.surround()
            if left_truncate_len:
                room = left_truncate_len - len(before) - len(after)
                ids = ids[max(len(ids) - max(room, 0), 0) :]
            rows.append([*before, *ids, *after])
        batch = self.tokenizer.pad({"input_ids": rows}, padding_side=padding_side, return_tensors="pt")
        return batch["input_ids"], batch["attention_mask"]

    @property
    def beginning(self) -> list[int] | None:
        """The tokens before a text without a context."""
        if self.converted or self.add_bos_token is False:
            return None
        return list(self.tokenizer.suffix if self.name == layouts.V1 else self.tokenizer.prefix)

    def surround(self) -> tuple[list[int], list[int]]:
        """The tokens before and after a prompt."""
        if self.add_bos_token is False:
            return [], []
        return ([], self.tokenizer.suffix) if self.name == layouts.V1 else (self.tokenizer.prefix, [])
