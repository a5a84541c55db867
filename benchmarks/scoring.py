"""Log-likelihoods and generation: the tree against stock lm-eval, on the same requests in one process.

    python benchmarks/scoring.py [--workloads piqa,mmlu] [--repeats 3] [--dtype bfloat16] [--data FOLDER]

Stock runs at its best batch size of 1, 8 and 32, found on a tenth of the requests; both take turns and
the medians are shown. Tokens are counted at the model's own door. Errors are root-mean-square differences of
the log-likelihoods from a float32 run of the tree, which ``exactness.py`` compares with stock's.
Without the release files the requests are random words of the same shapes. Where lighteval or vLLM is
installed, each scores the requests once too.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import ctypes
import gc
import json
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from lm_eval.models.huggingface import HFLM
from others import load_others
from workloads import GENERATION, WORKLOADS, Request, make_questions

from gptalt_eval.machine.environment import describe_hardware
from gptalt_eval.planning.smollm2 import fetch
from gptalt_eval.scoring.backend import add_tree

BATCH_SIZES = (1, 8, 32)
TURNS = 3  # of each, the best of which counts: the machine's speed changes from minute to minute
Scores = list[tuple[float, bool]]


@contextlib.contextmanager
def counting(model: Any) -> Iterator[list[int]]:
    """Collects how many tokens pass through the model in each call."""
    passed: list[int] = []
    handle = model.register_forward_pre_hook(
        lambda _, given, named: passed.append(named.get("input_ids", given[0] if given else None).numel()),
        with_kwargs=True,
    )
    try:
        yield passed
    finally:
        handle.remove()


def measure(task: Callable[[], Any], device: torch.device) -> tuple[Any, float, float]:
    """What a task returns, its seconds, and the MiB that it took at most beyond what was there before."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # the kernel forgets the highest resident size so far
        before = read_memory("VmRSS")
    began = time.perf_counter()
    result = task()
    if device.type == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - began
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else read_memory("VmHWM")
    return result, seconds, (peak - before) / 2**20


