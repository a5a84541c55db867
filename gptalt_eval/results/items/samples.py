"""A logged item: what a model was asked, what it answered, and which option acc and acc_norm choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from os.path import commonprefix
from typing import Any

from gptalt_eval.results.items.pictures import is_visual, list_pictures
from gptalt_eval.results.rows import find_subject

MOST_OPTIONS = 200  # of an item, that are kept
CUT = "gptalt_cut"  # of a sample: how many of its requests lost the beginning of their prompt
MOST_REPLIES = 50  # to one request that was repeated


@dataclass(frozen=True)
class LoggedItem:
    """One item with one filter.

    Attributes:
        number: its row in the split.
        document: the row's hash; empty: not saved.
        subject: what it is about; empty: not stated.
        filter: what its replies went through.
        prompt: as the model received it; the text itself if whole texts are scored.
        options: the continuations that were scored; empty for generation and whole texts.
        likelihoods: their log-likelihoods, or that of a whole text; None: unknown.
        chosen: index of the option with the highest log-likelihood; -1: unknown.
        normed: index of the option with the highest log-likelihood per character; -1: unknown.
        right: index of the correct option; -1: the target does not tell.
        gold: the target; empty for whole texts.
        replies: the generated texts.
        extracted: what the filter made of them.
        metrics: those that are numbers.
        pictures: what its pictures are called, in the order of the prompt.
        cut: how many of its requests lost the beginning of their prompt, which was too long for the model.
    """

    number: int
    document: str
    subject: str
    filter: str
    prompt: str
    options: tuple[str, ...]
    likelihoods: tuple[float | None, ...]
    chosen: int
    normed: int
    right: int
    gold: str
    replies: tuple[str, ...]
    extracted: tuple[str, ...]
    metrics: Mapping[str, float]
    pictures: tuple[str, ...]
    cut: int = 0


def read_item(line: Mapping[str, Any], delimiter: str = " ") -> LoggedItem:
    """An item, from its saved sample.

    Args:
        line: the sample.
        delimiter: what lm-eval put between the prompt and each option.
    """
    asked = list_requests(line.get("arguments", ()))
    requests = [[part for part in request if not is_visual(part)] for request in asked]
    requests = [request for request in requests if request]
    is_text = bool(requests) and len(requests[0]) == 1  # whole texts are scored, without a continuation
    is_choice = bool(requests) and not is_text and isinstance(requests[0][-1], str)
    prompt, options = list_options(requests) if is_choice else (str(requests[0][0]) if requests else "", ())
    answers = line.get("filtered_resps", ())
    likelihoods = tuple(read_likelihood(answers, place) for place in range(len(options)))
    are_continuations = len(options) > 1 and options[0] == str(requests[0][-1])
    lengths = [len(option.removeprefix(delimiter)) for option in options] if are_continuations else []
    document = line["doc"] if isinstance(line.get("doc"), Mapping) else {}
    metrics = {name: line.get(name) for name in line.get("metrics", [])}
    is_generated = not is_choice and not is_text
    chosen, acc = find_highest(likelihoods), metrics.get("acc")
    right = find_right(options, line.get("target"), chosen, acc) if are_continuations else -1
    if right < 0 and len(options) > 1:
        right = infer_right(len(options), chosen, acc)
    return LoggedItem(
        number=line["doc_id"],
        document=line.get("doc_hash", ""),
        subject=find_subject(document),
        filter=line.get("filter", "none"),
        prompt=prompt,
        options=options[:MOST_OPTIONS],
        likelihoods=(read_likelihood([answers], 0),) if is_text else likelihoods[:MOST_OPTIONS],
        chosen=chosen,
        normed=find_highest(divide(likelihoods, lengths)),
        right=right,
        gold="" if is_text else str(line.get("target", "")),
        replies=list_texts(line.get("resps", ())) if is_generated else (),
        extracted=list_texts(answers) if is_generated else (),
        metrics={name: float(value) for name, value in metrics.items() if isinstance(value, (int, float))},
        pictures=list_pictures(line.get("arguments", ())),
        cut=line[CUT] if isinstance(line.get(CUT), int) else 0,
    )


def list_requests(arguments: Any) -> list[list[Any]]:
    """What the model was asked, request by request; versions of lm-eval before 0.4.3 saved lists."""
    if isinstance(arguments, Mapping):
        return [list(request.values()) for request in arguments.values() if request]
    return [list(request) for request in arguments if isinstance(request, (list, tuple)) and request]


def list_options(requests: Sequence[Sequence[Any]]) -> tuple[str, tuple[str, ...]]:
    """The prompt and the options of a choice.

    acc_mutual_info asks for each of them again, without the prompt. In WinoGrande, the options are in the
    prompt, and the continuation is the same: an option is then all that follows where they begin to differ.
    """
    half = len(requests) // 2
    again = [request[-1] for request in requests[half:]] == [request[-1] for request in requests[:half]]
    if half > 1 and again and requests[0][0] and not any(request[0] for request in requests[half:]):
        requests = requests[:half]
    prompt, options = str(requests[0][0]), tuple(str(request[-1]) for request in requests)
    prompts = [str(request[0]) for request in requests]
    if len(set(options)) > 1 or len(set(prompts)) == 1:
        return prompt, options
    same = commonprefix(prompts)  # noqa: RUF071 (of texts, not of paths)
    end = len(same) - len(same.split(" ")[-1]) if " " in same else len(same)  # at the beginning of a word
    return prompt[:end], tuple(text[end:] + option for text, option in zip(prompts, options, strict=True))


def list_texts(answers: Any) -> tuple[str, ...]:
    """Replies at any depth: a request may be repeated, and a filter may keep all replies."""
    if isinstance(answers, (list, tuple)):
        return tuple(text for answer in answers[:MOST_REPLIES] for text in list_texts(answer))[:MOST_REPLIES]
    return (str(answers),)


def read_likelihood(answers: Sequence[Any], place: int) -> float | None:
    """A log-likelihood, which lm-eval saves as text; None: a filter took it away, or the file is cut."""
    try:
        return float(answers[place][0])
    except (TypeError, ValueError, LookupError):
        return None


def divide(likelihoods: Sequence[float | None], lengths: Sequence[int]) -> list[float | None]:
    """Log-likelihoods per character, by which acc_norm chooses; empty: the lengths are unknown."""
    return [
        None if value is None or not length else value / length
        for value, length in zip(likelihoods, lengths, strict=False)
    ]


def find_right(options: Sequence[str], target: Any, chosen: int = -1, acc: object = None) -> int:
    """The correct option: lm-eval saves its number as text, or the text itself; -1: something else.

    Where options are numbers, the target may be either: what does not agree with ``acc`` is not meant.

    Args:
        options: the options.
        target: as saved.
        chosen: the likeliest option; -1: unknown.
        acc: whether that is correct, 1 or 0; anything else: unknown.
    """
    text = str(target)
    same = [place for place, option in enumerate(options) if option.strip() == text.strip()]
    found = same if len(same) == 1 else []
    if text.isascii() and text.isdigit():
        number = int(text) if len(text) < 4 else len(options)
        found = [number, *found] if number < len(options) else found
    agreeing = [place for place in found if acc not in (0, 1) or chosen < 0 or (place == chosen) == acc]
    return next(iter([*agreeing, *found]), -1)


def infer_right(options: int, chosen: int, acc: object) -> int:
    """The correct option, where the target does not tell, by whether the likeliest one is; -1: unknown."""
    if chosen >= 0 and acc == 1:
        return chosen
    return 1 - chosen if chosen >= 0 and acc == 0 and options == 2 else -1


def find_highest(values: Sequence[float | None]) -> int:
    """Where the highest value is, the first of equal ones; -1: some are unknown."""
    known = [value for value in values if value is not None and (isfinite(value) or value < 0)]
    return known.index(max(known)) if known and len(known) == len(values) else -1
