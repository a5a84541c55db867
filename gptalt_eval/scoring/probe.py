"""Tries out how a model can score a prefix tree.

Nothing is derived from a model's name: a few short branches are scored one at a time and with each available
method, and the first method whose answers agree is used.
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
from gptalt_eval.scoring.residual import can_widen
from gptalt_eval.scoring.tree import Query

Autocast = Callable[[], contextlib.AbstractContextManager[Any]]
TOKENS = 2048  # in a chunk on devices that do not report free memory: CPUs gain nothing from more
LOGITS = 16 * 2**20  # bytes of logits that are computed at once on such devices
MAX_TOKENS = 16384
LONGEST = 24  # tokens of the probe's rows
BETWEEN = 32  # branches between the probe's, so that places in a packed row are far from depths
CHUNK = 100  # tokens in the probe's chunks, so that chunks end inside branches


@dataclass(frozen=True)
class Choice:
    """How a model is scored.

    Attributes:
        engine: the engine; None: lm-eval's own scorer.
        reason: why not with the tree, or why not with the first method; empty if it is.
    """

    engine: Engine | None
    reason: str = ""


def choose_engine(model: Any, autocast: Autocast, softmax_dtype: torch.dtype) -> Choice:
    """The engine for a causal model.

    Args:
        model: the model, in evaluation mode with its weights loaded.
        autocast: makes the context in which it is called.
        softmax_dtype: type of the log-softmax.
    """
    queries, between = make_probe(model)
    if not queries:
        return Choice(None, "its attention window is only a few tokens long")
    try:
        with torch.no_grad():
            expected = [score_plainly(model, query, autocast, softmax_dtype) for query in queries]
    except Exception as error:  # remote code can raise anything; lm-eval will show it if it matters
        return Choice(None, f"the probe failed ({describe(error)})")
    allowed = find_tolerance(find_precision(model, autocast))
    reasons: list[str] = []
    for make in list_ways(model, autocast, softmax_dtype):
        for wide in (True, False) if can_widen(model, autocast) else (False,):
            engine = make(CHUNK, 64, wide=wide)
            if isinstance(engine, BranchEngine):
                engine.call = 0  # so that even rows this short share their prefix
            try:
                difference = compare(engine, queries, expected, between)
                reason = f"answers differ by {difference:.0%} of their standard deviation"
            except Exception as error:
                difference, reason = float("inf"), describe(error)
            if difference <= allowed:
                make = partial(make, wide=wide)
                return Choice(make(*find_budget(model, make)), "; ".join(reasons))
        reasons.append(f"{engine.way}: {reason}")
    return Choice(None, "; ".join(reasons))


def list_ways(model: Any, autocast: Autocast, softmax_dtype: torch.dtype) -> list[Callable[..., Any]]:
    """Engine factories, fastest first; each takes tokens in a call and rows of logits."""
    kind = model.get_input_embeddings().weight.device.type
    own: list[Way] = ["flex"] if kind == "cuda" else ["pieces"] if kind == "cpu" else []
    if not getattr(unwrap(model), "_can_set_attn_implementation", bool)():
        own = []
    settings = {"autocast": autocast, "softmax_dtype": softmax_dtype}
    packed = [partial(PackedEngine, model, way, **settings) for way in (*own, "mask")]
    return [*packed, partial(BranchEngine, model, **settings)]


def make_probe(model: Any) -> tuple[list[Query], list[Query]]:
    """Branches of one prefix whose answers are compared, and others to place between them in a packed row.

    If a model mistakes places in the row for depths and the two are close, the error is smaller than half
    precision's rounding. Each position predicts the same few tokens, so that the log-probabilities vary.
    """
    config = model.config.get_text_config()
    window = find_window(config)
    length = LONGEST if window is None else min(LONGEST, window)
    if length < 8:
        return [], []
    ids = np.random.default_rng(0).integers(5, config.vocab_size, (BETWEEN + 6, length))
    ids[:, : length // 3] = ids[0, : length // 3]
    ids[5, : 2 * length // 3] = ids[0, : 2 * length // 3]
    targets = (ids[0, 3], ids[1, -1], ids[2, -1], ids[3, -1])
    rows = [Query(row, [target] * (length - 2)) for row in ids[:6] for target in targets]
    return rows, [Query(row, row[-1:]) for row in ids[6:]]


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


def compare(engine: Any, queries: list[Query], expected: list[float], between: list[Query]) -> float:
    """Root-mean-square difference between an engine's and the expected answers, in standard deviations.

    Args:
        engine: scores all queries.
        queries, expected: the queries that are compared, and their answers.
        between: queries to place between the first half and the second.
    """
    half = len(queries) // 2
    asked = [*queries[:half], *between, *queries[half:]]
    answers = {answer.query: answer.logprob for batch in engine.score(asked) for answer in batch}
    found = np.array([answers[place] for place in (*range(half), *range(half + len(between), len(asked)))])
    wanted = np.array(expected)
    spread = float(np.std(wanted)) or 1.0
    return float(np.sqrt(np.mean((found - wanted) ** 2))) / spread


def find_precision(model: Any, autocast: Autocast) -> torch.dtype:
    """The type in which a model's matrix products are computed."""
    kind = model.get_input_embeddings().weight.device.type
    with autocast():
        mixed = torch.is_autocast_enabled(kind)
        precision: torch.dtype = torch.get_autocast_dtype(kind) if mixed else model.dtype
    return precision


def find_tolerance(dtype: torch.dtype) -> float:
    """The largest difference that rounding can explain."""
    return 1e-3 if torch.finfo(dtype).bits >= 32 else 5e-2


def find_budget(model: Any, make: Callable[[int, int], Any]) -> tuple[int, int]:
    """Tokens in a call, and rows of logits at once, that fit into memory."""
    config = model.config.get_text_config()
    device = model.get_input_embeddings().weight.device
    row = config.vocab_size * torch.finfo(model.dtype).bits // 8
    if device.type != "cuda":
        return TOKENS, max(16, LOGITS // row)
    tokens = MAX_TOKENS
    longest = int(getattr(config, "max_position_embeddings", None) or 2048)
    while tokens > 128:
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info(device)
        logits = max(16, min(tokens, free // 8 // row))
        try:
            # the worst case: the keys of a row as long as the context in the cache, then a full chunk
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
