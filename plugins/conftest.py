"""Makes sure that a plugin's tests use the plugin in this checkout, not another installed copy."""

from importlib.util import find_spec
from pathlib import Path

import pytest


def pytest_configure():
    folders = sorted(Path(__file__).parent.glob("gptalt-eval-plugin-*"))
    for folder in folders:
        found = find_spec(folder.name.replace("-", "_"))
        if found is None or not Path(str(found.origin)).is_relative_to(folder):
            here = ":".join(map(str, (Path(__file__).parents[1], *folders)))
            raise pytest.UsageError(
                f"{folder.name} is {'not installed' if found is None else f'imported from {found.origin}'}.\n"
                f"Type: make .venv/installed, or: export PYTHONPATH={here}"
            )
