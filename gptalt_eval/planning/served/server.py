"""One server that speaks the OpenAI protocol: requests, their answers, and what can be wrong with them."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.machine.plain import show_plain
from gptalt_eval.machine.secrets import hide_text

KEY = "OPENAI_API_KEY"  # as in lm-eval
PASSING = (408, 409, 425, 429)  # and 500 or more: the same request may be answered later
CONNECT = 10  # seconds until a connection must be made
SHOWN = 200  # characters of a server's message
LOCAL = ("localhost", "127.0.0.1", "::1")
FACTS = ("id", "root", "parent", "max_model_len")  # "created" is the time of the question in most servers
META = ("vocab_type", "n_vocab", "n_ctx_train", "n_embd", "n_params", "size")  # llama.cpp's


class PassingError(Exception):
    """A request that was not answered, and may be if it is sent again.

    Attributes:
        wait: after how many seconds, as the server says; None: it does not.
        is_lost: whether there was no server.
    """

    def __init__(self, what: str, wait: float | None = None, is_lost: bool = False) -> None:
        super().__init__(what)
        self.wait = wait
        self.is_lost = is_lost


class RefusedError(Exception):
    """A request that a server refuses, and would refuse again; ``status`` is that of the answer."""

    def __init__(self, what: str, status: int = 0) -> None:
        super().__init__(what)
        self.status = status


class Server:
    """A server, asked over connections that stay open, one for each thread.

    Args:
        url: of what is asked, such as ``http://localhost:8000/v1/completions``.
        args: the model's arguments: ``timeout``, ``verify_certificate``, ``ca_cert_path`` and ``header``.
    """

    def __init__(self, url: str, args: Mapping[str, Any]) -> None:
        self.url = url
        self.base = url.partition("/v1/")[0]
        self.timeout = float(args.get("timeout", 300))
        self.verify = args.get("verify_certificate", True) and (args.get("ca_cert_path") or True)
        self.header = args.get("header")
        self.own = threading.local()

    def __str__(self) -> str:
        return hide_text(self.url)

    def ask(self, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        """The answer to a request.

        Raises:
            PassingError, RefusedError: there is none.
            GptaltError: a key is missing or wrong.
        """
        return self.request("POST", self.url, payload)

    def request(
        self, method: str, url: str, payload: Mapping[str, Any] | None = None, timeout: float | None = None
    ) -> Mapping[str, Any]:
        """Like ``ask``, of any address of this server."""
        import requests

        try:
            reply = self.session.request(
                method, url, json=payload, headers=self.make_header(), verify=self.verify,
                timeout=(CONNECT, timeout or self.timeout), allow_redirects=False,
            )  # fmt: skip
        except requests.exceptions.SSLError as error:
            raise explain_certificate(self.url, error) from None
        except requests.exceptions.ProxyError:
            what = f"{hide_text(url)} is behind a proxy that does not answer"
            raise PassingError(what, is_lost=True) from None
        except requests.exceptions.ConnectionError:
            raise PassingError(f"there is no server at {self}", is_lost=True) from None
        except requests.exceptions.Timeout:
            raise PassingError(f"{self} did not answer within {timeout or self.timeout:g} s") from None
        except requests.exceptions.RequestException as error:
            raise PassingError(f"{self}: the answer broke off ({type(error).__name__})") from None
        return self.read(reply)

    def read(self, reply: Any) -> Mapping[str, Any]:
        """The JSON object of a reply with status 200."""
        status = reply.status_code
        if status in (401, 403):
            state = "does not accept the key in" if os.environ.get(KEY) else "needs a key in"
            text = f"{self} {state} the environment variable {KEY} (status {status})."
            raise GptaltError(text, f"Type: export {KEY}=...")
        if status in PASSING or status >= 500:
            what = f"{self} answers with status {status}{describe(reply.text)}"
            raise PassingError(what, read_wait(reply.headers.get("Retry-After")))
        if status != 200:
            moved = reply.headers.get("Location") if 300 <= status < 400 else None
            more = f": it is at {show_plain(hide_text(moved))}" if moved else describe(reply.text)
            raise RefusedError(f"{self} answers with status {status}{more}", status)
        try:
            content = json.loads(reply.content)
        except (ValueError, RecursionError):
            raise PassingError(f"{self} sent an answer that is cut off, or not JSON") from None
        if not isinstance(content, Mapping):
            raise RefusedError(f"{self} sent an answer that is not an object", status)
        if "error" in content and "choices" not in content and "data" not in content:
            raise RefusedError(f"{self} answers with an error{describe(reply.text)}", status)
        return content

    @property
    def session(self) -> Any:
        """This thread's connections. A server on this computer is never asked through a proxy."""
        import requests

        if not hasattr(self.own, "session"):
            self.own.session = requests.Session()
            self.own.session.trust_env = urlsplit(self.url).hostname not in LOCAL
        return self.own.session

    def make_header(self) -> dict[str, str]:
        key = os.environ.get(KEY, "")
        return dict(self.header) if self.header else {"Authorization": f"Bearer {key}"} if key else {}

    def list_models(self) -> dict[str, Mapping[str, Any]]:
        """The models that the server has, by id; empty: it does not say."""
        try:
            listed = self.request("GET", f"{self.base}/v1/models", timeout=CONNECT).get("data")
        except RefusedError:
            return {}
        entries = listed if isinstance(listed, list) else []
        return {str(each["id"]): each for each in entries if isinstance(each, Mapping) and each.get("id")}

    def describe_model(self, name: str) -> dict[str, Any]:
        """What does not change of what the server says about a model; empty: it says nothing."""
        entry = self.list_models().get(name, {})
        meta = entry.get("meta")
        facts = {key: entry[key] for key in FACTS if entry.get(key) is not None}
        return facts | ({key: meta.get(key) for key in META} if isinstance(meta, Mapping) else {})


def describe(text: str) -> str:
    """A server's message, as the end of a sentence."""
    try:
        content = json.loads(text)
        found = content.get("error", content) if isinstance(content, Mapping) else content
        found = found.get("message", found) if isinstance(found, Mapping) else found
    except (ValueError, RecursionError):
        found = text
    shown = show_plain(hide_text(" ".join(str(found).split())))[:SHOWN]
    return f": {shown}" if shown else ""


def read_wait(text: str | None) -> float | None:
    """The seconds of a ``Retry-After``; None: it has none, or a date."""
    try:
        return min(max(float(text or "x"), 0.0), 600.0)
    except ValueError:
        return None


def explain_certificate(url: str, error: Exception) -> GptaltError:
    """What to do about an encrypted connection that fails."""
    if "WRONG_VERSION_NUMBER" in str(error) or "record layer failure" in str(error):
        plain = hide_text(url).replace("https://", "http://", 1)
        return GptaltError(f"{hide_text(url)}: this server does not encrypt.", f"Type base_url={plain}")
    return GptaltError(
        f"{hide_text(url)}: the certificate of this server cannot be checked.",
        "If it is your own: --model_args ca_cert_path=FILE, or verify_certificate=False.",
    )
