"""Log-likelihoods of a model behind a server, which is sent tokens in the order of their prefix tree."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lm_eval.api.instance import Instance

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.planning.served.logprobs import (
    TEXT,
    TRIED,
    UnusableError,
    Way,
    find_way,
    make_question,
    read_scored,
    read_usage,
)
from gptalt_eval.planning.served.server import RefusedError, Server
from gptalt_eval.running.lmeval.served import ServedChats
from gptalt_eval.scoring import stock
from gptalt_eval.scoring.asked import Asked, share_prefixes
from gptalt_eval.scoring.engine import Progress
from gptalt_eval.scoring.guarded import Encoded, Scored, explain_unscorable
from gptalt_eval.scoring.tree import Queries, walk

WRITTEN = "The 2 quick foxes — 狐狸, naïve œuvre;\n\n\tand  no more."  # tokenizers differ in it


def add_server(backend: type[Any]) -> type[Any]:
    """The client with our way of sending; other classes are unchanged."""
    name = backend.__name__
    if name == "LocalCompletionsAPI":
        return type(f"Served{name}", (ServedCompletions, backend), {})
    return type(f"Served{name}", (ServedChats, backend), {}) if name == "LocalChatCompletion" else backend


@dataclass(frozen=True)
class ByServer:
    """Where log-likelihoods are computed."""

    way: str = "server"


@dataclass(frozen=True)
class ServedChoice:
    """How log-likelihoods are computed, in the form of the prefix tree's choice."""

    engine: ByServer | None = ByServer()
    reason: str = ""


