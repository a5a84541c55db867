"""Encodes many texts that share most of their lines, each distinct line once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, pairwise, product
from typing import Any

from tokenizers import models, normalizers

STEPS = {"ByteLevel", "Split", "Digits", "Punctuation"}  # pre-tokenizers that look at a few characters only
LEFT = ("x\n", ".\n", "7\n", "中\n", "。\n", "):\n", "x:\n\n  y\n", "_\n", "'\n", "é\n", "한\n", "\u0301\n")
RIGHT = ("A", "the cat", "1", "12 x", "中文", "é", "Ωm", "한국", "ا", "x\n")
CHECKED = 100  # one text in so many is also encoded whole
BEFORE, AFTER = 3, 9  # characters around a place that decide whether the pre-tokenizer divides there
CALLS = ("__call__", "encode", "encode_plus", "_encode_plus", "_batch_encode_plus")


class LineEncoder:
    """Encodes texts as their tokenizer does.

    Byte-level BPE merges nothing across what its pre-tokenizer divides. Most divide a text between the end of
    a line and a letter or digit; then a text's tokens are those of its parts. Few-shot prompts consist of the
    same examples again and again, and each is encoded once. All other tokenizers encode whole texts.

    Args:
        tokenizer: of transformers.

    Attributes:
        divides: whether texts are encoded in parts.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.divides = divides_lines(tokenizer)
        self.checked: set[tuple[str, str]] = set()  # places that are known to be divided

    def encode(self, texts: Sequence[str], **settings: Any) -> list[list[int]]:
        """The tokens of each text.

        Args:
            texts: the texts.
            settings: of the tokenizer's call.
        """
        around = find_special(self.tokenizer, settings) if self.divides else None
        if around is None or not texts:
            return self.encode_whole(texts, **settings)
        parts = [split_lines(text) for text in texts]
        if self.joins(parts):
            self.divides = False
            return self.encode_whole(texts, **settings)
        distinct = list(dict.fromkeys(chain.from_iterable(parts)))
        tokens = dict(zip(distinct, self.encode_whole(distinct, add_special_tokens=False), strict=True))
        before, after = around
        encoded = [[*before, *chain.from_iterable(tokens[part] for part in each), *after] for each in parts]
        if self.encode_whole(texts[::CHECKED], **settings) != encoded[::CHECKED]:
            self.divides = False
            return self.encode_whole(texts, **settings)
        return encoded

    def joins(self, texts: Sequence[Sequence[str]]) -> bool:
        """Whether the pre-tokenizer keeps something together where some text is divided."""
        places = {(left[-BEFORE:], right[:AFTER]) for parts in texts for left, right in pairwise(parts)}
        places -= self.checked  # few-shot examples come in every call
        self.checked |= places
        divide = self.tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str
        return not all(keeps_apart(divide, *sides) for sides in places)

    def encode_whole(self, texts: Sequence[str], **settings: Any) -> list[list[int]]:
        if not texts:
            return []
        ids: list[list[int]] = self.tokenizer(list(texts), return_attention_mask=False, **settings)[
            "input_ids"
        ]
        return ids


def split_lines(text: str) -> list[str]:
    """The parts of a text, divided where a line begins with a letter or digit, directly after another line.

    Not after blanks or empty lines: many tokenizers keep the last of these apart if more text follows.
    """
    parts: list[str] = []
    begin = end = 0
    while (end := text.find("\n", end) + 1) > 0:
        if text[end : end + 1].isalnum() and end > 1 and not text[end - 2].isspace():
            parts.append(text[begin:end])
            begin = end
    return [*parts, text[begin:]]


def divides_lines(tokenizer: Any) -> bool:
    """Whether a tokenizer's tokens of a text are those of its parts; False where that is not certain."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or not isinstance(backend.model, models.BPE) or backend.model.dropout:
        return False
    if changes_calls(tokenizer):
        return False
    if not (backend.normalizer is None or isinstance(backend.normalizer, normalizers.NFC)):
        return False
    steps = list(list_steps(backend.pre_tokenizer))
    if not any(step["type"] == "ByteLevel" for step in steps):
        return False
    if any(step["type"] not in STEPS or step.get("add_prefix_space") for step in steps):
        return False
    if any(reaches_over_lines(token) for token in tokenizer.added_tokens_decoder.values()):
        return False
    divide = backend.pre_tokenizer.pre_tokenize_str
    return all(keeps_apart(divide, *sides) for sides in product(LEFT, RIGHT))


def keeps_apart(divide: Callable[[str], list[tuple[str, Any]]], left: str, right: str) -> bool:
    """Whether the pieces of a text are those of its two sides."""
    pieces = [piece for side in (left, right) for piece, _ in divide(side)]
    return [piece for piece, _ in divide(left + right)] == pieces


def changes_calls(tokenizer: Any) -> bool:
    """Whether a tokenizer's class, such as a model's remote code, does more in Python than transformers.

    It could change a text before it is encoded, and treat one text in another way than a list of them.
    """
    calls = [getattr(type(tokenizer), name, None) for name in CALLS]
    return any(not getattr(call, "__module__", "").startswith("transformers.") for call in calls if call)


def list_steps(pre_tokenizer: Any) -> Iterator[Mapping[str, Any]]:
    """The settings of a pre-tokenizer's steps."""
    waiting = [json.loads(pre_tokenizer.__getstate__())] if pre_tokenizer is not None else []
    while waiting:
        step = waiting.pop()
        if step["type"] == "Sequence":
            waiting += step["pretokenizers"]
        else:
            yield step


def reaches_over_lines(token: Any) -> bool:
    """Whether an added token can take characters from two parts of a text."""
    return "\n" in token.content or (token.lstrip and token.content[:1].isalnum())


def find_special(tokenizer: Any, settings: Mapping[str, Any]) -> tuple[list[int], list[int]] | None:
    """The special tokens before and after a text; None: it is not clear which are special."""
    whole: list[int] = tokenizer("a", **settings)["input_ids"]
    bare: list[int] = tokenizer("a", add_special_tokens=False)["input_ids"]
    places = [place for place in range(len(whole)) if whole[place : place + len(bare)] == bare]
    if len(places) != 1:
        return None
    return whole[: places[0]], whole[places[0] + len(bare) :]
