"""lm-eval's model class for published files that transformers cannot load itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
import transformers
from lm_eval.models.huggingface import HFLM
from torch import Tensor
from transformers import GenerationConfig

from gptalt_eval import GptaltError, RequestErrors
from gptalt_eval_plugin_models.checkpoint import Header
from gptalt_eval_plugin_models.family import Family
from gptalt_eval_plugin_models.streaming import Checkpoint, Source, fill_model, stream_parts

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
        self.published: Mapping[str, Any]
        self.headers: Mapping[str, Header]
        self.folder: Path
        self.prepare(Path(pretrained), settings)
        faults = list(self.family.find_faults(Path(pretrained), {**settings, "pretrained": pretrained}))
        if faults:
            raise faults[0] if len(faults) == 1 else RequestErrors(faults)
        super().__init__(pretrained, **settings)

    @classmethod
    def open(cls, folder: Path, args: Mapping[str, Any]) -> NativeLM:
        """Everything but the weights, for those who only need to know about them."""
        opened = cls.__new__(cls)
        opened.prepare(folder, args)
        opened._get_config(str(folder), subfolder=str(args.get("subfolder") or ""))
        return opened

    def prepare(self, folder: Path, args: Mapping[str, Any]) -> None:
        """Remember what was asked for, before anything is read."""
        self.folder = folder / str(args.get("subfolder") or "")
        self.args, self.published, self.headers = args, {}, {}

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
        self.published = self.family.read_whole(folder, self.args)
        if self.converted:
            super()._get_config(pretrained, subfolder=subfolder)
        else:
            self.headers = self.family.read_headers(folder, self.args)
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

    def make_standard_tokenizer(self, template: str | None) -> tuple[Any, str]:
        """A tokenizer that transformers reads itself, and what one must know about it.

        Args:
            template: the chat template; None: its own.
        """
        tokenizer = self.make_tokenizer(self.folder)
        tokenizer.chat_template = template or tokenizer.chat_template
        return tokenizer, ""

    def list_standard_settings(self, model: Any) -> dict[str, Any] | None:
        """The config.json for transformers; None: it has no such model."""
        kinds = (kind for kind in type(model).__mro__ if kind.__module__.startswith("transformers.models."))
        return {**self.config.to_dict(), "architectures": [next(kinds).__name__]}

    def list_ends(self) -> list[int]:
        """Ids that end an answer, if config.json does not tell all of them."""
        return []

    def make_source(self) -> Source:
        """The published weights."""
        return Checkpoint(self.headers)

    def stream_merged(self, dtype: torch.dtype) -> Iterable[tuple[str, Tensor]]:
        """(name in transformers, weight) of all weights, those that are added included."""
        return stream_parts(self.family.describe(self.published), self.make_source())

    def finish(self) -> None:
        """Check what shows only when all weights were read."""

    def _create_model(
        self,
        pretrained: str,
        dtype: str | torch.dtype | None = "auto",
        subfolder: str = "",
        attn_implementation: str | None = None,
        **settings: Any,
    ) -> None:
        if self.converted:
            if attn_implementation:
                settings["attn_implementation"] = attn_implementation
            super()._create_model(pretrained, dtype=dtype, subfolder=subfolder, **settings)
            return
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
        if ends := self.list_ends():
            model.generation_config.eos_token_id = ends

    def fill(self, model: Any, dtype: torch.dtype) -> Any:
        """Give the model its weights."""
        layout = self.family.describe(self.published)
        model = fill_model(model, layout, self.make_source(), dtype, self.device)
        self.finish()
        return model


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
