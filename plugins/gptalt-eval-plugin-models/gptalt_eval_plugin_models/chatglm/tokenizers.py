"""The tokenizers of ChatGLM; the ids are those of the code that was published with each model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from gptalt_eval_plugin_models.pieces import PieceTokenizer

LONGEST_BLANK = 80  # blanks that have a token of their own
IMAGE = re.compile(r"<image_(\d+)>")
ROLES = ("<|system|>", "<|user|>", "<|assistant|>", "<|observation|>")
NAMES = "|".join(role[2:-2] for role in ROLES)
ROLE = re.compile(rf"(<\|(?:{NAMES})\|>)")
#: an invisible character after ``<`` marks what a user wrote and what only looks like a role
MARK = "\u2060"
WRITTEN = re.compile(rf"<({MARK}*)(\|(?:{NAMES})\|>)")
MARKED = re.compile(rf"<{MARK}({MARK}*)(\|(?:{NAMES})\|>)")


class ChatGLMTokenizer(PieceTokenizer):
    """The tokenizer of ChatGLM-6B: a text is followed by ``[gMASK]<sop>``.

    Args:
        vocab_file: ``ice_text.model``.
        num_image_tokens: ids before those of text: 20000 in the first revisions.
    """

    vocab_files_names: ClassVar[dict[str, str]] = {"vocab_file": "ice_text.model"}

    def __init__(self, vocab_file: str, num_image_tokens: int = 0, **settings: Any) -> None:
        self.first = num_image_tokens
        self.gmask_token = settings.pop("gmask_token", "[gMASK]")
        self.end_token = settings.pop("end_token", "</s>")
        names = {
            "bos_token": "<sop>", "eos_token": "<eop>", "mask_token": "[MASK]", "pad_token": "<pad>",
            "unk_token": "<unk>", "extra_special_tokens": [self.gmask_token],
        }  # fmt: skip
        super().__init__(vocab_file, **{**names, "num_image_tokens": num_image_tokens, **settings})

    @property
    def vocab_size(self) -> int:
        return self.first + int(self.pieces.vocab_size())

    @property
    def suffix(self) -> list[int]:
        """``[gMASK]<sop>``, between a context and what follows it."""
        return [self._convert_token_to_id(self.gmask_token), self.bos_token_id]

    def _tokenize(self, text: str, **settings: Any) -> list[str]:
        text = text.replace("\n", "<n>").replace("\t", "<|tab|>")
        for count in range(LONGEST_BLANK, 1, -1):
            text = text.replace(" " * count, f"<|blank_{count}|>")
        return super()._tokenize(text)

    def _convert_token_to_id(self, token: str) -> int:
        image = IMAGE.fullmatch(token)
        return int(image[1]) if image else self.first + int(self.pieces.piece_to_id(token))

    def _convert_id_to_token(self, index: int) -> str:
        return f"<image_{index}>" if index < self.first else str(self.pieces.id_to_piece(index - self.first))

    def is_apart(self, token: str) -> bool:
        return token == self.eos_token and bool(self.pieces.is_control(self.pieces.piece_to_id(token)))

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        text = super().convert_tokens_to_string([token for token in tokens if token != self.pad_token])
        text = text.replace("<n>", "\n").replace("<|tab|>", "\t")
        return re.sub(r"<\|blank_(\d+)\|>", lambda found: " " * int(found[1]), text)

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        first = token_ids_0 + self.suffix
        return first if token_ids_1 is None else [*first, *token_ids_1, self.eos_token_id]


class ChatGLM2Tokenizer(PieceTokenizer):
    """The tokenizer of ChatGLM2-6B: a text follows ``[gMASK]sop``.

    Published without a token that begins a text. Here it is ``[gMASK]``: lm-eval takes a text for one that
    begins with such a token if there is none, and would leave out ``[gMASK]sop``.
    """

    controls: ClassVar[tuple[str, ...]] = ("[MASK]", "[gMASK]", "[sMASK]", "sop", "eop")

    def __init__(self, vocab_file: str, **settings: Any) -> None:
        self.control_ids: Mapping[str, int] = {}
        names = {
            "unk_token": "<unk>", "pad_token": "<unk>", "eos_token": "</s>", "bos_token": "[gMASK]",
            "extra_special_tokens": [name for name in self.controls if name != "[gMASK]"],
        }  # fmt: skip
        super().__init__(vocab_file, **{**settings, **names})

    @property
    def vocab_size(self) -> int:
        return int(self.pieces.vocab_size()) + len(self.controls)

    @property
    def prefix(self) -> list[int]:
        """``[gMASK]sop``."""
        return [self._convert_token_to_id("[gMASK]"), self._convert_token_to_id("sop")]

    def _convert_token_to_id(self, token: str) -> int:
        if token in self.controls:
            return int(self.pieces.vocab_size()) + self.controls.index(token)
        return int(self.pieces.piece_to_id(token))

    def _convert_id_to_token(self, index: int) -> str:
        size = int(self.pieces.vocab_size())
        if index < size:
            return str(self.pieces.id_to_piece(index))
        return (
            self.controls[index - size] if index - size < len(self.controls) else ""
        )  # rows without a token

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        first = self.prefix + token_ids_0
        return first if token_ids_1 is None else [*first, *token_ids_1, self.eos_token_id]


class ChatGLM3Tokenizer(ChatGLM2Tokenizer):
    """The tokenizer of ChatGLM3-6B, which adds tokens for roles.

    Args:
        vocab_file: the sentencepiece model.
        encode_special_tokens: whether a text that begins with a role is taken for a rendered conversation, in
            which roles are tokens. Those that a user's message contains are text: ``apply_chat_template``
            marks them. Otherwise, roles are text everywhere.
    """

    controls: ClassVar[tuple[str, ...]] = (*ChatGLM2Tokenizer.controls, *ROLES)

    def __init__(self, vocab_file: str, encode_special_tokens: bool = False, **settings: Any) -> None:
        self.encode_special_tokens = encode_special_tokens
        super().__init__(vocab_file, **{"encode_special_tokens": encode_special_tokens, **settings})

    def _tokenize(self, text: str, **settings: Any) -> list[str]:
        if not (self.encode_special_tokens and ROLE.match(text)):
            return super()._tokenize(text)
        tokens: list[str] = []
        for part in ROLE.split(text):
            plain = MARKED.sub(r"<\1\2", part)
            tokens += [part] if ROLE.fullmatch(part) else super()._tokenize(plain) if part else []
        return tokens

    def apply_chat_template(
        self, conversation: Sequence[Mapping[str, Any]], *args: Any, **settings: Any
    ) -> Any:
        """Like transformers' own; what looks like a role within a message is marked as text."""
        marked = [
            {**message, "content": WRITTEN.sub(rf"<\1{MARK}\2", message["content"])}
            if isinstance(message.get("content"), str)
            else message
            for message in conversation
        ]
        return super().apply_chat_template(marked, *args, **settings)
