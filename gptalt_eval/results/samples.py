"""A logged item, prepared for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

from gptalt_eval.results.page import cut_text
from gptalt_eval.results.pictures import is_visual, list_pictures

MOST_OPTIONS = 200  # of an item, that are shown


@dataclass(frozen=True)
class ShownItem:
    """One item as the report shows it.

    Attributes:
        number: its row in the split.
        is_right: whether it is correct; None if no metric tells.
        prompt: the prompt as the model received it; the text itself if whole texts are scored.
        options: the continuations that were scored; empty for generation and whole texts.
        likelihoods: their log-likelihoods, as text; empty texts where they are unknown.
        chosen: index of the option with the highest log-likelihood; -1 if there is none.
        right: index of the correct option; -1: the target does not tell.
        gold: the target; empty for whole texts.
        answer: the generated text, or a whole text's log-likelihood; empty for multiple choice.
        metrics: its metrics.
        pictures: what its pictures are called, in the order of the prompt.
    """

    number: int
    is_right: bool | None
    prompt: str
    options: tuple[str, ...]
    likelihoods: tuple[str, ...]
    chosen: int
    right: int
    gold: str
    answer: str
    metrics: Mapping[str, Any]
    pictures: tuple[str, ...] = ()


def view_item(line: Mapping[str, Any], judged: str = "") -> ShownItem:
    """An item, from its saved sample.

    Args:
        line: the sample.
        judged: the metric that tells whether it is correct; empty: none does.
    """
    asked = list_requests(line.get("arguments", ()))
    requests = [[part for part in request if not is_visual(part)] for request in asked]
    requests = [request for request in requests if request]
    answers = line.get("filtered_resps", ())
    is_text = bool(requests) and len(requests[0]) == 1  # whole texts are scored, without a continuation
    is_choice = bool(requests) and not is_text and isinstance(requests[0][-1], str)
    metrics = {name: line.get(name) for name in line.get("metrics", [])}
    options = list_options(requests) if is_choice else ()
    are_continuations = len(options) > 1 and options[0] == str(requests[0][-1])
    answer = "" if is_choice or not answers else str(answers[0])
    return ShownItem(
        number=line["doc_id"],
        is_right=bool(line[judged]) if line.get(judged) in (0, 1) else None,
        prompt=cut_text(str(requests[0][0])) if requests else "",
        options=tuple(map(cut_text, options[:MOST_OPTIONS])),
        likelihoods=tuple(show_likelihood(answers, place) for place in range(len(options))),
        chosen=find_likeliest(answers[: len(options)]),
        right=find_right(options, line.get("target")) if are_continuations else -1,
        gold="" if is_text else cut_text(str(line.get("target", ""))),
        answer=f"log-likelihood {answer}" if is_text else cut_text(answer),
        metrics={name: value for name, value in metrics.items() if isinstance(value, (int, float))},
        pictures=list_pictures(line.get("arguments", ())),
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


def show_likelihood(answers: Sequence[Any], place: int) -> str:
    """The log-likelihood of an option; empty: a filter took it away, or the file is cut."""
    try:
        return f"{float(answers[place][0]):.2f}"
    except (TypeError, ValueError, LookupError):
        return ""


def find_right(options: Sequence[str], target: Any) -> int:
    """The correct option: lm-eval saves its number as text, or the text itself; -1: something else."""
    text = str(target)
    if text.isascii() and text.isdigit():
        return int(text) if len(text) < 4 and int(text) < len(options) else -1
    same = [place for place, option in enumerate(options) if option.strip() == text.strip()]
    return same[0] if len(same) == 1 else -1


def find_likeliest(answers: Sequence[Any]) -> int:
    """The likeliest option (lm-eval logs log-likelihoods as text); -1 if a filter took them away."""
    try:
        found = [float(answer[0]) for answer in answers]
    except (TypeError, ValueError, LookupError):
        return -1
    known = [place for place, value in enumerate(found) if not isnan(value)]
    return max(known, key=found.__getitem__, default=-1)
