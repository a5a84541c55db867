"""Distributions as pip would have installed them, in a folder that is on ``sys.path``."""

from __future__ import annotations

import base64
import hashlib
import importlib
from collections.abc import Mapping
from pathlib import Path


def write_distribution(
    folder: Path, name: str, points: Mapping[str, str], files: Mapping[str, str], version: str = "1.0"
) -> Path:
    """Write a distribution's files and its metadata; returns the folder of the metadata.

    Args:
        points: the entry points of the group ``gptalt_eval``.
        files: path -> content.
    """
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    listed = "".join(f"{point} = {module}\n" for point, module in points.items())
    written = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/entry_points.txt": f"[gptalt_eval]\n{listed}",
    }
    for path, text in written.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    record = "".join(f"{path},{describe(text)}\n" for path, text in written.items())
    (folder / info / "RECORD").write_text(f"{record}{info}/RECORD,,\n", encoding="utf-8")
    importlib.invalidate_caches()  # a folder listed within the same tick of the clock would hide the new files
    return folder / info


def describe(text: str) -> str:
    """Hash and size, as in RECORD."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    return f"sha256={digest},{len(text.encode())}"
