"""Finds the tensors of a torch file (.bin, .pth) without torch, and runs nothing that it contains."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

STORAGES: Mapping[str, str] = {
    "HalfStorage": "float16", "BFloat16Storage": "bfloat16", "FloatStorage": "float32",
    "DoubleStorage": "float64", "CharStorage": "int8", "ByteStorage": "uint8", "ShortStorage": "int16",
    "IntStorage": "int32", "LongStorage": "int64", "BoolStorage": "bool",
}  # fmt: skip
LARGEST = 256 << 20  # bytes of a list of weights; those of real models have fewer than 10 MB
NESTED = ("model", "model_state_dict", "state_dict")
SIGNATURE = (
    30  # bytes of a zip entry's local header before its name; the lengths of name and extra field end it
)


class PickledTensor(NamedTuple):
    """A tensor as its pickle describes it.

    Attributes:
        entry: the storage's entry in the zip file.
        dtype: torch's name of the type of its numbers.
        first: index of its first number in the storage.
        shape: its shape.
        stride: its strides, in numbers.
    """

    entry: str
    dtype: str
    first: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class Storage(NamedTuple):
    entry: str
    dtype: str


def rebuild_tensor(storage: Storage, first: int, shape: Any, stride: Any, *_: Any) -> PickledTensor:
    return PickledTensor(storage.entry, storage.dtype, first, tuple(shape), tuple(stride))


def rebuild_parameter(data: PickledTensor, *_: Any) -> PickledTensor:
    return data


#: what the pickle of a state dict calls, and what is called here instead
ALLOWED: Mapping[tuple[str, str], Any] = {
    ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): rebuild_parameter,
    ("collections", "OrderedDict"): OrderedDict,
} | {("torch", name): dtype for name, dtype in STORAGES.items()}


class StateUnpickler(pickle.Unpickler):
    """Reads the pickle of a state dict; tensors become descriptions of where they are.

    Raises:
        pickle.UnpicklingError: the pickle calls anything else, which could be code.
    """

    def find_class(self, module: str, name: str) -> Any:
        found = ALLOWED.get((module, name))
        if found is None:
            raise pickle.UnpicklingError(f"it calls {module}.{name}")
        return found

    def persistent_load(self, pid: Any) -> Storage:
        _, dtype, key, *_ = pid
        return Storage(str(key), str(dtype))


def read_state(file: Path) -> dict[str, PickledTensor]:
    """The tensors of a torch file by name.

    Raises:
        pickle.UnpicklingError: it contains something else than a state dict.
        zipfile.BadZipFile, KeyError, EOFError, ValueError: it is damaged, or of torch before 1.6.
    """
    with zipfile.ZipFile(file) as archive:
        [pickled] = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if archive.getinfo(pickled).file_size > LARGEST:
            raise ValueError("its list of weights is longer than that of any model")
        state = StateUnpickler(io.BytesIO(archive.read(pickled))).load()
    if isinstance(state, Mapping):  # training code saves the weights beside other things
        state = next((state[name] for name in NESTED if isinstance(state.get(name), Mapping)), state)
    if not isinstance(state, Mapping):
        raise pickle.UnpicklingError("it is not a state dict")
    root = pickled.removesuffix("data.pkl")
    return {
        str(name): tensor._replace(entry=f"{root}data/{tensor.entry}")
        for name, tensor in state.items()
        if isinstance(tensor, PickledTensor)
    }


def locate_entries(file: Path) -> dict[str, int]:
    """Where the bytes of each uncompressed entry of a zip file begin."""
    places = {}
    with zipfile.ZipFile(file) as archive, file.open("rb") as stream:
        for entry in archive.infolist():
            stream.seek(entry.header_offset + SIGNATURE - 4)
            lengths = stream.read(4)
            name, extra = (int.from_bytes(lengths[place : place + 2], "little") for place in (0, 2))
            places[entry.filename] = entry.header_offset + SIGNATURE + name + extra
    return places
