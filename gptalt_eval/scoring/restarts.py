"""Which tokens of a prefix tree a model with a state computes from the beginning, and which after a state."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gptalt_eval.scoring.branches import Outline
from gptalt_eval.scoring.tree import Ints, Node, Queries, walk


@dataclass(frozen=True)
class Run:
    """Tokens that are computed in a row, from the beginning or after the state at the end of another run.

    Attributes:
        node: where it ends.
        begin: number of tokens before its first one.
        scored: (depth, target, query) of each target that it predicts.
        goes_on: whether its state is needed.
        owner: which of the states that are available it follows.
    """

    node: Node
    begin: int
    scored: list[tuple[int, int, int]]
    goes_on: bool
    owner: int = 0

    def __len__(self) -> int:
        return self.node.end - self.begin

    def read(self) -> Ints:
        """All tokens from the beginning on: [begin + L]."""
        steps: list[Node] = [self.node]
        while (above := steps[-1].parent) is not None:
            steps.append(above)
        return np.concatenate([step.tokens for step in reversed(steps)]).astype(np.int64)


class Restarts(Outline):
    """The cheapest way to compute a tree: a node is computed after the state above it, or from the beginning.

    A node whose children all start from scratch needs no run of its own: the first child computes its scores.

    Args:
        queries: the queries to score.
        call: cost of keeping a state, in tokens.
        step: cost of a token that is computed after a state; of others 1.
    """

    def __init__(self, queries: Queries, call: float, step: float) -> None:
        self.step = step
        self.passed: set[int] = set()  # nodes without a run
        self.following: set[int] = set()  # nodes that are computed after the state above them
        super().__init__(queries, call)

    def choose(self, call: float) -> None:
        after: dict[int, float] = {}  # by node: cost of all below it, if its state is available
        fresh: dict[int, float] = {}  # cost of it and all below it, from the beginning
        follow: dict[int, set[int]] = {}  # the children that are cheaper after its state
        for node, leaving in walk(self.root):
            if not leaving:
                continue
            costs = {
                id(child): self.step * len(child.tokens) + after[id(child)] + call * bool(follow[id(child)])
                for child in node.children.values()
            }
            follow[id(node)] = {key for key, cost in costs.items() if cost <= fresh[key]}
            after[id(node)] = sum(min(cost, fresh[key]) for key, cost in costs.items())
            own = node.end + call * bool(follow[id(node)]) + after[id(node)]
            through = sum(fresh[key] for key in costs)
            fresh[id(node)] = min(own, through) if costs else own
            if node is self.root or (costs and through < own):
                self.passed.add(id(node))
        for node, leaving in walk(self.root):
            if leaving:
                continue
            if id(node) in self.following:
                self.passed.discard(id(node))
            if id(node) not in self.passed:
                self.following |= follow[id(node)]

    def count(self) -> int:
        return sum(
            len(node.tokens) if id(node) in self.following else node.end
            for node, leaving in walk(self.root)
            if not leaving and id(node) not in self.passed
        )

    def list_first(self) -> list[Run]:
        """The runs from the beginning."""
        runs: list[Run] = []
        unread: list[tuple[int, int, int]] = []  # what nodes without a run score
        for node, leaving in walk(self.root):
            if leaving or id(node) in self.following:
                continue
            if id(node) in self.passed:
                unread += self.scored[id(node)]
                continue
            runs.append(self.make_run(node, 0, unread))
            unread = []
        return runs

    def list_next(self, node: Node, owner: int) -> list[Run]:
        """The runs after the state at the end of a node."""
        return [
            self.make_run(child, node.end, [], owner)
            for child in node.children.values()
            if id(child) in self.following
        ]

    def make_run(self, node: Node, begin: int, unread: list[tuple[int, int, int]], owner: int = 0) -> Run:
        goes_on = any(id(child) in self.following for child in node.children.values())
        return Run(node, begin, [*unread, *self.scored[id(node)]], goes_on, owner)
