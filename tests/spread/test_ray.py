"""Runs ``ray_cases.py`` in a process of its own: Ray reads its environment once, when anything imports it."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

CASES = Path(__file__).with_name("ray_cases.py")


@pytest.mark.ray
@pytest.mark.xdist_group("ray")
def test_workers_on_a_ray_cluster(tmp_path):
    if importlib.util.find_spec("ray") is None:
        pytest.skip("ray is not installed")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    words = ["-m", "pytest", "-n", "0", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'base'}"]
    done = subprocess.run(
        [sys.executable, *words, "-rf", str(CASES)], capture_output=True, text=True, env=environ, timeout=500
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
