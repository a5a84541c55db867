"""lm-eval's model classes for LLaMA and what is made from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from gptalt_eval import GptaltError
from gptalt_eval_plugin_models.backend import NativeLM
from gptalt_eval_plugin_models.checkpoint import read_checkpoint
from gptalt_eval_plugin_models.fast_tokenizers import choose_tokenizer, make_llama
from gptalt_eval_plugin_models.llama.deltas import (
    Sum,
    add_means,
    add_zeros,
    can_grow,
    check_alpaca,
    describe_mismatch,
    describe_missing,
)
from gptalt_eval_plugin_models.llama.family import ALPACA, LLAMA
from gptalt_eval_plugin_models.llama.tokenizer import LlamaPieceTokenizer
from gptalt_eval_plugin_models.streaming import Source


class LlamaLM(NativeLM):
    """LLaMA; with ``delta`` or ``peft``, what is made by adding them.

    Args:
        pretrained: the folder of the base.
        delta: a folder with a difference to it.
        peft: a folder with an adapter.
        settings: as of ``HFLM``.
    """

    family = LLAMA

    def prepare(self, folder: Path, args: Mapping[str, Any]) -> None:
        self.added, self.adapter = args.get("delta"), args.get("peft")
        super().prepare(folder, args)

    def _get_config(self, pretrained: str, **settings: Any) -> None:
        super()._get_config(pretrained, **settings)
        if self.added:
            self.read_difference(Path(self.added))

    def read_difference(self, folder: Path) -> None:
        """Compare a difference with its base, and make the configuration the one of their sum.

        Raises:
            GptaltError: the difference is to another base.
        """
        if self.converted:  # has the names of LLaMA too
            self.headers = read_checkpoint(self.family.find_files(self.folder))
        self.difference = read_checkpoint(self.family.find_files(folder))
        for name in self.family.describe(self.published).weights:
            base, added = self.headers.get(name), self.difference.get(name)
            if base and not added:
                raise describe_missing(name, base, folder)
            if base and added and not can_grow(base.shape, added.shape):
                raise describe_mismatch(name, base, added)
        self.published = self.family.read_settings(folder)
        self._config = self.make_config(self.published)

    def _create_model(self, pretrained: str, *args: Any, **settings: Any) -> None:
        added = ("delta", "peft")  # lm-eval's own code would add them to a second model in memory
        super()._create_model(
            pretrained, *args, **{name: value for name, value in settings.items() if name not in added}
        )

    def make_config(self, config: Mapping[str, Any]) -> Any:
        return LlamaConfig.from_dict(dict(config))

    def make_model(self, config: Any) -> Any:
        return LlamaForCausalLM(config)

    def make_tokenizer(self, folder: Path) -> Any:
        if self.added and any((Path(self.added) / name).is_file() for name in self.family.tokenizers):
            folder = Path(self.added)
        if (folder / "tokenizer.model").is_file():
            return LlamaPieceTokenizer.from_pretrained(folder)
        return AutoTokenizer.from_pretrained(folder)

    def make_source(self) -> Source:
        if not self.added:
            return super().make_source()
        self.total = Sum(self.headers, self.difference, self.grow)
        return self.total

    def finish(self) -> None:
        if self.added:
            self.check_sum(self.total.total)

    def fill(self, model: Any, dtype: torch.dtype) -> Any:
        return merge_adapter(super().fill(model, dtype), self.adapter)

    def stream_merged(self, dtype: torch.dtype) -> Iterable[tuple[str, Tensor]]:
        """An adapter is merged in memory; all else is streamed."""
        if not self.adapter:
            return super().stream_merged(dtype)
        lm = type(self)(str(self.folder), peft=self.adapter, device="cpu", dtype=dtype)
        weights: dict[str, Tensor] = lm.model.state_dict()
        return weights.items()

    def make_standard_tokenizer(self, template: str | None) -> tuple[Any, str]:
        tokenizer, note = super().make_standard_tokenizer(template)
        if not isinstance(tokenizer, LlamaPieceTokenizer):
            return tokenizer, note
        fast = make_llama(tokenizer)
        fast.chat_template = tokenizer.chat_template
        return choose_tokenizer(fast, tokenizer)

    def grow(self, base: Tensor, rows: int) -> Tensor:
        """The weights of a vocabulary with rows for added tokens."""
        return add_zeros(base, rows)

    def check_sum(self, total: float) -> None:
        """Compare the sum of all numbers with a published one, where there is one."""


class AlpacaLM(LlamaLM):
    """Stanford Alpaca, from LLaMA 7B and the published difference."""

    family = ALPACA

    def grow(self, base: Tensor, rows: int) -> Tensor:
        return add_means(base, rows)

    def check_sum(self, total: float) -> None:
        check_alpaca(total, self.published, self.added)


def merge_adapter(model: Any, folder: str | None) -> Any:
    """Merge an adapter into the weights, so that the model is as fast as without.

    Raises:
        GptaltError: the adapter is for another model.
    """
    if not folder:
        return model
    from peft import PeftModel

    try:
        return PeftModel.from_pretrained(model, folder).merge_and_unload()
    except (RuntimeError, ValueError, KeyError) as error:
        first = str(error).strip().splitlines()
        text = f"The adapter {folder} does not fit this model: {' '.join(first[:3])}"
        raise GptaltError(text, "Give the base that it was trained on.") from error
