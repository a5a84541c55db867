"""Which ChatGLM a config.json describes, its weights, and its settings in transformers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from gptalt_eval import GptaltError
from gptalt_eval_plugin_models.layout import Layout, Weight, keep_names

V1, V2, V3 = "chatglm", "chatglm2", "chatglm3"
BUFFERS = re.compile(r"rotary_(pos_)?emb\.inv_freq$")
FIRST_VOCABULARY = 150_528  # of the first revisions of ChatGLM-6B, whose vocabulary begins with image tokens
IMAGE_TOKENS = 20_000
HEAD = "lm_head.weight"
THETA = 10_000.0


def identify(config: Mapping[str, Any]) -> str | None:
    """chatglm, chatglm2 or chatglm3; None: something else.

    The second and the third have the same settings; only the name under which its publisher trained it tells
    the third. CodeGeeX2 is a ChatGLM2.
    """
    if config.get("model_type") != "chatglm":
        return None
    if "padded_vocab_size" not in config:
        return V1 if "inner_hidden_size" in config else None
    named = str(config.get("_name_or_path", "")).lower()
    return V3 if re.search(r"chatglm-?3", named) else V2


def find_setting_faults(config: Mapping[str, Any]) -> Iterator[GptaltError]:
    """Settings of editions whose code is not part of this package."""
    bits = config.get("quantization_bit")
    if bits:
        yield GptaltError(
            f"These weights are quantized to {bits} bits in a format of their publisher's own.",
            "Load the edition that is not quantized.",
        )
    if config.get("pre_seq_len"):
        yield GptaltError(
            f"This model was tuned with a prefix of {config['pre_seq_len']} trained tokens (P-Tuning v2).",
            "Merge it, or evaluate the model without it: remove pre_seq_len from config.json.",
        )
    expected = (
        {"position_encoding_2d": True}
        if "inner_hidden_size" in config
        else {
            "rmsnorm": True, "post_layer_norm": True, "add_bias_linear": False,
            "apply_residual_connection_post_layernorm": False, "original_rope": True,
        }
    )  # fmt: skip
    for name, value in expected.items():
        if config.get(name, value) is not value:
            yield GptaltError(
                f"config.json has {name}={config[name]}; every published ChatGLM has {value}.",
                "This model cannot be loaded.",
            )


def describe_weights(config: Mapping[str, Any]) -> Layout:
    """The published weights of any ChatGLM.

    Raises:
        KeyError: config.json lacks a setting.
    """
    return describe_first(config) if identify(config) == V1 else describe_later(config)


def describe_first(config: Mapping[str, Any]) -> Layout:
    """ChatGLM-6B; its output layer is the embedding, saved twice."""
    hidden, inner, vocabulary = config["hidden_size"], config["inner_hidden_size"], config["vocab_size"]
    shapes: dict[str, tuple[int, ...]] = {"transformer.word_embeddings.weight": (vocabulary, hidden)}
    for number in range(config["num_layers"]):
        layer = f"transformer.layers.{number}"
        for name, rows, columns in (
            ("attention.query_key_value", 3 * hidden, hidden), ("attention.dense", hidden, hidden),
            ("mlp.dense_h_to_4h", inner, hidden), ("mlp.dense_4h_to_h", hidden, inner),
        ):  # fmt: skip
            shapes |= {f"{layer}.{name}.weight": (rows, columns), f"{layer}.{name}.bias": (rows,)}
        for name in ("input_layernorm", "post_attention_layernorm"):
            shapes |= {f"{layer}.{name}.weight": (hidden,), f"{layer}.{name}.bias": (hidden,)}
    shapes |= {f"transformer.final_layernorm.{part}": (hidden,) for part in ("weight", "bias")}
    head = Weight((vocabulary, hidden), ((HEAD, vocabulary),), required=False)
    return Layout({**keep_names(shapes), HEAD: head}, BUFFERS)


def describe_later(config: Mapping[str, Any]) -> Layout:
    """ChatGLM2-6B and ChatGLM3-6B, which become transformers' Glm: its q, k and v are apart."""
    hidden, inner, vocabulary = config["hidden_size"], config["ffn_hidden_size"], config["padded_vocab_size"]
    heads, keys = count_rows(config)
    weights = {
        "transformer.embedding.word_embeddings.weight": Weight(
            (vocabulary, hidden), (("model.embed_tokens.weight", vocabulary),)
        )
    }
    for number in range(config["num_layers"]):
        old, new = f"transformer.encoder.layers.{number}", f"model.layers.{number}"
        fused = f"{old}.self_attention.query_key_value"
        for part, rest in {
            "weight": (hidden,),
            **({"bias": ()} if config.get("add_qkv_bias") else {}),
        }.items():
            becomes = tuple(
                (f"{new}.self_attn.{letter}_proj.{part}", rows)
                for letter, rows in (("q", heads), ("k", keys), ("v", keys))
            )
            weights[f"{fused}.{part}"] = Weight((heads + 2 * keys, *rest), becomes)
        for before, after, shape in (
            ("input_layernorm", "input_layernorm", (hidden,)),
            ("post_attention_layernorm", "post_attention_layernorm", (hidden,)),
            ("self_attention.dense", "self_attn.o_proj", (hidden, heads)),
            ("mlp.dense_h_to_4h", "mlp.gate_up_proj", (2 * inner, hidden)),
            ("mlp.dense_4h_to_h", "mlp.down_proj", (hidden, inner)),
        ):
            weights[f"{old}.{before}.weight"] = Weight(shape, ((f"{new}.{after}.weight", shape[0]),))
    final = "transformer.encoder.final_layernorm.weight"
    weights[final] = Weight((hidden,), (("model.norm.weight", hidden),))
    head = (vocabulary, hidden)
    weights["transformer.output_layer.weight"] = Weight(head, (("lm_head.weight", vocabulary),))
    return Layout(weights, BUFFERS)


