"""Tokenizers of transformers 5 on a sentencepiece model, which give the ids of 2023."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, ClassVar

from sentencepiece import SentencePieceProcessor
from transformers import PreTrainedTokenizer

#: settings in published files that say how the tokenizer's own code was to be found
FOREIGN = ("name_or_path", "remove_space", "do_lower_case", "auto_map", "tokenizer_class", "tokenizer_file")
TEXT = -1  # stands for a token of a text where only what is added to it matters


class PieceTokenizer(PreTrainedTokenizer):
    """Encodes a text with sentencepiece alone: nothing in it is taken for a special token.

    Args:
        vocab_file: the sentencepiece model.
        settings: of ``PreTrainedTokenizer``.
    """

    vocab_files_names: ClassVar[dict[str, str]] = {"vocab_file": "tokenizer.model"}
    model_input_names: ClassVar[list[str]] = ["input_ids", "attention_mask"]

    def __init__(self, vocab_file: str, **settings: Any) -> None:
        self.vocab_file = str(vocab_file)
        self.pieces = SentencePieceProcessor(model_file=self.vocab_file)
        for name in FOREIGN:
            settings.pop(name, None)
        super().__init__(**{"clean_up_tokenization_spaces": False, "padding_side": "left", **settings})

    @property
    def vocab_size(self) -> int:
        return int(self.pieces.vocab_size())

    def get_vocab(self) -> dict[str, int]:
        vocabulary = {self._convert_id_to_token(number): number for number in range(self.vocab_size)}
        return {**vocabulary, **self.added_tokens_encoder}

    def tokenize(self, text: str, **settings: Any) -> list[str]:
        return self._tokenize(text)

    def _tokenize(self, text: str, **settings: Any) -> list[str]:
        found: list[str] = self.pieces.encode(text, out_type=str)
        return found

    def _convert_token_to_id(self, token: str) -> int:
        return int(self.pieces.piece_to_id(token))

    def _convert_id_to_token(self, index: int) -> str:
        return str(self.pieces.id_to_piece(index))

    def is_apart(self, token: str) -> bool:
        """Whether a token stands for itself when ids become text; sentencepiece would drop it."""
        return token in self.added_tokens_encoder

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        text = ""
        waiting: list[str] = []
        for token in tokens:
            if self.is_apart(token):
                text += self.pieces.decode_pieces(waiting) + token
                waiting = []
            else:
                waiting.append(token)
        return text + str(self.pieces.decode_pieces(waiting))

    def get_special_tokens_mask(
        self,
        token_ids_0: list[int],
        token_ids_1: list[int] | None = None,
        already_has_special_tokens: bool = False,
    ) -> list[int]:
        if already_has_special_tokens:
            return [int(token in self.all_special_ids) for token in token_ids_0]
        texts = [ids if ids is None else [TEXT] * len(ids) for ids in (token_ids_0, token_ids_1)]
        return [int(token != TEXT) for token in self.build_inputs_with_special_tokens(*texts)]

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str, ...]:
        name = self.vocab_files_names["vocab_file"]
        written = Path(save_directory) / (f"{filename_prefix}-{name}" if filename_prefix else name)
        if written.resolve() != Path(self.vocab_file).resolve():
            shutil.copyfile(self.vocab_file, written)
        return (str(written),)
