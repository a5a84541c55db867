"""Cuts requests into units: runs of neighbours in the prefix tree, of about the same number of tokens.

The size is constant. It depends neither on the number of workers nor on what is already answered, so that the
same requests are always computed together, and rounded alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gptalt_eval.scoring.tree import Ints, Query, build_tree

LEAST, MOST = 200_000, 300_000  # tokens of a unit: about 10 seconds on a GPU with a model of 7 B parameters


@dataclass(frozen=True)
class Cut:
    """What becomes a unit.

    Attributes:
        places: indices of the requests, ascending.
        tokens: what they cost: distinct tokens to read, and ``extra`` ones.
    """

    places: list[int]
    tokens: int


def cut_tree(
    queries: Sequence[Query], extra: Sequence[int] | None = None, least: int = LEAST, most: int = MOST
) -> list[Cut]:
    """Cut queries into units of ``least`` to ``most`` tokens, where the fewest are needed on both sides.

    Args:
        queries: [Q] the requests, in tokens.
        extra: [Q] what each costs in addition, in tokens: those that may be generated.
        least: tokens of the smallest unit; the last one may be smaller.
        most: tokens of the largest; one that costs more by itself is a unit of its own.
    """
    if not queries:
        return []
    tree = build_tree(queries)
    last = np.zeros(len(queries), dtype=np.int64)
    np.maximum.at(last, tree.owners, tree.positions)
    costs = np.ones(len(tree), dtype=np.int64)
    if extra is not None:
        np.add.at(costs, last, np.asarray(extra, dtype=np.int64))
    spent = np.concatenate([[0], np.cumsum(costs)])
    cuts = find_cuts(tree.depth, spent, least, most)
    order = np.argsort(last, kind="stable")
    bounds = np.searchsorted(last[order], cuts)
    parts = [
        (np.sort(order[begin:end]).tolist(), int(spent[stop] - spent[start] + tree.depth[start]))
        for begin, end, start, stop in zip(bounds, bounds[1:], cuts, cuts[1:], strict=False)
    ]
    return [Cut(places, tokens) for places, tokens in parts if places]


def find_cuts(depth: Ints, spent: Ints, least: int, most: int) -> list[int]:
    """The places in depth-first order at which units begin, and the end.

    Args:
        depth: [N] the ancestors of each token, which the unit that begins there computes again.
        spent: [N + 1] the cost of all tokens before each place.
        least: of a unit.
        most: of a unit.
    """
    cuts = [0]
    while spent[-1] - spent[cuts[-1]] > most and cuts[-1] < len(depth) - 1:
        begin = cuts[-1]
        low = int(np.searchsorted(spent, spent[begin] + least))
        high = int(np.searchsorted(spent, spent[begin] + most, side="right")) - 1
        # one token can cost more than a unit has between the two
        high = max(high, begin + 1)
        window = depth[min(low, high) : high + 1]
        # of several places that are as good, the last: units as large as they may be
        cuts.append(high - int(window[::-1].argmin()))
    return [*cuts, len(depth)]


def cut_row(costs: Sequence[int], most: int = MOST) -> list[Cut]:
    """Cut requests that share nothing, in their order."""
    cuts: list[Cut] = []
    places: list[int] = []
    tokens = 0
    for place, cost in enumerate(costs):
        if places and tokens + cost > most:
            cuts.append(Cut(places, tokens))
            places, tokens = [], 0
        places.append(place)
        tokens += cost
    return [*cuts, Cut(places, tokens)] if places else cuts
