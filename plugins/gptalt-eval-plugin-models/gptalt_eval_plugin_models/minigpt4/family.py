"""What the rest of the package knows about MiniGPT-4 and VPGTrans; nothing heavy is imported here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptalt_eval import GptaltError
from gptalt_eval_plugin_models.checkpoint import NAMES, Header, find_weights, read_checkpoint
from gptalt_eval_plugin_models.family import find_no_faults, read_config
from gptalt_eval_plugin_models.layout import Layout, Weight
from gptalt_eval_plugin_models.pictures.family import (
    BasedFamily,
    Shapes,
    add_prefix,
    list_linear,
    list_text_shapes,
    rename_all,
)

TOWER, LANGUAGE = "visual_encoder.", "llama_model."
#: the sizes of the published models, which have no config.json; theirs are EVA-CLIP ViT-g and BLIP-2
PUBLISHED: Mapping[str, Any] = {
    "model_type": "minigpt4",
    "vision_config": {
        "hidden_size": 1408, "intermediate_size": 6144, "num_hidden_layers": 39, "num_attention_heads": 16,
        "image_size": 224, "patch_size": 14,
    },
    "qformer_config": {
        "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
        "cross_attention_frequency": 2, "vocab_size": 30_523,
    },
    "num_query_tokens": 32,
}  # fmt: skip
RENAMED = (
    (r"^visual_encoder\.cls_token$", "vision_model.embeddings.class_embedding"),
    (r"^visual_encoder\.pos_embed$", "vision_model.embeddings.position_embedding"),
    (r"^visual_encoder\.patch_embed\.proj\.", "vision_model.embeddings.patch_embedding."),
    (r"^visual_encoder\.blocks\.(\d+)\.norm([12])\.", r"vision_model.encoder.layers.\1.layer_norm\2."),
    (r"^visual_encoder\.blocks\.(\d+)\.attn\.q_bias$", r"vision_model.encoder.layers.\1.self_attn.qkv.bias"),
    (r"^visual_encoder\.blocks\.(\d+)\.attn\.qkv\.", r"vision_model.encoder.layers.\1.self_attn.qkv."),
    (r"^visual_encoder\.blocks\.(\d+)\.attn\.proj\.",
     r"vision_model.encoder.layers.\1.self_attn.projection."),
    (r"^visual_encoder\.blocks\.(\d+)\.mlp\.", r"vision_model.encoder.layers.\1.mlp."),
    (r"^ln_vision\.", "vision_model.post_layernorm."),
    (r"^Qformer\.bert\.embeddings\.LayerNorm\.", "qformer.layernorm."),
    (r"^Qformer\.bert\.encoder\.layer\.(\d+)\.(attention|crossattention)\.self\.",
     r"qformer.encoder.layer.\1.\2.attention."),
    (r"^Qformer\.bert\.", "qformer."),
    (r"^llama_proj\.", "language_projection."),
    (r"^llama_model\.", "language_model."),
)  # fmt: skip
#: what the files contain beside: the last block and the head of EVA-CLIP, and BLIP-2's reading of texts
BESIDE = re.compile(
    r"^visual_encoder\.(blocks\.39\.|head\.|norm\.|fc_norm\.)|relative_position_index$|position_ids$|inv_freq$"
    r"|^Qformer\.cls\.|^Qformer\.bert\.embeddings\.(word|position)|^Qformer\.bert\.encoder\.layer\.\d+\."
    r"(intermediate|output)\.|^(t5_|opt_|prompt_|text_|vision_proj|itm_|temp$)"
)


def identify(config: Mapping[str, Any]) -> str | None:
    return "minigpt4" if config.get("model_type") == "minigpt4" else None


def read_settings(folder: Path) -> dict[str, Any]:
    """config.json, where someone wrote one; else the sizes of the published models.

    Raises:
        GptaltError: the folder has no weights, or config.json is damaged.
    """
    if not (folder / "config.json").is_file():
        find_files(folder)
        return dict(PUBLISHED)
    return {**PUBLISHED, **read_config(folder)}


def find_files(folder: Path) -> tuple[Path, ...]:
    """The files with the weights, in the order in which the publisher's code reads them.

    Raises:
        GptaltError: there are none.
    """
    if any((folder / name).is_file() for name in NAMES):
        return find_weights(folder)
    found = tuple(file for kind in sort_files(folder) for file in kind)
    if not found:
        text = f"{folder} contains no weights (looked for *.pth and {', '.join(NAMES)})."
        files = "eva_vit_g.pth, blip2_pretrained_flant5xxl.pth and the model's own .pth"
        raise GptaltError(text, f"Put these into one folder: {files}.")
    return found


def sort_files(folder: Path) -> list[list[Path]]:
    """The files of EVA-CLIP, those of BLIP-2, and the model's own, which replace weights of the former."""
    files = sorted((*folder.glob("*.pth"), *folder.glob("*.pt")))
    tower = [file for file in files if file.name.startswith("eva")]
    former = [file for file in files if file.name.startswith("blip2")]
    return [tower, former, [file for file in files if file not in (*tower, *former)]]


