"""Writes constraints-vllm.txt and constraints-sglang.txt: ``python tests/pin_engines.py [vllm|sglang]``.

Each engine wants one release of torch and a range of transformers, which constraints.txt excludes. uv reads
only the metadata of the packages, where pip would download gigabytes of them; nothing is installed.
"""

from __future__ import annotations

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
# Every version that was chosen together for gptalt-eval and {engine} {release} (Python 3.11, Linux, x86-64):
# pip install -c constraints-{engine}.txt ".[{engine}]"
# python tests/pin_engines.py writes this file. Nothing was run with these versions on a GPU.

"""


def resolve(engine: str, constraints: Sequence[str]) -> dict[str, str]:
    """What would be installed with the extra of an engine, for Python 3.11 on Linux: name -> version.

    Raises:
        subprocess.CalledProcessError: the versions exclude each other, or the index is out of reach.
    """
    with tempfile.TemporaryDirectory() as folder:
        pins, chosen = Path(folder, "pins.txt"), Path(folder, "chosen.txt")
        pins.write_text("\n".join(constraints), encoding="utf-8")
        words = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate"]
        words += ["--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_34"]
        words += [str(ROOT / "pyproject.toml"), "--extra", engine, "-c", str(pins), "-o", str(chosen)]
        subprocess.run(words, check=True, capture_output=True, text=True)
        lines = chosen.read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line)


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
