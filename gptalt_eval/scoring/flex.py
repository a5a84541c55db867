"""The tree's attention pattern on a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn.functional import pad

from gptalt_eval.scoring.chunks import Chunk
from gptalt_eval.scoring.tree import PrefixTree


class FlexAttention:
    """FlexAttention with a block mask (https://arxiv.org/abs/2412.05496).

    All chunks of a run are padded to one shape, because each new shape is compiled again. Padding costs only
    the copies: blocks that no token sees are skipped.

    Args:
        tree, chunk: the tree and the chunk.
        budget: maximum number of tokens in a chunk of this run.
        device: the device of the model's first layer.
        compiled: the compiled kernel, or ``flex_attention`` itself.
    """

    def __init__(self, tree: PrefixTree, chunk: Chunk, budget: int, device: Any, compiled: Any) -> None:
        self.cached, self.length = len(chunk.kept), len(chunk)
        self.room = round_up(int(tree.depth.max()))
        self.rows = round_up(budget)
        # by slot: its token's place in the order and the end of its subtree; no token sees an empty slot
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
        """Keys or values, padded to their slots."""
        _, groups, _, size = states.shape
        slots = states.new_zeros(1, groups, self.room + self.rows, size)
        slots[:, :, : self.cached] = states[:, :, : self.cached]
        slots[:, :, self.room : self.room + self.length] = states[:, :, self.cached :]
        return slots


def round_up(length: int) -> int:
    """The smallest of 128, 256, 512, ... that is at least ``length``."""
    return max(128, 1 << (length - 1).bit_length())


def compile_flex(device: torch.device) -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    # uncompiled, it stores all scores: correct on any device (for tests), but slow
    if device.type != "cuda":
        return flex_attention
    # a process with several models or lengths can need more shapes than the eight after which torch would
    # continue uncompiled
    torch._dynamo.config.recompile_limit = max(64, torch._dynamo.config.recompile_limit)
    return torch.compile(flex_attention, dynamic=False)
