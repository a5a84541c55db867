"""lm-eval's HF backend with log-likelihoods scored as one prefix tree."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from gptalt_eval.scoring import generate, stock
from gptalt_eval.scoring.asked import Asked, share_prefixes
from gptalt_eval.scoring.check import score_checked
from gptalt_eval.scoring.encoding import LineEncoder, changes_calls
from gptalt_eval.scoring.engine import Progress, return_memory
from gptalt_eval.scoring.guarded import Encoded, GuardedLM, Scored
from gptalt_eval.scoring.lengths import (
    Lengths,
    find_fault,
    find_generation_fault,
    find_padding_fault,
    find_window,
)
from gptalt_eval.scoring.probe import Choice, choose_engine
from gptalt_eval.scoring.tree import Ints, Query, build_tree, divide
from gptalt_eval.scoring.trial import Alone

TOGETHER = 1024  # requests that are encoded at once: as Python numbers, tokens take 100 times the memory


def add_tree(backend: type[Any]) -> type[Any]:
    """The backend with log-likelihoods scored as a prefix tree; unchanged if it overrides how it scores."""
    if not stock.scores_like_stock(backend):
        return backend
    return type(f"Tree{backend.__name__}", (TreeLM, backend), {})


class TreeLM(GuardedLM):
    """Changes only how the backend scores; the backend is the next base class.

    Attributes:
        choice: how the model is scored, and why.
        progress: called with the progress of a tree.
        explain: called with a sentence if lm-eval's own code answers some of the requests, and why.
    """

    scorer_name = "lm-eval's own scorer"  # answers if the tree does not

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.progress: Callable[[Progress], None] = lambda _: None
        self.explain: Callable[[str], None] = lambda _: None
        self.encoded: dict[tuple[str, bool | None], list[int]] = {}
        self.lines = LineEncoder(self.tokenizer)
        self.alone = self.make_alone(torch.float64 if self.softmax_dtype == torch.float64 else torch.float32)
        self.choice = self.choose()
        config = self.config.get_text_config()
        # up to which length requests are right in lm-eval's batches, and in the tree
        self.padded = Lengths(config, partial(find_padding_fault, self.alone), known=0)
        self.shared: Lengths | None = None
        if self.choice.engine:
            fault = partial(find_fault, self.alone, self.choice.engine)
            self.shared = Lengths(config, fault, find_window(config))

    def make_alone(self, softmax_dtype: torch.dtype) -> Alone:
        return Alone(self.model, self.autocast, softmax_dtype)

    def choose(self) -> Choice:
        is_causal = self.backend == "causal"
        return choose_engine(self.alone) if is_causal else Choice(None, "an encoder-decoder model")

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        dtype = self.mixed_precision_dtype
        context: contextlib.AbstractContextManager[Any] = torch.autocast(
            device_type=self.device.type, dtype=dtype, enabled=dtype is not None
        )
        return context

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **settings: Any) -> list[int]:
        """Like the backend's own; strings that were encoded together are only looked up."""
        known = self.encoded.get((string, add_special_tokens)) if not settings else None
        if known is not None:
            return known
        tokens: list[int] = super().tok_encode(string, add_special_tokens=add_special_tokens, **settings)
        return tokens

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[Scored]:
        self.encode_together(requests)
        answers: list[Scored] = super().loglikelihood(requests, disable_tqdm=disable_tqdm)
        self.encoded.clear()
        return answers

    def stream_loglikelihood(
        self, requests: Sequence[Instance], known: Collection[int] = ()
    ) -> Iterator[list[tuple[int, Scored]]]:
        """Like ``loglikelihood``, in any order: yields (index of the request, answer) as soon as computed.

        Requests that cannot be scored are left out, and noted in ``unscorable`` before anything is computed.

        Args:
            requests: the requests.
            known: indices of requests that an earlier, interrupted call with the same requests answered. They
                are skipped, and the others are computed in the same batches as in that call, so that they are
                rounded in the same way (not with several processes, or where branches are rows of a batch).

        Raises:
            ValueError: lm-eval's refusal of models that think before they answer.
        """
        if getattr(self, "enable_thinking", None):
            super().loglikelihood(list(requests))
        numbered = enumerate(self.encode_all(requests))
        sound = ((place, encoded) for place, encoded in numbered if not self.check([encoded]))
        asked = share_prefixes(sound, self.max_length)
        return_memory()  # of the strings and lists of tokens
        return self.stream_tokens(asked, known)

    def encode_all(self, requests: Sequence[Instance]) -> Iterator[Encoded]:
        """The tokens of the requests; only some of them are in memory at a time."""
        for begin in range(0, len(requests), TOGETHER):
            part = requests[begin : begin + TOGETHER]
            self.encode_together(part)
            yield from [self.encode(*request.args) for request in part]
            self.encoded.clear()

    def encode_together(self, requests: Sequence[Instance]) -> None:
        """Encode each distinct line of the requests once, in parallel, for ``tok_encode``.

        The ids are the same as one by one; strings that are missing here are encoded when needed.
        """
        if super(TreeLM, type(self)).tok_encode is not HFLM.tok_encode or changes_calls(self.tokenizer):
            return
        contexts = {request.args[0].rstrip() or request.args[0] for request in requests}
        strings = [*contexts, *{request.args[0] + request.args[1] for request in requests}]
        bos = self.tokenizer.decode(self.prefix_token_id)
        for has_bos in (False, True):
            batch = [string for string in strings if string.startswith(bos) is has_bos]
            special = False if has_bos else self.add_bos_token
            settings = {} if special is None else {"add_special_tokens": special}
            for begin in range(0, len(batch), TOGETHER):
                part = batch[begin : begin + TOGETHER]
                ids = self.lines.encode(part, **settings)
                self.encoded.update(zip(((string, None) for string in part), ids, strict=True))

    def encode(self, context: str, continuation: str) -> Encoded:
        """A request's tokens, split as in ``TemplateLM.loglikelihood``."""
        if context:
            return ((context, continuation), *self._encode_pair(context, continuation))
        tokens = self.tok_encode(continuation, add_special_tokens=False)
        if tokens[:1] == [self.prefix_token_id]:
            return (context, continuation), tokens[:1], tokens[1:]
        return self.begin(((context, continuation), [self.prefix_token_id], tokens))

    def _loglikelihood_tokens(
        self, requests: Sequence[Encoded], disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[Scored]:
        if self.choice.engine is None:
            return self.answer_as_stock(requests, disable_tqdm=disable_tqdm, override_bs=override_bs)
        self.refuse(requests)
        asked = share_prefixes(enumerate(map(self.begin, requests)), self.max_length)
        answers = dict(pair for batch in self.stream_tokens(asked) for pair in batch)
        return [answers[place] for place in range(len(requests))]

    def answer_as_stock(self, requests: Sequence[Encoded], **settings: Any) -> list[Scored]:
        """The answers of lm-eval's own scorer: in batches, but what a batch would change one at a time."""
        single = self.batch_size == 1 or self.backend != "causal"
        sizes = [
            min(len(context) + len(continuation) - 1, self.max_length)
            for _, context, continuation in requests
        ]
        within, beyond = self.divide_sizes(sizes, None if single else self.padded)
        answers: dict[int, Scored] = {}
        for places, size in ((within, self.batch_size_per_gpu), (beyond, 1)):
            if places:
                with stock.using_batch_size(self, size), self.alone.memory.kept_fresh():
                    found = super()._loglikelihood_tokens([requests[place] for place in places], **settings)
                answers.update(zip(places, found, strict=True))
        return [answers[place] for place in range(len(requests))]

    def stream_tokens(self, asked: Asked, known: Collection[int] = ()) -> Iterator[list[tuple[int, Scored]]]:
        """Like ``stream_loglikelihood``, for requests in tokens."""
        places, arguments, queries = asked
        fitting: list[int] = []
        rest = list(range(len(queries)))
        if self.shared is not None:
            fitting, rest = self.divide_sizes(queries.count_inputs(), self.shared)
        answered = {number for number, place in enumerate(fitting) if places[place] in known}
        for batch in self.score([queries[number] for number in fitting] if rest else queries, answered):
            found = [(fitting[number], scored) for number, scored in batch]
            for number, scored in found:
                if arguments[number] is not None:  # windows of a rolling request are not requests themselves
                    self.cache_hook.add_partial("loglikelihood", arguments[number], scored)
            yield [(places[number], scored) for number, scored in found]
        if rest := [number for number in rest if places[number] not in known]:
            if self.shared:
                reason = f"of more than {self.shared.limit} tokens: {self.shared.reason}"
                self.explain(f"lm-eval's own scorer answers a request {reason}")
            own = self.answer_as_stock([asked.read(number) for number in rest], disable_tqdm=True)
            yield [(places[number], scored) for number, scored in zip(rest, own, strict=True)]

    def divide_sizes(
        self, sizes: Sequence[int] | Ints, lengths: Lengths | None
    ) -> tuple[list[int], list[int]]:
        """Requests that are answered as the model alone does, and those that are too long for it.

        Args:
            sizes: the number of tokens that each reads.
            lengths: tries out what is too long; None: nothing is.
        """
        if lengths is None:
            return list(range(len(sizes))), []
        limit = lengths.reach(int(max(sizes, default=0)), len(sizes), self.max_length)
        fits = np.asarray(sizes) <= (self.max_length if limit is None else limit)
        return np.flatnonzero(fits).tolist(), np.flatnonzero(~fits).tolist()

    def score(self, queries: Sequence[Query], known: Collection[int]) -> Iterator[list[tuple[int, Scored]]]:
        """The answers to this process's queries, whichever process computes them."""
        engine = self.choice.engine
        # ids of pictures mean something only to the process that gave them
        if self.world_size == 1 or self.alone.pictures:
            if engine is not None and queries:
                for batch in score_checked(engine, self.alone, queries, self.progress, known):
                    yield [(answer.query, (answer.logprob, answer.greedy)) for answer in batch]
            return
        if engine is None:
            return
        everyones = gather_object([list(queries)])
        together = [query for each in everyones for query in each]
        own = divide(build_tree(together), together, self.world_size)[self.rank]
        found = [
            (own[answer.query], (answer.logprob, answer.greedy))
            for batch in score_checked(engine, self.alone, [together[place] for place in own], self.progress)
            for answer in batch
        ]
        answers = dict(gather_object(found))
        first = sum(len(each) for each in everyones[: self.rank])
        yield [(place, answers[first + place]) for place in range(len(queries))]

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[Any]:
        if self.choice.engine is None:
            computed: list[Any] = super().loglikelihood_rolling(requests, disable_tqdm)
            return computed
        windows: list[Encoded] = []
        owners: list[int] = []
        for place, request in enumerate(requests):
            tokens = self.tok_encode(stock.read_rolling(request))
            rolled = stock.roll_windows(tokens, self.prefix_token_id, self.max_length)
            windows += [(None, *window) for window in rolled]
            owners += [place] * len(rolled)
        totals = [0.0] * len(requests)
        for owner, (logprob, _) in zip(owners, self._loglikelihood_tokens(windows), strict=True):
            totals[owner] += logprob
        answers = [
            stock.answer_rolling(request, total) for request, total in zip(requests, totals, strict=True)
        ]
        for request, answer in zip(requests, answers, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, answer)
        return answers

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        answers: dict[int, str] = {}

        def keep(place: int, text: str) -> None:
            answers[place] = text
            self.cache_hook.add_partial("generate_until", requests[place].args, text)

        try:
            generate.generate_until(self, [request.args for request in requests], keep)
        except generate.Unsupported as reason:
            self.explain(f"lm-eval's own loop generates the texts: {reason}")
            rest = [place for place in range(len(requests)) if place not in answers]
            texts = self.generate_as_stock([requests[place] for place in rest], disable_tqdm)
            answers.update(zip(rest, texts, strict=True))
        return [answers[place] for place in range(len(requests))]

    def generate_as_stock(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """The texts of lm-eval's own loop: in batches, but what a batch would change one at a time."""
        size = 1 if self.disturb_each_other(requests) else self.batch_size_per_gpu
        with stock.using_batch_size(self, size), self.alone.memory.kept_fresh():
            texts: list[str] = super().generate_until(requests, disable_tqdm)
        return texts

    def disturb_each_other(self, requests: Sequence[Instance]) -> bool:
        """Whether texts that lm-eval generates in one batch can be others than those of each prompt alone."""
        if self.batch_size == 1 or self.backend != "causal":
            return False
        if self.alone.memory.model.generation_config.eos_token_id is None:
            return True  # a row that has ended goes on until the others have, and what it says then is kept
        sizes = [
            len(self.tok_encode(context)) + stock.read_settings(settings, self.max_gen_toks)["max_gen_toks"]
            for context, settings in (request.args for request in requests)
        ]
        longest = min(max(sizes, default=0), self.max_length)
        lengths = Lengths(self.config.get_text_config(), partial(find_generation_fault, self.alone), known=0)
        limit = lengths.reach(longest, len(requests), self.max_length)
        return limit is not None and longest > limit
