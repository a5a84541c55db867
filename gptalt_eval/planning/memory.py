"""Amounts of memory, and whether the weights of a model fit into one."""

from __future__ import annotations

import re

#: bytes; single letters are read as torch and operating systems write them
UNITS = {
    "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40,
    "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40,
}  # fmt: skip
#: activations and keys need memory too: a tenth of the weights is what a run takes at the least
ROOM = 1.1


def read_size(text: str) -> float | None:
    """Bytes, of text such as ``16GB`` or ``15.9 GiB``; None: it is not an amount of memory."""
    matched = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]+)\s*", text)
    unit = UNITS.get(matched[2].upper()) if matched else None
    return float(matched[1]) * unit if matched and unit else None


def fits(weights: float, memory: float) -> bool:
    """Whether a number of bytes of weights, and some room for activations, fit into a memory of so many."""
    return weights * ROOM <= memory
