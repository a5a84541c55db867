"""The prefix tree of a set of requests, laid out in depth-first order.

Requests with a common prefix share its tokens. In depth-first order, one integer per token, the
end of its subtree, is the whole attention pattern: token ``i`` sees ``j`` exactly when ``j <= i < end[j]``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Query:
    """One request to a causal model, in tokens.

    Attributes:
        inputs: the tokens that the model reads, without the last target.
        targets: the tokens to score; they are predicted by the last
            ``len(targets)`` positions of ``inputs``.
    """

    inputs: Sequence[int] | Ints
    targets: Sequence[int]


@dataclass(frozen=True)
class PrefixTree:
    """The distinct tokens of a set of queries, and the positions that predict the targets.

    Attributes:
        tokens: [N] ids, in depth-first order; siblings are ordered by the first query that needs them.
        depth: [N] position ids: the number of ancestors.
        subtree_end: [N] one past the last descendant.
        positions: [S] ascending; at ``positions[s]`` the token ``targets[s]`` of query ``owners[s]`` is
            predicted.
        targets: [S].
        owners: [S].
    """

    tokens: Ints
    depth: Ints
    subtree_end: Ints
    positions: Ints
    targets: Ints
    owners: Ints

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass
class Node:
    """A run of tokens without a branch: ``queries[source].inputs[parent's end : end]``."""

    end: int
    source: int
    first: int
    children: list[Node] = field(default_factory=list)
    queries: list[int] = field(default_factory=list)


def build_tree(queries: Sequence[Query]) -> PrefixTree:
    """Build the prefix tree of queries.

    Raises:
        ValueError: a query without inputs or targets, or with more targets than inputs.
    """
    for query in queries:
        if not 0 < len(query.targets) <= len(query.inputs):
            raise ValueError(f"{len(query.targets)} tokens to score after {len(query.inputs)} read")
    rows = [np.asarray(query.inputs, dtype=np.int64) for query in queries]
    return lay_out(grow(rows), rows, queries)


def grow(rows: Sequence[Ints]) -> Node:
    """The compressed tree of token rows; children are ordered by the first row that needs them."""
    keys = [row.astype(">u4").tobytes() for row in rows]  # big-endian bytes sort like numbers
    order = sorted(range(len(rows)), key=keys.__getitem__)
    root = Node(0, 0, 0)
    path = [root]
    previous = rows[order[0]][:0] if order else None
    for index in order:
        row = rows[index]
        shared = measure_common(previous, row) if previous is not None else 0
        last = None
        while path[-1].end > shared:
            last = path.pop()
        if last is not None and path[-1].end < shared:
            fork = Node(shared, last.source, last.first, [last])
            path[-1].children[-1] = fork
            path.append(fork)
        if len(row) > path[-1].end:
            leaf = Node(len(row), index, index)
            path[-1].children.append(leaf)
            path.append(leaf)
        path[-1].queries.append(index)
        previous = row
    sort_children(root)
    return root


def measure_common(one: Ints, other: Ints) -> int:
    """Length of the common prefix of two rows."""
    length = min(len(one), len(other))
    differs = one[:length] != other[:length]
    return int(differs.argmax()) if differs.any() else length


def sort_children(root: Node) -> None:
    """Order siblings by the first query below them, so that answers come roughly in the queries' order."""
    for node, leaving in walk(root):
        if leaving:
            node.children.sort(key=lambda child: child.first)
            below = [child.first for child in node.children[:1]]
            node.first = min(below + node.queries, default=0)


def walk(root: Node) -> Iterator[tuple[Node, bool]]:
    """Each node twice, depth first: (node, False) on entering it, and (node, True) on leaving it."""
    stack = [(root, False)]
    while stack:
        node, leaving = stack.pop()
        yield node, leaving
        if not leaving:
            stack.append((node, True))
            stack.extend((child, False) for child in reversed(node.children))


def lay_out(root: Node, rows: Sequence[Ints], queries: Sequence[Query]) -> PrefixTree:
    longest = max((len(row) for row in rows), default=0)
    # for each depth, the index of the token on the path to the current node
    path = np.zeros(longest, dtype=np.int64)
    tokens: list[Ints] = []
    depths: list[Ints] = []
    spans: list[tuple[int, int]] = []
    open_spans: list[int] = []
    ends: dict[int, int] = {}
    scored: list[tuple[Ints, int]] = []
    count = 0
    begins = [0]
    for node, leaving in walk(root):
        if leaving:
            begins.pop()
            ends[open_spans.pop()] = count
            continue
        begin = begins[-1]
        begins.append(node.end)
        open_spans.append(len(spans))
        spans.append((count, node.end - begin))
        path[begin : node.end] = np.arange(count, count + node.end - begin)
        tokens.append(rows[node.source][begin : node.end] if rows else path[:0])
        depths.append(np.arange(begin, node.end))
        count += node.end - begin
        for index in node.queries:
            scored.append((path[node.end - len(queries[index].targets) : node.end].copy(), index))
    subtree_end = np.concatenate([np.full(length, ends[i]) for i, (_, length) in enumerate(spans)])
    return PrefixTree(
        np.concatenate(tokens), np.concatenate(depths), subtree_end, *gather_scored(scored, queries)
    )


def gather_scored(scored: Sequence[tuple[Ints, int]], queries: Sequence[Query]) -> tuple[Ints, Ints, Ints]:
    empty = np.zeros(0, dtype=np.int64)
    positions = np.concatenate([where for where, _ in scored] or [empty])
    targets = np.concatenate([np.asarray(queries[index].targets, np.int64) for _, index in scored] or [empty])
    owners = np.repeat([index for _, index in scored], [len(where) for where, _ in scored]).astype(np.int64)
    order = np.argsort(positions, kind="stable")
    return positions[order], targets[order], owners[order]


def divide(tree: PrefixTree, queries: Sequence[Query], parts: int) -> list[list[int]]:
    """Divide queries among processes: runs of neighbours in the tree, with about the same number of tokens.

    A run starts at a shallow token if there is one nearby, since its ancestors are computed twice.
    """
    last = np.zeros(len(queries), dtype=np.int64)
    np.maximum.at(last, tree.owners, tree.positions)
    order = np.argsort(last, kind="stable")
    cuts = [0]
    for part in range(1, parts):
        ideal = len(tree) * part // parts
        slack = max(1, len(tree) // (parts * 20))
        low, high = max(cuts[-1], ideal - slack), min(len(tree), ideal + slack)
        window = tree.depth[low:high]
        cuts.append(low + int(window.argmin()) if len(window) else high)
    part_of = np.searchsorted(np.asarray(cuts[1:]), last[order], side="right")
    return [sorted(order[part_of == part].tolist()) for part in range(parts)]
