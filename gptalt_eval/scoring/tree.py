"""The prefix tree of a set of requests, laid out in depth-first order.

Requests with a common prefix share its tokens. In depth-first order, one integer per token, the
end of its subtree, is the whole attention pattern: token ``i`` sees ``j`` exactly when ``j <= i < end[j]``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

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
        first: [N] the first token that sees each token; None: itself, as no token sees a later one.
    """

    tokens: Ints
    depth: Ints
    subtree_end: Ints
    positions: Ints
    targets: Ints
    owners: Ints
    first: Ints | None = None

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(slots=True, eq=False)
class Node:
    """A run of tokens without a branch.

    Attributes:
        tokens: [L] ids.
        end: number of tokens from the root to the last of them.
        parent: the node before it.
        children: by their first token, in the order of the first query that needs them.
        queries: the indices of those that end here.
    """

    tokens: NDArray[np.int32]
    end: int
    parent: Node | None = None
    children: dict[int, Node] = field(default_factory=dict)
    queries: list[int] = field(default_factory=list)


class Queries(Sequence[Query]):
    """Queries that keep each common prefix once: memory grows with their distinct tokens only.

    A compressed prefix tree (Morrison 1968, https://doi.org/10.1145/321479.321481).

    Attributes:
        root: the tree.
    """

    def __init__(self, queries: Iterable[Query] = ()) -> None:
        self.root = Node(np.zeros(0, dtype=np.int32), 0)
        self.leaves: list[Node] = []
        self.targets: list[NDArray[np.int32]] = []
        self.last: NDArray[np.int32] | None = None  # the inputs that were added last
        for query in queries:
            self.add(query)

    def add(self, query: Query) -> None:
        """Append a query.

        Raises:
            ValueError: it has no inputs or targets, or more targets than inputs.
        """
        if not 0 < len(query.targets) <= len(query.inputs):
            raise ValueError(f"{len(query.targets)} tokens to score after {len(query.inputs)} read")
        row = np.asarray(query.inputs, dtype=np.int32)
        # the options of a question often differ only in the last token, which is not read
        repeats = self.last is not None and np.array_equal(row, self.last)
        leaf = self.leaves[-1] if repeats else self.insert(row)
        leaf.queries.append(len(self.leaves))
        self.leaves.append(leaf)
        self.targets.append(np.asarray(query.targets, dtype=np.int32))
        self.last = row

    def insert(self, row: NDArray[np.int32]) -> Node:
        """The node at which a row of tokens ends, which is made if there is none."""
        return self.insert_below(self.root, row)

    def insert_below(self, node: Node, row: NDArray[np.int32]) -> Node:
        """Like ``insert``, for a row that begins with the tokens up to the end of a node."""
        while node.end < len(row):
            rest = row[node.end :]
            child = node.children.get(int(rest[0]))
            if child is None:
                child = node.children[int(rest[0])] = Node(rest.copy(), len(row), node)
            else:
                child = fork(child, measure_common(child.tokens, rest))
            node = child
        return node

    def __len__(self) -> int:
        return len(self.leaves)

    def __getitem__(self, index: Any) -> Any:
        """The query of an index, as it was added; a list of them for a slice."""
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        node: Node | None = self.leaves[index]
        runs = []
        while node is not None:
            runs.append(node.tokens)
            node = node.parent
        return Query(np.concatenate(runs[::-1]), self.targets[index])

    def count_inputs(self) -> Ints:
        """[Q] the number of tokens that each query reads."""
        return np.fromiter((leaf.end for leaf in self.leaves), dtype=np.int64, count=len(self))

    def count_targets(self) -> Ints:
        """[Q] the number of tokens that each query scores."""
        return np.fromiter(map(len, self.targets), dtype=np.int64, count=len(self))


def share(queries: Sequence[Query]) -> Queries:
    """The queries with each common prefix kept once."""
    return queries if isinstance(queries, Queries) else Queries(queries)


def fork(node: Node, length: int) -> Node:
    """The node that ends after the first tokens of a node, which is divided if it is longer."""
    if length == len(node.tokens):
        return node
    parent = node.parent
    assert parent is not None
    above = Node(node.tokens[:length], node.end - len(node.tokens) + length, parent)
    parent.children[int(node.tokens[0])] = above  # in the place of the node among its siblings
    node.tokens = node.tokens[length:]
    node.parent = above
    above.children[int(node.tokens[0])] = node
    return above


def build_tree(queries: Sequence[Query]) -> PrefixTree:
    """Build the prefix tree of queries.

    Raises:
        ValueError: a query without inputs or targets, or with more targets than inputs.
    """
    return lay_out(share(queries))


def measure_common(one: NDArray[Any], other: NDArray[Any]) -> int:
    """Length of the common prefix of two rows."""
    length = min(len(one), len(other))
    differs = one[:length] != other[:length]
    return int(differs.argmax()) if differs.any() else length


def walk(root: Node) -> Iterator[tuple[Node, bool]]:
    """Each node twice, depth first: (node, False) on entering it, and (node, True) on leaving it."""
    stack = [(root, False)]
    while stack:
        node, leaving = stack.pop()
        yield node, leaving
        if not leaving:
            stack.append((node, True))
            stack.extend((child, False) for child in reversed(node.children.values()))


def lay_out(queries: Queries) -> PrefixTree:
    size = sum(len(node.tokens) for node, leaving in walk(queries.root) if not leaving)
    tokens, depth, subtree_end = (np.empty(size, dtype=np.int64) for _ in range(3))
    counts = queries.count_targets()
    positions, targets, owners = (np.empty(counts.sum(), dtype=np.int64) for _ in range(3))
    # for each depth, the index of the token on the path to the current node
    path = np.zeros(queries.count_inputs().max(initial=0), dtype=np.int64)
    starts: list[int] = []
    count = scored = 0
    for node, leaving in walk(queries.root):
        length = len(node.tokens)
        if leaving:
            start = starts.pop()
            subtree_end[start : start + length] = count
            continue
        starts.append(count)
        tokens[count : count + length] = node.tokens
        depth[count : count + length] = np.arange(node.end - length, node.end)
        path[node.end - length : node.end] = np.arange(count, count + length)
        count += length
        for index in node.queries:
            place = slice(scored, scored + counts[index])
            positions[place] = path[node.end - counts[index] : node.end]
            targets[place] = queries.targets[index]
            owners[place] = index
            scored = place.stop
    order = np.argsort(positions, kind="stable")
    return PrefixTree(tokens, depth, subtree_end, positions[order], targets[order], owners[order])


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
