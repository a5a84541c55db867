"""The fingerprint of a loaded model: over everything that can change an answer.

It is taken from what is in memory, so that two copies of a model in different places have the same one.
"""

from __future__ import annotations

import functools
import inspect
import json
import sysconfig
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lm_eval.api.model import LM

from gptalt_eval.machine.secrets import hide_values, is_secret
from gptalt_eval.machine.storage import hash_file, hash_text

# arguments that say where a model is stored; its files are read anyway
PLACES = {
    "pretrained", "tokenizer", "peft", "delta", "revision", "subfolder", "offload_folder", "cache_dir",
}  # fmt: skip
NOT_SETTINGS = {"transformers_version", "is_local", "local_files_only", "chat_template"}
BLOCK = 64 << 20  # bytes that are copied from a device at once
SMALL = 4 << 20  # bytes of a file that is hashed; of a larger one, its size and time must do


def describe_parts(lm: LM, name: str, args: Mapping[str, Any]) -> Mapping[str, str]:
    """A digest of each part of a model: those that differ say what has changed.

    Args:
        lm: the model.
        name: what distinguishes it from others of its class and arguments.
        args: its arguments.
    """
    args = {key: hide_values(value, key) for key, value in args.items() if not is_secret(key)}
    model: Any = getattr(lm, "model", None)
    tokenizer = find_tokenizer(lm)
    parts: dict[str, object] = {"backend": [type(lm).__qualname__, name]}
    if hasattr(model, "named_parameters"):
        parts |= {
            "arguments": clean({key: value for key, value in args.items() if key not in PLACES}),
            "weights": list(describe_weights(model)),
            "configuration": describe_settings(getattr(model, "config", None)),
            "generation settings": describe_settings(getattr(model, "generation_config", None)),
            "adapter": {
                key: describe_settings(one) for key, one in getattr(model, "peft_config", {}).items()
            },
        }
    else:
        model = None
        parts["arguments"] = {key: [clean(value), describe_place(value)] for key, value in args.items()}
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    if served := getattr(lm, "served", None):
        parts["served model"] = served
    if described := getattr(lm, "described", None):
        parts["engine"] = described
    owners = (lm, model, inner, getattr(inner, "config", None), tokenizer)
    parts["code"] = sorted({line for owner in owners for line in list_code(type(owner))})
    return {**hash_values(parts), **describe_texts(lm)}


def describe_texts(lm: LM) -> dict[str, str]:
    """A digest of each part of a model that prompts are built with; it needs no weights."""
    tokenizer = find_tokenizer(lm)
    parts = {
        "tokenizer": describe_tokenizer(tokenizer),
        "processor": describe_settings(getattr(lm, "processor", None)),
        "chat template": clean(getattr(tokenizer, "chat_template", None)),
    }
    return hash_values(parts)


def hash_values(parts: Mapping[str, object]) -> dict[str, str]:
    return {part: hash_text(json.dumps(value, sort_keys=True)) for part, value in parts.items()}


def find_tokenizer(lm: LM) -> Any:
    """The tokenizer of a model; None if it has none, or would download it only now (lm-eval's ``dummy``)."""
    made = inspect.getattr_static(lm, "tokenizer", None)
    return None if isinstance(made, functools.cached_property) else getattr(lm, "tokenizer", None)


def hash_parts(parts: Mapping[str, str]) -> str:
    """The fingerprint: SHA-256 over all parts."""
    return hash_text(json.dumps(dict(parts), sort_keys=True))


def describe_weights(model: Any) -> Iterator[list[Any]]:
    """Name, shape, type and checksum of every parameter and buffer: quantized weights are buffers."""
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        yield [name, list(tensor.shape), str(tensor.dtype), sum_bytes(tensor)]


