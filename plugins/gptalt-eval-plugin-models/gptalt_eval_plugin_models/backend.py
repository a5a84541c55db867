"""lm-eval's model class for published files that transformers cannot load itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
import transformers
from lm_eval.models.huggingface import HFLM
from transformers import GenerationConfig

from gptalt_eval import GptaltError, RequestErrors
from gptalt_eval_plugin_models.checkpoint import Header, read_checkpoint
from gptalt_eval_plugin_models.family import Family
from gptalt_eval_plugin_models.streaming import Checkpoint, fill_model

#: arguments of lm-eval that do not matter here: no code of the model's runs, and weights are streamed
IGNORED = (
    "revision", "trust_remote_code", "gpus", "max_memory_per_gpu", "max_cpu_memory", "offload_folder",
    "parallelize", "tp_plan", "autogptq", "gptqmodel", "gguf_file", "quantization_config", "subfolder",
    "low_cpu_mem_usage",
)  # fmt: skip


class NativeLM(HFLM):
    """Loads a folder of published files, or what ``gptalt-eval models convert`` made of it.

    A subclass names its family and makes the parts.

    Args:
        pretrained: the folder.
        settings: as of ``HFLM``.

    Raises:
        GptaltError: something is wrong with the folder or an argument; found before weights are read.
    """

    family: ClassVar[Family]

    def __init__(self, pretrained: str, **settings: Any) -> None:
        self.published: Mapping[str, Any] = {}
        self.headers: Mapping[str, Header] = {}
        faults = list(self.family.find_faults(Path(pretrained), {**settings, "pretrained": pretrained}))
        if faults:
            raise faults[0] if len(faults) == 1 else RequestErrors(faults)
        super().__init__(pretrained, **settings)

    def make_config(self, config: Mapping[str, Any]) -> Any:
        """transformers' configuration for a published one."""
        raise NotImplementedError

    def make_model(self, config: Any) -> Any:
        """The model without its weights; called where new tensors are on the meta device."""
        raise NotImplementedError

    def make_tokenizer(self, folder: Path) -> Any:
        """The tokenizer of a folder."""
        raise NotImplementedError

    @property
    def converted(self) -> bool:
        """Whether transformers can load the folder itself."""
        return self.family.owns_converted(self.published)

    def _get_config(self, pretrained: str, *, subfolder: str = "", **settings: Any) -> None:
        folder = Path(pretrained) / subfolder
        self.published = self.family.read_settings(folder)
        if self.converted:
            super()._get_config(pretrained, subfolder=subfolder)
        else:
            self.headers = read_checkpoint(self.family.find_files(folder))
            self._config = self.make_config(self.published)

    def _get_backend(
        self, config: Any, backend: str = "default", trust_remote_code: bool | None = False
    ) -> None:
        self.backend = "causal"
        self.AUTO_MODEL_CLASS = transformers.AutoModelForCausalLM

    def _create_tokenizer(
        self, pretrained: str, tokenizer: Any, subfolder: str | None = "", **settings: Any
    ) -> None:
        if tokenizer is not None and not isinstance(tokenizer, str):
            self.tokenizer = tokenizer
            return
        folder = Path(tokenizer) if tokenizer else Path(pretrained) / (subfolder or "")
        self.tokenizer = self.make_tokenizer(folder)

    def _create_model(
        self,
        pretrained: str,
        dtype: str | torch.dtype | None = "auto",
        subfolder: str = "",
        attn_implementation: str | None = None,
        **settings: Any,
    ) -> None:
        unknown = [name for name in settings if name not in IGNORED and settings[name] is not None]
        if unknown:
            text = f"--model_args {unknown[0]}=...: the loader '{self.family.name}' has no such setting."
            raise GptaltError(text, "Omit it.")
        folder = Path(pretrained) / subfolder
        kind = choose_dtype(dtype, self.published, self.headers)
        if attn_implementation:
            self._config._attn_implementation = attn_implementation
        with torch.device("meta"):
            model = self.make_model(self._config)
        self._model = self.fill(model, kind)
        if (folder / "generation_config.json").is_file():
            model.generation_config = GenerationConfig.from_pretrained(folder)

    def fill(self, model: Any, dtype: torch.dtype) -> Any:
        """Give the model its weights."""
        layout = self.family.describe(self.published)
        return fill_model(model, layout, Checkpoint(self.headers), dtype, self.device)


def choose_dtype(
    asked: str | torch.dtype | None, config: Mapping[str, Any], headers: Mapping[str, Header]
) -> torch.dtype:
    """The type of the loaded weights: the one asked for, else the published one."""
    if isinstance(asked, torch.dtype):
        return asked
    if asked in (None, "auto"):
        stored = (header.dtype for header in headers.values() if "float" in header.dtype)
        asked = config.get("dtype") or config.get("torch_dtype") or next(stored, "float32")
    found: torch.dtype = getattr(torch, str(asked).removeprefix("torch."))
    return found
