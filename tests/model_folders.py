"""Folders in the format of transformers, written by hand: no weights of a real model, no torch."""

import json
import struct

TENSORS = {"a": 64, "b": 128}  # bytes


def write_model(folder, shards=0, config=None, variant=""):
    """A folder with a configuration, a tokenizer and weights of two tensors, in one file or in shards."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", **(config or {})}))
    (folder / "tokenizer_config.json").write_text("{}")
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')
    if not shards:
        write_safetensors(folder / f"model{variant}.safetensors")
        return folder
    names = [f"model-{number:05d}-of-{shards:05d}.safetensors" for number in range(1, shards + 1)]
    for name in names:
        write_safetensors(folder / name)
    index = {"weight_map": {f"tensor_{number}": name for number, name in enumerate(names)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def write_safetensors(file, pad=0):
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, size in TENSORS.items():
        header[name] = {"dtype": "F32", "shape": [size // 4], "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode() + b" " * pad
    file.write_bytes(struct.pack("<Q", len(text)) + text + b"\0" * end)
    return file