def sum_bytes(tensor: Any) -> int | list[int]:
    """The CRC-32 of all bytes of a tensor; of one that does not show them, some values.

    It takes a third of the time of SHA-256: 0.3 s for 1 GB.
    """
    import torch

    try:
        data, total = tensor.detach().reshape(-1).contiguous().view(torch.uint8), 0
        for block in data.split(BLOCK):
            total = zlib.crc32(block.cpu().numpy(), total)
        return total
    except (RuntimeError, NotImplementedError):
        return sample_values(tensor)


def sample_values(tensor: Any) -> list[int]:
    """256 values of a tensor whose memory cannot be looked at; none if it has no memory."""
    try:
        flat = tensor.detach().flatten()
        values = flat[:: max(1, flat.numel() // 256)][:256].float().cpu().numpy()
    except (RuntimeError, NotImplementedError):
        return []
    return list(values.tobytes())


def describe_tokenizer(tokenizer: Any) -> object:
    """Vocabulary, rules, special tokens and settings; without the padding of the last call."""
    if tokenizer is None:
        return None
    files = set(getattr(tokenizer, "vocab_files_names", {}))
    given = getattr(tokenizer, "init_kwargs", {})
    settings = {key: value for key, value in given.items() if key not in files}
    special = getattr(tokenizer, "special_tokens_map", None)
    rules: Any = getattr(tokenizer, "backend_tokenizer", None)
    if hasattr(rules, "to_str"):
        whole = json.loads(rules.to_str())
        found: object = {key: value for key, value in whole.items() if key not in ("truncation", "padding")}
    else:
        paths = [getattr(tokenizer, name, None) or given.get(name) for name in sorted(files)]
        vocabulary = tokenizer.get_vocab() if hasattr(tokenizer, "get_vocab") else None
        found = [clean(vocabulary), [describe_place(path) for path in paths]]
    return [type(tokenizer).__qualname__, found, clean(settings), clean(special)]


def describe_settings(config: Any) -> object:
    """The settings of a configuration, without where it came from."""
    return clean(config.to_dict()) if hasattr(config, "to_dict") else None


def clean(value: Any) -> Any:
    """A value as JSON that is the same in every process: no places, no addresses, no order of sets."""
    if isinstance(value, Mapping):
        kept = {str(key): one for key, one in value.items()}
        return {key: clean(one) for key, one in kept.items() if not is_place(key)}
    if isinstance(value, (set, frozenset)):
        return sorted(json.dumps(clean(one), sort_keys=True) for one in value)
    if isinstance(value, (list, tuple)):
        return [clean(one) for one in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    text = str(value)
    return type(value).__qualname__ if " at 0x" in text else text


def is_place(key: str) -> bool:
    return key.startswith("_") or key.endswith("name_or_path") or key in NOT_SETTINGS


def describe_place(value: Any) -> list[Any]:
    """The files at a path: of each its name, size, and content or time of change; empty: it is no path."""
    try:
        path = Path(value).expanduser()
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        return [
            [file.name, file.stat().st_size, describe_content(file)]
            for file in files
            if file.is_file() and not file.name.startswith(".")
        ]
    except (TypeError, ValueError, OSError):
        return []


def describe_content(file: Path) -> str | int:
    return hash_file(file) if file.stat().st_size <= SMALL else file.stat().st_mtime_ns


def list_code(owner: type) -> Iterator[str]:
    """Name and SHA-256 of the files that define a class and its bases, but not those of installed packages.

    A model's remote code is there with all files of its folder, which import each other.
    """
    paths = sysconfig.get_paths()
    installed = [Path(paths[name]) for name in ("stdlib", "purelib", "platlib")]
    for base in owner.__mro__:
        package = base.__module__.partition(".")[0]
        try:
            file = Path(inspect.getfile(base))
        except (TypeError, OSError):
            continue
        if package == "gptalt_eval" or not file.is_file() or any(map(file.is_relative_to, installed)):
            continue
        remote = package == "transformers_modules"
        for source in sorted(file.parent.glob("*.py")) if remote else [file]:
            yield f"{source.name} {hash_file(source)}"
