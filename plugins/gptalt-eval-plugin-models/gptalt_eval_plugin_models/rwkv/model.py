"""transformers' RWKV-4 with two faults of release 5.23 repaired, in classes of our own.

One token for several rows at once got states of the wrong shape, so its logits were those of other rows; and
the padding before a shorter prompt was read as text.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import RwkvConfig, RwkvForCausalLM
from transformers.models.rwkv.modeling_rwkv import RwkvCausalLMOutput, RwkvFeedForward, RwkvSelfAttention


class BatchedAttention(RwkvSelfAttention):
    """Mixes each token with the one before it, whatever their number."""

    def extract_key_value(self, hidden: Any, state: Any = None) -> tuple[Any, Any, Any, Any]:
        before = shift(hidden, state, 1, self.layer_id)
        key = self.key(mix(hidden, before, self.time_mix_key))
        value = self.value(mix(hidden, before, self.time_mix_value))
        receptance = torch.sigmoid(self.receptance(mix(hidden, before, self.time_mix_receptance)))
        if state is not None:
            state[1][:, :, self.layer_id] = hidden[:, -1]
        return receptance, key, value, state


class BatchedFeedForward(RwkvFeedForward):
    def forward(self, hidden: Any, state: Any = None) -> tuple[Any, Any]:
        before = shift(hidden, state, 0, self.layer_id)
        key = torch.square(torch.relu(self.key(mix(hidden, before, self.time_mix_key))))
        receptance = torch.sigmoid(self.receptance(mix(hidden, before, self.time_mix_receptance)))
        if state is not None:
            state[0][:, :, self.layer_id] = hidden[:, -1]
        return receptance * self.value(key), state


def shift(hidden: Any, state: Any, slot: int, layer: int) -> Any:
    """What came before each token [batch, length, size]; before the first, what the state kept."""
    before = torch.nn.functional.pad(hidden, (0, 0, 1, -1))
    if state is not None:
        before[:, 0] = state[slot][:, :, layer]
    return before


def mix(hidden: Any, before: Any, share: Any) -> Any:
    return hidden * share + before * (1 - share)


class BatchedRwkvForCausalLM(RwkvForCausalLM):
    """RWKV-4 whose rows do not disturb each other."""

    def __init__(self, config: RwkvConfig) -> None:
        super().__init__(config)
        for layer, block in enumerate(self.rwkv.blocks):
            block.attention = BatchedAttention(config, layer)
            block.feed_forward = BatchedFeedForward(config, layer)
        self.post_init()  # of the new parts, which a checkpoint may fill

    def prepare_inputs_for_generation(
        self, input_ids: Any, state: Any = None, attention_mask: Any = None, **settings: Any
    ) -> dict[str, Any]:
        known = state is not None
        return {
            "input_ids": input_ids[:, -1:] if known else input_ids,
            "attention_mask": None if known else attention_mask,
            "state": state,
            "use_cache": settings.get("use_cache", True),
        }

    def forward(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        state: Any = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Any = 0,
        **settings: Any,
    ) -> Any:
        """Like transformers' own, but rows that are padded on the left are computed without their padding."""
        settings |= {"use_cache": use_cache, "logits_to_keep": logits_to_keep}
        padded = attention_mask is not None and state is None and not bool(attention_mask.all())
        if not padded:
            return super().forward(input_ids, state=state, **settings)
        rows = [
            super(BatchedRwkvForCausalLM, self).forward(ids[None, int(mask.argmax()) :], **settings)
            for ids, mask in zip(input_ids, attention_mask.int(), strict=True)
        ]
        length = max(row.logits.shape[1] for row in rows)
        logits = torch.cat(
            [torch.nn.functional.pad(row.logits, (0, 0, length - row.logits.shape[1], 0)) for row in rows]
        )
        states = (
            [torch.cat(each) for each in zip(*(row.state for row in rows), strict=True)]
            if rows[0].state
            else None
        )
        return RwkvCausalLMOutput(logits=logits, state=states)
