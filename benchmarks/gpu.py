"""What only a GPU shows of the scorer: every method's answers, its speed and generation.

    python benchmarks/gpu.py [exact] [speed] [generate] [--tokenizer FOLDER] [--small]

Weights are random; only a tokenizer is needed (default: smollm2's). Each part prints lines of JSON.

exact     each of some architectures, in float32 and bfloat16, in a process of its own: after an error of the
          GPU a process cannot use it. Compared with lm-eval's own loop at batch size 1.
speed     LLaMA-7B's shape in bfloat16, requests shaped like MMLU and HellaSwag, against stock at the better
          of batch sizes 16 and 64. Two operations per weight and computed token are compared with the
          card's rate on large products.
generate  TinyLlama's shape in bfloat16, 128 prompts with a common beginning, 200 tokens each.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as tf
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from gptalt_eval.planning.smollm2 import fetch
from gptalt_eval.scoring.backend import add_tree

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
PARTS = ("exact", "speed", "generate")
VOCABULARY = 49_152
TINY = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 8}
ENDS = {"bos_token_id": 1, "eos_token_id": 2}
OLD = {"n_embd": 256, "n_layer": 4, "n_head": 8, **ENDS}
SEVEN_BILLION = {
    "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
}  # fmt: skip
ONE_BILLION = {
    "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22, "num_attention_heads": 32,
    "num_key_value_heads": 4,
}  # fmt: skip
ARCHITECTURES: dict[str, tuple[type, dict[str, Any]]] = {
    "llama": (tf.LlamaConfig, TINY),
    "llama, grouped": (tf.LlamaConfig, TINY | {"num_key_value_heads": 2}),
    "llama, 9 heads": (tf.LlamaConfig, TINY | {"hidden_size": 288, "num_attention_heads": 9,
                                               "num_key_value_heads": 3}),
    "mistral, window": (tf.MistralConfig, TINY | {"num_key_value_heads": 2, "sliding_window": 128}),
    "qwen2": (tf.Qwen2Config, TINY | {"num_key_value_heads": 2}),
    "qwen2, window": (tf.Qwen2Config, TINY | {"num_key_value_heads": 2, "use_sliding_window": True,
                                              "sliding_window": 128, "max_window_layers": 2}),
    "gpt_neox": (tf.GPTNeoXConfig, TINY),
    "opt": (tf.OPTConfig, TINY | {"ffn_dim": 512, "word_embed_proj_dim": 256, **ENDS}),
    "glm": (tf.GlmConfig, TINY | {"num_key_value_heads": 2, "head_dim": 32, "pad_token_id": 0, **ENDS}),
    "gemma2": (tf.Gemma2Config, TINY | {"num_key_value_heads": 2, "head_dim": 32}),
    "gpt2": (tf.GPT2Config, OLD),
    "gptj": (tf.GPTJConfig, OLD | {"rotary_dim": 16}),
    "gpt_bigcode": (tf.GPTBigCodeConfig, OLD),
    "codegen": (tf.CodeGenConfig, OLD | {"rotary_dim": 16}),
    "bloom": (tf.BloomConfig, {"hidden_size": 256, "n_layer": 4, "n_head": 8}),
    "mpt": (tf.MptConfig, {"d_model": 256, "n_layers": 4, "n_heads": 8}),
}  # fmt: skip
Encoded = tuple[tuple[str, str], list[int], list[int]]


def tell(part: str, **facts: Any) -> None:
    print(json.dumps({"part": part, **facts}, default=str), flush=True)


def measure_time(task: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that a task takes on the device, and what it returns."""
    wait = torch.cuda.synchronize if DEVICE == "cuda" else lambda: None
    wait()
    began = time.perf_counter()
    found = task()
    wait()
    return time.perf_counter() - began, found


def make_model(config: Any, dtype: torch.dtype) -> Any:
    torch.manual_seed(0)
    with torch.device(DEVICE):
        return tf.AutoModelForCausalLM.from_config(config, dtype=dtype).eval()


