"""How time and memory grow with the number of requests: MMLU at several shot counts, with a tiny model.

    python benchmarks/scale.py [--shots 0,1,3,5] [--parts 1,4,16] [--data FOLDER]

Each line is a process of its own: the whole evaluation, from the command line's request to the report, of the
n-th part of every subject's rows. Two layers of width 32 with SmolLM2's tokenizer stand for the model, so
that nearly all of the time and the memory is the program's own; ``own`` is the time outside the model.
``exponent`` is the slope of the logarithms from the smallest to the largest part: 1 is proportional.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MIB = 2**20
COLUMNS = ("part", "questions", "requests", "asked", "distinct", "seconds", "model", "own", "memory")


def main() -> None:
    arguments = read_arguments()
    if arguments.child:
        print(json.dumps(measure(arguments)))
        return
    with tempfile.TemporaryDirectory() as folder:
        make_model(Path(folder) / "model")
        words = ["--shots", arguments.shots, "--data", str(arguments.data), "--model", f"{folder}/model"]
        rows = []
        print(" ".join(f"{name:>10}" for name in COLUMNS))
        for part in sorted(map(int, arguments.parts.split(",")), reverse=True):
            child = [sys.executable, __file__, "--child", "--parts", str(part), *words]
            done = subprocess.run(child, stdout=subprocess.PIPE, text=True, cwd=folder)
            if done.returncode:
                raise SystemExit(done.returncode)
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            print(" ".join(f"{show(rows[-1][name]):>10}" for name in COLUMNS), flush=True)
    for name in ("own", "memory") if len(rows) > 1 else ():
        print(f"exponent of {name}: {find_exponent(rows[0], rows[-1], name):.2f}")


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shots", default="0,1,3,5")
    parser.add_argument("--parts", default="1,4,16", help="1: all rows; 4: a quarter of each subject's")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--model", help=argparse.SUPPRESS)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def make_model(folder: Path) -> None:
    import torch
    import transformers

    from gptalt_eval.planning.smollm2 import fetch

    tokenizer = transformers.AutoTokenizer.from_pretrained(fetch()["pretrained"])
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, intermediate_size=64, max_position_embeddings=8192, tie_word_embeddings=True,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """The figures of one evaluation in this process."""
    import gptalt_eval
    from gptalt_eval.scoring import backend, packed
    from gptalt_eval.scoring.engine import Progress

    last: list[Progress] = []
    base: list[int] = []
    score, start = packed.PackedEngine.score, backend.TreeLM.__init__

    def watch_score(self: Any, queries: Any, progress: Any = lambda _: None, *more: Any) -> Any:
        return score(self, queries, lambda each: (last.append(each), progress(each)), *more)

    def watch_start(self: Any, *given: Any, **named: Any) -> None:
        start(self, *given, **named)
        base.append(read_peak())  # all libraries and the model are in memory

    packed.PackedEngine.score = watch_score  # type: ignore[method-assign]
    backend.TreeLM.__init__ = watch_start  # type: ignore[method-assign]
    began = time.perf_counter()
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stderr(nowhere):
        record = gptalt_eval.evaluate(
            model="hf", model_args={"pretrained": arguments.model, "dtype": "float32"}, tasks=["mmlu"],
            num_fewshot=[int(shots) for shots in arguments.shots.split(",")], data_dir=str(arguments.data),
            limit=None if arguments.parts == "1" else 1 / int(arguments.parts), output_path="out",
        )  # fmt: skip
    seconds = time.perf_counter() - began
    questions = count_questions(record)
    return {
        "part": f"1/{arguments.parts}", "questions": questions, "requests": questions * 4,
        "asked": last[-1].asked, "distinct": last[-1].computed, "seconds": seconds, "model": last[-1].seconds,
        "own": seconds - last[-1].seconds, "memory": (read_peak() - base[0]) / MIB,
    }  # fmt: skip


def count_questions(record: Any) -> int:
    return sum(each["effective"] for result in record.results for each in result["n-samples"].values())


def read_peak() -> int:
    """The largest resident size of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def find_exponent(small: dict[str, Any], large: dict[str, Any], name: str) -> float:
    return math.log(large[name] / small[name]) / math.log(large["questions"] / small["questions"])


def show(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    main()
