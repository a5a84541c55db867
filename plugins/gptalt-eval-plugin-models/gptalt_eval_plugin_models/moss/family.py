"""What the rest of the package knows about MOSS; nothing heavy is imported here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from gptalt_eval import GptaltError
from gptalt_eval_plugin_models.family import Family
from gptalt_eval_plugin_models.layout import Layout, keep_names

BUFFERS = re.compile(r"\.attn\.causal_mask$")
#: the settings of CodeGen among those of MOSS, whose code was made from CodeGen's
KEPT = (
    "vocab_size", "n_positions", "n_ctx", "n_embd", "n_layer", "n_head", "rotary_dim", "n_inner",
    "activation_function", "layer_norm_epsilon", "initializer_range", "use_cache", "bos_token_id",
    "eos_token_id", "tie_word_embeddings",
)  # fmt: skip


def identify(config: Mapping[str, Any]) -> str | None:
    return "moss" if config.get("model_type") == "moss" else None


def find_setting_faults(config: Mapping[str, Any]) -> Iterator[GptaltError]:
    bits = config.get("wbits", 32)
    if bits != 32:
        text = f"These weights are quantized to {bits} bits in a format of MOSS's own (GPTQ with Triton)."
        yield GptaltError(text, "Load the edition that is not quantized.")


def describe(config: Mapping[str, Any]) -> Layout:
    """The published weights, which are called as in CodeGen.

    Raises:
        KeyError: config.json lacks a setting.
    """
    size, vocabulary = config["n_embd"], config["vocab_size"]
    inner = config.get("n_inner") or 4 * size
    shapes: dict[str, tuple[int, ...]] = {"transformer.wte.weight": (vocabulary, size)}
    for number in range(config["n_layer"]):
        layer = f"transformer.h.{number}"
        shapes |= {
            f"{layer}.ln_1.weight": (size,),
            f"{layer}.ln_1.bias": (size,),
            f"{layer}.attn.qkv_proj.weight": (3 * size, size),
            f"{layer}.attn.out_proj.weight": (size, size),
            f"{layer}.mlp.fc_in.weight": (inner, size),
            f"{layer}.mlp.fc_in.bias": (inner,),
            f"{layer}.mlp.fc_out.weight": (size, inner),
            f"{layer}.mlp.fc_out.bias": (size,),
        }
    shapes |= {f"transformer.ln_f.{part}": (size,) for part in ("weight", "bias")}
    shapes |= {"lm_head.weight": (vocabulary, size), "lm_head.bias": (vocabulary,)}
    return Layout(keep_names(shapes), BUFFERS)


def make_class() -> type[Any]:
    from gptalt_eval_plugin_models.moss.backend import MossLM

    return MossLM


MOSS = Family(
    name="moss",
    summary="MOSS-moon-003, as CodeGen",
    identify=identify,
    describe=describe,
    find_setting_faults=find_setting_faults,
    tokenizers=("vocab.json", "tokenizer.json"),
    make_class=make_class,
)
