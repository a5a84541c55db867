"""An append-only file of lines without duplicates."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from gptalt_eval import check_plain, open_named

BATCH = 50_000


class Lines:
    """A file of distinct lines, each remembered by a hash of eight bytes."""

    def __init__(self, path: Path) -> None:
        self.known = np.zeros(0, np.uint64)
        self.fresh: dict[int, bytes] = {}
        check_plain(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            cut_last_line(path)
            with open_named(path, "rb") as stream:
                self.known = np.fromiter(map(hash_line, stream), np.uint64)
                self.known.sort()
        self.stream: BinaryIO = path.open("ab")
        self.count = 0  # number of new lines

    def add(self, line: bytes) -> None:
        self.fresh.setdefault(hash_line(line), line)
        if len(self.fresh) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Write the new lines."""
        if not self.fresh:
            return
        hashes = np.fromiter(self.fresh, np.uint64, len(self.fresh))
        places = np.searchsorted(self.known, hashes)
        new = places == len(self.known)
        new[~new] = self.known[places[~new]] != hashes[~new]
        lines = self.fresh.values()
        self.stream.writelines(line for line, is_new in zip(lines, new, strict=True) if is_new)
        self.stream.flush()
        self.known = np.union1d(self.known, hashes[new])
        self.fresh = {}
        self.count += int(new.sum())

    def close(self) -> None:
        self.flush()
        self.stream.close()


def hash_line(line: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(line, digest_size=8).digest(), "little")


def cut_last_line(path: Path) -> None:
    """Remove an unfinished last line, which a killed import leaves."""
    with path.open("rb+") as stream:
        end = size = stream.seek(0, 2)
        while end:
            begin = max(0, end - 4096)
            stream.seek(begin)
            place = stream.read(end - begin).rfind(b"\n")
            if place >= 0:
                end = begin + place + 1
                break
            end = begin
        if end != size:
            stream.truncate(end)
