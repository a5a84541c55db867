"""The environment of a run: package versions, hardware, and the state of the current git checkout."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import sys
from pathlib import Path
from typing import Any

from gptalt_eval.machine.subprocesses import is_checkout_changed, run_git

PACKAGES = (
    "gptalt-eval",
    "lm_eval",
    "transformers",
    "torch",
    "datasets",
    "tokenizers",
    "accelerate",
    "numpy",
    "vllm",
    "sglang",
)
#: where Linux says how much memory a container may use
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
DRIVER = Path("/proc/driver/nvidia/version")


def describe_versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def describe_hardware() -> dict[str, Any]:
    """Processor, cores, memory in GiB, and the GPUs that torch sees (if torch is already loaded)."""
    described: dict[str, Any] = {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": read_processor(),
        "cores": os.cpu_count(),
    }
    with contextlib.suppress(AttributeError, ValueError, OSError):  # not on every system
        described["memory_gib"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        described["gpus"] = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return described


def measure_memory() -> int | None:
    """Bytes of memory and swap that a process here can have, within its control group; None: unknown."""
    try:
        found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not on every system
        return None
    with contextlib.suppress(OSError, StopIteration, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        found += 1024 * int(next(line.split()[1] for line in lines if line.startswith("SwapTotal:")))
    for file in LIMITS:
        with contextlib.suppress(OSError, ValueError):  # no such file, or the word "max"
            found = min(found, int(file.read_text(encoding="utf-8")))
    return found


def measure_gpus() -> list[int]:
    """Bytes of memory of each GPU that torch can use; imports torch only where NVIDIA's driver is loaded."""
    if "torch" not in sys.modules and not DRIVER.exists():
        return []
    import torch

    if not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_properties(each).total_memory for each in range(torch.cuda.device_count())]


def count_devices(kind: str) -> int | None:
    """How many devices of a kind (``cuda``, ``mps``, ...) torch can use; None: unknown. Imports torch."""
    if kind == "cpu":
        return 1
    import torch

    if kind == "mps":
        return int(torch.backends.mps.is_available())
    module = getattr(torch, kind, None)
    try:
        return int(module.device_count()) if module is not None else 0
    except (AttributeError, RuntimeError):
        return None


def read_processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(": ", 1)[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration, IndexError):
        return platform.processor()


def describe_git() -> dict[str, Any]:
    """The commit of the current checkout and whether its files were changed; empty outside git."""
    commit = run_git("rev-parse", "HEAD")
    return {"commit": commit, "changed": is_checkout_changed(commit)} if commit else {}
