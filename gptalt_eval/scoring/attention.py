"""The tree's attention pattern, as transformers' models can be made to compute it.

``pieces`` (in a module of its own) and ``flex`` are attention functions of ours, called by every model that
takes its attention from transformers' ``AttentionInterface``; ``mask`` hands a dense additive mask to the
model's own attention.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, Protocol

import numpy as np
import torch
from transformers import AttentionInterface

from gptalt_eval.scoring.chunks import Chunk, see
from gptalt_eval.scoring.tree import PrefixTree

NAME = "gptalt_tree"
# Of the attention kernel on a CPU, the best of those tried on two: where the processor multiplies tiles
# (AMX), scores cost less beside a call's own price. Constants, not timed at start-up: cut by timings,
# no two runs on a machine would round alike.
TILES = hasattr(torch.cpu, "get_capabilities") and torch.cpu.get_capabilities().get("amx_bf16", False)
CALL = 10000 if TILES else 2500  # a call of the kernel, and what is around it, in scores
# keys of a call: the kernel takes whole vectors of scores, and those left over one by one, so that 63 keys
# took 1.3 to 2 times as long as 64
LANES = 32 if TILES else 16
# what models hand to an attention function that changes nothing here: the pattern already holds it
HARMLESS = {
    "dropout", "position_ids", "position_embeddings", "use_cache", "cache_position", "is_causal",
    "output_attentions", "output_hidden_states", "return_dict", "sliding_window", "past_key_values",
}  # fmt: skip


class Unsupported(Exception):
    """The model asks of its attention what ours does not compute; the text says what."""


class ChunkAttention(Protocol):
    """The attention of one chunk, the same in all layers."""

    def attend(self, query: Any, key: Any, value: Any, scale: float) -> Any:
        """Attend.

        Args:
            query: [1, heads, T, D] of the chunk's tokens.
            key, value: [1, groups, A + T, D]: of the kept ancestors, then of the chunk's tokens.
            scale: of the scores.

        Returns:
            [1, T, heads, D].
        """


current: ContextVar[ChunkAttention | None] = ContextVar("current", default=None)


def attend_tree(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any,
    scaling: float | None = None,
    **settings: Any,
) -> tuple[Any, None]:
    """An attention function as transformers calls it, for the chunk that is being computed.

    Raises:
        Unsupported: the model wants something that is not plain softmax attention.
    """
    unknown = [name for name, value in settings.items() if value is not None and name not in HARMLESS]
    if unknown:
        raise Unsupported(f"its attention takes {', '.join(sorted(unknown))}")
    attention = current.get()
    if attention is None:
        raise Unsupported("no chunk is being computed")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    # in mixed precision the rotated queries and keys have the type of their angles
    return attention.attend(query.to(value.dtype), key.to(value.dtype), value, scale), None


@contextlib.contextmanager
def use_attention(model: Any, name: str) -> Iterator[None]:
    """The model computes its attention by this function while this lasts."""
    AttentionInterface.register(NAME, attend_tree)
    before = model.config._attn_implementation
    model.set_attn_implementation(name)
    try:
        if model.config._attn_implementation != name:
            raise Unsupported("its attention cannot be replaced")
        yield
    finally:
        model.set_attn_implementation(before)


@contextlib.contextmanager
def computing(attention: ChunkAttention) -> Iterator[None]:
    token = current.set(attention)
    try:
        yield
    finally:
        current.reset(token)


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float,
    causal: bool = False,
    mask: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention, [batch, heads, rows, D], and its log-sum-exps, [batch, heads, rows]; causal or by a mask."""
    if query.device.type == "cpu":
        kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        part, sums = kernel(query, key, value, 0.0, causal, attn_mask=mask, scale=scale)
        return part, sums
    if causal:
        square = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device)
        mask = make_additive(square.tril(), query.dtype)
    return attend_plainly(query, key, value, scale, mask)


def fill_lanes(keys: int) -> int:
    """The least number from a number of keys on that leaves none over."""
    return -(-keys // LANES) * LANES


def attend_first(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, count: int, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """As ``attend``, to the first ``count`` keys; those behind them fill up the lanes, masked."""
    filled = min(fill_lanes(count), key.shape[-2])
    mask = None
    if filled > count:
        mask = make_additive(torch.arange(filled, device=key.device) < count, query.dtype)[None, None, None]
    return attend(query, key[..., :filled, :], value[..., :filled, :], scale, mask=mask)


def attend_plainly(query: Any, key: Any, value: Any, scale: float, mask: Any = None) -> tuple[Any, Any]:
    """As ``attend``, all scores written out: other devices' fast kernels keep their sums to themselves."""
    scores = (query @ key.transpose(-1, -2)).float() * scale
    if mask is not None:
        scores += mask
    sums = scores.logsumexp(-1)
    return (scores - sums[..., None]).exp().to(value.dtype) @ value, sums


def make_additive(visible: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """0 where a key is seen, the type's least number elsewhere; of the same shape."""
    mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    return mask.masked_fill_(~visible, torch.finfo(dtype).min)


def make_dense_mask(tree: PrefixTree, chunk: Chunk, dtype: torch.dtype, device: Any) -> torch.Tensor:
    """The whole pattern of a chunk: [1, 1, T, A + T], additive."""
    own = np.arange(chunk.start, chunk.end)
    visible = torch.from_numpy(see(tree, own, np.concatenate([chunk.kept, own])))
    return make_additive(visible.to(device), dtype)[None, None]
