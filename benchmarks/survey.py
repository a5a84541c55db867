"""Models of the survey with random weights, on cases of MedQA: the tree against stock lm-eval.

    python benchmarks/survey.py [--models rwkv,chatglm] [--workloads medqa] [--repeats 3] [--count 100]
    python benchmarks/survey.py --device cuda --dtype bfloat16 --models chatglm2-6b,bloom-7b

The first two have 8 layers of width 256, the others the shapes of their names; ``--layers`` and ``--width``
make all of them smaller. A word is a token. A token of ChatGLM-6B's context sees those after it, so
contexts are distinct as a whole. Errors are differences from stock at batch size 1 in
float32.
"""

from __future__ import annotations

import copy
import json
import re
import zlib
from collections.abc import Callable
from typing import Any

import torch
import transformers
from architectures import make_tokenizer
from gptalt_eval_plugin_models.chatglm.glm import ChatGLM2ForCausalLM
from gptalt_eval_plugin_models.chatglm.prefix_lm import ChatGLMConfig, ChatGLMForCausalLM
from gptalt_eval_plugin_models.rwkv.model import BatchedRwkvForCausalLM
from lm_eval.models.huggingface import HFLM
from scoring import COLUMNS, compare, describe, format_table, make_parser
from transformers import BloomConfig, BloomForCausalLM, GlmConfig, RwkvConfig
from workloads import MEDQA, make_questions

from gptalt_eval.scoring.backend import add_tree

HEAD = 128  # of the large models
SPECIAL = 10  # ids below are no words
GMASK, SOP = 4, 3
LENGTH = 2048


def make_rwkv(layers: int, width: int) -> Any:
    config = RwkvConfig(
        vocab_size=2000, hidden_size=width, num_hidden_layers=layers, context_length=LENGTH,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    return BatchedRwkvForCausalLM(config)


def make_chatglm(layers: int, width: int) -> Any:
    config = ChatGLMConfig(
        vocab_size=2000, hidden_size=width, num_layers=layers, num_attention_heads=max(1, width // 32),
        inner_hidden_size=4 * width, bos_token_id=SOP, eos_token_id=5, pad_token_id=2, gmask_token_id=GMASK,
        mask_token_id=6,
    )  # fmt: skip
    return ChatGLMForCausalLM(config)


def make_chatglm2(layers: int, width: int) -> Any:
    config = GlmConfig(
        vocab_size=65_024, hidden_size=width, num_hidden_layers=layers, num_attention_heads=width // HEAD,
        num_key_value_heads=min(2, width // HEAD), head_dim=HEAD, intermediate_size=width * 107 // 32,
        max_position_embeddings=32_768, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return ChatGLM2ForCausalLM(config)


def make_bloom(layers: int, width: int) -> Any:
    config = BloomConfig(vocab_size=250_880, hidden_size=width, n_layer=layers, n_head=width // HEAD)
    return BloomForCausalLM(config)


#: maker, layers, width
MODELS: dict[str, tuple[Callable[[int, int], Any], int, int]] = {
    "rwkv": (make_rwkv, 8, 256),
    "chatglm": (make_chatglm, 8, 256),
    "chatglm2-6b": (make_chatglm2, 28, 4096),
    "bloom-7b": (make_bloom, 30, 4096),
}


class Words(HFLM):  # type: ignore[misc]
    """Each word is a token, by a number that depends on nothing but the word."""

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        before, after = ([self.number(word) for word in find_words(text)] for text in (context, continuation))
        return [*before, GMASK, SOP] if hasattr(self.model, "context_end_id") else before, after

    def number(self, word: str) -> int:
        return SPECIAL + zlib.crc32(word.encode()) % (self.config.vocab_size - SPECIAL)


def find_words(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]", text)


def count_distinct(encoded: list[tuple[list[int], list[int]]]) -> int:
    """Tokens of distinct contexts, and of what distinctly follows them."""
    contexts = {tuple(context) for context, _ in encoded}
    after = {(tuple(context), tuple(end[:stop])) for context, end in encoded for stop in range(1, len(end))}
    return sum(map(len, contexts)) + len(after)


def run(name: str, arguments: Any) -> list[dict[str, Any]]:
    """A row for each workload."""
    make, layers, width = MODELS[name]
    torch.manual_seed(0)
    dtype = getattr(torch, arguments.dtype)
    with torch.device(arguments.device):
        model = make(arguments.layers or layers, arguments.width or width).to(dtype).eval()
    given = {"tokenizer": make_tokenizer(), "max_length": LENGTH, "backend": "causal"}
    ours = add_tree(Words)(pretrained=model, **given)
    stock = Words(pretrained=model, **given)
    exact = model if dtype == torch.float32 else copy.deepcopy(model).float()
    reference = Words(pretrained=exact, batch_size=1, **given)
    rows = []
    for workload in MEDQA:
        if not workload.lower().startswith(arguments.workloads):
            continue
        questions = make_questions(workload, arguments.data)[: arguments.count]
        requests = [request for question in questions for request in question]
        shots, _, _ = workload.rpartition(",")
        row = compare(
            f"{name}, {shots}, {len(questions)}", requests, ours, stock, reference, arguments.repeats
        )
        if hasattr(model, "context_end_id"):
            row["unique"] = count_distinct([stock._encode_pair(*request) for request in requests])
            row["limit"] = row["stock_tokens"] / row["unique"]
        row["way"] = ours.choice.engine.way if ours.choice.engine else f"stock: {ours.choice.reason}"
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


def main() -> None:
    parser = make_parser(__doc__.splitlines()[0])
    parser.add_argument("--models", default="rwkv,chatglm", help=", ".join(MODELS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--count", type=int, default=100, help="questions of each workload")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--layers", type=int, help="fewer than the model has")
    parser.add_argument("--width", type=int, help="smaller than the model's; a multiple of 128")
    arguments = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    print(describe(arguments, arguments.dtype))
    rows = [row for name in arguments.models.split(",") for row in run(name, arguments)]
    print(format_table(rows, {**COLUMNS, "way": "way"}))


if __name__ == "__main__":
    main()
