"""The tree's attention pattern, as transformers' models can be made to compute it.

``pieces`` and ``flex`` are attention functions of our own, called by every model that takes its attention
from transformers' ``AttentionInterface``; ``mask`` hands a dense additive mask to the model's own attention.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any, Protocol

import numpy as np
import torch
from torch.nn.functional import pad
from transformers import AttentionInterface

from gptalt_eval.scoring.batches import CausalRow, Chunk, cut_pieces, group_rows, see
from gptalt_eval.scoring.tree import PrefixTree

NAME = "gptalt_tree"
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


class PieceAttention:
    """Attention by causal rows and full blocks, without a mask, merged by their log-sum-exps.

    The merge is that of FlashAttention's split keys (Dao et al. 2022, https://arxiv.org/abs/2205.14135).
    """

    def __init__(self, tree: PrefixTree, chunk: Chunk) -> None:
        rows, self.blocks = cut_pieces(tree, chunk)
        whole = [row for row in rows if row.is_causal]
        rest = [row for row in rows if not row.is_causal]
        self.batches: list[CausalRows | RowEnds] = [CausalRows(group) for group in group_rows(whole)]
        self.batches += [RowEnds(group) for group in group_rows(rest)]

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        _, heads, length, _ = query.shape
        own = [states[:, :, -length:].transpose(1, 2)[0] for states in (query, key, value)]
        answer = query.new_empty(length, heads, value.shape[-1])
        sums = torch.empty(heads, length, dtype=torch.float32)
        for batch in self.batches:
            part, part_sums = batch.attend(own, heads, scale)
            answer[batch.answered] = part
            sums[:, batch.answered] = part_sums
        for block in self.blocks:
            at, columns = slice(*block.rows), slice(*block.columns)
            part, part_sums = attend_full(query[:, :, at], key[:, :, columns], value[:, :, columns], scale)
            share = torch.sigmoid(part_sums[0] - sums[:, at]).T.unsqueeze(-1)
            answer[at].lerp_(part[0].transpose(0, 1), share.to(part.dtype))
            sums[:, at] = torch.logaddexp(sums[:, at], part_sums[0])
        return answer[None]


class CausalRows:
    """Causal rows of similar length, the shorter ones padded behind their end.

    Attributes:
        answered: [R] tokens of the chunk whose answers are taken from here.
    """

    def __init__(self, rows: Sequence[CausalRow]) -> None:
        tokens, inside = pad_rows([row.tokens for row in rows])
        self.shape = tokens.shape
        self.tokens = torch.from_numpy(tokens.ravel())
        first = np.repeat([row.first for row in rows], [len(row.tokens) for row in rows])
        self.taken = torch.from_numpy(inside[inside % tokens.shape[1] >= first])
        self.answered = self.tokens[self.taken]

    def attend(
        self, own: Sequence[torch.Tensor], heads: int, scale: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """From queries, keys and values [T, heads, D]: answers [R, heads, D] and log-sum-exps [heads, R]."""
        query, key, value = (repeat_heads(gather(states, self.tokens, self.shape), heads) for states in own)
        part, sums = attend(query, key, value, scale, causal=True)
        return take(part, sums, self.taken)


class RowEnds:
    """Rows whose beginnings other rows answer: their last tokens attend to all before them, by a mask.

    Attributes:
        answered: [R] tokens of the chunk whose answers are taken from here.
    """

    def __init__(self, rows: Sequence[CausalRow]) -> None:
        keys, _ = pad_rows([row.tokens for row in rows])
        ends, taken = pad_rows([row.tokens[row.first :] for row in rows])
        self.key_shape, self.end_shape = keys.shape, ends.shape
        self.keys, self.ends = torch.from_numpy(keys.ravel()), torch.from_numpy(ends.ravel())
        self.taken = torch.from_numpy(taken)
        self.answered = self.ends[self.taken]
        places = np.array([row.first for row in rows])[:, None] + np.arange(ends.shape[1])
        self.visible = torch.from_numpy(np.arange(keys.shape[1]) <= places[:, :, None])
        self.mask: torch.Tensor | None = None

    def attend(
        self, own: Sequence[torch.Tensor], heads: int, scale: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As ``CausalRows.attend``; the heads that share keys become rows of one head, so none is copied."""
        query = gather(own[0], self.ends, self.end_shape)
        key, value = (gather(states, self.keys, self.key_shape) for states in own[1:])
        count, groups = key.shape[:2]
        if self.mask is None:
            self.mask = make_additive(self.visible, query.dtype).repeat(1, heads // groups, 1)[:, None]
        folded = query.reshape(count, groups, -1, query.shape[-1])
        part, sums = attend(folded, key, value, scale, mask=self.mask)
        unfolded = (count, heads, self.end_shape[1])
        return take(part.reshape(*unfolded, -1), sums.reshape(unfolded), self.taken)


def pad_rows(rows: Sequence[Any]) -> tuple[Any, Any]:
    """Rows as one array, the shorter ones padded with zeros behind, and where in it, flattened, they are."""
    lengths = np.array([len(row) for row in rows])
    taken = np.arange(lengths.max()) < lengths[:, None]
    padded = np.zeros(taken.shape, dtype=np.int64)
    padded[taken] = np.concatenate(rows)
    return padded, np.flatnonzero(taken)


def gather(states: torch.Tensor, tokens: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """[rows, heads, length, D] of states [T, heads, D]."""
    return states.index_select(0, tokens).unflatten(0, shape).transpose(1, 2)


def take(part: torch.Tensor, sums: torch.Tensor, taken: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of answers [rows, heads, length, D] and log-sum-exps: [R, heads, D] and [heads, R]."""
    flat = part.transpose(1, 2).flatten(0, 1)
    return flat.index_select(0, taken), sums.transpose(0, 1).flatten(1).index_select(1, taken)


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


def attend_plainly(query: Any, key: Any, value: Any, scale: float, mask: Any = None) -> tuple[Any, Any]:
    """As ``attend``, all scores written out: other devices' fast kernels keep their sums to themselves."""
    scores = (query @ key.transpose(-1, -2)).float() * scale
    if mask is not None:
        scores += mask
    sums = scores.logsumexp(-1)
    return (scores - sums[..., None]).exp().to(value.dtype) @ value, sums


def attend_full(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """All queries attend to all keys: [1, heads, rows, D], and log-sum-exps [1, heads, rows].

    The heads that share keys are folded into the rows of one, so that no key is copied.
    """
    _, heads, rows, size = query.shape
    part, sums = attend(query.reshape(1, key.shape[1], -1, size), key, value, scale)
    return part.reshape(1, heads, rows, -1), sums.reshape(1, heads, rows)


def repeat_heads(states: torch.Tensor, heads: int) -> torch.Tensor:
    repeats = heads // states.shape[1]
    return states.repeat_interleave(repeats, 1) if repeats > 1 else states


def make_additive(visible: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """0 where a key is seen, the type's least number elsewhere; of the same shape."""
    mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    return mask.masked_fill_(~visible, torch.finfo(dtype).min)


def make_dense_mask(tree: PrefixTree, chunk: Chunk, dtype: torch.dtype, device: Any) -> torch.Tensor:
    """The whole pattern of a chunk: [1, 1, T, A + T], additive."""
    own = np.arange(chunk.start, chunk.end)
    visible = torch.from_numpy(see(tree, own, np.concatenate([chunk.kept, own])))
    return make_additive(visible.to(device), dtype)[None, None]


class FlexAttention:
    """FlexAttention with a block mask (https://arxiv.org/abs/2412.05496); its shapes are a few padded sizes.

    Args:
        tree, chunk: what to attend to.
        device: of the model's first layer.
        compiled: the compiled kernel, or ``flex_attention`` itself.
    """

    def __init__(self, tree: PrefixTree, chunk: Chunk, device: Any, compiled: Any) -> None:
        self.cached, self.length = len(chunk.kept), len(chunk)
        self.room = round_up(self.cached)
        self.rows = round_up(self.length)
        # by slot: the token's place in the order and the end of its subtree; an empty slot is seen by nobody
        order = np.full(self.room + self.rows, np.iinfo(np.int32).max, np.int64)
        end = np.full(self.room + self.rows, -1, np.int64)
        own = np.arange(chunk.start, chunk.end)
        for begin, indices in ((0, chunk.kept), (self.room, own)):
            order[begin : begin + len(indices)] = indices
            end[begin : begin + len(indices)] = tree.subtree_end[indices]
        self.order, self.end = torch.from_numpy(order), torch.from_numpy(end)
        self.compiled = compiled
        self.block_masks: dict[Any, Any] = {}
        self.block_mask(device)

    def block_mask(self, device: Any) -> Any:
        if device not in self.block_masks:
            from torch.nn.attention.flex_attention import create_block_mask

            order, end, room = self.order.to(device), self.end.to(device), self.room

            def sees(batch: Any, head: Any, row: Any, column: Any) -> Any:
                place = order[row + room]
                return (order[column] <= place) & (place < end[column])

            self.block_masks[device] = create_block_mask(
                sees, None, None, self.rows, self.room + self.rows, device=device
            )
        return self.block_masks[device]

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        answer = self.compiled(
            pad(query, (0, 0, 0, self.rows - self.length)), self.spread(key), self.spread(value),
            block_mask=self.block_mask(query.device), scale=scale, enable_gqa=query.shape[1] != key.shape[1],
        )  # fmt: skip
        return answer[:, :, : self.length].transpose(1, 2)

    def spread(self, states: torch.Tensor) -> torch.Tensor:
        """Keys or values in their padded slots."""
        _, groups, _, size = states.shape
        slots = states.new_zeros(1, groups, self.room + self.rows, size)
        slots[:, :, : self.cached] = states[:, :, : self.cached]
        slots[:, :, self.room : self.room + self.length] = states[:, :, self.cached :]
        return slots


def round_up(length: int) -> int:
    """The least of 0, 128, 256, 512, ... that holds a length."""
    return 0 if length == 0 else max(128, 1 << (length - 1).bit_length())
