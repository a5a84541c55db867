"""What the rest of the package knows about Otter; nothing heavy is imported here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gptalt_eval import GptaltError
from gptalt_eval_plugin_models.checkpoint import find_weights, read_checkpoint
from gptalt_eval_plugin_models.family import Family, read_config
from gptalt_eval_plugin_models.layout import Layout
from gptalt_eval_plugin_models.pictures.family import (
    CLIP_LARGE,
    Shapes,
    add_prefix,
    list_clip_shapes,
    list_linear,
    list_text_shapes,
    rename_all,
)

VOCABULARY = 32_000  # LLaMA's, before Otter added its own
EMBEDDING = "lang_encoder.model.embed_tokens.weight"
CROSS_INNER = 512  # heads times their size, where tokens look at pictures
#: of all published models, whose config.json does not have it
PERCEIVER: Mapping[str, Any] = {"latents": 64, "layers": 6, "heads": 8, "head_size": 64}
BESIDE = re.compile(r"rotary_emb\.inv_freq$|position_ids$")
RENAMED = (
    (r"^vision_encoder\.vision_model\.", "vision_encoder."),
    (r"^lang_encoder\.model\.layers\.(\d+)\.decoder_layer\.", r"lang_encoder.model.layers.\1."),
    (r"\.gated_cross_attn_layer\.attn\.", ".gated_cross_attn_layer."),
)


def identify(config: Mapping[str, Any]) -> str | None:
    return "otter" if config.get("model_type") == "otter" else None


def read_settings(folder: Path) -> dict[str, Any]:
    """config.json; the vocabulary is as large as the weights say: some files have it without added tokens.

    Raises:
        GptaltError: config.json is missing or damaged.
    """
    config = read_config(folder)
    text = config.get("text_config")
    try:
        rows = read_checkpoint(find_weights(folder))[EMBEDDING].shape[0]
    except (GptaltError, KeyError, IndexError):
        return config  # reported when the weights are checked
    return {**config, "text_config": {**text, "vocab_size": rows}} if isinstance(text, dict) else config


def find_setting_faults(config: Mapping[str, Any]) -> Iterator[GptaltError]:
    """Editions whose code is not part of this package."""
    text = config.get("text_config") or {}
    kinds = (text.get("architectures") or [""])[0] if isinstance(text, Mapping) else ""
    if kinds not in ("", "LlamaForCausalLM"):
        yield GptaltError(f"This Otter has a {kinds} for its texts.", "Load an edition with LLaMA.")
    if (config.get("max_num_frames") or 1) > 1:
        yield GptaltError("This Otter was trained on videos.", "Load an edition for pictures.")
    if config.get("lora_config"):
        yield GptaltError("This Otter has an adapter that was not merged.", "Load a merged edition.")


def read_sizes(config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of the vision tower and of the perceiver."""
    return {**CLIP_LARGE, **config.get("vision_config", {})}, {**PERCEIVER, **config.get("perceiver", {})}


def describe(config: Mapping[str, Any]) -> Layout:
    """The weights by published name.

    Raises:
        KeyError: config.json lacks a setting.
    """
    tower, perceiver = read_sizes(config)
    seen = tower["hidden_size"]
    text = add_prefix("lang_encoder.", list_text_shapes(config["text_config"]))
    shapes: Shapes = {
        re.sub(r"(\.layers\.\d+)\.", r"\1.decoder_layer.", name): shape for name, shape in text.items()
    }
    hidden, every = config["text_config"]["hidden_size"], config["cross_attn_every_n_layers"]
    for number in range(every - 1, config["text_config"]["num_hidden_layers"], every):
        layer = f"lang_encoder.model.layers.{number}.gated_cross_attn_layer"
        shapes |= {f"{layer}.attn_gate": (1,), f"{layer}.ff_gate": (1,)}
        shapes |= list_linear(f"{layer}.attn.norm", (hidden,))
        shapes |= list_look_shapes(f"{layer}.attn", hidden, seen, CROSS_INNER)
        shapes |= list_feed_forward_shapes(f"{layer}.feed_forward", hidden)
    shapes |= list_perceiver_shapes(perceiver, seen)
    shapes |= add_prefix("vision_encoder.vision_model.", list_clip_shapes(tower))
    return Layout(rename_all(shapes, RENAMED), BESIDE)


def list_look_shapes(name: str, size: int, seen: int, inner: int) -> Shapes:
    return {
        f"{name}.to_q.weight": (inner, size),
        f"{name}.to_kv.weight": (2 * inner, seen),
        f"{name}.to_out.weight": (size, inner),
    }


def list_feed_forward_shapes(name: str, size: int) -> Shapes:
    shapes = list_linear(f"{name}.0", (size,))
    return {**shapes, f"{name}.1.weight": (4 * size, size), f"{name}.3.weight": (size, 4 * size)}


def list_perceiver_shapes(config: Mapping[str, Any], size: int) -> Shapes:
    shapes: Shapes = {"perceiver.latents": (config["latents"], size)} | list_linear("perceiver.norm", (size,))
    for number in range(config["layers"]):
        layer = f"perceiver.layers.{number}"
        shapes |= list_look_shapes(layer, size, size, config["heads"] * config["head_size"])
        shapes |= list_feed_forward_shapes(f"{layer}.feed_forward", size)
        shapes |= list_linear(f"{layer}.norm_media", (size,)) | list_linear(f"{layer}.norm_latents", (size,))
    return shapes


def make_class() -> type[Any]:
    from gptalt_eval_plugin_models.otter.backend import OtterLM

    return OtterLM


OTTER = Family(
    name="otter",
    summary="Otter with LLaMA: CLIP, a perceiver, gated cross-attention",
    identify=identify,
    describe=describe,
    find_setting_faults=find_setting_faults,
    tokenizers=("tokenizer.model",),
    make_class=make_class,
    standard=False,
    read_settings=read_settings,
)
