"""A checkout of gptalt-eval: where its task YAMLs and its plugins lie side by side."""

from __future__ import annotations

from pathlib import Path


def find_checkout(*starts: Path) -> Path | None:
    """The checkout that the first of these files or folders lies in; None: none of them does."""
    for start in starts:
        for folder in (start, *start.parents):
            core = folder / "gptalt_eval" / "contract" / "hookspecs.py"
            if core.is_file() and (folder / "task_yamls").is_dir():
                return folder
    return None