def read_memory(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def find_batch_size(score: Callable[[list[Any]], Any], stock: Any, requests: list[Any]) -> int:
    """Stock's fastest batch size on every tenth run of neighbouring requests; the best of several turns."""
    sample = [request for begin in range(0, len(requests), 320) for request in requests[begin : begin + 32]]
    seconds: dict[int, list[float]] = {size: [] for size in BATCH_SIZES}
    for _ in range(TURNS):
        for size in BATCH_SIZES:
            stock.batch_size_per_gpu = size
            seconds[size].append(measure(lambda: score(sample), stock.device)[1])
    return min(seconds, key=lambda size: min(seconds[size]))


def compare(
    name: str, requests: list[Request], ours: Any, stock: Any, reference: Any, repeats: int
) -> dict[str, Any]:
    """One row of the table."""
    encoded = [((context, end), *stock._encode_pair(context, end)) for context, end in requests]

    def score_stock(asked: list[Any]) -> Scores:
        return stock._loglikelihood_tokens(asked, disable_tqdm=True)

    stock.batch_size_per_gpu = best = find_batch_size(score_stock, stock, encoded)
    times: dict[str, list[float]] = {"ours": [], "stock": []}
    memory: dict[str, list[float]] = {"ours": [], "stock": []}
    passed: dict[str, int] = {}
    answers: dict[str, Scores] = {}
    for _ in range(repeats):
        for who, task in (
            ("ours", lambda: ours._loglikelihood_tokens(encoded)),
            ("stock", lambda: score_stock(encoded)),
        ):
            with counting(ours.model) as tokens:
                answers[who], seconds, peak = measure(task, ours.device)
            times[who].append(seconds)
            memory[who].append(peak)
            passed[who] = sum(tokens)
    unique = len({tuple((c + k)[:end]) for _, c, k in encoded for end in range(1, len(c + k))})
    medians = {who: statistics.median(found) for who, found in times.items()}
    exact = np.array([logprob for logprob, _ in reference._loglikelihood_tokens(encoded)])
    errors = {
        who: root_mean_square(np.array([logprob for logprob, _ in found]) - exact)
        for who, found in answers.items()
    }
    return {
        "workload": name, "requests": len(requests), "unique": unique, "computed": passed["ours"],
        "stock_tokens": passed["stock"], "seconds": medians["ours"], "stock_seconds": medians["stock"],
        "batch_size": best,
        "rate": passed["ours"] / medians["ours"], "stock_rate": passed["stock"] / medians["stock"],
        "ratio": medians["stock"] / medians["ours"], "limit": passed["stock"] / unique,
        "memory": statistics.median(memory["ours"]), "stock_memory": statistics.median(memory["stock"]),
        "error": errors["ours"], "stock_error": errors["stock"],
    }  # fmt: skip


def root_mean_square(differences: np.ndarray) -> float:
    return float(np.sqrt(np.mean(differences**2)))


def generate(
    name: str, requests: list[tuple[str, dict[str, Any]]], ours: Any, stock: Any, repeats: int
) -> dict[str, Any]:
    """The row of a generation workload."""
    from lm_eval.api.instance import Instance

    asked = [
        Instance("generate_until", {}, request, number, doc_id=number)
        for number, request in enumerate(requests)
    ]
    stock.batch_size_per_gpu = best = find_batch_size(
        lambda sample: stock.generate_until(sample[:8] * 4, disable_tqdm=True), stock, asked
    )
    times: dict[str, list[float]] = {"ours": [], "stock": []}
    texts: dict[str, list[str]] = {}
    memory: dict[str, list[float]] = {"ours": [], "stock": []}
    for _ in range(repeats):
        for who, lm in (("ours", ours), ("stock", stock)):
            texts[who], seconds, peak = measure(
                lambda lm=lm: lm.generate_until(asked, disable_tqdm=True), lm.device
            )
            times[who].append(seconds)
            memory[who].append(peak)
    medians = {who: statistics.median(found) for who, found in times.items()}
    same = sum(one == other for one, other in zip(texts["ours"], texts["stock"], strict=True))
    return {
        "workload": name, "requests": len(requests), "batch_size": best,
        "seconds": medians["ours"], "stock_seconds": medians["stock"],
        "ratio": medians["stock"] / medians["ours"], "same_texts": same,
        "memory": statistics.median(memory["ours"]), "stock_memory": statistics.median(memory["stock"]),
    }  # fmt: skip


COLUMNS = {
    "workload": "workload", "stock_tokens": "tokens stock computes", "unique": "distinct tokens",
    "computed": "tokens we compute", "batch_size": "stock's batch size", "stock_seconds": "stock, s",
    "seconds": "ours, s",
    "lighteval_seconds": "lighteval, s", "vllm_seconds": "vLLM, s",
    "stock_rate": "stock, tokens/s", "rate": "ours, tokens/s", "ratio": "ratio",
    "limit": "ratio of tokens", "stock_memory": "stock, MiB", "memory": "ours, MiB",
    "stock_error": "stock, error", "error": "ours, error",
    "same_texts": "same texts",
}  # fmt: skip


def format_table(rows: list[dict[str, Any]], columns: dict[str, str]) -> str:
    """Rows as Markdown."""
    keys = [key for key in columns if any(key in row for row in rows)]
    lines = ["| " + " | ".join(columns[key] for key in keys) + " |", "|---" * len(keys) + "|"]
    lines += ["| " + " | ".join(format_value(row.get(key, "")) for key in keys) + " |" for row in rows]
    return "\n".join(lines)


def format_value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 100 else f"{value:.2f}" if value >= 1 else f"{value:.2g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def make_parser(purpose: str) -> argparse.ArgumentParser:
    """A parser of what both benchmarks take."""
    parser = argparse.ArgumentParser(description=purpose)
    parser.add_argument(
        "--workloads",
        type=lambda names: tuple(name.lower() for name in names.split(",") if name) or ("",),
        default=("",),
        help="beginnings of their names, separated by commas",
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    return parser


def describe(arguments: argparse.Namespace, dtype: str) -> str:
    source = "release files" if arguments.data.is_dir() else "random words of the same shapes"
    versions = {name: version(name) for name in ("torch", "transformers", "lm_eval", "gptalt-eval")}
    return json.dumps({**versions, "dtype": dtype, "requests": source, **describe_hardware()})


def main() -> None:
    parser = make_parser(__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dtype", default="bfloat16")
    arguments = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    print(describe(arguments, arguments.dtype))
    model = {**fetch(), "device": arguments.device}
    ours = add_tree(HFLM)(**{**model, "dtype": arguments.dtype})
    stock = HFLM(pretrained=ours.model, tokenizer=ours.tokenizer)
    exact = copy.deepcopy(ours.model).float()  # the very weights, rounded as they are, in exact arithmetic
    reference = add_tree(HFLM)(pretrained=exact, tokenizer=ours.tokenizer)
    others = load_others(model["pretrained"], arguments.dtype)
    rows = []
    for name in WORKLOADS:
        if not name.lower().startswith(arguments.workloads):
            continue
        requests = [request for question in make_questions(name, arguments.data) for request in question]
        row = compare(name, requests, ours, stock, reference, arguments.repeats)
        for other, score in others.items():
            _, row[f"{other}_seconds"], _ = measure(partial(score, requests), ours.device)
        rows.append(row)
        print(json.dumps(row), flush=True)
    for name in GENERATION:
        if not name.lower().startswith(arguments.workloads):
            continue
        row = generate(name, make_questions(name, arguments.data), ours, stock, arguments.repeats)
        rows.append(row)
        print(json.dumps(row), flush=True)
    print(format_table(rows, COLUMNS))


if __name__ == "__main__":
    main()
