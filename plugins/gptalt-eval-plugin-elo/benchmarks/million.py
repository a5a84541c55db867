"""A million votes: the time and memory of ``votes import``, ``elo`` and ``votes agreement``, each a process.

    python plugins/gptalt-eval-plugin-elo/benchmarks/million.py [--votes N] [--models 20] [--annotators 30]

Votes are drawn from known strengths, on questions that several annotators judge; a fifth of them are ties.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

PROGRAM = [sys.executable, "-m", "gptalt_eval"]


def write_votes(file: Path, votes: int, models: int, annotators: int) -> None:
    generator = np.random.default_rng(0)
    first = generator.integers(0, models, votes)
    second = (first + 1 + generator.integers(0, models - 1, votes)) % models
    share = 1 / (1 + 10 ** ((second - first) * 25 / 400))
    winner = np.where(generator.random(votes) < share, "a", "b")
    winner[generator.random(votes) < 0.2] = "t"
    question, annotator = generator.integers(0, 2_000, votes), generator.integers(0, annotators, votes)
    words = {"a": "a", "b": "b", "t": "tie"}
    with file.open("w", encoding="utf-8") as stream:
        for row in range(votes):
            record = {
                "question": f"question {question[row]}", "model_a": f"model {first[row]}",
                "model_b": f"model {second[row]}", "winner": words[winner[row]],
                "category": f"category {question[row] % 9}", "annotator": f"annotator {annotator[row]}",
                "time": f"2026-11-{1 + row % 28:02}T{row % 24:02}:{row // 24 % 60:02}:{row // 1440 % 60:02}",
            }  # fmt: skip
            stream.write(json.dumps(record) + "\n")


def measure(words: list[str], folder: Path) -> tuple[float, float]:
    """Seconds and MiB of a command."""
    began = time.perf_counter()
    output = (os.POSIX_SPAWN_OPEN, 1, str(folder / "log"), os.O_CREAT | os.O_WRONLY, 0o600)
    process = os.posix_spawn(PROGRAM[0], [*PROGRAM, *words], os.environ, file_actions=[output])
    _, status, usage = os.wait4(process, 0)
    if status:
        raise SystemExit(f"{' '.join(words)} failed")
    return time.perf_counter() - began, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, usual in (("votes", 1_000_000), ("models", 20), ("annotators", 30)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_votes(folder / "given.jsonl", given.votes, given.models, given.annotators)
        print("| command | seconds | MiB |\n|---|---|---|")
        into = str(folder / "votes")
        for words in (
            ["votes", "import", str(folder / "given.jsonl"), "--into", into],
            ["elo", into],
            ["votes", "agreement", into],
        ):
            seconds, memory = measure(words, folder)
            name = " ".join(words[:2] if words[0] == "votes" else words[:1])
            print(f"| `{name}` | {seconds:.1f} | {memory:,.0f} |")


if __name__ == "__main__":
    main()
