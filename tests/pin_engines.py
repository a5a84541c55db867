"""Writes constraints-vllm.txt and constraints-sglang.txt: ``python tests/pin_engines.py [vllm|sglang]``.

Each engine wants one release of torch and a range of transformers, which constraints.txt excludes. pip reads
only the metadata of the packages (``fast-deps``); nothing is installed. Run it with Python 3.11 on Linux.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
RELEASES = {"vllm": "0.33.0", "sglang": "0.5.23"}
KEPT = "lm_eval"  # the release that the program is tested with
HEAD = """\
# Every version that pip chose together for gptalt-eval and {engine} {release} (Python 3.11, Linux, x86-64):
# pip install -c constraints-{engine}.txt "gptalt-eval[{engine}]"
# python tests/pin_engines.py writes this file. Nothing was run with these versions on a GPU.

"""


def resolve(engine: str, constraints: Sequence[str]) -> dict[str, str]:
    """What pip would install for the extra of an engine: name -> version.

    Raises:
        subprocess.CalledProcessError: the versions exclude each other, or the index is out of reach.
    """
    with tempfile.TemporaryDirectory() as folder:
        report, pins = Path(folder, "report.json"), Path(folder, "pins.txt")
        pins.write_text("\n".join(constraints), encoding="utf-8")
        words = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        words += ["--dry-run", "--ignore-installed", "--use-feature=fast-deps", "--report", str(report)]
        words += ["-c", str(pins), f"{ROOT}[{engine}]"]
        subprocess.run(words, check=True, capture_output=True, text=True)
        chosen = json.loads(report.read_text(encoding="utf-8"))["install"]
    found = {each["metadata"]["name"]: each["metadata"]["version"] for each in chosen}
    return {name: version for name, version in found.items() if name != "gptalt-eval"}


def pin(engine: str) -> str:
    """The text of an engine's constraints."""
    ours = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    kept = [line for line in ours if re.match(rf"{KEPT}==", line)]
    found = resolve(engine, [*kept, f"{engine}=={RELEASES[engine]}"])
    lines = [
        f"{name}=={version}\n" for name, version in sorted(found.items(), key=lambda pair: pair[0].lower())
    ]
    return HEAD.format(engine=engine, release=RELEASES[engine]) + "".join(lines)


if __name__ == "__main__":
    for name in sys.argv[1:] or RELEASES:
        (ROOT / f"constraints-{name}.txt").write_text(pin(name), encoding="utf-8")
