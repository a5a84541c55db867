"""A checkout of gptalt-eval, which contains the task YAMLs and the plugins."""

from __future__ import annotations

from pathlib import Path


def find_checkout(*starts: Path) -> Path | None:
    """The checkout that contains the first of these files or folders that is in one; None: none is."""
    for start in starts:
        for folder in (start, *start.parents):
            core = folder / "gptalt_eval" / "contract" / "hookspecs.py"
            if core.is_file() and (folder / "task_yamls").is_dir():
                return folder
    return None
