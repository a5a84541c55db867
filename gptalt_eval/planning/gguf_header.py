"""Whether a GGUF file is whole, by the GGUF specification (ggml project).

The package ``gguf`` believes a header's counts: it would read an array of 2^34 entries from a file of a few
bytes. So they are compared with the file's size first.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

from gptalt_eval.contract.errors import GptaltError, UnknownNameError
from gptalt_eval.contract.handed import open_named
from gptalt_eval.machine.bounds import open_file

MAGIC = b"GGUF"
AGAIN = "Download it again."
SIZES = (1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8)  # bytes of a value, by its type
TEXT, ARRAY = 8, 9
DEEPEST = 4  # arrays in arrays
SMALLEST = 12  # bytes of a metadata entry or a tensor's description, at least


class Header:
    """Steps through a header.

    Raises:
        ValueError: it promises more than the file has, or is of an unknown kind.
    """

    def __init__(self, content: mmap.mmap | bytes) -> None:
        self.content = content
        (version,) = struct.unpack_from("<I", content, 4)
        self.number = "<I" if version == 1 else "<Q"
        self.place = 8

    def check(self) -> None:
        tensors, entries = self.read_number(), self.read_number()
        if (tensors + entries) * SMALLEST > len(self.content):
            raise ValueError(f"{tensors:,} tensors and {entries:,} entries do not fit into the file")
        for _ in range(entries):
            self.skip(self.read_number())
            self.skip_value(self.read_type())

    def read_number(self) -> int:
        return self.read(self.number)

    def read_type(self) -> int:
        kind = self.read("<I")
        if kind >= len(SIZES):
            raise ValueError(f"a value of the unknown type {kind}")
        return kind

    def read(self, form: str) -> int:
        start = self.place
        self.skip(struct.calcsize(form))
        return int(struct.unpack_from(form, self.content, start)[0])

    def skip(self, size: int) -> None:
        if size > len(self.content) - self.place:
            raise ValueError(f"{size:,} bytes after byte {self.place:,} are not in the file")
        self.place += size

    def skip_value(self, kind: int, depth: int = 0) -> None:
        if kind == TEXT:
            self.skip(self.read_number())
        elif kind == ARRAY:
            self.skip_array(depth + 1)
        else:
            self.skip(SIZES[kind])

    def skip_array(self, depth: int) -> None:
        kind, count = self.read_type(), self.read_number()
        if depth > DEEPEST:
            raise ValueError("arrays are nested too deeply")
        if kind not in (TEXT, ARRAY):
            self.skip(count * SIZES[kind])
            return
        for _ in range(count):
            self.skip_value(kind, depth)


def check_header(path: Path) -> None:
    """Check a GGUF file's counts against its size.

    Raises:
        ValueError: they do not fit.
        OSError: it cannot be read.
    """
    with open_file(path, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        Header(content).check()


def find_gguf_faults(path: Path) -> Iterator[GptaltError]:
    """What ``check_gguf`` raises."""
    try:
        check_gguf(path)
    except GptaltError as error:
        yield error


def check_gguf(path: Path) -> None:
    """Check that a file exists, is a GGUF file, and is as long as its own table of tensors says.

    The package ``gguf`` reads it by the GGUF specification (ggml project).

    Raises:
        GptaltError: it is missing, something else, or truncated.
    """
    if not path.is_file():
        close = [other.name for other in path.parent.glob("*.gguf")]
        hint = f"Available: {', '.join(close)}" if close else ""
        raise UnknownNameError(f"There is no file {path}.", hint)
    with open_named(path, "rb") as stream:
        head = stream.read(8)
    if len(head) < 8 or head[:4] != MAGIC or not 1 <= struct.unpack("<I", head[4:])[0] <= 3:
        raise GptaltError(f"{path} is not a GGUF file.", AGAIN)
    from gguf import GGUFReader

    try:
        check_header(path)
        tensors = GGUFReader(path).tensors
        end = max((tensor.data_offset + tensor.n_bytes for tensor in tensors), default=0)
    except Exception as error:  # a damaged file can raise anything, since the reader trusts its input
        raise GptaltError(f"{path} is damaged or truncated ({type(error).__name__}).", AGAIN) from error
    if end > path.stat().st_size:
        text = f"{path} is truncated: {path.stat().st_size:,} bytes, {end:,} expected."
        raise GptaltError(text, AGAIN)
