"""A language model whose answers are counted as they arrive and, optionally, stored."""

from __future__ import annotations

import copy
import math
import reprlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from jinja2 import TemplateError
from lm_eval.api.model import LM

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.run import RunScoring
from gptalt_eval.results.items.samples import CUT
from gptalt_eval.running.display import Display
from gptalt_eval.running.lmeval import seams
from gptalt_eval.running.lmeval.answers import Answers
from gptalt_eval.running.lmeval.pictures import open_pictures

REQUEST_TYPES = ("loglikelihood", "loglikelihood_rolling", "generate_until")


class ObservedLM:
    """A language model whose answers are counted as they arrive and, optionally, stored.

    Args:
        lm: the model.
        display: shows the numbers of requests and answers.
        answers: where to store them; stored answers are not computed again.
    """

    def __init__(self, lm: LM, display: Display, answers: Answers | None = None) -> None:
        self.lm = lm
        self.display = display
        self.answers = answers
        self.ahead: dict[Any, Any] = {}  # answers that were computed before they were requested
        self.batches: Iterator[list[tuple[Any, Any]]] = iter(())
        self.expected: set[Any] = set()
        self.keeps = True
        self.tokens, self.tokens_asked, self.seconds = 0, 0, 0.0  # of all finished trees
        seams.report_answers(lm, self.receive)
        if can_stream(lm):
            lm.progress = self.advance

    def advance(self, progress: Any) -> None:
        """Show the progress of a tree, and count it when it is computed."""
        self.display.computed(progress.computed, progress.total, progress.asked, progress.seconds)
        if progress.computed == progress.total:
            self.tokens += progress.total
            self.tokens_asked += progress.asked
            self.seconds += progress.seconds

    def describe_work(self, scoring: RunScoring) -> RunScoring:
        """How log-likelihoods were computed, with the tokens and the time."""
        return replace(scoring, tokens=self.tokens, asked=self.tokens_asked, seconds=round(self.seconds, 1))

    def __getattr__(self, name: str) -> Any:
        if name in REQUEST_TYPES:
            return lambda requests: self._answer(name, requests)
        return getattr(self.lm, name)

    def apply_chat_template(self, turns: Any, add_generation_prompt: bool = True) -> str:
        """A conversation as one prompt.

        Raises:
            GptaltError: the model's template refuses it, or does what a template may not do.
        """
        try:
            written = self.lm.apply_chat_template(turns, add_generation_prompt=add_generation_prompt)
        except TemplateError as error:
            raise GptaltError(
                f"The model's chat template cannot be applied: {error}",
                "Choose another prompt style, or run without --apply_chat_template.",
            ) from error
        return read_prompt(written)

    def keep(self, request_type: str, arguments: Any, answer: Any) -> None:
        if self.answers is not None and self.keeps and not is_nan(answer):
            self.answers.keep(request_type, arguments, answer, self.find_lost(request_type, arguments))

    def find_lost(self, request_type: str, arguments: Any) -> int:
        """How many tokens of a request's prompt did not fit into the model's context."""
        lost: Mapping[Any, int] = getattr(self.lm, "lost", {})
        return lost.get(name_request(request_type, arguments), 0) if lost else 0

    def count_lost(self, requests: Sequence[Any]) -> int:
        """How many answered requests lost the beginning of their prompt; the same on all processes."""
        found = sum(map(self.has_lost, requests))
        return int(self.lm.add_up(found)) if hasattr(self.lm, "add_up") else found

    def has_lost(self, request: Any) -> bool:
        """Whether an answered request lost the beginning of its prompt."""
        kind, arguments = request.request_type, request.args
        return bool(
            self.find_lost(kind, arguments) or (self.answers and self.answers.recall_lost(kind, arguments))
        )

    def mark_lost(self, requests: Sequence[Any], samples: Sequence[dict[str, Any]]) -> None:
        """Say in each sample how many of its requests lost the beginning of their prompt, if any."""
        counts = Counter(request.doc_id for request in requests if self.has_lost(request))
        for sample in samples:
            if counts[sample["doc_id"]]:
                sample[CUT] = counts[sample["doc_id"]]

    def find_unscorable(self, requests: Sequence[Any]) -> str:
        """Why the first of the requests that cannot be scored cannot be, with its row; empty: all can be."""
        unscorable: Mapping[Any, str] = getattr(self.lm, "unscorable", {})
        for request in requests if unscorable else ():
            reason = unscorable.get(name_request(request.request_type, request.args))
            if reason and is_choice(request):
                option = f"option {request.idx + 1} ({reprlib.repr(request.args[1])})"
                return f"row {request.doc_id}, {option}: {reason}"
            if reason:
                return f"row {request.doc_id}: {reason}"
        return ""

    def receive(self, request_type: str, arguments: Any, answer: Any) -> None:
        """Receive an answer as soon as the model has it."""
        if request_type == "loglikelihood" and arguments in self.expected:
            return  # stored when it is computed, counted when it is requested
        if sends_chats(self.lm):
            arguments = (read_prompt(arguments[0]), *arguments[1:])
        self.display.answered(1)
        self.keep(request_type, arguments, answer)

    def expect(self, requests: Sequence[Any], missing: Collection[Any] | None = None) -> None:
        """Compute the log-likelihoods of several tasks together; each is returned when it is requested.

        Does nothing if the model scores request by request. With several processes, all must call this.

        Args:
            requests: the requests of all tasks.
            missing: in a resumed run, the arguments of the requests of unfinished tasks; those without an
                answer are computed exactly as they would have been without the interruption.
        """
        if not can_stream(self.lm):
            return
        distinct = {request.args: request for request in requests}
        known = {
            arguments
            for arguments, request in distinct.items()
            if self.recall("loglikelihood", request) is not None
            or (missing is not None and arguments not in missing)
        }
        if missing is None or self.lm.world_size > 1:
            distinct = {arguments: distinct[arguments] for arguments in distinct if arguments not in known}
        keys = list(distinct)
        self.expected = distinct.keys() - known
        places = {place for place, arguments in enumerate(keys) if arguments in known}
        batches = self.lm.stream_loglikelihood(list(distinct.values()), places)
        self.expected = self.expected - getattr(self.lm, "unscorable", {}).keys()
        self.batches = ([(keys[place], answer) for place, answer in batch] for batch in batches)
        if self.lm.world_size > 1:  # the processes must exchange answers at the same time
            self.compute_until(keys[-1] if keys else None)

    def compute_until(self, key: Any) -> None:
        """Compute batches until a request is answered."""
        while key not in self.ahead:
            try:
                batch = next(self.batches, None)
            except BaseException:
                self.expected = set()  # the rest is computed task by task
                raise
            if batch is None:
                return
            for answered, answer in batch:
                self.ahead[answered] = answer
                self.keep("loglikelihood", answered, answer)

    def is_shared(self, arguments: Any) -> bool:
        """Whether the log-likelihood is computed with those of other tasks."""
        return arguments in self.expected or arguments in self.ahead

    def recall(self, request_type: str, request: Any) -> Any:
        return self.answers.recall(request_type, request.args) if self.answers and self.keeps else None

    def _answer(self, request_type: str, requests: Sequence[Any]) -> list[Any]:
        shared = sum(is_choice(each) and self.is_shared(each.args) for each in requests)
        self.display.asked(len(requests), shared)
        answers: dict[int, Any] = {}
        # what a task asks several times may be drawn, whatever the settings: some services always draw
        self.keeps = request_type != "generate_until" or all((r.repeats or 1) == 1 for r in requests)
        for position, request in enumerate(requests):
            if is_choice(request) and request.args in self.expected:
                self.compute_until(request.args)
            if is_choice(request) and request.args in self.ahead:
                answers[position] = self.ahead[request.args]
            elif (answer := self.recall(request_type, request)) is not None:
                answers[position] = answer
        self.display.answered(len(answers))
        open_positions = [position for position in range(len(requests)) if position not in answers]
        if open_positions:
            new = self.compute(request_type, [requests[position] for position in open_positions])
            answers.update(zip(open_positions, new, strict=True))
            for position in open_positions:
                self.keep(request_type, requests[position].args, answers[position])
        if count := sum(map(is_nan, answers.values())):
            raise self.describe_nan(f"for {count:,} of {len(requests):,} requests")
        return [answers[position] for position in range(len(requests))]

    def describe_nan(self, where: str) -> GptaltError:
        """What to do about a model that computes no numbers."""
        dtype = str(getattr(getattr(self.lm, "model", None), "dtype", "")).removeprefix("torch.")
        hint = "Its weights may be damaged: download them again."
        if dtype == "float16":
            hint = "float16 is too narrow for some models: --model_args dtype=bfloat16, or dtype=float32"
        named = f" (weights in {dtype})" if dtype else ""
        return GptaltError(f"What the model computes {where} is not a number (NaN){named}.", hint)

    def compute(self, request_type: str, requests: Sequence[Any]) -> list[Any]:
        """The model's own answers.

        Raises:
            GptaltError: a request that cannot be scored; says which row it is of. Or what the model computes
                is not numbers.
        """
        finds_nan = getattr(self.lm, "finds_nan", None) if request_type == "generate_until" else None
        if finds_nan and finds_nan(requests[0].args[0]):
            raise self.describe_nan("after the first prompt")
        try:
            return list(getattr(self.lm, request_type)(self.make_asked(requests)))
        except Exception as error:
            if reason := self.find_unscorable(requests):
                raise GptaltError(
                    f"{reason}.", "Change the row or the prompt, or leave it out: --samples."
                ) from error
            raise

    def make_asked(self, requests: Sequence[Any]) -> Sequence[Any]:
        """The requests as the model takes them: lm-eval's own classes want opened pictures, servers chats."""
        if sends_chats(self.lm):
            return [copy_with(each, (seams.make_chat(each.args[0]), *each.args[1:])) for each in requests]
        if getattr(self.lm, "opens_pictures", False) or all(len(request.args) < 3 for request in requests):
            return requests
        return [copy_with(request, open_pictures(request.args)) for request in requests]


