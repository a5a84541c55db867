"""A logged item, prepared for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ShownItem:
    """One item as the report shows it.

    Attributes:
        number: its row in the split.
        is_right: whether it is correct by the first metric; None if that metric is not 0 or 1.
        prompt: the prompt as the model received it.
        options: the continuations that were scored; empty for generation.
        chosen: index of the option with the highest log-likelihood; -1 for generation.
        gold: the target.
        answer: the generated text; empty for multiple choice.
        metrics: its metrics.
    """

    number: int
    is_right: bool | None
    prompt: str
    options: tuple[str, ...]
    chosen: int
    gold: str
    answer: str
    metrics: Mapping[str, Any]


def view_item(line: Mapping[str, Any]) -> ShownItem:
    requests = [list(arguments.values()) for arguments in line["arguments"].values()]
    is_choice = len(requests) > 1 or (requests and isinstance(requests[0][-1], str))
    metrics = {name: line.get(name) for name in line.get("metrics", [])}
    options = tuple(str(request[-1]) for request in requests) if is_choice else ()
    if len(set(options)) == 1 and len(options) > 1:  # the options are in the prompt, as in WinoGrande
        options = tuple(str(request[0]) for request in requests)
    return ShownItem(
        number=line["doc_id"],
        is_right=find_verdict(metrics),
        prompt=str(requests[0][0]) if requests else "",
        options=options,
        chosen=find_likeliest(line["filtered_resps"]) if is_choice else -1,
        gold=str(line["target"]),
        answer="" if is_choice else str(line["filtered_resps"][0]),
        metrics={name: value for name, value in metrics.items() if isinstance(value, (int, float))},
    )


def find_verdict(metrics: Mapping[str, Any]) -> bool | None:
    values = [value for value in metrics.values() if isinstance(value, (int, float))]
    return bool(values[0]) if values and values[0] in (0, 1) else None


def find_likeliest(answers: Sequence[Any]) -> int:
    """The option with the highest log-likelihood; lm-eval logs these as text."""
    likelihoods = [float(answer[0]) for answer in answers]
    return max(range(len(likelihoods)), key=likelihoods.__getitem__)
