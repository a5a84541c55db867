"""Attention on a CPU: a chunk's pattern as rows and full blocks, merged by their log-sum-exps.

Where possible, the kernel reads tensors in place; the rest is copied once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.functional import softplus

from gptalt_eval.scoring.attention import CALL, attend, attend_first, fill_lanes, make_additive
from gptalt_eval.scoring.chunks import Chunk
from gptalt_eval.scoring.cuts import Block, Row, cut_pieces, group_rows
from gptalt_eval.scoring.tree import Ints, PrefixTree

States = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # queries, keys and values; shapes as in ``Layout``
Found = tuple[torch.Tensor, torch.Tensor]  # answers [S, D], and their log-sum-exps [S]


class PieceAttention:
    """The attention of one chunk, the same in every layer.

    Parts are merged as in FlashAttention with split keys (Dao et al. 2022, https://arxiv.org/abs/2205.14135).
    """

    def __init__(self, tree: PrefixTree, chunk: Chunk) -> None:
        self.rows, self.blocks = cut_pieces(tree, chunk, CALL)
        self.cached = len(chunk.kept)
        self.layouts: dict[Any, Layout] = {}

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """See ``ChunkAttention``."""
        _, heads, length, _ = query.shape
        groups = key.shape[1]
        kind = (groups, heads // groups, query.dtype)
        if kind not in self.layouts:
            self.layouts[kind] = Layout(self.rows, self.cached, length, *kind)
        queries = query[0].transpose(0, 1).contiguous().unflatten(1, (groups, -1))
        states = (queries, key[0].contiguous(), value[0].contiguous())
        answer, sums = self.layouts[kind].attend(states, scale)
        for block in self.blocks:
            part, part_sums = attend_block(states, block, scale)
            at = slice(*block.rows)
            more = part_sums - sums[..., at]
            share = torch.sigmoid(more).to(part.dtype)
            answer[at].lerp_(part, share.permute(2, 0, 1)[..., None])
            sums[..., at] += softplus(more)  # log(e^a + e^b) = a + log(1 + e^(b - a))
        return answer.flatten(1, 2)[None]


class Layout:
    """A chunk's rows, for queries in the layout [T, groups, heads that share keys, D].

    Args:
        rows: the rows, which together answer each token once.
        cached: number of keys before the chunk's own.
        length: T, the chunk's length.
        groups, repeats: number of key heads, and of query heads for each of them.
        dtype: the queries' type.
    """

    def __init__(
        self, rows: Sequence[Row], cached: int, length: int, groups: int, repeats: int, dtype: torch.dtype
    ) -> None:
        short = group_rows([row for row in rows if not row.is_long], CALL)
        self.pieces: list[LongRow | ShortRows] = [LongRow(row, cached, length) for row in rows if row.is_long]
        self.pieces += [ShortRows(group, cached, length, groups, repeats, dtype) for group in short]
        self.shape = (length, groups, repeats)
        order = np.argsort(np.concatenate([piece.answered for piece in self.pieces]))
        begin, slots, sum_slots = 0, [], []
        for piece in self.pieces:
            own, own_sums = piece.list_slots(groups, repeats)
            slots.append(begin + own)
            sum_slots.append(begin + own_sums)
            begin += piece.places * groups * repeats
        self.slots = torch.from_numpy(np.concatenate(slots)[order].ravel())
        self.sum_slots = torch.from_numpy(np.concatenate(sum_slots)[order].transpose(1, 2, 0).ravel())

    def attend(self, states: States, scale: float) -> Found:
        """Attend.

        Args:
            states: queries [T, groups, repeats, D], keys and values [groups, A + T, D].
            scale: of the scores.

        Returns:
            [T, groups, repeats, D], and log-sum-exps [groups, repeats, T].
        """
        parts, sums = zip(*(piece.attend(states, scale) for piece in self.pieces), strict=True)
        answer = torch.cat(parts).index_select(0, self.slots).view(*self.shape, -1)
        length, groups, repeats = self.shape
        return answer, torch.cat(sums).index_select(0, self.sum_slots).view(groups, repeats, length)


class LongRow:
    """Adjacent tokens, which the causal kernel reads in place.

    Attributes:
        answered: [L] tokens of the chunk that are answered here.
        places: number of tokens that are computed, including those after the row's end that fill the lanes.
    """

    def __init__(self, row: Row, cached: int, length: int) -> None:
        self.answered = row.tokens
        self.begin = int(row.tokens[0])
        self.places = min(fill_lanes(len(row.tokens)), length - self.begin)
        self.cached = cached

    def attend(self, states: States, scale: float) -> Found:
        query, key, value = spread(states, self.begin, self.places, self.cached + self.begin, self.places)
        part, sums = attend(query, key, value, scale, causal=True)
        return part.transpose(1, 2).flatten(0, 2), sums.flatten()

    def list_slots(self, groups: int, repeats: int) -> tuple[Ints, Ints]:
        """Indices of the answers and of their log-sum-exps in the output: [L, groups, repeats] each."""
        slots = np.arange(groups * self.places * repeats)
        count = len(self.answered)
        return (
            slots.reshape(groups, self.places, repeats).transpose(1, 0, 2)[:count],
            slots.reshape(groups, repeats, self.places).transpose(2, 0, 1)[:count],
        )


class ShortRows:
    """Rows of similar length as one masked batch; the queries are the tokens that each row answers.

    Heads that share keys are concatenated in one row, so that no key is copied for each of them.

    Attributes:
        answered: [L] tokens of the chunk that are answered here.
        places: number of tokens that are computed, including padding.
    """

    def __init__(
        self, rows: Sequence[Row], cached: int, length: int, groups: int, repeats: int, dtype: torch.dtype
    ) -> None:
        keys, _ = pad_rows([row.tokens for row in rows], fill_lanes(max(len(row.tokens) for row in rows)))
        own = [row.tokens[row.first :] for row in rows]
        ends, self.taken = pad_rows(own, max(map(len, own)))
        self.answered = ends.ravel()[self.taken]
        self.places = ends.size
        self.size = (len(rows), ends.shape[1])
        of_group = np.arange(groups)[:, None]
        # rows of queries [T * groups, repeats * D], and of keys [groups * (A + T), D]
        self.queries = torch.from_numpy((ends[:, None] * groups + of_group).ravel())
        self.keys = torch.from_numpy((keys[:, None] + of_group * (cached + length) + cached).ravel())
        places = np.array([row.first for row in rows])[:, None] + np.arange(ends.shape[1])
        visible = np.arange(keys.shape[1]) <= np.repeat(places, repeats, axis=1)[:, :, None]
        self.mask = make_additive(torch.from_numpy(visible), dtype)[:, None]

    def attend(self, states: States, scale: float) -> Found:
        queries, keys, values = states
        _, groups, repeats, size = queries.shape
        rows, ends = self.size
        query = queries.view(-1, repeats * size).index_select(0, self.queries)
        key, value = (
            each.view(-1, each.shape[-1]).index_select(0, self.keys).view(rows, groups, -1, each.shape[-1])
            for each in (keys, values)
        )
        part, sums = attend(query.view(rows, groups, ends * repeats, size), key, value, scale, mask=self.mask)
        return part.transpose(1, 2).flatten(0, 2), sums.flatten()

    def list_slots(self, groups: int, repeats: int) -> tuple[Ints, Ints]:
        """See ``LongRow.list_slots``."""
        rows, ends = self.size
        slots = np.arange(self.places * groups * repeats)
        both = (
            slots.reshape(rows, ends, repeats, groups).transpose(0, 1, 3, 2),
            slots.reshape(rows, groups, ends, repeats).transpose(0, 2, 1, 3),
        )
        one, other = (each.reshape(self.places, groups, repeats)[self.taken] for each in both)
        return one, other


def attend_block(states: States, block: Block, scale: float) -> Found:
    """Answers of a block's queries, [n, groups, repeats, D], and log-sum-exps [groups, repeats, n]."""
    row, column = block.rows[0], block.columns[0]
    query, key, value = spread(states, row, block.rows[1] - row, column, states[1].shape[1] - column)
    part, sums = attend_first(query, key, value, block.columns[1] - column, scale)
    return part.permute(2, 0, 1, 3), sums


def spread(states: States, row: int, rows: int, column: int, columns: int) -> States:
    """Views of queries [groups, repeats, rows, D], of keys and values [groups, repeats, columns, D]."""
    queries, keys, values = states
    key, value = (
        each[:, None, column : column + columns].expand(-1, queries.shape[2], -1, -1)
        for each in (keys, values)
    )
    return queries[row : row + rows].permute(1, 2, 0, 3), key, value


def pad_rows(rows: Sequence[Any], size: int) -> tuple[Any, Any]:
    """Rows as one array, right-padded with zeros to ``size``, and their indices in the flattened array."""
    taken = np.arange(size) < np.array([len(row) for row in rows])[:, None]
    padded = np.zeros(taken.shape, dtype=np.int64)
    padded[taken] = np.concatenate(rows)
    return padded, np.flatnonzero(taken)
