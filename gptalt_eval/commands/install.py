""""""

from __future__ import annotations

import argparse
import subprocess
import sys

from gptalt_eval.contract.errors import GptaltError, did_you_mean
from gptalt_eval.contract.plugins import PREFIX
from gptalt_eval.contract.types import Installed


def run_install(arguments: argparse.Namespace, plugins: Installed) -> int:
    packages = [name if name.startswith(PREFIX) else PREFIX + name for name in arguments.names]
    command = [sys.executable, "-m", "pip", "install", *packages]
    print(" ".join(["pip", *command[3:]]))
    if subprocess.run(command, check=False).returncode:
        from gptalt_eval.planning.known import KNOWN

        unknown = [name for name in arguments.names if name.removeprefix(PREFIX) not in KNOWN]
        hint = did_you_mean(unknown[0], KNOWN) if unknown else ""
        raise GptaltError(
            f"pip could not install {', '.join(packages)}; its own words are above.",
            hint or "Known plugins: gptalt-eval plugins",
        )
    return 0
