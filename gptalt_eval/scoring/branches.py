"""Scores a prefix tree with the prefix's keys and values repeated per branch.

For models whose attention cannot follow a pattern, but is correct with a KV cache and right padding: those
that derive ALiBi's distances (Press et al. 2022, https://arxiv.org/abs/2108.12409) from places in the row,
such as BLOOM and MPT.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache

from gptalt_eval.scoring.engine import Answer, Engine, Progress, Tally
from gptalt_eval.scoring.tree import Ints, Node, Queries, Query, share, walk

Past = list[tuple[torch.Tensor, torch.Tensor]]  # by layer: keys and values of one prefix, [1, groups, P, D]
CALL = 100  # fixed cost of a call of the model, in tokens


@dataclass(frozen=True)
class Branch:
    """Tokens that follow a prefix.

    Attributes:
        tokens: [L].
        scored: (place in the row, target, query) of each target that it predicts.
        node: where the row ends, if the tree continues there.
    """

    tokens: Ints
    scored: list[tuple[int, int, int]]
    node: Node | None = None


class BranchEngine(Engine):
    """Scores trees with one model; the branches of a prefix are the rows of a batch."""

    way = "branches"

    def __init__(self, *settings: Any, **named: Any) -> None:
        super().__init__(*settings, **named)
        self.call = CALL
        self.seconds = 0.0

    def score(
        self,
        queries: Sequence[Query],
        progress: Callable[[Progress], None] = lambda _: None,
        known: Collection[int] = (),
    ) -> Iterator[list[Answer]]:
        """Answer queries; yields each batch's answers as soon as they are complete."""
        places = [place for place in range(len(queries)) if place not in known]
        shared = share([queries[place] for place in places] if known else queries)
        outline = Outline(shared, self.call)
        before = self.computed
        asked = int(shared.count_inputs().sum())
        tally = Tally(shared.count_targets())
        progress(Progress(0, outline.count(), asked, 0.0))
        self.seconds = 0.0
        for figures in self.visit(outline, outline.root, []):
            progress(Progress(self.computed - before, outline.count(), asked, self.seconds))
            yield [replace(answer, query=places[answer.query]) for answer in tally.add(*figures)]

    def visit(self, outline: Outline, node: Node, past: Past) -> Iterator[tuple[Ints, Any, Any]]:
        """Compute the subtree below a node whose keys and values are given."""
        waiting = sorted(outline.make_rows(node), key=lambda row: -len(row.tokens))
        prefix = past[0][0].shape[2] if past else 0
        while waiting:
            size = self.count_rows(waiting, prefix)
            batch, rest = waiting[:size], waiting[size:]
            began = time.perf_counter()
            try:
                with torch.no_grad():
                    figures, states = self.compute(batch, past)
            except Exception as error:  # the model's own code can raise anything
                self.recover(error, size * len(batch[0].tokens), parts=size)
                continue
            waiting = rest
            self.seconds += time.perf_counter() - began
            self.computed += sum(len(row.tokens) for row in batch)
            self.largest = max(self.largest, size * len(batch[0].tokens))
            yield figures
            for place, row in enumerate(batch):
                if row.node is not None:
                    end = prefix + len(row.tokens)
                    own = [
                        (key[place : place + 1, :, :end], value[place : place + 1, :, :end])
                        for key, value in states
                    ]
                    yield from self.visit(outline, row.node, own)

    def count_rows(self, rows: Sequence[Branch], prefix: int) -> int:
        """How many of the rows, longest first, to compute together."""
        length = len(rows[0].tokens)
        together = min(self.budget // length, 8 * self.budget // (prefix + length))
        if not self.head.plain:
            scored = max((length - place for row in rows[:64] for place, _, _ in row.scored), default=1)
            together = min(together, self.rows // scored)
        return max(1, min(len(rows), together))

    def compute(self, rows: Sequence[Branch], past: Past) -> tuple[tuple[Ints, Any, Any], Past]:
        """For a batch: (query, log-probability, whether it is the most likely token), and its KV cache."""
        length = max(len(row.tokens) for row in rows)
        prefix = past[0][0].shape[2] if past else 0
        tokens = np.zeros((len(rows), length), dtype=np.int64)
        mask = np.ones((len(rows), prefix + length), dtype=np.int64)
        for place, row in enumerate(rows):
            tokens[place, : len(row.tokens)] = row.tokens
            mask[place, prefix + len(row.tokens) :] = 0
        cache = DynamicCache()
        for layer, (key, value) in enumerate(past):
            cache.update(key.expand(len(rows), -1, -1, -1), value.expand(len(rows), -1, -1, -1), layer)
        first = min((place for row in rows for place, _, _ in row.scored), default=length - 1)
        with self.calling():
            output = self.model(
                input_ids=torch.from_numpy(tokens).to(self.device),
                attention_mask=torch.from_numpy(mask).to(self.device),
                past_key_values=cache, use_cache=True, logits_to_keep=length - first,
            )  # fmt: skip
        figures = sorted(
            (number * (length - first) + place - first, target, query)
            for number, row in enumerate(rows)
            for place, target, query in row.scored
        )
        columns = np.array(figures, dtype=np.int64).reshape(-1, 3)
        places, targets, owners = columns[:, 0], columns[:, 1], columns[:, 2]
        values, likely = self.head.read(output.logits, places, targets, self.rows)
        return (owners, values, likely), [(layer.keys, layer.values) for layer in cache.layers]


class Outline:
    """The compressed tree of queries, and the cheaper way to compute the subtree below each of its nodes.

    Either the children of a node are rows, and each continues with its own subtree; or every path to a leaf
    is a row, and shared tokens are computed several times, since a call of the model is not free.

    Args:
        queries: the queries to score.
        call: fixed cost of a call of the model, in tokens.
    """

    def __init__(self, queries: Queries, call: float) -> None:
        self.root = queries.root
        self.scored: dict[int, list[tuple[int, int, int]]] = {}  # by node: (depth, target, query)
        self.stepwise: dict[int, bool] = {}
        self.tokens: dict[int, int] = {}
        self.assign(queries.targets)
        self.choose(call)

    def assign(self, queried: Sequence[NDArray[np.int32]]) -> None:
        """Assign the targets to nodes; those of a query can be spread over several."""
        path: list[Node] = []
        for node, leaving in walk(self.root):
            if leaving:
                path.pop()
                continue
            self.scored[id(node)] = []
            path.append(node)
            for query in node.queries:
                first = node.end - len(queried[query])
                for depth, target in enumerate(queried[query].tolist(), start=first):
                    owner = next(step for step in path if step.end > depth)
                    self.scored[id(owner)].append((depth, target, query))

    def choose(self, call: float) -> None:
        cost: dict[int, float] = {}
        flat: dict[int, tuple[int, int]] = {}  # total length and number of the complete rows below a node
        for node, leaving in walk(self.root):
            if not leaving:
                continue
            lengths = {id(child): len(child.tokens) for child in node.children.values()}
            rows = sum(flat[key][1] for key in lengths)
            whole = sum(flat[key][0] + lengths[key] * flat[key][1] for key in lengths)
            steps = sum(cost[key] + lengths[key] for key in lengths)
            self.stepwise[id(node)] = steps < whole
            cost[id(node)] = call + min(steps, whole) if node.children else 0.0
            flat[id(node)] = (whole, max(1, rows))
            below = sum(self.tokens[key] + lengths[key] for key in lengths)
            self.tokens[id(node)] = below if self.stepwise[id(node)] else whole

    def count(self) -> int:
        """Number of tokens that will be computed."""
        return self.tokens[id(self.root)]

    def make_rows(self, node: Node) -> list[Branch]:
        if self.stepwise[id(node)]:
            children = node.children.values()
            return [self.make_row([child], child if child.children else None) for child in children]
        rows: list[Branch] = []
        path: list[Node] = []
        fresh: list[Node] = []  # nodes of the path that are in no row yet
        for step, leaving in walk(node):
            if step is node:
                continue
            if leaving:
                path.pop()
                continue
            path.append(step)
            fresh.append(step)
            if not step.children:
                rows.append(self.make_row(path, None, fresh))
                fresh = []
        return rows

    def make_row(self, path: Sequence[Node], node: Node | None, read: Sequence[Node] | None = None) -> Branch:
        begin = path[0].end - len(path[0].tokens)
        tokens = np.concatenate([step.tokens for step in path]).astype(np.int64)
        scored = [
            (depth - begin, target, query)
            for step in (path if read is None else read)
            for depth, target, query in self.scored[id(step)]
        ]
        return Branch(tokens, scored, node)