class ServedCompletions(ServedChats):
    """Also scores: the server is sent tokens, and its answer must be about exactly these.

    Attributes:
        progress: called with the progress of log-likelihoods.
    """

    scorer_name = "the server"
    tokenizer_backend: str | None
    tokenized_requests: bool
    prefix_token_id: int
    eos_string: str | None
    decode_batch: Callable[[list[list[int]]], list[str]]
    _encode_pair: Callable[[str, str], tuple[list[int], list[int]]]
    _max_gen_toks: int

    def __init__(self, add_bos_token: bool | None = None, **settings: Any) -> None:
        given = {} if add_bos_token is None else {"add_bos_token": add_bos_token}
        super().__init__(**given, **settings)
        self.add_bos = add_bos_token
        self.choice = ServedChoice()
        self.progress: Callable[[Progress], None] = lambda _: None
        self.explain: Callable[[str], None] = lambda _: None
        self.ways: dict[str, Way] = {}
        self.trying = threading.Lock()

    def apply_chat_template(self, chat_history: Any, add_generation_prompt: bool = True) -> Any:
        """As a text, with any tokenizer: lm-eval returns the messages where the server's own is used."""
        if self.tokenizer is None:
            raise GptaltError(
                "Without a tokenizer there is no chat template to apply.",
                "Add tokenizer=... to --model_args, or use --model local-chat-completions.",
            )
        return self.tokenizer.apply_chat_template(
            chat_history, tokenize=False, add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
        )  # fmt: skip

    # ------------------------------------------------------------------ tokens

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **settings: Any) -> list[int]:
        """The tokens of a text, as lm-eval's ``hf`` has them: with what the tokenizer puts before a text."""
        special = self.add_bos if add_special_tokens is None else add_special_tokens
        if self.tokenizer_backend == "remote":
            return self.encode_there(string, special is not False)
        if self.tokenizer_backend != "huggingface":
            ids: list[int] = list(super().tok_encode(string))  # type: ignore[misc]
            return ids
        bos = self.tokenizer.decode(self.prefix_token_id)
        if add_special_tokens is None and bos and string.startswith(bos):
            special = False
        keywords = {} if special is None else {"add_special_tokens": special}
        return list(self.tokenizer.encode(string, **keywords))

    def encode_there(self, text: str, special: bool) -> list[int]:
        server: Server = self.sender.lines[0].server
        asked = {"model": self.model, "prompt": text, "add_special_tokens": special}
        return [int(each) for each in server.request("POST", f"{server.base}/tokenize", asked)["tokens"]]

    def encode(self, context: str, continuation: str) -> Encoded:
        """A request's tokens, split as lm-eval does it."""
        if context:
            return ((context, continuation), *self._encode_pair(context, continuation))
        tokens = self.tok_encode(continuation, add_special_tokens=False)
        if tokens[:1] == [self.prefix_token_id]:
            return (context, continuation), tokens[:1], tokens[1:]
        return (context, continuation), [self.prefix_token_id], tokens

    def check_tokenizer(self, server: Server, way: Way) -> None:
        """Check that the server reads a text as the tokens that the tokenizer here makes of it.

        Raises:
            GptaltError: it does not: all numbers would be those of other texts.
        """
        reply = server.ask(make_question(way, self.model, WRITTEN))
        theirs = read_usage(reply, "prompt_tokens")
        ours = [self.tok_encode(WRITTEN, add_special_tokens=special) for special in (True, False)]
        is_counted = theirs in (None, *map(len, ours))
        if is_counted and (way == "echo" or any(self.agrees(reply, tokens) for tokens in ours)):
            return
        raise GptaltError(
            f"{server} reads a text as other tokens than the tokenizer here ({theirs} and {len(ours[0])}).",
            "Give the tokenizer of the served model: --model_args tokenizer=<hub id or folder>.",
        )

    def agrees(self, reply: Mapping[str, Any], tokens: Sequence[int]) -> bool:
        try:
            read_scored(reply, "prompt_logprobs", tokens, 1)
            return True
        except UnusableError:
            return False

    def find_way(self, server: Server) -> Way:
        """How a server is asked for log-probabilities; it is tried once."""
        with self.trying:
            if server.url not in self.ways:
                try:
                    way = find_way(server, self.model, TRIED if self.tokenized_requests else TEXT)
                except UnusableError as error:
                    raise GptaltError(f"{server} gives no log-likelihoods: {error}.") from None
                self.check_tokenizer(server, way)
                self.ways[server.url] = way
            return self.ways[server.url]

    # ------------------------------------------------------------------ log-likelihoods

    def stream_loglikelihood(
        self, requests: Sequence[Instance], known: Collection[int] = ()
    ) -> Iterator[list[tuple[int, Scored]]]:
        """The log-likelihoods, in any order: yields (index of the request, answer) as soon as it comes.

        Those that cannot be scored are left out, and noted in ``unscorable``.
        """
        wanted = [place for place in range(len(requests)) if place not in known]
        encoded = ((place, self.encode(*requests[place].args)) for place in wanted)
        sound = [(place, each) for place, each in encoded if self.check(each)]
        return self.stream_tokens(share_prefixes(sound, self.max_length - 1))

    def check(self, encoded: Encoded) -> bool:
        """Note what is cut; whether a request can be scored, which is noted if not."""
        arguments, context, continuation = encoded
        if reason := explain_unscorable(context, continuation, self.max_length - 1):
            self.unscorable[arguments] = reason
        elif (excess := len(context) + len(continuation) - self.max_length) > 0:
            self.lost[arguments] = excess
        return not reason

    def stream_tokens(self, asked: Asked) -> Iterator[list[tuple[int, Scored]]]:
        """Like ``stream_loglikelihood``, in the order of the prefix tree."""
        order = order_by_prefix(asked.queries)
        sizes = asked.queries.count_inputs().tolist()
        sent, total, began = 0, sum(sizes), time.perf_counter()
        cached = self.usage["cached_tokens"]

        def ask(server: Server, number: int) -> Scored:
            arguments, context, continuation = asked.read(order[number])
            return self.score(server, arguments, [*context, *continuation], len(context))

        for number, answer in self.sender.send(len(order), ask):
            place, arguments = asked.places[order[number]], asked.arguments[order[number]]
            sent += sizes[order[number]]
            seconds = time.perf_counter() - began
            if sent < total:
                self.progress(Progress(sent, total, total, seconds))
            else:
                computed = max(total - self.usage["cached_tokens"] + cached, 1)
                self.progress(Progress(computed, computed, total, seconds))
            if isinstance(answer, RefusedError):
                self.unscorable[arguments] = str(answer)
                continue
            if arguments is not None:
                self.cache_hook.add_partial("loglikelihood", arguments, answer)
            yield [(place, answer)]

    def score(self, server: Server, arguments: Any, tokens: list[int], begin: int) -> Scored:
        """The log-likelihood of the tokens from ``begin`` on."""
        way = self.find_way(server)
        prompt: Any = tokens
        if not self.tokenized_requests:
            is_whole = arguments is not None and arguments not in self.lost and arguments[0]
            prompt = "".join(arguments[:2]) if is_whole else self.decode_batch([tokens])[0]
        reply = self.ask(server, make_question(way, self.model, prompt, self._seed))
        try:
            return read_scored(reply, way, tokens, begin)
        except UnusableError as error:
            raise RefusedError(f"{server}: {error}") from None

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[Scored]:
        answers = dict(pair for batch in self.stream_loglikelihood(requests) for pair in batch)
        if len(answers) < len(requests):
            raise ValueError("a request has no answer")  # which one, and why, is noted
        return [answers[place] for place in range(len(requests))]

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[Any]:
        windows: list[tuple[int, Encoded]] = []
        owners: list[int] = []
        for place, request in enumerate(requests):
            tokens = self.tok_encode(stock.read_rolling(request))
            for window in stock.roll_windows(tokens, self.prefix_token_id, self.max_length - 1):
                windows.append((len(owners), (None, *window)))
                owners.append(place)
        totals, left = [0.0] * len(requests), Counter(owners)
        answers: list[Any] = [None] * len(requests)
        for [(number, (logprob, _))] in self.stream_tokens(share_prefixes(windows, self.max_length - 1)):
            place = owners[number]
            totals[place] += logprob
            left[place] -= 1
            if not left[place]:
                answers[place] = stock.answer_rolling(requests[place], totals[place])
                self.cache_hook.add_partial("loglikelihood_rolling", requests[place].args, answers[place])
        if any(left.values()):
            raise GptaltError(f"A text has no log-likelihood: {self.unscorable.get(None)}.")
        return answers

    # ------------------------------------------------------------------ texts

    def make_payload(self, prompt: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        if not self.tokenized_requests:
            return self.fill_payload(prompt, settings, self.eos_string)
        longest = stock.read_settings(settings, self._max_gen_toks)["max_gen_toks"]
        tokens, room = self.tok_encode(prompt), self.max_length - int(longest)
        if len(tokens) > room:
            self.lost[prompt] = len(tokens) - room
        return self.fill_payload(tokens[-room:], settings, self.eos_string)


def order_by_prefix(queries: Queries) -> list[int]:
    """The queries in the order of their prefix tree: those with a common prefix are neighbours."""
    return [number for node, leaving in walk(queries.root) if not leaving for number in node.queries]