@dataclass(frozen=True)
class MiniGPT4Family(BasedFamily):
    """MiniGPT-4: the files of what it was made from, and its own."""

    def read_own(self, folder: Path) -> dict[str, Header]:
        """Raises: GptaltError: two files of the same kind contain the same weight."""
        files = self.find_files(folder)
        if files[0].suffix not in (".pth", ".pt"):
            return super().read_own(folder)
        headers: dict[str, Header] = {}
        for kind in sort_files(folder):
            found = read_checkpoint(kind)
            is_tower = "cls_token" in found  # EVA-CLIP alone
            headers |= {f"{TOWER}{name}" if is_tower else name: each for name, each in found.items()}
        return headers


def describe(config: Mapping[str, Any]) -> Layout:
    """The weights by published name; the query's and the value's biases become one.

    Raises:
        KeyError: config.json lacks a setting.
    """
    text = config["text_config"]
    own = list_tower_shapes(config["vision_config"]) | list_qformer_shapes(config)
    own |= list_linear("llama_proj", (text["hidden_size"], config["qformer_config"]["hidden_size"]))
    weights = rename_all(own, RENAMED)
    size = config["vision_config"]["hidden_size"]
    for name in [name for name in own if name.endswith(".q_bias")]:
        [(becomes, _)] = weights[name].becomes
        weights[name] = Weight((size,), ((becomes, 3 * size),))
        weights[name.replace(".q_bias", ".v_bias")] = Weight((size,), ())
    weights |= rename_all(add_prefix(LANGUAGE, list_text_shapes(text)), RENAMED, required=False)
    return Layout(weights, BESIDE)


def list_tower_shapes(config: Mapping[str, Any]) -> Shapes:
    size, inner, patch = config["hidden_size"], config["intermediate_size"], config["patch_size"]
    places = (config["image_size"] // patch) ** 2 + 1
    shapes: Shapes = {"cls_token": (1, 1, size), "pos_embed": (1, places, size)}
    shapes |= {"patch_embed.proj.weight": (size, 3, patch, patch), "patch_embed.proj.bias": (size,)}
    for number in range(config["num_hidden_layers"]):
        block = f"blocks.{number}"
        shapes |= list_linear(f"{block}.norm1", (size,)) | list_linear(f"{block}.norm2", (size,))
        shapes |= {f"{block}.attn.{name}": (size,) for name in ("q_bias", "v_bias")}
        shapes |= {f"{block}.attn.qkv.weight": (3 * size, size)} | list_linear(
            f"{block}.attn.proj", (size, size)
        )
        shapes |= list_linear(f"{block}.mlp.fc1", (inner, size)) | list_linear(
            f"{block}.mlp.fc2", (size, inner)
        )
    return add_prefix(TOWER, shapes) | list_linear("ln_vision", (size,))


def list_qformer_shapes(config: Mapping[str, Any]) -> Shapes:
    former, seen = config["qformer_config"], config["vision_config"]["hidden_size"]
    size, inner = former["hidden_size"], former["intermediate_size"]
    shapes: Shapes = {"query_tokens": (1, config["num_query_tokens"], size)}
    shapes |= list_linear("Qformer.bert.embeddings.LayerNorm", (size,))
    for number in range(former["num_hidden_layers"]):
        layer = f"Qformer.bert.encoder.layer.{number}"
        looks = number % former["cross_attention_frequency"] == 0
        for name, keys in (("attention", size), ("crossattention", seen))[: 1 + looks]:
            shapes |= list_linear(f"{layer}.{name}.self.query", (size, size))
            shapes |= list_linear(f"{layer}.{name}.self.key", (size, keys))
            shapes |= list_linear(f"{layer}.{name}.self.value", (size, keys))
            shapes |= list_linear(f"{layer}.{name}.output.dense", (size, size))
            shapes |= list_linear(f"{layer}.{name}.output.LayerNorm", (size,))
        shapes |= list_linear(f"{layer}.intermediate_query.dense", (inner, size))
        shapes |= list_linear(f"{layer}.output_query.dense", (size, inner))
        shapes |= list_linear(f"{layer}.output_query.LayerNorm", (size,))
    return shapes


def make_class() -> type[Any]:
    from gptalt_eval_plugin_models.minigpt4.backend import MiniGPT4LM

    return MiniGPT4LM


MINIGPT4 = MiniGPT4Family(
    name="minigpt4",
    summary="MiniGPT-4 and VPGTrans: EVA-CLIP, a Q-Former and a projection; base=FOLDER is their Vicuna v0",
    identify=identify,
    describe=describe,
    find_setting_faults=find_no_faults,
    tokenizers=("tokenizer.model",),
    make_class=make_class,
    standard=False,
    find_files=find_files,
    read_settings=read_settings,
    base="Vicuna v0",
    prefix=LANGUAGE,
)
