"""What the rest of the package knows about mPLUG-Owl; nothing heavy is imported here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gptalt_eval_plugin_models.family import Family, find_no_faults
from gptalt_eval_plugin_models.layout import Layout, Weight
from gptalt_eval_plugin_models.pictures.family import (
    CLIP_LARGE,
    Shapes,
    add_prefix,
    list_clip_shapes,
    list_linear,
    list_text_shapes,
    rename_all,
)

VISION = "vision_model."
ABSTRACTOR: Mapping[str, Any] = {
    "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 6, "num_attention_heads": 16,
    "layer_norm_eps": 1e-6,
}  # fmt: skip
BESIDE = re.compile(r"rotary_emb\.inv_freq$|position_ids$")
RENAMED = (
    (r"^abstractor\.encoder\.(layers\.\d+)\.crossattention\.(attention\.|output\.mlp\.|output\.)?",
     r"abstractor.\1."),
)  # fmt: skip
#: names in CLIP's vision tower and what they are published as
PUBLISHED = (
    ("embeddings.class_embedding", "embeddings.cls_token"),
    ("embeddings.patch_embedding.", "embeddings.patch_embed."),
    ("embeddings.position_embedding.weight", "embeddings.position_embedding"),
    ("pre_layrnorm.", "embeddings.pre_layernorm."),
    ("self_attn.out_proj.", "self_attn.dense."),
    ("layer_norm1.", "input_layernorm."),
    ("layer_norm2.", "post_attention_layernorm."),
)


def identify(config: Mapping[str, Any]) -> str | None:
    return "mplug-owl" if config.get("model_type") == "mplug-owl" else None


def read_sizes(config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of the vision tower and of the abstractor; those that are left out are the usual ones."""
    tower = {**CLIP_LARGE, "layer_norm_eps": 1e-6, **config.get("vision_config", {})}
    return tower, {**ABSTRACTOR, **config.get("visual_abstractor_config", {})}


def describe(config: Mapping[str, Any]) -> Layout:
    """The weights by published name.

    Raises:
        KeyError: config.json lacks a setting.
    """
    tower, abstractor = read_sizes(config)
    text, size, queries = config["text_config"], tower["hidden_size"], config.get("num_query_tokens", 64)
    shapes: Shapes = {"query_tokens": (1, queries, abstractor["hidden_size"])}
    shapes |= list_abstractor_shapes(abstractor, size, text["hidden_size"])
    shapes |= add_prefix("language_model.", list_text_shapes(text))
    weights = rename_all(shapes, RENAMED) | list_tower_weights(tower)
    return Layout(weights, BESIDE)


def list_abstractor_shapes(config: Mapping[str, Any], seen: int, hidden: int) -> Shapes:
    size, inner = config["hidden_size"], config["intermediate_size"]
    shapes: Shapes = {"abstractor.vit_eos": (1, 1, hidden)} | list_linear(
        "abstractor.visual_fc", (hidden, size)
    )
    for number in range(config["num_hidden_layers"]):
        layer = f"abstractor.encoder.layers.{number}.crossattention"
        for name, shape in (
            ("attention.query", (size, size)), ("attention.key", (size, seen)),
            ("attention.value", (size, seen)), ("norm1", (size,)), ("normk", (seen,)),
            ("output.out_proj", (size, size)), ("output.norm2", (size,)), ("output.mlp.w1", (inner, size)),
            ("output.mlp.w2", (size, inner)), ("output.mlp.w3", (inner, size)),
            ("output.mlp.ffn_ln", (inner,)),
        ):  # fmt: skip
            shapes |= list_linear(f"{layer}.{name}", shape)
    return shapes


def list_tower_weights(config: Mapping[str, Any]) -> dict[str, Weight]:
    """CLIP's vision tower: the rows of a head's query, key and value are stored together."""
    size, heads = config["hidden_size"], config["num_attention_heads"]
    weights = {}
    for name, shape in list_clip_shapes(config).items():
        published = name
        for loaded, other in PUBLISHED:
            published = published.replace(loaded, other)
        axes = {"embeddings.cls_token": 2, "embeddings.position_embedding": 1}.get(published, 0)
        if not re.search(r"\.[qkv]_proj\.", name):
            becomes = ((f"{VISION}{name}", shape[0]),)
            weights[f"{VISION}{published}"] = Weight((1,) * axes + shape, becomes, skipped=axes)
    for number in range(config["num_hidden_layers"]):
        layer = f"{VISION}encoder.layers.{number}.self_attn"
        for part, rest in (("weight", (size,)), ("bias", ())):
            three = tuple((f"{layer}.{letter}_proj.{part}", size) for letter in "qkv")
            weights[f"{layer}.query_key_value.{part}"] = Weight((3 * size, *rest), three, groups=heads)
    return weights


def make_class() -> type[Any]:
    from gptalt_eval_plugin_models.mplug_owl.backend import MplugOwlLM

    return MplugOwlLM


MPLUG_OWL = Family(
    name="mplug-owl",
    summary="mPLUG-Owl: CLIP, an abstractor, LLaMA",
    identify=identify,
    describe=describe,
    find_setting_faults=find_no_faults,
    tokenizers=("tokenizer.model",),
    make_class=make_class,
    standard=False,
)
