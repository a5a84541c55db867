"""Reads the log-probabilities of a prompt's tokens from a server's answer: exactly those, or none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from gptalt_eval.planning.served.server import RefusedError, Server

#: how a server is asked for them: vLLM's own argument, which names tokens by id, or OpenAI's, by their text
Way = Literal["prompt_logprobs", "echo"]
WAYS: tuple[Way, ...] = ("prompt_logprobs", "echo")
TRIED = (10, 11, 12, 13)  # tokens that every vocabulary has
TEXT = "One, two, three."


class UnusableError(Exception):
    """An answer without the log-probabilities that were asked for; says why.

    Attributes:
        is_refused: whether the server refused the question itself.
    """

    def __init__(self, what: str, is_refused: bool = False) -> None:
        super().__init__(what)
        self.is_refused = is_refused


def make_question(way: Way, model: str, prompt: str | Sequence[int], seed: int = 1234) -> dict[str, Any]:
    """The request for a prompt's log-probabilities."""
    asked = {"model": model, "prompt": prompt, "temperature": 0, "max_tokens": 1, "seed": seed}
    return asked | ({"prompt_logprobs": 1} if way == "prompt_logprobs" else {"logprobs": 1, "echo": True})


def find_way(server: Server, model: str, prompt: str | Sequence[int] = TRIED) -> Way:
    """How this server is asked for log-probabilities.

    Raises:
        UnusableError: it gives none; says what it answered.
        PassingError, GptaltError: it cannot be asked.
    """
    reason, is_refused = "", False
    for way in WAYS:
        try:
            reply = server.ask(make_question(way, model, prompt))
            count = len(prompt) if not isinstance(prompt, str) else None
            check_count(read_choice(reply), way, count)
            return way
        except (RefusedError, UnusableError) as error:
            reason, is_refused = str(error), isinstance(error, RefusedError)
    raise UnusableError(reason, is_refused)


def check_count(choice: Mapping[str, Any], way: Way, count: int | None) -> None:
    """Check that an answer has an entry for each token, and none for one that the server put before them.

    Later answers tell nothing about that if the server also counts what it wrote, sometimes nothing.
    """
    if way == "prompt_logprobs":
        entries = choice.get("prompt_logprobs")
        if not isinstance(entries, list):
            raise UnusableError("it leaves out the log-probabilities of the prompt")
        wrong = count is not None and len(entries) != count
    else:
        values, _ = read_lists(choice)
        wrote = choice.get("finish_reason") == "length"
        wrong = count is not None and len(values) not in ((count + 1,) if wrote else (count, count + 1))
        if len(values) < 2:
            raise UnusableError("it gives log-probabilities of what it writes only, not of the prompt")
    if wrong:
        raise UnusableError("it adds tokens to the prompt, or leaves some out")


def read_choice(reply: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = reply.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], Mapping):
        raise UnusableError("its answer has no 'choices'")
    return choices[0]


def read_lists(choice: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
    """For each token its log-probability, and those of the most probable ones, in OpenAI's format."""
    found = choice.get("logprobs")
    values = found.get("token_logprobs") if isinstance(found, Mapping) else None
    tops = found.get("top_logprobs") if isinstance(found, Mapping) else None
    if not isinstance(values, list):
        raise UnusableError("it leaves out the log-probabilities of the prompt")
    if not isinstance(tops, list) or len(tops) != len(values):
        raise UnusableError("it does not say which token is the most probable one")
    return values, tops


def read_scored(reply: Mapping[str, Any], way: Way, tokens: Sequence[int], begin: int) -> tuple[float, bool]:
    """The log-likelihood of a prompt's tokens from ``begin`` on, and whether each is the most probable one.

    Raises:
        UnusableError: the answer is not about exactly these tokens, or has no number for one of them.
    """
    choice = read_choice(reply)
    count = read_usage(reply, "prompt_tokens")
    if count is not None and count != len(tokens):
        raise UnusableError(explain_count(count, len(tokens)))
    if way == "prompt_logprobs":
        pairs = read_named(choice, tokens, begin)
    else:
        values, tops = read_lists(choice)
        if len(values) not in (len(tokens), len(tokens) + 1):  # with what it wrote, or it wrote nothing
            raise UnusableError(explain_count(len(values) - 1, len(tokens)))
        pairs = [
            (value, [*top.values()] if isinstance(top, Mapping) else [])
            for value, top in zip(values[begin : len(tokens)], tops[begin : len(tokens)], strict=True)
        ]
    total, greedy = 0.0, True
    for value, others in pairs:
        if not is_number(value) or not others or not all(map(is_number, others)):
            raise UnusableError("its answer has no number for one of the tokens")
        total += value
        greedy = greedy and value >= max(others)
    return total, greedy


def read_named(choice: Mapping[str, Any], tokens: Sequence[int], begin: int) -> list[tuple[Any, list[Any]]]:
    """The log-probability of each token from ``begin`` on, and those of the most probable ones."""
    entries = choice.get("prompt_logprobs")
    if not isinstance(entries, list) or len(entries) != len(tokens):
        raise UnusableError(explain_count(len(entries) if isinstance(entries, list) else 0, len(tokens)))
    pairs: list[tuple[Any, list[Any]]] = []
    for token, entry in zip(tokens[begin:], entries[begin:], strict=True):
        found = entry if isinstance(entry, Mapping) else {}
        named = {key: each.get("logprob") for key, each in found.items() if isinstance(each, Mapping)}
        if str(token) not in named:
            raise UnusableError("it reads the prompt as other tokens than the tokenizer here")
        pairs.append((named[str(token)], [*named.values()]))
    return pairs


def read_usage(reply: Mapping[str, Any], name: str) -> int | None:
    """One of the numbers of tokens that a server counted; None: it did not."""
    usage = reply.get("usage")
    counts = usage if isinstance(usage, Mapping) else {}
    details = counts.get("prompt_tokens_details")
    count = counts.get(name, details.get(name) if isinstance(details, Mapping) else None)
    return count if isinstance(count, int) and not isinstance(count, bool) else None


def explain_count(theirs: int, ours: int) -> str:
    return f"it reads the prompt as {theirs:,} tokens, and the tokenizer here as {ours:,}"


def is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)
