"""What the rest of the package knows about LLaMA; nothing heavy is imported here."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptalt_eval import GptaltError
from gptalt_eval_plugin_models.checkpoint import read_checkpoint, shorten
from gptalt_eval_plugin_models.family import Family, find_no_faults
from gptalt_eval_plugin_models.layout import Layout, Weight, keep_names

ADAPTERS = ("adapter_model.safetensors", "adapter_model.bin")
CHOICES = ("layers_to_transform", "layers_pattern", "exclude_modules")  # settings that leave out layers
LORA = re.compile(r"base_model\.model\.(.+)\.lora_([AB])(?:\.default)?\.weight")
BUFFERS = re.compile(r"rotary_emb\.inv_freq$")


@dataclass(frozen=True)
class LlamaFamily(Family):
    """LLaMA, to which weights can be added: a delta (``delta``) or an adapter (``peft``)."""

    def find_faults(self, folder: Path, args: Mapping[str, Any]) -> Iterator[GptaltError]:
        yield from super().find_faults(folder, args)
        adapter = Path(str(args.get("peft") or ""))
        if args.get("peft") and adapter.is_dir():
            yield from self.find_adapter_faults(adapter, folder / str(args.get("subfolder") or ""))

    def find_adapter_faults(self, adapter: Path, folder: Path) -> Iterator[GptaltError]:
        """What shows that an adapter (LoRA) is for another base: peft would leave it out without a word."""
        file = next((file for name in ADAPTERS if (file := adapter / name).is_file()), None)
        try:
            weights = self.describe(self.read_settings(folder)).weights
            headers = read_checkpoint([file]) if file else {}
        except (GptaltError, KeyError, TypeError, ValueError, ArithmeticError):
            return  # reported when the folders are checked
        parts = [(LORA.fullmatch(name), header.shape) for name, header in headers.items()]
        found = {f"{part[1]}.weight" for part, _ in parts if part}
        kinds = tuple(f".{name.split('.')[-2]}.weight" for name in found)
        unknown = sorted(found - weights.keys())
        missing = [name for name in weights if name.endswith(kinds) and name not in found]
        if chooses_layers(adapter):
            missing = []
        wrong = [
            f"{part[1]}.weight"
            for part, shape in parts
            if part and (base := weights.get(f"{part[1]}.weight")) and not fits(part[2], shape, base.shape)
        ]
        for names, what in (
            (unknown, "it changes weights that the model does not have"),
            (missing, "it does not change all layers of the model"),
            (wrong, "its weights have other shapes"),
        ):
            if names:
                text = f"The adapter {adapter} does not fit this model: {what} ({shorten(names)})."
                yield GptaltError(text, "Give the base that it was trained on.")

    def find_argument_faults(
        self, args: Mapping[str, Any], config: Mapping[str, Any]
    ) -> Iterator[GptaltError]:
        yield from super().find_argument_faults(args, config)
        delta, adapter = args.get("delta"), args.get("peft")
        if delta and adapter:
            text = "--model_args delta=... and peft=... were given; a model is made from one of them."
            yield GptaltError(text, "Omit one.")
        if adapter and importlib.util.find_spec("peft") is None:
            text = f"The adapter {adapter} is merged with the package peft, which is not installed."
            yield GptaltError(text, "Type: pip install 'gptalt-eval-plugin-models[peft]'")
        if delta:
            yield from self.find_delta_faults(Path(str(delta)))

    def find_delta_faults(self, folder: Path) -> Iterator[GptaltError]:
        try:
            config = self.read_settings(folder)
        except GptaltError as error:
            yield error
            return
        yield from self.find_weight_faults(folder, config)


def chooses_layers(adapter: Path) -> bool:
    """Whether an adapter was made for some layers only."""
    try:
        settings = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False  # reported when its files are checked
    return isinstance(settings, dict) and any(settings.get(name) for name in CHOICES)


def fits(side: str, shape: tuple[int, ...], base: tuple[int, ...]) -> bool:
    """Whether one side of a LoRA (A: inputs, B: outputs) has the size of the weight that it changes."""
    return len(shape) == 2 and (shape[1] == base[1] if side == "A" else shape[0] == base[0])


def identify(config: Mapping[str, Any]) -> str | None:
    return "llama" if config.get("model_type") == "llama" else None


def describe_repair(folder: Path, config: Mapping[str, Any]) -> str:
    """A tokenizer of 2023 without tokenizer.json: transformers 5 gives it other ids, or cannot read it."""
    is_old = (folder / "tokenizer.model").is_file() and not (folder / "tokenizer.json").is_file()
    return "gives the token ids of 2023" if is_old and identify(config) else ""


def describe(config: Mapping[str, Any]) -> Layout:
    """The weights, which are called as in transformers.

    Raises:
        KeyError: config.json lacks a setting.
    """
    hidden, inner, vocabulary = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    heads = config["num_attention_heads"]
    size = config.get("head_dim") or hidden // heads
    keys = (config.get("num_key_value_heads") or heads) * size
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary, hidden)}
    for number in range(config["num_hidden_layers"]):
        layer = f"model.layers.{number}"
        shapes |= {
            f"{layer}.self_attn.q_proj.weight": (heads * size, hidden),
            f"{layer}.self_attn.k_proj.weight": (keys, hidden),
            f"{layer}.self_attn.v_proj.weight": (keys, hidden),
            f"{layer}.self_attn.o_proj.weight": (hidden, heads * size),
            f"{layer}.mlp.gate_proj.weight": (inner, hidden),
            f"{layer}.mlp.up_proj.weight": (inner, hidden),
            f"{layer}.mlp.down_proj.weight": (hidden, inner),
            f"{layer}.input_layernorm.weight": (hidden,),
            f"{layer}.post_attention_layernorm.weight": (hidden,),
        }
    weights = keep_names({**shapes, "model.norm.weight": (hidden,)})
    head = (("lm_head.weight", vocabulary),)
    tied = bool(config.get("tie_word_embeddings"))
    return Layout({**weights, "lm_head.weight": Weight((vocabulary, hidden), head, not tied)}, BUFFERS)


def make_class() -> type[Any]:
    from gptalt_eval_plugin_models.llama.backend import LlamaLM

    return LlamaLM


def make_alpaca_class() -> type[Any]:
    from gptalt_eval_plugin_models.llama.backend import AlpacaLM

    return AlpacaLM


TOKENIZERS = ("tokenizer.model", "tokenizer.json")
LLAMA = LlamaFamily(
    name="llama",
    summary="LLaMA with the token ids of 2023; adds a delta (Vicuna v0) or an adapter (Alpaca-LoRA, Baize)",
    identify=identify,
    describe=describe,
    find_setting_faults=find_no_faults,
    tokenizers=TOKENIZERS,
    make_class=make_class,
    repairs=describe_repair,
    tells=False,
)
ALPACA = LlamaFamily(
    name="alpaca",
    summary="LLaMA with the weight difference of Stanford Alpaca added and checked",
    identify=identify,
    describe=describe,
    find_setting_faults=find_no_faults,
    tokenizers=TOKENIZERS,
    make_class=make_alpaca_class,
    tells=False,
)