def sends_chats(lm: Any) -> bool:
    """Whether a model is behind a server that gets messages, and applies a template of its own to them."""
    return any(kind.__name__ == "LocalChatCompletion" for kind in type(lm).__mro__)


def read_prompt(written: Any) -> str:
    """A prompt as text: the messages for a server are JSON, which lm-eval puts into a tuple."""
    return str(getattr(written, "prompt", written))


def copy_with(request: Any, arguments: tuple[Any, ...]) -> Any:
    copied = copy.copy(request)
    copied.arguments = arguments
    return copied


def name_request(request_type: str, arguments: Any) -> Any:
    """What a model calls a request in its notes: a prompt, or a prompt and its continuation; and pictures."""
    parts = tuple(arguments)
    if request_type != "generate_until":
        return parts
    return parts[0] if len(parts) < 3 else (parts[0], *parts[2:])


def is_nan(answer: Any) -> bool:
    """Whether a log-likelihood is not a number: the largest of several would be any of them."""
    number = answer[0] if isinstance(answer, (tuple, list)) and answer else answer
    return isinstance(number, float) and math.isnan(number)


def is_choice(request: Any) -> bool:
    return bool(request.request_type == "loglikelihood")


def can_stream(lm: LM) -> bool:
    """Whether a model scores many requests together and returns answers as they are computed.

    Not if it thinks before it answers: lm-eval refuses the log-likelihoods of each task then.
    """
    thinks = getattr(lm, "enable_thinking", None)
    return hasattr(lm, "stream_loglikelihood") and lm.choice.engine is not None and not thinks
