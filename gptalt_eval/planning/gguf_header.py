"""The header of a GGUF file, by the GGUF specification (ggml project): whether its counts fit into the file.

The package ``gguf`` believes them: it would read an array of 2^34 entries from a file of a few bytes.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

from gptalt_eval.machine.bounds import open_file

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
