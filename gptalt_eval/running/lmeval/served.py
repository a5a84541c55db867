"""Models behind a server: lm-eval's clients, with answers kept as they come, retries, and exact numbers.

lm-eval 0.4.13 sends all requests of a task before it returns an answer, and takes the numbers of a prompt's
tokens by their place: wrong where a server adds a token or writes none.
"""

from __future__ import annotations

import copy
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any

from lm_eval.api.instance import Instance

from gptalt_eval.contract.errors import ServerGone
from gptalt_eval.planning.served.check import list_urls
from gptalt_eval.planning.served.logprobs import read_usage
from gptalt_eval.planning.served.server import RefusedError, Server
from gptalt_eval.running.lmeval.sending import Sender
from gptalt_eval.scoring import stock

TRIES = 8  # of a request: about two minutes, while a server starts again
USAGE = ("prompt_tokens", "completion_tokens", "cached_tokens")


class ServedChats:
    """Sends the requests of a client; the client is the next base class.

    Args:
        base_url: the address of a server, or several.
        requests_per_minute: how many requests all servers together get in a minute; None: any number.
        settings: the client's own.

    Attributes:
        served: what the servers say about the model.
        usage: how many tokens the servers counted.
        unscorable: why a request has no answer, by (context, continuation) or by prompt.
        lost: how many tokens were cut, in the same way.
    """

    model: str
    tokenizer: Any
    max_length: int
    cache_hook: Any
    _seed: int

    def __init__(
        self, base_url: Any = None, requests_per_minute: float | None = None,
        max_retries: int = TRIES, **settings: Any,
    ) -> None:  # fmt: skip
        urls = list_urls(base_url)
        super().__init__(base_url=urls[0], **{**settings, "batch_size": 1})  # type: ignore[call-arg]
        servers = [Server(url, settings) for url in urls]
        self.served = servers[0].describe_model(self.model)
        self.sender: Sender[Any] = Sender(
            servers, max(int(settings.get("num_concurrent", 1)), 1), int(max_retries), requests_per_minute,
            self.recheck,
        )  # fmt: skip
        self.usage: Counter[str] = Counter()
        self.counting = threading.Lock()
        self.unscorable: dict[Any, str] = {}
        self.lost: dict[Any, int] = {}

    def recheck(self, server: Server) -> None:
        """Check that a server that was gone came back with the same model."""
        found = server.describe_model(self.model)
        if found != self.served:
            raise ServerGone(f"{server} came back with another model under the name '{self.model}'.")

    def ask(self, server: Server, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        reply = server.ask(payload)
        with self.counting:
            self.usage.update({name: read_usage(reply, name) or 0 for name in USAGE})
        return reply

    def add_up(self, number: int) -> int:
        """The sum of a number over all processes: there is one."""
        return number

    def make_payload(self, prompt: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The request for a generated text."""
        messages = self.create_message([prompt], generate=True)  # type: ignore[attr-defined]
        return self.fill_payload(messages, settings, None)

    def fill_payload(self, prompt: Any, settings: Mapping[str, Any], eos: str | None) -> dict[str, Any]:
        create = self._create_payload  # type: ignore[attr-defined]
        payload: dict[str, Any] = create(
            prompt, generate=True, gen_kwargs=copy.deepcopy(dict(settings)), seed=self._seed, eos=eos
        )
        return payload

    def read_text(self, reply: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
        [text] = self.parse_generations([reply])  # type: ignore[attr-defined]
        return stock.cut_answer(str(text or ""), list_until(settings), None)

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """The texts, each kept as soon as it comes; those with the same beginning are sent together."""
        order = sorted(range(len(requests)), key=lambda place: str(requests[place].args[0]))
        payloads = [self.make_payload(*requests[place].args[:2]) for place in order]
        answers: dict[int, str] = {}

        def ask(server: Server, number: int) -> str:
            reply = self.ask(server, payloads[number])
            try:
                return self.read_text(reply, requests[order[number]].args[1])
            except (KeyError, ValueError, TypeError, IndexError):
                raise RefusedError("the server's answer has no text") from None

        for number, answer in self.sender.send(len(order), ask):
            request = requests[order[number]]
            if isinstance(answer, RefusedError):
                self.unscorable[getattr(request.args[0], "prompt", request.args[0])] = str(answer)
                continue
            answers[order[number]] = answer
            self.cache_hook.add_partial("generate_until", request.args, answer)
        if len(answers) < len(requests):
            raise ValueError("a request has no answer")  # which one, and why, is noted
        return [answers[place] for place in range(len(requests))]


def list_until(settings: Mapping[str, Any]) -> list[str]:
    until = settings.get("until") or []
    return [until] if isinstance(until, str) else list(until)
