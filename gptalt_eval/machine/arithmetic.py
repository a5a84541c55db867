"""In which type this computer runs a model fastest."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

from gptalt_eval.machine.environment import read_processor
from gptalt_eval.machine.storage import cache_dir, find_shared, make_cache, write_atomically

TOKENS, WIDTH, HEADS, INNER = 512, 576, 9, 1536  # of a layer like SmolLM2's
TURNS = 12  # the best counts: other programs take processor time now and then
NAMES = ("float32", "bfloat16", "float16")  # that can be chosen
GAIN = 1.2  # bfloat16 must be this much faster: it is also less exact


@dataclass(frozen=True)
class Dtype:
    """The type of the weights of a model for which the user names none.

    Attributes:
        name: as torch calls it, such as ``float32``.
        reason: why it is chosen.
    """

    name: str
    reason: str


@cache
def choose_dtype() -> Dtype:
    """The faster type; float32, which is also the exact one, unless the other is clearly faster."""
    import torch

    if torch.cuda.is_available():
        if torch.cuda.is_bf16_supported():
            return Dtype("bfloat16", "the GPU computes with it at full speed")
        return Dtype("float16", "the GPU does not know bfloat16")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return Dtype("float32", "several processes could measure differently")
    return remember(lambda: compare(*measure_rates([torch.float32, torch.bfloat16])), torch.get_num_threads())


def remember(measure: Callable[[], Dtype], threads: int) -> Dtype:
    """The choice of an earlier run on this processor, or a new one: two runs give the same numbers."""
    file = cache_dir() / "dtype.json"
    key = f"{read_processor()}, {threads} threads, torch {version('torch')}"
    try:
        if find_shared(file):
            raise PermissionError(file)
        choices = json.loads(file.read_text(encoding="utf-8"))
        return Dtype(**choices[key])
    except (OSError, ValueError, KeyError, TypeError):
        chosen = measure()
    with contextlib.suppress(OSError):  # a run must not fail because its cache is read-only
        make_cache()
        write_atomically(file, json.dumps({key: asdict(chosen)}))
    return chosen


def compare(exact: float, short: float) -> Dtype:
    """Choose by the rates of a layer in float32 and in bfloat16, in tokens per second."""
    rates = f"{exact:,.0f} tokens/s in float32, {short:,.0f} in bfloat16"
    return Dtype("bfloat16" if short > GAIN * exact else "float32", f"one layer computes {rates}")


def measure_rates(dtypes: Sequence[Any]) -> list[float]:
    """Tokens that a transformer layer computes per second in each type.

    The types take turns, since the machine's speed changes. Products alone would flatter bfloat16: on many
    processors the rest of a layer is slower in it.
    """
    import torch

    layer = torch.nn.TransformerEncoderLayer(
        WIDTH, HEADS, INNER, dropout=0.0, batch_first=True, norm_first=True
    )
    layers = [copy.deepcopy(layer).to(dtype).eval() for dtype in dtypes]
    best = [float("inf")] * len(dtypes)
    with torch.no_grad():
        for _ in range(TURNS):
            for place, (each, dtype) in enumerate(zip(layers, dtypes, strict=True)):
                states = torch.ones(1, TOKENS, WIDTH, dtype=dtype)
                began = time.perf_counter()
                each(states)
                best[place] = min(best[place], time.perf_counter() - began)
    return [TOKENS / seconds for seconds in best]
