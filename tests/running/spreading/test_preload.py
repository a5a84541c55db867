"""What is imported before workers are forked."""

import subprocess
import sys

import pytest

SCRIPT = """
import importlib
import torch

def note(name):
    def touch(*_, **__):
        touched.append(name)
        return 0
    return touch

touched = []
for name in ("is_available", "device_count", "_lazy_init", "current_device", "get_device_properties"):
    setattr(torch.cuda, name, note(name))
from gptalt_eval.running.spreading.worker import PRELOAD

for module in PRELOAD:
    importlib.import_module(module)
assert not touched and not torch.cuda.is_initialized(), touched
"""


@pytest.mark.torch
def test_nothing_that_is_imported_for_all_workers_touches_a_gpu():
    """A process that was forked after that cannot use one."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
