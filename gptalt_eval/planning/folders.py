"""The files of a model's folder: whether all that transformers will open is there and whole."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from gptalt_eval.contract.errors import GptaltError, UnknownNameError
from gptalt_eval.contract.handed import open_named
from gptalt_eval.machine.bounds import read_file

AGAIN = "Download it again."
LONGEST_HEADER = 100_000_000  # bytes; the library safetensors refuses longer ones too
LARGEST_CONFIG = 1 << 30  # bytes; vocabularies have up to 100 MB
POINTER = b"version https://git-lfs"
#: names of files with a vocabulary, of all tokenizers of transformers
VOCABULARIES = (
    "tokenizer.json", "*vocab*", "merges.txt", "*.model", "*.spm", "*.tiktoken", "*.tokenizer",
    "tekken.json", "byte_maps.json", "dict.txt", "bpe.codes", "emoji.json",
)  # fmt: skip
#: the beginnings of classes that read bytes, and so have no vocabulary
BYTEWISE = ("ByT5", "Canine", "Perceiver", "Dia")


def find_folder_faults(folder: Path, args: Mapping[str, Any]) -> Iterator[GptaltError]:
    """All problems with the files of a model in the format of transformers.

    Args:
        folder: the model's folder, or the part of it that ``subfolder`` names.
        args: the model's arguments.
    """
    if not (folder / "config.json").is_file():
        yield describe_stranger(folder)
        return
    try:
        config = read_config(folder / "config.json")
    except GptaltError as error:
        yield error
        config = {}
    if not args.get("autogptq"):  # its files have other names
        yield from find_weight_faults(folder, config, args)
    if args.get("tokenizer") is None:
        yield from find_tokenizer_faults(folder, config)


def find_adapter_faults(folder: Path) -> Iterator[GptaltError]:
    """All problems with the folder of an adapter (``peft=``)."""
    if not (folder / "adapter_config.json").is_file():
        text = f"{folder} does not contain an adapter: adapter_config.json is missing."
        is_model = (folder / "config.json").is_file()
        hint = (
            f"It is a model: --model_args pretrained={folder}" if is_model else "Give a folder saved by peft."
        )
        yield GptaltError(text, hint)
        return
    names = ("adapter_model.safetensors", "adapter_model.bin")
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        yield GptaltError(f"{folder} contains no weights (looked for {', '.join(names)}).", AGAIN)
    else:
        yield from find_file_faults(found)


def describe_stranger(folder: Path) -> GptaltError:
    """What a folder without config.json is instead of a model."""
    text = f"{folder} does not contain a model: config.json is missing."
    if (folder / "adapter_config.json").is_file():
        return GptaltError(text, f"It is an adapter: --model_args pretrained=BASE_MODEL,peft={folder}")
    inner = sorted(path.parent.name for path in folder.glob("*/config.json"))
    ggufs = sorted(path.name for path in folder.glob("*.gguf"))
    if inner:
        return GptaltError(text, f"Did you mean '{folder / inner[0]}'?")
    if ggufs:
        return GptaltError(text, f"For a GGUF file: --model_args pretrained={folder},gguf_file={ggufs[0]}")
    return GptaltError(text, "Give a folder saved by transformers.")


def read_config(file: Path) -> dict[str, Any]:
    """A JSON file with settings.

    Raises:
        GptaltError: it is damaged.
    """
    try:
        config = json.loads(read_file(file, LARGEST_CONFIG))
    except (ValueError, OSError, RecursionError) as error:
        raise GptaltError(f"{file} is damaged or not JSON ({error}).", AGAIN) from error
    if not isinstance(config, dict):
        raise GptaltError(f"{file} is damaged: it contains no settings.", AGAIN)
    return config


def find_weight_faults(
    folder: Path, config: Mapping[str, Any], args: Mapping[str, Any]
) -> Iterator[GptaltError]:
    """No weights, missing parts, or files that end too early."""
    wanted = list_weight_names(config, args)
    found = next((name for name in wanted if (folder / name).is_file()), None)
    if found is None:
        if not (folder / "adapter_config.json").is_file():  # which names the model with the weights
            yield describe_missing_weights(folder, wanted)
    elif found.endswith(".index.json"):
        yield from find_shard_faults(folder, found)
    else:
        yield from find_file_faults(folder / found)


def list_weight_names(config: Mapping[str, Any], args: Mapping[str, Any]) -> list[str]:
    """The files in which transformers looks for weights, in its order."""
    named = args.get("transformers_weights") or config.get("transformers_weights")
    if named:
        return [str(named)]
    variant = f".{args['variant']}" if args.get("variant") else ""
    names = [f"model{variant}.safetensors", f"model.safetensors.index{variant}.json"]
    old = [f"pytorch_model{variant}.bin", f"pytorch_model.bin.index{variant}.json"]
    choice = args.get("use_safetensors")
    return names if choice is True else old if choice is False else [*names, *old]


def describe_missing_weights(folder: Path, wanted: list[str]) -> GptaltError:
    text = f"{folder} contains no weights (looked for {', '.join(wanted)})."
    variants = [
        path.name.split(".")[1] for path in folder.glob("*.*.safetensors") if path.name.startswith("model.")
    ]
    if variants:
        return GptaltError(text, f"There is a variant of them: --model_args variant={variants[0]}")
    others = [
        path for ending in ("safetensors", "bin", "gguf", "pth", "h5") for path in folder.glob(f"*.{ending}")
    ]
    if others:
        return GptaltError(text, f"It contains {others[0].name}, which transformers does not look for.")
    return GptaltError(text, "Download the whole model.")


def find_shard_faults(folder: Path, index: str) -> Iterator[GptaltError]:
    try:
        shards = sorted({str(name) for name in read_config(folder / index)["weight_map"].values()})
    except GptaltError as error:
        yield error
        return
    except (KeyError, AttributeError):
        yield GptaltError(f"{folder / index} is damaged: it does not list weights.", AGAIN)
        return
    missing = [name for name in shards if not (folder / name).is_file()]
    if missing:
        shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        text = f"{folder}: {len(missing)} of {len(shards)} weight files are missing: {shown}."
        yield GptaltError(text, "Download the rest of the model.")
    for name in shards:
        if name not in missing:
            yield from find_file_faults(folder / name)


def find_file_faults(file: Path) -> Iterator[GptaltError]:
    """A file of weights that is cut off, or the pointer of Git LFS instead of it."""
    with open_named(file, "rb") as stream:
        size = file.stat().st_size
        head = stream.read(len(POINTER))
    if head == POINTER:
        yield GptaltError(f"{file} is a pointer of Git LFS, not the file itself.", "Type: git lfs pull")
    elif file.suffix == ".safetensors":
        expected = measure_safetensors(file)
        if expected is None:
            yield GptaltError(f"{file} is damaged: its header cannot be read.", AGAIN)
        elif size < expected:
            yield GptaltError(f"{file} is truncated: {size:,} bytes, {expected:,} expected.", AGAIN)
        elif size > expected:
            yield GptaltError(f"{file} is damaged: {size:,} bytes, {expected:,} expected.", AGAIN)
    elif not size or (head.startswith(b"PK") and not zipfile.is_zipfile(file)):
        yield GptaltError(f"{file} is truncated or damaged ({size:,} bytes).", AGAIN)


def measure_safetensors(file: Path) -> int | None:
    """The size that a file's header promises; None: it cannot be read.

    The format: 8 bytes with the header's length, the header in JSON, and the tensors at its ``data_offsets``.
    """
    with open_named(file, "rb") as stream:
        first = stream.read(8)
        if len(first) < 8:
            return None
        (length,) = struct.unpack("<Q", first)
        if length > min(file.stat().st_size, LONGEST_HEADER):
            return None
        try:
            header = json.loads(stream.read(length))
            ends = [int(item["data_offsets"][1]) for name, item in header.items() if name != "__metadata__"]
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError):
            return None
    return 8 + int(length) + max(ends, default=0)


def find_tokenizer_faults(folder: Path, config: Mapping[str, Any]) -> Iterator[GptaltError]:
    """No tokenizer, one without its vocabulary, or a damaged one."""
    hint = "Download the whole model, or name another tokenizer: --model_args tokenizer=HUB_ID_OR_FOLDER"
    names = [path.name for path in folder.iterdir() if path.is_file()]
    kept = [name for name in names if any(fnmatch(name, pattern) for pattern in VOCABULARIES)]
    settings: dict[str, Any] = {}
    for name in ("tokenizer_config.json", "tokenizer.json"):
        if name in names:
            try:
                content = read_config(folder / name)
            except GptaltError as error:
                yield describe_pointer(folder / name) or error
                return
            settings = content if name == "tokenizer_config.json" else settings
    made = str(settings.get("tokenizer_class") or config.get("tokenizer_class") or "")
    if kept or made.startswith(BYTEWISE) or "auto_map" in settings:
        return
    what = "its tokenizer has no vocabulary" if "tokenizer_config.json" in names else "it has no tokenizer"
    yield UnknownNameError(f"{folder}: {what} (looked for tokenizer.json, vocab.json, *.model, ...).", hint)


def describe_pointer(file: Path) -> GptaltError | None:
    with open_named(file, "rb") as stream:
        is_pointer = stream.read(len(POINTER)) == POINTER
    text = f"{file} is a pointer of Git LFS, not the file itself."
    return GptaltError(text, "Type: git lfs pull") if is_pointer else None
