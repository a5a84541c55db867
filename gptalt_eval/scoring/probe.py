"""Finds out, by trying, how a model can be made to score a prefix tree.

Nothing is taken from a model's name: a few short branches are scored plainly and in each way that is open,
and the first way whose answers agree is the model's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from gptalt_eval.scoring.branches import BranchEngine
from gptalt_eval.scoring.engine import Engine, is_out_of_memory, unwrap
from gptalt_eval.scoring.packed import PackedEngine, Way
from gptalt_eval.scoring.tree import Query

Autocast = Callable[[], contextlib.AbstractContextManager[Any]]
TOKENS = 2048  # of a chunk where memory cannot be asked for: beyond it CPUs gain no more
LOGITS = 16 * 2**20  # bytes of the logits that are computed at once there
MOST_TOKENS = 16384
LONGEST = 24  # tokens of the probe's rows


@dataclass(frozen=True)
class Choice:
    """How a model is scored.

    Attributes:
        engine: None: by lm-eval itself.
        reason: why not by the tree, or why not in its first way; empty: it is.
    """

    engine: Engine | None
    reason: str = ""


def choose_engine(model: Any, autocast: Autocast, softmax_dtype: torch.dtype) -> Choice:
    """The engine for a causal model.

    Args:
        model: in evaluation mode, its weights loaded.
        autocast: makes the context it is called in.
        softmax_dtype: of the log-softmax.
    """
    queries = make_probe(model)
    if not queries:
        return Choice(None, "its attention window is only a few tokens long")
    try:
        with torch.no_grad():
            expected = [score_plainly(model, query, autocast, softmax_dtype) for query in queries]
    except Exception as error:  # remote code raises what it likes; lm-eval will show it where it matters
        return Choice(None, f"the model could not be tried ({describe(error)})")
    reasons = []
    for make in list_ways(model, autocast, softmax_dtype):
        engine = make(16, 64)
        if isinstance(engine, BranchEngine):
            engine.call = 0  # so that rows this short share their prefix too
        try:
            difference = compare(engine, queries, expected)
        except Exception as error:
            reasons.append(f"{engine.way}: {describe(error)}")
            continue
        if difference <= allow(find_precision(model, autocast)):
            return Choice(make(*find_budget(model, make)), "; ".join(reasons))
        reasons.append(f"{engine.way}: answers differ by {difference:.0%} of their spread")
    return Choice(None, "; ".join(reasons))


def list_ways(model: Any, autocast: Autocast, softmax_dtype: torch.dtype) -> list[Callable[[int, int], Any]]:
    """Makers of engines, the fastest first, from tokens of a call and rows of logits."""
    kind = model.get_input_embeddings().weight.device.type
    own: list[Way] = ["flex"] if kind == "cuda" else ["pieces"] if kind == "cpu" else []
    if not getattr(unwrap(model), "_can_set_attn_implementation", bool)():
        own = []

    def make_engine(way: Way) -> Callable[[int, int], Any]:
        return lambda tokens, rows: PackedEngine(model, way, tokens, rows, autocast, softmax_dtype)

    branches = partial(BranchEngine, model, autocast=autocast, softmax_dtype=softmax_dtype)
    return [*map(make_engine, [*own, "mask"]), branches]


def make_probe(model: Any) -> list[Query]:
    """Branches of one prefix, far from each other in a packed row, so that places and depths differ.

    Each position predicts the same few tokens, so that a spread of log-probabilities is compared.
    """
    config = model.config.get_text_config()
    window = find_window(config)
    length = LONGEST if window is None else min(LONGEST, window)
    if length < 8:
        return []
    ids = [5 + (number * 7919) % max(1, config.vocab_size - 6) for number in range(6 * length)]
    prefix, rest = ids[: length // 3], ids[length // 3 :]
    size = length - len(prefix)
    branches = [rest[number * size : (number + 1) * size] for number in range(5)]
    rows = [prefix + branch for branch in branches] + [
        prefix + branches[0][: size // 2] + branches[4][: size // 2]
    ]
    return [
        Query(row, [target] * (len(row) - 2))
        for row in rows
        for target in (ids[3], ids[11], ids[17], ids[29])
    ]


def find_window(config: Any) -> int | None:
    """Tokens that a position of the model sees at most, itself included; None: all before it."""
    kinds = getattr(config, "layer_types", None)
    slides = "sliding_attention" in kinds if kinds else getattr(config, "use_sliding_window", True)
    windows = [getattr(config, "sliding_window", None) if slides else None]
    if not kinds or "chunked_attention" in kinds:
        windows.append(getattr(config, "attention_chunk_size", None))
    return min((window for window in windows if window), default=None)


def score_plainly(model: Any, query: Query, autocast: Autocast, dtype: torch.dtype) -> float:
    with autocast():
        logits = model(
            torch.tensor([list(query.inputs)], device=model.get_input_embeddings().weight.device)
        ).logits[0]
    targets = torch.tensor(list(query.targets), device=logits.device)[:, None]
    return float(logits[-len(targets) :].to(dtype).log_softmax(-1).gather(1, targets).sum())


def compare(engine: Any, queries: list[Query], expected: list[float]) -> float:
    """Root-mean-square difference of an engine's answers from the expected, in units of their spread."""
    found = np.zeros(len(queries))
    for answers in engine.score(queries):
        for answer in answers:
            found[answer.query] = answer.logprob
    wanted = np.array(expected)
    spread = float(np.std(wanted)) or 1.0
    return float(np.sqrt(np.mean((found - wanted) ** 2))) / spread


def find_precision(model: Any, autocast: Autocast) -> torch.dtype:
    """The type that a model's products are computed in."""
    kind = model.get_input_embeddings().weight.device.type
    with autocast():
        mixed = torch.is_autocast_enabled(kind)
        precision: torch.dtype = torch.get_autocast_dtype(kind) if mixed else model.dtype
    return precision


def allow(dtype: torch.dtype) -> float:
    """The difference that rounding explains."""
    return 1e-3 if torch.finfo(dtype).bits >= 32 else 5e-2


def find_budget(model: Any, make: Callable[[int, int], Any]) -> tuple[int, int]:
    """Tokens of a call, and rows of logits at once, that fit into the memory there is."""
    config = model.config.get_text_config()
    device = model.get_input_embeddings().weight.device
    row = config.vocab_size * torch.finfo(model.dtype).bits // 8
    if device.type != "cuda":
        return TOKENS, max(16, LOGITS // row)
    tokens = MOST_TOKENS
    longest = int(getattr(config, "max_position_embeddings", None) or 2048)
    while tokens > 128:
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info(device)
        logits = max(16, min(tokens, free // 8 // row))
        try:
            # a row as long as the context leaves its keys in the cache; then one chunk as full as can be
            length = min(longest, tokens) + tokens
            ids = [5 + number % (config.vocab_size - 6) for number in range(length)]
            rows = [ids[: min(longest, tokens)] + ids[place : place + 64] for place in range(0, tokens, 64)]
            for _ in make(tokens, logits).score([Query(each, each[-64:]) for each in rows]):
                pass
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        else:
            if torch.cuda.mem_get_info(device)[0] > free // 10:
                return tokens, logits
        tokens //= 2
    return tokens, 64


def describe(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else ""
    return f"{type(error).__name__}: {text[:100]}" if text else type(error).__name__
