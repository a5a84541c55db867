"""Built requests, kept as JSON: lm-eval keeps them in a format that can run code when it is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from lm_eval.api.instance import Instance

ANSWERS = {"resps", "filtered_resps"}  # they come later
BUILT = [field.name for field in fields(Instance) if field.name not in ANSWERS]

TUPLES = ("arguments", "metadata")  # in 0.5, the latter is a dict


class JsonRequests:
    """Stands for ``dill`` in lm-eval's cache of requests."""

    @staticmethod
    def dumps(groups: list[list[Instance]]) -> bytes:
        """Built requests as JSON; empty, and so built again the next time, if JSON would change them."""
        try:
            text = json.dumps([[list_built(request) for request in group] for group in groups]).encode()
            return text if JsonRequests.loads(text) == groups else b""
        except (TypeError, ValueError, RecursionError):  # rows with images, dates, ...
            return b""

    @staticmethod
    def loads(text: bytes) -> list[list[Instance]]:
        """The requests; whatever is wrong with them, lm-eval builds them again."""
        return [[make_built(values) for values in group] for group in json.loads(text)]


def list_built(request: Instance) -> dict[str, Any]:
    return {name: getattr(request, name) for name in BUILT}


def make_built(values: Mapping[str, Any]) -> Instance:
    """A request from JSON, which has lists for tuples."""
    tuples = {
        name: tuple(part) for name in ("arguments", "metadata") if isinstance(part := values[name], list)
    }
    return Instance(**{**values, **tuples})
