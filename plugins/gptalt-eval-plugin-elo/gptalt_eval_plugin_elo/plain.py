"""Files in a folder that somebody may have handed over: a link in it could lead to any file of the user."""

from __future__ import annotations

from pathlib import Path

from gptalt_eval import GptaltError


def check_plain(*paths: Path) -> None:
    """Check that nothing, or an ordinary file, is at each path.

    Raises:
        GptaltError: one is a link or a device.
    """
    for path in paths:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            text = f"{path} is a link, or no ordinary file; it is not followed."
            raise GptaltError(text, "If you know where it leads and it is yours, replace it by a copy.")
