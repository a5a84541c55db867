"""Log-likelihoods of a model behind a server, which is sent tokens in the order of their prefix tree."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

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
from gptalt_eval.running.lmeval.streamed import StreamedLM, order_by_prefix
from gptalt_eval.scoring import stock
from gptalt_eval.scoring.asked import Asked
from gptalt_eval.scoring.engine import Progress
from gptalt_eval.scoring.guarded import Scored

WRITTEN = "The 2 quick foxes — 狐狸, naïve œuvre;\n\n\tand  no more."  # tokenizers differ in it


def add_server(backend: type[Any]) -> type[Any]:
    """The client with our way of sending; other classes are unchanged."""
    name = backend.__name__
    if name == "LocalCompletionsAPI":
        return type(f"Served{name}", (ServedCompletions, backend), {})
    return type(f"Served{name}", (ServedChats, backend), {}) if name == "LocalChatCompletion" else backend


class ServedCompletions(StreamedLM, ServedChats):
    """Also scores: the server is sent tokens, and its answer must be about exactly these."""

    scorer_name = "the server"
    tokenizer_backend: str | None
    tokenized_requests: bool
    prefix_token_id: int
    eos_string: str | None
    decode_batch: Callable[[list[list[int]]], list[str]]
    _max_gen_toks: int

    def __init__(self, add_bos_token: bool | None = None, **settings: Any) -> None:
        given = {} if add_bos_token is None else {"add_bos_token": add_bos_token}
        super().__init__(**given, **settings)
        self.add_bos = add_bos_token
        self.begin("server")
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

    @property
    def room(self) -> int:
        return self.max_length - 1

    def stream_tokens(self, asked: Asked) -> Iterator[list[tuple[int, Scored]]]:
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

    # ------------------------------------------------------------------ texts

    def make_payload(self, prompt: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        if not self.tokenized_requests:
            return self.fill_payload(prompt, settings, self.eos_string)
        longest = stock.read_settings(settings, self._max_gen_toks)["max_gen_toks"]
        tokens, room = self.tok_encode(prompt), self.max_length - int(longest)
        if len(tokens) > room:
            self.lost[prompt] = len(tokens) - room
        return self.fill_payload(tokens[-room:], settings, self.eos_string)
