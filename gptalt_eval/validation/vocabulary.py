"""The names that lm-eval knows: fields, metrics, filters and so on.

They are in ``vocabulary.json``, which ``tests/read_lm_eval.py`` writes from lm-eval's source; a test compares
the two.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gptalt_eval.validation.sources import Signature

FILE = Path(__file__).with_name("vocabulary.json")


@dataclass(frozen=True)
class Vocabulary:
    """What lm-eval knows by name.

    Attributes:
        task_fields, fewshot_fields, group_fields, aggregate_fields: the fields of its four configurations.
        output_types: the kinds of request.
        metrics: metric -> its arguments.
        default_aggregations: metric -> its default aggregation.
        computed: output type -> the metrics that lm-eval computes for it.
        aggregations, samplers: their names.
        filters: filter -> its arguments.
        generation_keys: the possible keys of ``generation_kwargs``.
    """

    task_fields: tuple[str, ...] = ()
    fewshot_fields: tuple[str, ...] = ()
    group_fields: tuple[str, ...] = ()
    aggregate_fields: tuple[str, ...] = ()
    output_types: tuple[str, ...] = ()
    metrics: Mapping[str, Signature] = field(default_factory=dict)
    default_aggregations: Mapping[str, str] = field(default_factory=dict)
    computed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    aggregations: tuple[str, ...] = ()
    samplers: tuple[str, ...] = ()
    filters: Mapping[str, Signature] = field(default_factory=dict)
    generation_keys: tuple[str, ...] = ()


def load_vocabulary() -> Vocabulary:
    """The vocabulary of the release of lm-eval that ``vocabulary.json`` names."""
    return restore(json.loads(FILE.read_text(encoding="utf-8")))


def restore(stored: dict[str, Any]) -> Vocabulary:
    """A vocabulary from its JSON.

    Raises:
        KeyError, TypeError, AttributeError: the JSON does not contain a vocabulary.
    """
    values: dict[str, Any] = {}
    for part in dataclasses.fields(Vocabulary):
        value = stored[part.name]
        if part.name in ("metrics", "filters"):
            value = {
                name: Signature(tuple(item["names"]), tuple(item["required"]), bool(item["is_open"]))
                for name, item in value.items()
            }
        values[part.name] = value if isinstance(value, dict) else tuple(value)
    return Vocabulary(**values)
