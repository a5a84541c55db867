"""Log-likelihood requests in tokens, as many as a whole suite has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from gptalt_eval.scoring.guarded import Encoded
from gptalt_eval.scoring.tree import Queries, Query


class Asked(NamedTuple):
    """Requests in tokens, whose common prefixes are kept once.

    Attributes:
        places: the index of each in what was asked.
        arguments: (context, continuation) of each, or None for a window of a longer text.
        queries: their tokens.
    """

    places: list[int]
    arguments: list[tuple[Any, ...] | None]
    queries: Queries

    def read(self, number: int) -> Encoded:
        """A request as lm-eval's own scorer takes it."""
        query = self.queries[number]
        targets = query.targets.tolist()
        whole = [*query.inputs.tolist(), targets[-1]]
        return self.arguments[number], whole[: -len(targets)], targets


def share_prefixes(requests: Iterable[tuple[int, Encoded]], room: int) -> Asked:
    """Keep requests, truncated from the left exactly as lm-eval's ``HFLM`` does it.

    Args:
        requests: each with its index in what was asked.
        room: length of the model's context.
    """
    asked = Asked([], [], Queries())
    for place, (arguments, context, continuation) in requests:
        whole = (context + continuation)[-(room + 1) :]
        asked.places.append(place)
        asked.arguments.append(arguments)
        asked.queries.add(Query(whole[:-1], continuation))
    return asked
