"""Joins a Ray cluster that somebody has started; says what is wrong within seconds, before weights load."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import Any

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.machine.subprocesses import clean_environment
from gptalt_eval.spread.serve import shorten

CONNECTS_IN = 5.0  # seconds
ANSWERS_IN = 45.0  # seconds, most of which Python needs to import Ray on a slow disk
KNOCK = """
import sys, ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="error")
"""
START = "Start one with: ray start --head"


def join(address: str) -> tuple[Any, bool]:
    """Connect this process to a cluster; one that the user's program has joined is used as it is.

    Args:
        address: ``HOST:PORT``, as checked before, or ``auto``: ``RAY_ADDRESS`` or a cluster of this computer.

    Returns:
        The module ``ray``, and whether the connection is ours to end.

    Raises:
        GptaltError: Ray is not installed, nothing answers at the address, or it does not fit.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # Ray itself ignores the token for HOST:PORT
    try:
        import ray
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise GptaltError("--cluster needs Ray, which is not installed.", "Type: pip install ray") from None
    if ray.is_initialized():
        return ray, False
    check_address(address)
    knock(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level="error")
    except (RuntimeError, ConnectionError, ray.exceptions.RayError) as error:
        raise explain(address, f"{type(error).__name__}: {error}") from error
    silence(ray)
    return ray, True


def check_address(address: str) -> None:
    """Refuse an address at which nothing listens: Ray itself waits for two minutes."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECTS_IN).close()
    except OSError as error:
        raise GptaltError(f"No Ray cluster answers at {address}: {error.strerror or error}.", START) from None


def knock(address: str) -> None:
    """Connect from another process: where something is wrong, Ray can wait for long, or end the process."""
    environ = {**clean_environment(), "RAY_NUM_REDIS_GET_RETRIES": "5"}  # seconds, for a wrong token too
    words = [sys.executable, "-c", KNOCK, address]
    try:
        done = subprocess.run(
            words,
            timeout=ANSWERS_IN,
            check=False,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
        )
    except subprocess.TimeoutExpired:
        raise GptaltError(f"No Ray cluster answers at {address} in {ANSWERS_IN:.0f} s.", START) from None
    if done.returncode:
        raise explain(address, done.stderr)


def explain(address: str, printed: str) -> GptaltError:
    """What is wrong, from what Ray printed."""
    if "Version mismatch" in printed:
        said = shorten(printed.rpartition("Version mismatch")[2].lstrip(":! "))
        return GptaltError(
            f"The cluster at {address} runs another Ray or Python than this computer: {said}",
            "Install the same versions here and there.",
        )
    if "AuthenticationError" in printed or "nauthenticated" in printed:
        return GptaltError(
            f"The cluster at {address} wants a token, or another one.",
            "Set RAY_AUTH_TOKEN_PATH to a file with the cluster's token.",
        )
    if "Could not find any running Ray instance" in printed:
        return GptaltError("No Ray cluster runs on this computer, and RAY_ADDRESS names none.", START)
    lines = printed.strip().splitlines()
    return GptaltError(f"Ray cannot join the cluster at {address}: {shorten(lines[-1] if lines else '')}")


def silence(ray: Any) -> None:
    """Have Ray not print each lost worker on standard output, which is for results; it has no setting."""
    worker = ray._private.worker
    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda *_, **__: None