def count_rows(config: Mapping[str, Any]) -> tuple[int, int]:
    """Rows of the queries, and of the keys or values."""
    heads, size = config["num_attention_heads"], config["kv_channels"]
    groups = config["multi_query_group_num"] if config.get("multi_query_attention") else heads
    return heads * size, groups * size


def convert_later(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of transformers' GlmConfig.

    Longer contexts: ChatGLM3-6B-32k has a larger base of its angles, ChatGLM2-6B-32k divides positions.
    """
    _, keys = count_rows(config)
    ratio = float(config.get("rope_ratio") or 1.0)
    rope = {"rope_type": "default", "rope_theta": THETA, "partial_rotary_factor": 0.5}
    if identify(config) == V3:
        rope["rope_theta"] = THETA * ratio
    elif ratio != 1.0:
        rope |= {"rope_type": "linear", "factor": ratio}
    return {
        "vocab_size": config["padded_vocab_size"],
        "hidden_size": config["hidden_size"],
        "intermediate_size": config["ffn_hidden_size"],
        "num_hidden_layers": config["num_layers"],
        "num_attention_heads": config["num_attention_heads"],
        "num_key_value_heads": keys // config["kv_channels"],
        "head_dim": config["kv_channels"],
        "max_position_embeddings": config["seq_length"],
        "rms_norm_eps": config["layernorm_epsilon"],
        "attention_bias": bool(config.get("add_qkv_bias")),
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "pad_token_id": 0,
        "eos_token_id": 2,
        "bos_token_id": None,
        "attention_dropout": 0.0,
        "rope_parameters": rope,
    }


def convert_first(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of ``ChatGLMConfig``; the first revisions' file has ids of their own."""
    kept = (
        "vocab_size", "hidden_size", "num_layers", "num_attention_heads", "inner_hidden_size",
        "layernorm_epsilon", "max_sequence_length", "bos_token_id", "eos_token_id", "pad_token_id",
    )  # fmt: skip
    settings = {name: config[name] for name in kept if name in config}
    first = config["vocab_size"] == FIRST_VOCABULARY
    start = 150_000 if first else 130_000
    for name, place in (("mask_token_id", 0), ("gmask_token_id", 1)):
        settings[name] = config.get(name, start + place)
    if first:
        settings |= {"bos_token_id": 150_004, "eos_token_id": 150_005, "pad_token_id": 20_003}
    return settings
