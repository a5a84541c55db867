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
from gptalt_eval.scoring.residual import widens
from gptalt_eval.scoring.tree import Query

Autocast = Callable[[], contextlib.AbstractContextManager[Any]]
TOKENS = 2048  # of a chunk where memory cannot be asked for: beyond it CPUs gain no more
LOGITS = 16 * 2**20  # bytes of the logits that are computed at once there
MOST_TOKENS = 16384
LONGEST = 24  # tokens of the probe's rows
BETWEEN = 32  # branches that lie between the probe's, so that places in a packed row are far from depths
CHUNK = 100  # tokens of the probe's chunks, whose ends fall into branches


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
    queries, between = make_probe(model)
    if not queries:
        return Choice(None, "its attention window is only a few tokens long")
    try:
        with torch.no_grad():
            expected = [score_plainly(model, query, autocast, softmax_dtype) for query in queries]
    except Exception as error:  # remote code raises what it likes; lm-eval will show it where it matters
        return Choice(None, f"the model could not be tried ({describe(error)})")
    allowed = allow(find_precision(model, autocast))
    reasons: list[str] = []
    for make in list_ways(model, autocast, softmax_dtype):
        for wide in (True, False) if widens(model, autocast) else (False,):
            engine = make(CHUNK, 64, wide=wide)
            if isinstance(engine, BranchEngine):
                engine.call = 0  # so that rows this short share their prefix too
            try:
                difference = compare(engine, queries, expected, between)
                reason = f"answers differ by {difference:.0%} of their spread"
            except Exception as error:
                difference, reason = float("inf"), describe(error)
            if difference <= allowed:
                make = partial(make, wide=wide)
                return Choice(make(*find_budget(model, make)), "; ".join(reasons))
        reasons.append(f"{engine.way}: {reason}")
    return Choice(None, "; ".join(reasons))


def list_ways(model: Any, autocast: Autocast, softmax_dtype: torch.dtype) -> list[Callable[..., Any]]:
    """Makers of engines, the fastest first, from tokens of a call and rows of logits."""
    kind = model.get_input_embeddings().weight.device.type
    own: list[Way] = ["flex"] if kind == "cuda" else ["pieces"] if kind == "cpu" else []
    if not getattr(unwrap(model), "_can_set_attn_implementation", bool)():
        own = []
    settings = {"autocast": autocast, "softmax_dtype": softmax_dtype}
    packed = [partial(PackedEngine, model, way, **settings) for way in (*own, "mask")]
    return [*packed, partial(BranchEngine, model, **settings)]


def make_probe(model: Any) -> tuple[list[Query], list[Query]]:
    """Branches of one prefix whose answers are compared, and others that keep them far apart in a packed row.

    A model that takes places in the row for depths is off by little where they are near each other, less than
    half precision's rounding. Each position predicts the same few tokens, so that a spread of
    log-probabilities is compared.
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
    """Root-mean-square difference of an engine's answers from the expected, in units of their spread.

    Args:
        engine: asked for all.
        queries, expected: those that are compared.
        between: asked between the first half and the second.
    """
    half = len(queries) // 2
    asked = [*queries[:half], *between, *queries[half:]]
    answers = {answer.query: answer.logprob for batch in engine.score(asked) for answer in batch}
    found = np.array([answers[place] for place in (*range(half), *range(half + len(between), len(asked)))])
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
