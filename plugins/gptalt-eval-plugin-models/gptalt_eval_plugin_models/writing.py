"""Writes a model in transformers' own format, shard by shard: never more than one shard is in memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import GenerationConfig

from gptalt_eval_plugin_models.backend import NativeLM, choose_dtype
from gptalt_eval_plugin_models.family import LOADER, MARK
from gptalt_eval_plugin_models.streaming import list_precise

SHARD = 2_000_000_000  # bytes


def write_model(lm: NativeLM, name: str, folder: Path, dtype: str, template: str | None) -> str:
    """Write a model that was opened without its weights.

    Args:
        lm: the opened model.
        name: its name in the catalogue.
        folder: the new, empty folder.
        dtype: the name of the type of the written weights; ``auto``: the published one.
        template: its chat template; None: its tokenizer's.

    Returns:
        what one must know about the written tokenizer.
    """
    kind = choose_dtype(dtype, lm.published, lm.headers)
    with torch.device("meta"):
        model = lm.make_model(lm.config)
    write_shards(cast_weights(lm, model, kind), folder)
    write_settings(lm, model, name, kind, folder)
    tokenizer, note = lm.make_standard_tokenizer(template)
    tokenizer.save_pretrained(folder)
    return note


def cast_weights(lm: NativeLM, model: Any, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    """The weights under their names in transformers."""
    precise = list_precise(model, dtype)
    for name, weight in lm.stream_merged(dtype):
        kept = torch.float32 if any(word in name for word in precise) else dtype
        yield name, weight.to(kept).contiguous()
    lm.finish()


def write_shards(weights: Iterable[tuple[str, Tensor]], folder: Path) -> None:
    """Write weights into files of 2 GB and their index."""
    shards: list[list[str]] = []
    waiting: dict[str, Tensor] = {}
    total = size = 0

    def write() -> None:
        shards.append(list(waiting))
        save_file(waiting, folder / f"part-{len(shards)}.safetensors", metadata={"format": "pt"})
        waiting.clear()

    for name, weight in weights:
        if waiting and size + weight.nbytes > SHARD:
            write()
            size = 0
        waiting[name] = weight.clone() if weight.untyped_storage().nbytes() > weight.nbytes else weight
        size += weight.nbytes
        total += weight.nbytes
    write()
    names = [f"model-{number:05d}-of-{len(shards):05d}.safetensors" for number in range(1, len(shards) + 1)]
    for number, file in enumerate(names, 1):
        (folder / f"part-{number}.safetensors").rename(folder / file)
    index = {name: file for file, shard in zip(names, shards, strict=True) for name in shard}
    write_json(
        folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": index}
    )


def write_settings(lm: NativeLM, model: Any, name: str, dtype: torch.dtype, folder: Path) -> None:
    settings = lm.list_standard_settings(model)
    shown = str(dtype).removeprefix("torch.")
    if settings is None:  # transformers has no such model: config.json stays as published, without its code
        kept = {key: value for key, value in lm.published.items() if key not in ("auto_map", "dtype")}
        write_json(folder / "config.json", {**kept, "torch_dtype": shown})
        return
    write_json(folder / "config.json", {**settings, "dtype": shown, MARK: name, LOADER: lm.family.name})
    generation = GenerationConfig.from_model_config(lm.config)
    if ends := lm.list_ends():
        generation.eos_token_id = ends
    generation.save_pretrained(folder)


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
