"""Makes transformers' models compute the tree's attention pattern.

``pieces`` and ``flex`` (each in its own module) are attention functions, called by every model that uses
transformers' ``AttentionInterface``; ``mask`` passes a dense additive mask to the model's own attention.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, Protocol

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from gptalt_eval.scoring.chunks import Chunk, find_visible
from gptalt_eval.scoring.tree import PrefixTree

NAME = "gptalt_tree"
# Costs of the CPU's attention kernel: the best values found on two processors. With AMX tiles, scores are
# cheaper relative to the fixed cost of a call. They are constants, because cuts that depended on timings at
# start-up would make two runs on the same machine round differently.
TILES = hasattr(torch.cpu, "get_capabilities") and torch.cpu.get_capabilities().get("amx_bf16", False)
CALL = 10000 if TILES else 2500  # cost of a call of the kernel with its overhead, in scores
# the kernel computes whole vectors of scores, and the remaining ones one by one: 63 keys took 1.3 to 2 times
# as long as 64
LANES = 32 if TILES else 16
# arguments of attention functions that make no difference here: the pattern already includes them
HARMLESS = {
    "dropout", "position_ids", "position_embeddings", "use_cache", "cache_position", "is_causal",
    "return_dict", "sliding_window", "past_key_values",
}  # fmt: skip
OUTPUT = "output_"  # what the model returns besides: the router's logits, hidden states


class Unsupported(Exception):
    """The model needs something of its attention that ours does not compute; the message says what."""


class ChunkAttention(Protocol):
    """The attention of one chunk, the same in every layer."""

    def attend(self, query: Any, key: Any, value: Any, scale: float) -> Any:
        """Compute the attention of the chunk's tokens.

        Args:
            query: [1, heads, T, D] of the chunk's tokens.
            key, value: [1, groups, A + T, D], first of the kept ancestors, then of the chunk's tokens.
            scale: factor of the scores.

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
    """The attention function that transformers calls, for the current chunk.

    Raises:
        Unsupported: the model needs something other than plain softmax attention.
    """
    given = {name for name, value in settings.items() if value is not None}
    unknown = {name for name in given - HARMLESS if not name.startswith(OUTPUT)}
    if unknown:
        raise Unsupported(f"its attention takes {', '.join(sorted(unknown))}")
    if getattr(module, "is_cross_attention", False):  # of tokens to pictures: not the tree's pattern
        found = scaled_dot_product_attention(query, key, value, attention_mask, scale=scaling)
        return found.transpose(1, 2), None
    attention = current.get()
    if attention is None:
        raise Unsupported("no chunk is being computed")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    # in mixed precision, rotated queries and keys have the rotary angles' type
    return attention.attend(query.to(value.dtype), key.to(value.dtype), value, scale), None


@contextlib.contextmanager
def use_attention(model: Any, name: str) -> Iterator[None]:
    """Use this attention function in the model while the block lasts."""
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
    """Attention [batch, heads, rows, D] and its log-sum-exps [batch, heads, rows]; causal or masked."""
    if query.device.type == "cpu":
        kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        part, sums = kernel(query, key, value, 0.0, causal, attn_mask=mask, scale=scale)
        return part, sums
    if causal:
        square = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device)
        mask = make_additive(square.tril(), query.dtype)
    return attend_plainly(query, key, value, scale, mask)


def fill_lanes(keys: int) -> int:
    """The number of keys, rounded up to whole vectors."""
    return -(-keys // LANES) * LANES


def attend_first(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, count: int, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Like ``attend``, to the first ``count`` keys; the following ones fill the last vector, masked."""
    filled = min(fill_lanes(count), key.shape[-2])
    mask = None
    if filled > count:
        mask = make_additive(torch.arange(filled, device=key.device) < count, query.dtype)[None, None, None]
    return attend(query, key[..., :filled, :], value[..., :filled, :], scale, mask=mask)


def attend_plainly(query: Any, key: Any, value: Any, scale: float, mask: Any = None) -> tuple[Any, Any]:
    """Like ``attend``, with all scores in memory: fast kernels of other devices do not return the sums."""
    scores = (query @ key.transpose(-1, -2)).float() * scale
    if mask is not None:
        scores += mask
    sums = scores.logsumexp(-1)
    return (scores - sums[..., None]).exp().to(value.dtype) @ value, sums


def make_additive(visible: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """A mask of the same shape: 0 where a key is visible, else the type's minimum."""
    mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    return mask.masked_fill_(~visible, torch.finfo(dtype).min)


def make_dense_mask(tree: PrefixTree, chunk: Chunk, dtype: torch.dtype, device: Any) -> torch.Tensor:
    """The complete pattern of a chunk as an additive mask [1, 1, T, A + T]."""
    own = np.arange(chunk.start, chunk.end)
    visible = torch.from_numpy(find_visible(tree, own, np.concatenate([chunk.kept, own])))
    return make_additive(visible.to(device), dtype)[None, None]
