"""Scores with each context computed as a whole, for models whose context sees itself both ways.

In a prefix-LM, such as the first ChatGLM, a token of the context sees those after it too, up to a token that
ends the context. So questions share nothing with each other, but the options of one question share it.

A model says which token this is by an attribute ``context_end_id``: the first such token in a row ends the
context, and what follows it sees only what is before. Positions are the model's own matter: after a context,
its ``prepare_inputs_for_generation`` is given the complete rows and the cache, as when it generates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gptalt_eval.scoring.carried import Carried
from gptalt_eval.scoring.engine import unwrap
from gptalt_eval.scoring.restarts import Run
from gptalt_eval.scoring.states import StateEngine
from gptalt_eval.scoring.tree import Ints, Node, Queries, Query


class ContextQueries(Queries):
    """Queries that share a context only as a whole, and what follows it token by token.

    Args:
        queries: the queries.
        end: the token that ends a context.
    """

    def __init__(self, queries: Sequence[Query], end: int) -> None:
        self.end = end
        self.contexts: dict[bytes, Node] = {}
        super().__init__(queries)

    def insert(self, row: NDArray[np.int32]) -> Node:
        ends = np.flatnonzero(row == self.end)
        context = row[: ends[0] + 1] if len(ends) else row
        node = self.contexts.get(context.tobytes())
        if node is None:
            node = Node(context.copy(), len(context), self.root)
            self.contexts[context.tobytes()] = self.root.children[-len(self.contexts) - 1] = node
        return self.insert_below(node, row)


class ContextEngine(StateEngine):
    """Scores queries with one model; what follows a context continues from a copy of its keys and values.

    Args:
        end: the token that ends a context.
        settings: see ``StateEngine``.
    """

    way = "contexts"

    def __init__(self, *settings: Any, end: int, **named: Any) -> None:
        super().__init__(*settings, **named)
        self.end = end

    def share(self, queries: Sequence[Query]) -> Queries:
        return ContextQueries(queries, self.end)

    def fits(self, length: int, before: int, longest: int, goes_on: bool, follows: bool) -> bool:
        """See ``StateEngine.fits``: a context is neither padded nor divided."""
        return super().fits(length, before, longest, goes_on, follows) if follows else length == before

    def forward(
        self,
        runs: Sequence[Run],
        paths: Sequence[Ints],
        span: tuple[int, int],
        carried: Carried | None,
        settings: dict[str, Any],
    ) -> Any:
        if carried is None:
            return super().forward(runs, paths, span, carried, settings)
        start, stop = (runs[0].begin + each for each in span)
        rows = np.stack([np.pad(path[:stop], (0, max(0, stop - len(path)))) for path in paths[: len(runs)]])
        whole = torch.from_numpy(rows).to(self.device)
        inputs = unwrap(self.model).prepare_inputs_for_generation(
            whole, next_sequence_length=stop - start, attention_mask=torch.ones_like(whole), use_cache=True,
            **carried.values,
        )  # fmt: skip
        inputs["input_ids"] = inputs["input_ids"][:, start - stop :]
        return self.model(**inputs, **settings)
