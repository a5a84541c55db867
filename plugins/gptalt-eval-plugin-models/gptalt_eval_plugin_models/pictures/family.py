"""What the rest of the package knows about models that see pictures; nothing heavy is imported here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptalt_eval import GptaltError, UnknownNameError
from gptalt_eval_plugin_models.checkpoint import Header
from gptalt_eval_plugin_models.family import Family
from gptalt_eval_plugin_models.layout import Weight
from gptalt_eval_plugin_models.llama.family import LLAMA

Shapes = dict[str, tuple[int, ...]]
#: the sizes of OpenAI's CLIP ViT-L/14, which most of these models see with
CLIP_LARGE: Mapping[str, Any] = {
    "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
    "image_size": 224, "patch_size": 14, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5,
}  # fmt: skip


@dataclass(frozen=True)
class BasedFamily(Family):
    """Models that were published without their language model: ``base`` names its folder.

    Attributes:
        base: what the language model is.
        prefix: what its weights are called within the whole.
    """

    base: str = ""
    prefix: str = ""

    def read_whole(self, folder: Path, args: Mapping[str, Any]) -> dict[str, Any]:
        config = self.read_settings(folder)
        base = find_base(args)
        return {**config, "text_config": LLAMA.read_settings(base)} if base else config

    def read_headers(self, folder: Path, args: Mapping[str, Any]) -> dict[str, Header]:
        """Weights of the folder replace those of the base, as in the publisher's code."""
        base = find_base(args)
        of_base = LLAMA.read_own(base) if base else {}
        return {f"{self.prefix}{name}": each for name, each in of_base.items()} | self.read_own(folder)

    def find_faults(self, folder: Path, args: Mapping[str, Any]) -> Iterator[GptaltError]:
        base = find_base(args)
        if base is None:
            text = f"'{self.name}' was published without its language model, {self.base}."
            yield GptaltError(text, "Add the folder of that: --model_args pretrained=FOLDER,base=FOLDER")
        elif not base.is_dir():
            yield UnknownNameError(f"There is no model folder {base}.", "Give the folder with config.json.")
        elif is_delta(base):
            text = f"{base} is a difference to LLaMA, not {self.base} itself."
            hint = (
                "Write the sum: gptalt-eval models convert vicuna-7b-v0 --to FOLDER --model_args pretrained="
            )
            yield GptaltError(text, f"{hint}LLAMA,delta={base}\nThen: base=FOLDER")
        else:
            faults = list(LLAMA.find_faults(base, {"tokenizer": args.get("tokenizer")}))
            yield from faults or super().find_faults(folder, args)

    def find_tokenizer(self, folder: Path, args: Mapping[str, Any]) -> Path | None:
        return super().find_tokenizer(find_base(args) or folder, args)


def is_delta(folder: Path) -> bool:
    """Whether a folder contains a difference, by its name or that in its config.json."""
    try:
        named = str(LLAMA.read_settings(folder).get("_name_or_path") or "")
    except GptaltError:
        named = ""  # reported with the folder's other faults
    return any(re.search(r"\bdelta\b", name.lower().replace("_", "-")) for name in (folder.name, named))


def find_base(args: Mapping[str, Any]) -> Path | None:
    return Path(str(args["base"])).expanduser() if args.get("base") else None


def list_text_shapes(config: Mapping[str, Any]) -> Shapes:
    """The weights of a LLaMA by name.

    Raises:
        KeyError: a setting is missing.
    """
    return {name: weight.shape for name, weight in LLAMA.describe(config).weights.items()}


def list_clip_shapes(config: Mapping[str, Any]) -> Shapes:
    """The weights of CLIP's vision tower by name, without what comes before these names."""
    size, inner, patch = config["hidden_size"], config["intermediate_size"], config["patch_size"]
    places = (config["image_size"] // patch) ** 2 + 1
    shapes: Shapes = {
        "embeddings.class_embedding": (size,),
        "embeddings.patch_embedding.weight": (size, 3, patch, patch),
        "embeddings.position_embedding.weight": (places, size),
        **list_linear("pre_layrnorm", (size,)),
        **list_linear("post_layernorm", (size,)),
    }
    for number in range(config["num_hidden_layers"]):
        layer = f"encoder.layers.{number}"
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= list_linear(f"{layer}.self_attn.{name}", (size, size))
        shapes |= list_linear(f"{layer}.mlp.fc1", (inner, size)) | list_linear(
            f"{layer}.mlp.fc2", (size, inner)
        )
        for name in ("layer_norm1", "layer_norm2"):
            shapes |= list_linear(f"{layer}.{name}", (size,))
    return shapes


def list_linear(name: str, shape: tuple[int, ...]) -> Shapes:
    """The weight and the bias of a layer."""
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def add_prefix(prefix: str, shapes: Mapping[str, tuple[int, ...]]) -> Shapes:
    return {f"{prefix}{name}": shape for name, shape in shapes.items()}


def rename(name: str, table: Iterable[tuple[str, str]]) -> str:
    """The loaded name of a published one: the first rule of a table that fits."""
    for before, after in table:
        renamed, count = re.subn(before, after, name)
        if count:
            return renamed
    return name


def rename_all(shapes: Shapes, table: Iterable[tuple[str, str]], required: bool = True) -> dict[str, Weight]:
    rules = tuple(table)
    return {
        name: Weight(shape, ((rename(name, rules), shape[0]),), required) for name, shape in shapes.items()
    }
