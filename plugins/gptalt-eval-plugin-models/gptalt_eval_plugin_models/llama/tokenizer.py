"""LLaMA's tokenizer with the ids of 2023."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedTokenizer

from gptalt_eval_plugin_models.pieces import PieceTokenizer


class LlamaPieceTokenizer(PieceTokenizer):
    """Special tokens are found in a text; sentencepiece encodes each part between them as a text of its own.

    So every part gets a blank in front, as the prompts of Vicuna and others were encoded in training. The
    tokenizer that transformers has today gives other ids after ``</s>``.

    Args:
        vocab_file: ``tokenizer.model``.
        add_bos_token: whether ``<s>`` comes before a text.
        add_eos_token: whether ``</s>`` comes after it.
    """

    def __init__(
        self, vocab_file: str, add_bos_token: bool = True, add_eos_token: bool = False, **settings: Any
    ) -> None:
        self.add_bos_token, self.add_eos_token = add_bos_token, add_eos_token
        for name, token in (("unk_token", "<unk>"), ("bos_token", "<s>"), ("eos_token", "</s>")):
            settings[name] = settings.get(name) or token  # the first conversions have empty names
        if not settings.get("pad_token"):
            settings.pop("pad_token", None)
        for name in (
            "legacy",
            "sp_model_kwargs",
            "use_default_system_prompt",
            "add_prefix_space",
            "use_fast",
        ):
            settings.pop(name, None)
        super().__init__(vocab_file, add_bos_token=add_bos_token, add_eos_token=add_eos_token, **settings)

    def tokenize(self, text: str, **settings: Any) -> list[str]:
        found: list[str] = PreTrainedTokenizer.tokenize(self, text, **settings)
        return found

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        before = [self.bos_token_id] if self.add_bos_token else []
        after = [self.eos_token_id] if self.add_eos_token else []
        first = [*before, *token_ids_0, *after]
        return first if token_ids_1 is None else [*first, *before, *token_ids_1, *after]
