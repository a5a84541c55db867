"""lm-eval's model class for MOSS."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import AddedToken, AutoTokenizer, CodeGenConfig, CodeGenForCausalLM, GPT2Tokenizer

from gptalt_eval import open_named
from gptalt_eval_plugin_models.backend import NativeLM
from gptalt_eval_plugin_models.moss.family import KEPT, MOSS

END_OF_TEXT, END_OF_MOSS = "<|endoftext|>", "<eom>"


class MossLM(NativeLM):
    family = MOSS

    def make_config(self, config: Mapping[str, Any]) -> Any:
        return CodeGenConfig(**{name: config[name] for name in KEPT if name in config})

    def make_model(self, config: Any) -> Any:
        return CodeGenForCausalLM(config)

    def make_tokenizer(self, folder: Path) -> Any:
        return AutoTokenizer.from_pretrained(folder) if self.converted else read_tokenizer(folder)


def read_tokenizer(folder: Path) -> Any:
    """MOSS's tokenizer with the ids of 2023.

    It is GPT-2's, with tokens that end the parts of a conversation. The code of 2023 dropped blanks and line
    breaks beside such a token, so these do, too.
    """
    added = folder / "added_tokens.json"
    numbered: dict[str, int] = json.loads(added.read_text(encoding="utf-8")) if added.is_file() else {}
    with open_named(folder / "vocab.json") as stream:
        vocabulary = json.load(stream)
    with open_named(folder / "merges.txt") as stream:
        pairs = stream.read().splitlines()
    merges = [tuple(line.split(" ")) for line in pairs if line and not line.startswith("#version")]
    names = [END_OF_TEXT, *sorted(numbered, key=numbered.__getitem__)]
    tokenizer = GPT2Tokenizer(
        vocab=vocabulary,
        merges=merges,
        unk_token=END_OF_TEXT,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_MOSS if END_OF_MOSS in numbered else END_OF_TEXT,
        padding_side="left",
    )
    tokenizer.add_tokens(
        [AddedToken(name, lstrip=True, rstrip=True, special=True, normalized=False) for name in names],
        special_tokens=True,
    )
    return tokenizer
