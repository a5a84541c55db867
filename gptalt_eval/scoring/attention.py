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

from gptalt_eval.scoring.batches import Chunk, Piece, cut_pieces, see
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
    return attention.attend(query, key, value, scale), None


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
    """Attention piece by piece, each without a mask where it needs none, merged by their log-sum-exps.

    The merge is that of FlashAttention's split keys (Dao et al. 2022, https://arxiv.org/abs/2205.14135).
    """

    def __init__(self, tree: PrefixTree, chunk: Chunk) -> None:
        pieces = cut_pieces(tree, chunk)
        self.full = [piece for piece in pieces if piece.kind == "full"]
        squares = [piece for piece in pieces if piece.kind != "full"]
        self.batches = [Batch(tree, chunk, group) for group in group_squares(squares)]

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        _, heads, length, _ = query.shape
        rows = query.transpose(1, 2)[0]  # one token after the other, as the projections wrote them
        own_key, own_value = (states[:, :, -length:].transpose(1, 2)[0] for states in (key, value))
        answer = rows.new_empty(length, heads, value.shape[-1])
        sums = torch.empty(heads, length, dtype=torch.float32)
        for batch in self.batches:
            batch.attend(rows, own_key, own_value, scale, answer, sums)
        for piece in self.full:
            at, columns = slice(*piece.rows), slice(*piece.columns)
            part, part_sums = attend_full(query[:, :, at], key[:, :, columns], value[:, :, columns], scale)
            share = torch.sigmoid(part_sums[0] - sums[:, at]).T.unsqueeze(-1)
            answer[at].lerp_(part[0].transpose(0, 1), share.to(part.dtype))
            sums[:, at] = torch.logaddexp(sums[:, at], part_sums[0])
        return answer[None]


class Batch:
    """Squares of similar size, computed at once as the rows of a batch, the shorter ones padded."""

    def __init__(self, tree: PrefixTree, chunk: Chunk, pieces: Sequence[Piece]) -> None:
        self.count = len(pieces)
        self.length = max(piece.rows[1] - piece.rows[0] for piece in pieces)
        places = np.arange(self.length)
        begins, ends = (
            np.array(column)[:, None] for column in zip(*(piece.rows for piece in pieces), strict=True)
        )
        self.tokens = torch.from_numpy(np.minimum(begins + places, ends - 1).ravel())
        self.real = torch.from_numpy(np.flatnonzero((begins + places < ends).ravel()))
        self.mask: torch.Tensor | None = None
        if pieces[0].kind == "masked":
            order = begins + places + chunk.start
            end = np.where(begins + places < ends, tree.subtree_end[np.minimum(order, len(tree) - 1)], 0)
            sees = (order[:, None] <= order[:, :, None]) & (order[:, :, None] < end[:, None])
            self.mask = torch.from_numpy(sees | np.eye(self.length, dtype=bool))[:, None]

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float,
        answer: torch.Tensor, sums: torch.Tensor,
    ) -> None:  # fmt: skip
        """Write the squares' attention into ``answer`` [T, heads, D] and ``sums`` [heads, T]."""
        heads = query.shape[1]
        if self.mask is not None and self.mask.dtype == torch.bool:
            self.mask = make_additive(self.mask, query.dtype)
        part, part_sums = attend(
            self.take(query), repeat_heads(self.take(key), heads), repeat_heads(self.take(value), heads),
            scale, self.mask is None, self.mask,
        )  # fmt: skip
        tokens = self.tokens[self.real]
        answer[tokens] = part.transpose(1, 2).flatten(0, 1)[self.real]
        sums[:, tokens] = part_sums.transpose(0, 1).flatten(1)[:, self.real]

    def take(self, states: torch.Tensor) -> torch.Tensor:
        """[count, heads, length, D] of states [T, heads, D]."""
        return states[self.tokens].unflatten(0, (self.count, self.length)).transpose(1, 2)


PADDED = 1.3  # of the area of a batch's squares, the most that padding may make of it


def group_squares(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Squares that are computed as one batch: of one kind, and of similar size."""
    group: list[Piece] = []
    area = 0
    for piece in sorted(pieces, key=lambda piece: (piece.kind, piece.rows[0] - piece.rows[1])):
        size = piece.rows[1] - piece.rows[0]
        if group:
            longest = group[0].rows[1] - group[0].rows[0]
            if piece.kind != group[0].kind or longest**2 * (len(group) + 1) > PADDED * (area + size**2):
                yield group
                group, area = [], 0
        group.append(piece)
        area += size**2
    if group:
        yield group


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float,
    causal: bool = False,
    mask: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention, [batch, heads, rows, D], and its log-sum-exps, [batch, heads, rows]."""
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    part, sums = kernel(query, key, value, 0.0, causal, attn_mask=mask, scale=scale)
    return part, sums


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
