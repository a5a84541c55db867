"""The files of a published checkpoint: which there are and what they contain, by their headers alone."""

from __future__ import annotations

import json
import math
import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptalt_eval import GptaltError, open_named
from gptalt_eval_plugin_models.pickled import locate_entries, read_state

AGAIN = "Download it again."
POINTER = b"version https://git-lfs"
LONGEST_HEADER = 100_000_000  # bytes, as in the library safetensors
#: bytes of a number
SIZES: Mapping[str, int] = {
    "float16": 2, "bfloat16": 2, "float32": 4, "float64": 8, "int8": 1, "uint8": 1, "int16": 2, "int32": 4,
    "int64": 8, "bool": 1,
}  # fmt: skip
SAFETENSORS: Mapping[str, str] = {
    "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64", "I8": "int8", "U8": "uint8",
    "I16": "int16", "I32": "int32", "I64": "int64", "BOOL": "bool",
}  # fmt: skip
#: where weights are looked for, in the order of transformers
NAMES = (
    "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json",
)  # fmt: skip

#: what reading a file raises that may contain anything in place of numbers and names
DAMAGED = (
    ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError, EOFError, struct.error,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@dataclass(frozen=True)
class Header:
    """Where a tensor is.

    Attributes:
        file: its file.
        dtype: torch's name of the type of its numbers.
        shape: its shape.
        stride: its strides, in numbers.
        begin: the byte of the file at which it begins.
    """

    file: Path
    dtype: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    begin: int

    @property
    def size(self) -> int:
        """Bytes from its first number to its last."""
        if not all(self.shape):
            return 0
        last = sum((count - 1) * step for count, step in zip(self.shape, self.stride, strict=True))
        return (last + 1) * SIZES[self.dtype]


def find_weights(folder: Path) -> tuple[Path, ...]:
    """The files with the weights.

    Raises:
        GptaltError: there are none, or some of those that the index lists are missing.
    """
    found = next((folder / name for name in NAMES if (folder / name).is_file()), None)
    if found is None:
        text = f"{folder} contains no weights (looked for {', '.join(NAMES)})."
        raise GptaltError(text, "Download the whole model.")
    if found.suffix != ".json":
        return (found,)
    names = sorted(set(read_index(found).values()))
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise GptaltError(
            f"{folder}: {len(missing)} of {len(names)} weight files are missing: {shorten(missing)}.",
            "Download the rest of the model.",
        )
    return tuple(folder / name for name in names)


def read_index(file: Path) -> dict[str, str]:
    """Name of each weight -> name of its file.

    Raises:
        GptaltError: the index is damaged.
    """
    try:
        listed = json.loads(file.read_text(encoding="utf-8"))["weight_map"]
        return {str(name): str(shard) for name, shard in listed.items()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise GptaltError(f"{file} is damaged: it does not list weights.", AGAIN) from error


def read_checkpoint(files: Iterable[Path]) -> dict[str, Header]:
    """The tensors of several files by name, in the order in which they are stored.

    Raises:
        GptaltError: a file is damaged, or two contain the same weight.
    """
    headers: dict[str, Header] = {}
    for file in files:
        for name, header in read_headers(file).items():
            if name in headers:
                text = f"Both {headers[name].file} and {file} contain the weight {name}."
                raise GptaltError(
                    text, "Remove the files that belong to another model, or download it again."
                )
            headers[name] = header
    return headers


def read_headers(file: Path) -> dict[str, Header]:
    """The tensors of a file by name, in the order in which they are stored.

    Raises:
        GptaltError: it is damaged, not the file itself, or a pickle of something else.
    """
    with open_named(file, "rb") as stream:
        if stream.read(len(POINTER)) == POINTER:
            raise GptaltError(f"{file} is a pointer of Git LFS, not the file itself.", "Type: git lfs pull")
    headers = read_safetensors(file) if file.suffix == ".safetensors" else read_torch(file)
    size = file.stat().st_size
    for name, header in headers.items():
        numbers = (header.begin, *header.shape, *header.stride)
        if not all(type(number) is int and number >= 0 for number in numbers):
            raise GptaltError(f"{file} is damaged: the weight {name} is nowhere in it.", AGAIN)
        if header.begin + header.size > size:
            raise GptaltError(f"{file} is truncated: the weight {name} ends after it.", AGAIN)
    return dict(sorted(headers.items(), key=lambda item: item[1].begin))


def read_safetensors(file: Path) -> dict[str, Header]:
    """The format: 8 bytes with the header's length, the header in JSON, and the tensors."""
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > min(file.stat().st_size, LONGEST_HEADER):
                raise ValueError("its header is longer than the file")
            listed: dict[str, Any] = json.loads(stream.read(length))
        return {
            name: make_header(file, item, 8 + length)
            for name, item in listed.items()
            if name != "__metadata__"
        }
    except DAMAGED as error:
        raise GptaltError(f"{file} is damaged: its header cannot be read.", AGAIN) from error


def make_header(file: Path, item: Mapping[str, Any], start: int) -> Header:
    shape = tuple(int(count) for count in item["shape"])
    stride = tuple(math.prod(shape[place + 1 :]) for place in range(len(shape)))
    return Header(file, SAFETENSORS[item["dtype"]], shape, stride, start + int(item["data_offsets"][0]))


def read_torch(file: Path) -> dict[str, Header]:
    try:
        state, places = read_state(file), locate_entries(file)
        return {
            name: Header(file, each.dtype, each.shape, each.stride, find_first(places, each))
            for name, each in state.items()
        }
    except pickle.UnpicklingError as error:
        raise GptaltError(
            f"{file} is a pickle that contains more than weights: {error}.",
            "Do not load it. Look for the same weights as .safetensors.",
        ) from error
    except DAMAGED as error:
        text = f"{file} is damaged, or in the format of torch before 1.6."
        raise GptaltError(text, "Download it again, or look for the same weights as .safetensors.") from error


def find_first(places: Mapping[str, int], tensor: Any) -> int:
    return int(places[tensor.entry] + tensor.first * SIZES[tensor.dtype])


def shorten(names: list[str], shown: int = 3) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
