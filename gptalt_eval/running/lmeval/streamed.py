"""Log-likelihoods that come in any order, for all tasks together, from what computes elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lm_eval.api.instance import Instance

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.scoring import stock
from gptalt_eval.scoring.asked import Asked, share_prefixes
from gptalt_eval.scoring.engine import Progress
from gptalt_eval.scoring.guarded import Encoded, Scored, explain_unscorable
from gptalt_eval.scoring.tree import Queries, walk


@dataclass(frozen=True)
class Elsewhere:
    """What computes log-likelihoods: a server, or an engine."""

    way: str


@dataclass(frozen=True)
class StreamedChoice:
    """How log-likelihoods are computed, in the form of the prefix tree's choice."""

    engine: Elsewhere | None
    reason: str = ""


class StreamedLM:
    """Encodes requests as lm-eval does it, and hands them on in tokens; the model is the next base class.

    Attributes:
        progress: called with the progress of log-likelihoods.
        unscorable: why a request has no answer, by (context, continuation) or by prompt.
        lost: how many tokens were cut, in the same way.
    """

    max_length: int
    prefix_token_id: int
    cache_hook: Any
    choice: StreamedChoice
    unscorable: dict[Any, str]
    lost: dict[Any, int]
    _encode_pair: Callable[[str, str], tuple[list[int], list[int]]]

    def begin(self, way: str) -> None:
        self.choice = StreamedChoice(Elsewhere(way))
        self.progress: Callable[[Progress], None] = lambda _: None
        self.explain: Callable[[str], None] = lambda _: None

    @property
    def room(self) -> int:
        """How many tokens can be before the last one that is scored."""
        raise NotImplementedError

    def stream_tokens(self, asked: Asked) -> Iterator[list[tuple[int, Scored]]]:
        """Like ``stream_loglikelihood``, for what fits into the context."""
        raise NotImplementedError

    def encode(self, context: str, continuation: str) -> Encoded:
        """A request's tokens, split as lm-eval does it."""
        if context:
            return ((context, continuation), *self._encode_pair(context, continuation))
        tokens = self.tok_encode(continuation, add_special_tokens=False)  # type: ignore[attr-defined]
        if tokens[:1] == [self.prefix_token_id]:
            return (context, continuation), tokens[:1], tokens[1:]
        return (context, continuation), [self.prefix_token_id], tokens

    def stream_loglikelihood(
        self, requests: Sequence[Instance], known: Collection[int] = ()
    ) -> Iterator[list[tuple[int, Scored]]]:
        """The log-likelihoods, in any order: yields (index of the request, answer) as soon as it comes.

        Those that cannot be scored are left out, and noted in ``unscorable``.
        """
        wanted = [place for place in range(len(requests)) if place not in known]
        encoded = ((place, self.encode(*requests[place].args)) for place in wanted)
        sound = [(place, each) for place, each in encoded if self.check(each)]
        return self.stream_tokens(share_prefixes(sound, self.room))

    def check(self, encoded: Encoded) -> bool:
        """Note what is cut; whether a request can be scored, which is noted if not."""
        arguments, context, continuation = encoded
        if reason := explain_unscorable(context, continuation, self.room):
            self.unscorable[arguments] = reason
        elif (excess := len(context) + len(continuation) - self.room - 1) > 0:
            self.lost[arguments] = excess
        return not reason

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[Scored]:
        answers = dict(pair for batch in self.stream_loglikelihood(requests) for pair in batch)
        if len(answers) < len(requests):
            raise ValueError("a request has no answer")  # which one, and why, is noted
        return [answers[place] for place in range(len(requests))]

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[Any]:
        windows: list[tuple[int, Encoded]] = []
        owners: list[int] = []
        for place, request in enumerate(requests):
            tokens = self.tok_encode(stock.read_rolling(request))  # type: ignore[attr-defined]
            for window in stock.roll_windows(tokens, self.prefix_token_id, self.room):
                windows.append((len(owners), (None, *window)))
                owners.append(place)
        totals, left = [0.0] * len(requests), Counter(owners)
        answers: list[Any] = [None] * len(requests)
        scored = (pair for batch in self.stream_tokens(share_prefixes(windows, self.room)) for pair in batch)
        for number, (logprob, _) in scored:
            place = owners[number]
            totals[place] += logprob
            left[place] -= 1
            if not left[place]:
                answers[place] = stock.answer_rolling(requests[place], totals[place])
                self.cache_hook.add_partial("loglikelihood_rolling", requests[place].args, answers[place])
        if any(left.values()):
            raise GptaltError(f"A text has no log-likelihood: {self.unscorable.get(None)}.")
        return answers


def order_by_prefix(queries: Queries) -> list[int]:
    """The queries in the order of their prefix tree: those with a common prefix are neighbours."""
    return [number for node, leaving in walk(queries.root) if not leaving for number in node.queries]
