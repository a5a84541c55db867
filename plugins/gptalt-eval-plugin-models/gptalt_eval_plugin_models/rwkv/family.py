"""What the rest of the package knows about RWKV-4; nothing heavy is imported here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gptalt_eval import GptaltError
from gptalt_eval_plugin_models.checkpoint import find_weights, read_checkpoint
from gptalt_eval_plugin_models.family import Family, find_no_faults, read_config
from gptalt_eval_plugin_models.layout import Layout, Weight

ORIGINAL = "rwkv_original"  # the setting that says that weights have the names of the original code
CONTEXT = 1024  # tokens; of the first releases
#: original names and those of transformers; what is not here is called the same
RENAMED = (
    (r"^emb\.", "rwkv.embeddings."),
    (r"^blocks\.(\d+)\.ln0\.", r"rwkv.blocks.\1.pre_ln."),
    (r"^blocks\.(\d+)\.att\.", r"rwkv.blocks.\1.attention."),
    (r"^blocks\.(\d+)\.ffn\.", r"rwkv.blocks.\1.feed_forward."),
    (r"^blocks\.", "rwkv.blocks."),
    (r"^ln_out\.", "rwkv.ln_out."),
    (r"\.time_mix_k$", ".time_mix_key"),
    (r"\.time_mix_v$", ".time_mix_value"),
    (r"\.time_mix_r$", ".time_mix_receptance"),
)


def identify(config: Mapping[str, Any]) -> str | None:
    return "rwkv" if config.get("model_type") == "rwkv" else None


def describe_repair(folder: Path, config: Mapping[str, Any]) -> str:
    is_there = identify(config) is not None
    return "keeps the rows of a batch apart, which transformers' own code mixes" if is_there else ""


def find_files(folder: Path) -> tuple[Path, ...]:
    """The files with the weights: those of transformers, else the one of the original code.

    Raises:
        GptaltError: there are none, or several of the original code's.
    """
    found = sorted(folder.glob("*.pth"))
    if (folder / "config.json").is_file() or not found:
        return find_weights(folder)
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise GptaltError(f"{folder} contains several models: {names}.", "Give a folder with one of them.")
    return (found[0],)


def read_settings(folder: Path) -> dict[str, Any]:
    """config.json, or the same settings as the original weights show them.

    Raises:
        GptaltError: there are neither.
    """
    if (folder / "config.json").is_file() or not list(folder.glob("*.pth")):
        return read_config(folder)
    [file] = find_files(folder)
    shapes = {name: header.shape for name, header in read_checkpoint([file]).items()}
    if not {"emb.weight", "blocks.0.att.key.weight", "blocks.0.ffn.key.weight"} <= shapes.keys():
        raise GptaltError(f"{file} does not contain an RWKV-4 model.", "Give another folder.")
    context = re.search(r"ctx(\d+)", file.name)
    vocabulary, hidden = shapes["emb.weight"]
    blocks = {int(name.split(".")[1]) for name in shapes if name.startswith("blocks.")}
    return {
        "model_type": "rwkv",
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "num_hidden_layers": max(blocks) + 1,
        "attention_hidden_size": shapes["blocks.0.att.key.weight"][0],
        "intermediate_size": shapes["blocks.0.ffn.key.weight"][0],
        "context_length": int(context[1]) if context else CONTEXT,
        "bos_token_id": 0,
        "eos_token_id": 0,
        ORIGINAL: True,
    }


def describe(config: Mapping[str, Any]) -> Layout:
    """The weights, by their original names or those of transformers.

    Raises:
        KeyError: config.json lacks a setting.
    """
    shapes = list_shapes(config)
    renamed = {name: (rename(name), shape) for name, shape in shapes.items()}
    if config.get(ORIGINAL):
        weights = {name: Weight(shape, ((new, shape[0]),)) for name, (new, shape) in renamed.items()}
    else:
        weights = {new: Weight(shape, ((new, shape[0]),)) for new, shape in renamed.values()}
    return Layout(weights)


def list_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shapes of the weights by original name."""
    hidden, vocabulary = config["hidden_size"], config["vocab_size"]
    attention = config.get("attention_hidden_size") or hidden
    inner = config.get("intermediate_size") or 4 * hidden
    shapes: dict[str, tuple[int, ...]] = {"emb.weight": (vocabulary, hidden)}
    for number in range(config["num_hidden_layers"]):
        block = f"blocks.{number}"
        for norm in ("ln0", "ln1", "ln2") if not number else ("ln1", "ln2"):
            shapes |= {f"{block}.{norm}.{part}": (hidden,) for part in ("weight", "bias")}
        shapes |= {f"{block}.att.time_{name}": (attention,) for name in ("decay", "first")}
        shapes |= {f"{block}.att.time_mix_{letter}": (1, 1, hidden) for letter in "kvr"}
        shapes |= {
            f"{block}.att.{name}.weight": (attention, hidden) for name in ("key", "value", "receptance")
        }
        shapes |= {f"{block}.ffn.time_mix_{letter}": (1, 1, hidden) for letter in "kr"}
        shapes |= {
            f"{block}.att.output.weight": (hidden, attention),
            f"{block}.ffn.key.weight": (inner, hidden),
            f"{block}.ffn.receptance.weight": (hidden, hidden),
            f"{block}.ffn.value.weight": (hidden, inner),
        }
    shapes |= {f"ln_out.{part}": (hidden,) for part in ("weight", "bias")}
    return {**shapes, "head.weight": (vocabulary, hidden)}


def rename(name: str) -> str:
    """The name in transformers of an original weight."""
    for before, after in RENAMED:
        name = re.sub(before, after, name)
    return name


def make_class() -> type[Any]:
    from gptalt_eval_plugin_models.rwkv.backend import RwkvLM

    return RwkvLM


RWKV = Family(
    name="rwkv",
    summary="RWKV-4, in the format of transformers or of the original code (.pth)",
    identify=identify,
    describe=describe,
    find_setting_faults=find_no_faults,
    tokenizers=("tokenizer.json", "20B_tokenizer.json"),
    make_class=make_class,
    find_files=find_files,
    read_settings=read_settings,
    repairs=describe_repair,
    tells=False,
)
