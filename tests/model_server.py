"""A server that speaks the OpenAI protocol on 127.0.0.1, over a small model of transformers or over none."""

import json
import socket
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

TEMPLATE = "{% for turn in messages %}{{ turn.role }}: {{ turn.content }}\n{% endfor %}"


def invent(tokens):
    """Log-probabilities of 256 tokens after each, which depend on all tokens before."""
    rows = []
    for end in range(1, len(tokens) + 1):
        drawn = np.random.default_rng(list(tokens[:end])).normal(size=256)
        rows.append(drawn - np.log(np.exp(drawn).sum()))
    return np.array(rows)


@dataclass
class ModelServer:
    """What is served, and how it misbehaves.

    Attributes:
        model, tokenizer: of transformers; None: texts are echoed.
        name: of the model.
        facts: more of what ``/v1/models`` says about it.
        gives: ``prompt_logprobs`` (as vLLM), ``echo`` (as OpenAI), ``written`` (of what it writes only, as
            llama.cpp), or ``nothing``.
        writes_end: whether the token that it writes after an echo is in the answer.
        key: that must be sent; empty: none.
        faults: called with the number of the request and its content; returns what is done in place of an
            answer: None, a number (a status), ``("wait", seconds)`` with status 429, ``"cut"``, ``"drop"``,
            or a function that changes the answer.
        adds_bos: whether it puts a token before the tokens it is sent.
        lists: whether it has ``/v1/models``.
        tells_tokenizer: whether it encodes texts, as vLLM on request.
        takes_text_only: whether it refuses prompts in tokens, as ``transformers serve``.
        answers_text: makes the text of a chat.
    """

    model: Any = None
    tokenizer: Any = None
    name: str = "tiny"
    facts: dict = field(default_factory=lambda: {"max_model_len": 64})
    gives: str = "echo"
    writes_end: bool = True
    key: str = ""
    faults: Any = lambda number, asked: None
    adds_bos: bool = False
    lists: bool = True
    takes_text_only: bool = False
    tells_tokenizer: bool = False
    answers_text: Any = lambda messages: messages[-1]["content"].upper()
    asked: list = field(default_factory=list)
    times: list = field(default_factory=list)
    busiest: int = 0
    seconds: float = 0.0

    def __post_init__(self):
        self.lock, self.compute_lock, self.busy = threading.Lock(), threading.Lock(), 0
        self.http = None
        self.start()

    def start(self, port=0):
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            log_message = lambda *_: None  # noqa: E731

            def do_GET(self):
                outer.handle(self, None)

            def do_POST(self):
                content = self.rfile.read(int(self.headers["Content-Length"]))
                outer.handle(self, json.loads(content))

        class Http(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, request, address):
                pass  # the client has gone

        self.http = Http(("127.0.0.1", port), Handler)
        self.port = self.http.server_address[1]
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def base(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self):
        return f"{self.base}/v1/completions"

    @property
    def chat_url(self):
        return f"{self.base}/v1/chat/completions"

    def stop(self):
        self.http.shutdown()
        self.http.server_close()

    def handle(self, handler, asked):
        if self.key and handler.headers.get("Authorization") != f"Bearer {self.key}":
            return self.reply(handler, 401, {"error": {"message": "no such key"}})
        if asked is None:
            if handler.path == "/v1/models" and self.lists:
                entry = {"id": self.name, "object": "model", "created": time.time(), **self.facts}
                return self.reply(handler, 200, {"object": "list", "data": [entry]})
            if handler.path == "/tokenizer_info" and self.tells_tokenizer:
                known = self.tokenizer
                told = {"eos_token": known.eos_token, "bos_token": known.bos_token, "chat_template": TEMPLATE}
                return self.reply(handler, 200, told)
            return self.reply(handler, 404, {"error": "not found"})
        if handler.path == "/tokenize" and self.tells_tokenizer:
            tokens = self.tokenizer.encode(asked["prompt"], add_special_tokens=asked["add_special_tokens"])
            return self.reply(handler, 200, {"tokens": tokens})
        if asked.get("model") != self.name:
            return self.reply(handler, 404, {"error": {"message": f"no model {asked.get('model')}"}})
        with self.lock:
            number = len(self.asked)
            self.asked.append(asked)
            self.times.append(time.monotonic())
            self.busy += 1
            self.busiest = max(self.busiest, self.busy)
        try:
            time.sleep(self.seconds)
            fault = self.faults(number, asked)
            if isinstance(fault, int):
                return self.reply(handler, fault, {"error": {"message": "this one fails"}})
            if isinstance(fault, tuple):
                return self.reply(handler, 429, {"error": "slowly"}, {"Retry-After": str(fault[1])})
            if fault == "drop":
                handler.close_connection = True
                return handler.connection.shutdown(socket.SHUT_RDWR)
            answer = self.answer_chat(asked) if "chat" in handler.path else self.answer(asked)
            if isinstance(answer, int):
                return self.reply(handler, answer, {"error": {"message": "cannot do that"}})
            if callable(fault):
                fault(answer)
            return self.reply(handler, 200, answer, cut=fault == "cut")
        finally:
            with self.lock:
                self.busy -= 1

    def reply(self, handler, status, content, headers=(), cut=False):
        body = json.dumps(content).encode()
        body = body[: len(body) // 2] if cut else body
        handler.send_response(status)
        for key, value in dict(headers).items():
            handler.send_header(key, value)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def answer_chat(self, asked):
        message = {"role": "assistant", "content": self.answers_text(asked["messages"])}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return {"object": "chat.completion", "model": self.name, "choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}  # fmt: skip

    def answer(self, asked):
        prompt = asked["prompt"]
        if self.takes_text_only and not isinstance(prompt, str):
            return 400
        tokens = list(prompt)
        if isinstance(prompt, str):
            tokens = self.tokenizer(prompt)["input_ids"] if self.tokenizer else list(prompt.encode())
        if self.adds_bos:
            tokens = [0, *tokens]
        if len(tokens) + asked["max_tokens"] > self.facts.get("max_model_len", 10**9):
            return 400
        if asked.get("echo") and self.gives == "nothing":
            return 400
        with self.compute_lock:
            if asked.get("echo") or (asked.get("prompt_logprobs") and self.gives == "prompt_logprobs"):
                choice = self.score(tokens, asked)
                written = 1
            else:
                choice, written = self.write(tokens, asked)
        usage = {"prompt_tokens": len(tokens), "completion_tokens": written}
        return {
            "object": "text_completion",
            "model": self.name,
            "choices": [{"index": 0, **choice}],
            "usage": usage,
        }

    def compute(self, tokens):
        if self.model is None:
            return invent(tokens)
        import torch

        with torch.no_grad():
            return self.model(torch.tensor([tokens])).logits[0].double().log_softmax(-1)

    def score(self, tokens, asked):
        numbers = self.compute(tokens)
        best = numbers.argmax(-1).tolist()
        values = [None] + [float(numbers[i, token]) for i, token in enumerate(tokens[1:])]
        end = best[-1]
        if asked.get("prompt_logprobs"):
            entries = [None]
            for i, token in enumerate(tokens[1:]):
                named = {str(token): {"logprob": values[i + 1], "rank": 1 if best[i] == token else 2}}
                named.setdefault(str(best[i]), {"logprob": float(numbers[i, best[i]]), "rank": 1})
                entries.append(named)
            return {"text": "x", "finish_reason": "length", "prompt_logprobs": entries}
        if self.gives == "written":
            return {
                "text": "x",
                "finish_reason": "length",
                "logprobs": {"content": [{"token": "x", "logprob": -1.0}]},
            }
        words = [f"t{token}" for token in tokens]
        tops = [None]
        for i, token in enumerate(tokens[1:]):
            tops.append({f"t{token}": values[i + 1], f"t{best[i]}": float(numbers[i, best[i]])})
        if self.writes_end:
            values, tops = [*values, float(numbers[-1, end])], [*tops, {"end": float(numbers[-1, end])}]
        found = {"tokens": words, "token_logprobs": values, "top_logprobs": tops}
        return {"text": "", "finish_reason": "length" if self.writes_end else "stop", "logprobs": found}

    def write(self, tokens, asked):
        if self.tokenizer is None:
            return {"text": "x", "finish_reason": "length"}, 1
        stops, written, text = asked.get("stop") or [], [], ""
        while len(written) < asked["max_tokens"]:
            token = int(self.compute(tokens)[-1].argmax())
            if token == self.tokenizer.eos_token_id:
                break
            tokens = [*tokens, token]
            written.append(token)
            text = self.tokenizer.decode(written, skip_special_tokens=True)
            found = [place for stop in stops if (place := text.find(stop)) >= 0]
            if found:
                text = text[: min(found)]
                break
        return {"text": text, "finish_reason": "stop"}, len(written)