def make_requests(
    groups: int, questions: int, head: int, tail: int, options: int = 4, length: int = 1
) -> list[Encoded]:
    """Questions in groups with a common beginning: ``head`` tokens, then about ``tail`` of their own."""
    source = random.Random(0)

    def draw(count: int) -> list[int]:
        return [source.randrange(10, VOCABULARY - 10) for _ in range(count)]

    requests = []
    for group in range(groups):
        beginning = draw(head)
        for question in range(questions):
            context = beginning + draw(source.randint(tail // 2, tail * 3 // 2))
            requests += [
                ((f"{group} {question}", str(each)), context, draw(length)) for each in range(options)
            ]
    return requests


def compare_answers(name: str, tokenizer: Any) -> None:
    kind, settings = ARCHITECTURES[name]
    requests = make_requests(3, 8, 300, 60, length=3) + make_requests(4, 2, 10, 12)
    for dtype in (torch.float32, torch.bfloat16):
        model = make_model(kind(vocab_size=VOCABULARY, **settings), dtype)
        given = {"pretrained": model, "tokenizer": tokenizer, "batch_size": 1, "max_length": 1024}
        ours, stock = add_tree(HFLM)(**given), HFLM(**given, logits_cache=False)
        found = ours._loglikelihood_tokens(requests)
        expected = stock._loglikelihood_tokens(requests, disable_tqdm=True)
        engine = ours.choice.engine
        largest = max(abs(one[0] - other[0]) for one, other in zip(found, expected, strict=True))
        tell(
            "exact", model=name, dtype=dtype, way=engine.way if engine else "stock",
            reason=ours.choice.reason, budget=getattr(engine, "budget", None),
            tolerance=ours.alone.tolerance, largest=largest,
        )  # fmt: skip


def measure_products(size: int) -> float:
    """Operations a second of the device's bfloat16 matrix product."""
    one, other = (torch.randn(size, size, dtype=torch.bfloat16, device=DEVICE) for _ in range(2))
    one @ other
    return 20 * size**3 / min(measure_time(lambda: [one @ other for _ in range(10)])[0] for _ in range(3))


def compare_speed(tokenizer: Any, small: bool) -> None:
    shape = TINY if small else SEVEN_BILLION
    config = tf.LlamaConfig(vocab_size=VOCABULARY, **shape, max_position_embeddings=4096)
    model = make_model(config, torch.bfloat16)
    given = {"pretrained": model, "tokenizer": tokenizer, "max_length": 4096}
    ours, stock = add_tree(HFLM)(**given), HFLM(**given)
    peak = measure_products(1024 if small else 8192)
    weights = sum(each.numel() for each in model.model.layers.parameters())
    count = 3 if small else 8
    loads = {
        "MMLU": make_requests(3 if small else 57, count, 600, 90),
        "HellaSwag": make_requests(1, 3 if small else 500, 0, 80, length=25),
    }
    for name, requests in loads.items():
        compare_load(name, requests, ours, stock, 2 * weights / peak)


def compare_load(name: str, requests: list[Encoded], ours: Any, stock: Any, token_seconds: float) -> None:
    """Args: token_seconds: of the weights' products for one token, at the rate of large products."""
    ours._loglikelihood_tokens(requests[:64])  # what is compiled is compiled now
    engine = ours.choice.engine
    before = engine.computed
    tried = {}
    for stock.batch_size_per_gpu in (16, 64):
        tried[stock.batch_size_per_gpu], _ = measure_time(
            lambda: stock._loglikelihood_tokens(requests[:128], disable_tqdm=True)
        )
    stock.batch_size_per_gpu = best = min(tried, key=lambda batch: tried[batch])
    runs = [measure_time(lambda: ours._loglikelihood_tokens(requests))[0] for _ in range(3)]
    theirs, _ = measure_time(lambda: stock._loglikelihood_tokens(requests, disable_tqdm=True))
    seconds, computed = statistics.median(runs), (engine.computed - before) // 3
    tell(
        "speed", load=name, way=engine.way, budget=engine.budget, tolerance=ours.alone.tolerance,
        requests=len(requests), computed=computed, seconds=seconds, stock=theirs, stock_batch=best,
        ratio=theirs / seconds, tokens_a_second=computed / seconds,
        share_of_products=computed * token_seconds / seconds,
    )  # fmt: skip


def compare_generation(tokenizer: Any, small: bool) -> None:
    shape = TINY if small else ONE_BILLION
    config = tf.LlamaConfig(vocab_size=VOCABULARY, **shape, max_position_embeddings=4096)
    model = make_model(config, torch.bfloat16)
    source, count, most = random.Random(1), 4 if small else 128, 8 if small else 200
    words = [word for word in tokenizer.get_vocab() if word.isalpha()]
    head = " ".join(source.choices(words, k=400))
    settings = {"until": ["\n\n\n\n"], "max_gen_toks": most}
    prompts = [f"{head} {' '.join(source.choices(words, k=60))}" for _ in range(count)]
    requests = [Instance("generate_until", {}, (each, settings), n) for n, each in enumerate(prompts)]
    for who, make, batch in (("ours", add_tree(HFLM), 1), ("stock", HFLM, 64)):
        lm = make(pretrained=model, tokenizer=tokenizer, batch_size=batch, max_length=4096)
        lm.generate_until(requests[:2], disable_tqdm=True)
        seconds, _ = measure_time(lambda lm=lm: lm.generate_until(requests, disable_tqdm=True))
        tell("generate", who=who, batch=batch, seconds=seconds, tokens_a_second=count * most / seconds)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", help=f"default: {' '.join(PARTS)}")
    parser.add_argument("--tokenizer", type=Path, help="folder of a tokenizer with 49,152 tokens")
    parser.add_argument("--small", action="store_true", help="tiny models, to try this out on a CPU")
    parser.add_argument("--model", choices=ARCHITECTURES, help="compare the answers of this one")
    given = parser.parse_args()
    tokenizer = tf.AutoTokenizer.from_pretrained(str(given.tokenizer or fetch()["pretrained"]))
    if given.model:
        compare_answers(given.model, tokenizer)
        return
    tell("machine", device=torch.cuda.get_device_name() if DEVICE == "cuda" else "cpu",
         torch=torch.__version__, transformers=tf.__version__)  # fmt: skip
    for part in given.parts or PARTS:
        if part == "exact":
            for name in ARCHITECTURES:
                own = [sys.executable, __file__, "--model", name]
                own += ["--tokenizer", str(given.tokenizer)] if given.tokenizer else []
                if subprocess.run(own, check=False).returncode:
                    tell("exact", model=name, failed=True)
        elif part == "speed":
            compare_speed(tokenizer, given.small)
        else:
            compare_generation(tokenizer, given.small)


if __name__ == "__main__":
    main()
