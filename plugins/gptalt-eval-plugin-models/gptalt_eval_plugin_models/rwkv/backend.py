"""lm-eval's model class for RWKV-4."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerFast, RwkvConfig

from gptalt_eval_plugin_models.backend import NativeLM
from gptalt_eval_plugin_models.rwkv.family import ORIGINAL, RWKV
from gptalt_eval_plugin_models.rwkv.model import BatchedRwkvForCausalLM

END = "<|endoftext|>"


class RwkvLM(NativeLM):
    family = RWKV

    def make_config(self, config: Mapping[str, Any]) -> Any:
        return RwkvConfig(**{name: value for name, value in config.items() if name != ORIGINAL})

    def make_model(self, config: Any) -> Any:
        return BatchedRwkvForCausalLM(config)

    def _get_backend(self, *args: Any, **settings: Any) -> None:
        super()._get_backend(*args, **settings)
        self.AUTO_MODEL_CLASS = BatchedRwkvForCausalLM  # for a converted folder, which transformers reads

    def make_tokenizer(self, folder: Path) -> Any:
        file = folder / "20B_tokenizer.json"
        if not file.is_file():
            return AutoTokenizer.from_pretrained(folder)
        return PreTrainedTokenizerFast(tokenizer_file=str(file), bos_token=END, eos_token=END, unk_token=END)
