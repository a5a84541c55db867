"""lm-eval's model classes for LLaMA and what is made from it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from gptalt_eval import GptaltError
from gptalt_eval_plugin_models.backend import NativeLM
from gptalt_eval_plugin_models.checkpoint import read_checkpoint
from gptalt_eval_plugin_models.llama.deltas import (
    Sum,
    add_means,
    add_zeros,
    can_grow,
    check_alpaca,
    describe_mismatch,
)
from gptalt_eval_plugin_models.llama.family import ALPACA, LLAMA
from gptalt_eval_plugin_models.llama.tokenizer import LlamaPieceTokenizer
from gptalt_eval_plugin_models.streaming import fill_model


class LlamaLM(NativeLM):
    """LLaMA; with ``delta`` or ``peft``, what is made by adding them.

    Args:
        pretrained: the folder of the base.
        delta: a folder with a difference to it.
        peft: a folder with an adapter.
        settings: as of ``HFLM``.
    """

    family = LLAMA

    def __init__(
        self, pretrained: str, delta: str | None = None, peft: str | None = None, **settings: Any
    ) -> None:
        self.added, self.adapter = delta, peft
        super().__init__(pretrained, delta=delta, peft=peft, **settings)

    def _get_config(self, pretrained: str, **settings: Any) -> None:
        super()._get_config(pretrained, **settings)
        if self.added:
            self.difference = read_checkpoint(self.family.find_files(Path(self.added)))
            for name, header in self.difference.items():
                base = self.headers.get(name)
                if base is not None and not can_grow(base.shape, header.shape):
                    raise describe_mismatch(name, base, header)
            self.published = self.family.read_settings(Path(self.added))
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

    def fill(self, model: Any, dtype: torch.dtype) -> Any:
        if self.added:
            total = Sum(self.headers, self.difference, self.grow)
            model = fill_model(model, self.family.describe(self.published), total, dtype, self.device)
            self.check_sum(total.total)
            return model
        return merge_adapter(super().fill(model, dtype), self.adapter)

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
