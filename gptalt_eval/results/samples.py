"""A logged item, prepared for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

from gptalt_eval.results.page import cut_text

MOST_OPTIONS = 200  # of an item, that are shown


@dataclass(frozen=True)
class ShownItem:
    """One item as the report shows it.

    Attributes:
        number: its row in the split.
        is_right: whether it is correct; None if no metric tells.
        prompt: the prompt as the model received it; the text itself if whole texts are scored.
        options: the continuations that were scored; empty for generation and whole texts.
        chosen: index of the option with the highest log-likelihood; -1 if there is none.
        gold: the target; empty for whole texts.
        answer: the generated text, or a whole text's log-likelihood; empty for multiple choice.
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


def view_item(line: Mapping[str, Any], judged: str = "") -> ShownItem:
    """An item, from its saved sample.

    Args:
        line: the sample.
        judged: the metric that tells whether it is correct; empty: none does.
    """
    requests = list_requests(line.get("arguments", ()))
    answers = line.get("filtered_resps", ())
    is_text = bool(requests) and len(requests[0]) == 1  # whole texts are scored, without a continuation
    is_choice = bool(requests) and not is_text and isinstance(requests[0][-1], str)
    metrics = {name: line.get(name) for name in line.get("metrics", [])}
    options = list_options(requests) if is_choice else ()
    answer = "" if is_choice or not answers else str(answers[0])
    return ShownItem(
        number=line["doc_id"],
        is_right=bool(line[judged]) if line.get(judged) in (0, 1) else None,
        prompt=cut_text(str(requests[0][0])) if requests else "",
        options=tuple(map(cut_text, options[:MOST_OPTIONS])),
        chosen=find_likeliest(answers[: len(options)]),
        gold="" if is_text else cut_text(str(line.get("target", ""))),
        answer=f"log-likelihood {answer}" if is_text else cut_text(answer),
        metrics={name: value for name, value in metrics.items() if isinstance(value, (int, float))},
    )


def list_requests(arguments: Any) -> list[list[Any]]:
    """What the model was asked, request by request; versions of lm-eval before 0.4.3 saved lists."""
    if isinstance(arguments, Mapping):
        return [list(request.values()) for request in arguments.values() if request]
    return [list(request) for request in arguments if isinstance(request, (list, tuple)) and request]


def list_options(requests: Sequence[Sequence[Any]]) -> tuple[str, ...]:
    """The options of a choice. acc_mutual_info asks for each of them again, without the prompt."""
    half = len(requests) // 2
    again = [request[-1] for request in requests[half:]] == [request[-1] for request in requests[:half]]
    if half > 1 and again and requests[0][0] and not any(request[0] for request in requests[half:]):
        requests = requests[:half]
    options = tuple(str(request[-1]) for request in requests)
    if len(set(options)) == 1 and len(options) > 1:  # the options are in the prompt, as in WinoGrande
        return tuple(str(request[0]) for request in requests)
    return options


def find_likeliest(answers: Sequence[Any]) -> int:
    """The likeliest option (lm-eval logs log-likelihoods as text); -1 if a filter took them away."""
    try:
        found = [float(answer[0]) for answer in answers]
    except (TypeError, ValueError, LookupError):
        return -1
    known = [place for place, value in enumerate(found) if not isnan(value)]
    return max(known, key=found.__getitem__, default=-1)
