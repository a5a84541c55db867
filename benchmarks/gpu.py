"""The tree on one GPU: a model of LLaMA-7B's shape with random bfloat16 weights, 2,000 MMLU-shaped questions.

    python benchmarks/gpu.py

Stock runs at its best batch size of 8, 16, 32 and 64, found on 100 of the questions. The rate of arithmetic
counts two operations per weight and distinct token, attention not, and is compared with the card's own on
large products.
"""

from __future__ import annotations

import json
import random
import statistics
import time
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from gptalt_eval.planning.smollm2 import fetch
from gptalt_eval.scoring.backend import add_tree

SEVEN_BILLION = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
}
SUBJECTS = 57
Encoded = tuple[tuple[str, str], list[int], list[int]]


def make_model(shape: dict[str, int], device: str) -> Any:
    with torch.device(device):
        config = LlamaConfig(**shape, num_attention_heads=32, max_position_embeddings=2048)
        return LlamaForCausalLM._from_config(config, dtype=torch.bfloat16).eval()


def make_questions(count: int, vocabulary: int) -> list[Encoded]:
    """Four one-token options to each question of about 90 tokens, after one of 57 beginnings of about 600."""
    source = random.Random(0)

    def draw(length: int) -> list[int]:
        return [source.randrange(10, vocabulary) for _ in range(length)]

    beginnings = [draw(source.randint(400, 800)) for _ in range(SUBJECTS)]
    requests = []
    for number in range(count):
        context = beginnings[number * SUBJECTS // count] + draw(source.randint(50, 130))
        requests += [((f"{number}", f"{option}"), context, [option]) for option in (5, 6, 7, 8)]
    return requests


def time_of(task: Any, device: torch.device) -> float:
    began = time.perf_counter()
    task()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def measure_products(device: torch.device, size: int) -> float:
    """Operations a second of the card's bfloat16 matrix product."""
    one, other = (torch.randn(size, size, dtype=torch.bfloat16, device=device) for _ in range(2))
    one @ other
    seconds = min(time_of(lambda: [one @ other for _ in range(10)], device) for _ in range(3))
    return 10 * 2 * size**3 / seconds


def compare(shape: dict[str, int], questions: int, device: str, repeats: int, size: int) -> dict[str, Any]:
    tokenizer = AutoTokenizer.from_pretrained(fetch()["pretrained"])
    given = {"pretrained": make_model(shape, device), "tokenizer": tokenizer}
    ours, stock = add_tree(HFLM)(**given), HFLM(**given)
    requests = make_questions(questions, shape["vocab_size"])
    ours._loglikelihood_tokens(requests[:64])  # what is compiled is compiled now
    seconds = [time_of(lambda: ours._loglikelihood_tokens(requests), ours.device) for _ in range(repeats)]
    tried = {}
    for stock.batch_size_per_gpu in (8, 16, 32, 64):
        tried[stock.batch_size_per_gpu] = time_of(
            lambda: stock._loglikelihood_tokens(requests[:400], disable_tqdm=True), ours.device
        )
    stock.batch_size_per_gpu = best = min(tried, key=lambda batch: tried[batch])
    stock_seconds = time_of(lambda: stock._loglikelihood_tokens(requests, disable_tqdm=True), ours.device)
    unique = len(
        {tuple(context[:end]) for _, context, _ in requests[::4] for end in range(1, len(context) + 1)}
    )
    weights = (
        sum(parameter.numel() for parameter in ours.model.parameters()) - ours.model.lm_head.weight.numel()
    )
    rate = 2 * weights * unique / statistics.median(seconds)
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "way": ours.choice.engine.way, "budget": ours.choice.engine.budget,
        "unique": unique, "stock_tokens": sum(len(context) for _, context, _ in requests[::4]),
        "seconds": statistics.median(seconds), "stock_seconds": stock_seconds, "stock_batch_size": best,
        "ratio": stock_seconds / statistics.median(seconds),
        "tflops": rate / 1e12, "of_the_cards_rate": rate / measure_products(torch.device(device), size),
    }  # fmt: skip


def main() -> None:
    if not torch.cuda.is_available():
        print("No GPU here: nothing measured.")
        return
    print(json.dumps(compare(SEVEN_BILLION, 2000, "cuda", 3, 8192)))


if __name__ == "__main__":
    main()
