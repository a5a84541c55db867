"""What must be right about a served model before a run: asked of its servers in a second or two."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gptalt_eval.contract.errors import GptaltError, UnknownNameError, did_you_mean, raise_together
from gptalt_eval.contract.models import Model
from gptalt_eval.contract.plan import Cell
from gptalt_eval.contract.spec import RunSpec
from gptalt_eval.machine.plain import show_plain
from gptalt_eval.machine.secrets import hide_text
from gptalt_eval.planning.served.logprobs import TEXT, TRIED, UnusableError, find_way
from gptalt_eval.planning.served.server import PassingError, RefusedError, Server
from gptalt_eval.planning.weights import merge_model_args

CHAT = "local-chat-completions"
PATHS: Mapping[str, str] = {"local-completions": "/v1/completions", CHAT: "/v1/chat/completions"}
GENERATED = "generate_until"  # the output type of tasks whose answers are written, not compared
ASSUMED = 2048  # lm-eval's max_length
SHOWN = 5  # names in a message
WHOLE = ("num_concurrent", "max_retries", "max_length")
NUMBERS = (*WHOLE, "timeout", "requests_per_minute")
TRIAL = 60  # seconds that a server has for each of the first requests


@dataclass(frozen=True)
class Served:
    """What servers say about their model.

    Attributes:
        args: arguments that the user need not give.
        notes: what to say about that.
    """

    args: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def ask_servers(model: Model, spec: RunSpec, cells: Sequence[Cell]) -> Served:
    """Check that the servers of a model can do what the cells need; nothing of other models.

    Raises:
        GptaltError, RequestErrors: what is wrong, and what to type.
    """
    if model.create is not None or model.backend not in PATHS:
        return Served()
    args = merge_model_args(model, spec)
    urls = list_urls(args.get("base_url"))
    faults = [*find_url_faults(urls, model.backend), *find_style_faults(model.backend, cells)]
    raise_together([*faults, *find_number_faults(args)])
    trial = {**args, "timeout": min(float(args.get("timeout", TRIAL)), TRIAL)}
    servers = [Server(url, trial) for url in urls]
    try:
        found = [find_name(server, args) for server in servers]
        name, said = found[0]
        if other := next((each for each, _ in found if each != name), None):
            text = f"The servers have different models: '{name}' and '{other}'."
            raise GptaltError(text, "Give model=NAME, and servers that all have it.")
        facts = [server.describe_model(name) for server in servers]
        if other_place := next((place for place, each in enumerate(facts) if each != facts[0]), 0):
            text = f"{servers[0]} and {servers[other_place]} have different models under the name '{name}'."
            raise GptaltError(text, "All servers of a run must have the same model.")
        compared = list_compared(cells)
        for server in servers:
            check_answers(server, model.backend, name, args, compared)
    except PassingError as error:
        raise GptaltError(
            f"{str(error)[0].upper()}{str(error)[1:]}.",
            f"Is it running, and is base_url={hide_text(';'.join(urls))} right?",
        ) from None
    if model.backend == CHAT:
        return Served({"model": name}, tuple(filter(None, [said])))
    check_tokenizer(servers[0], name, args, facts[0])
    length, assumed = find_length(args, facts[0])
    return Served({"model": name} | length, tuple(filter(None, [said, assumed])))


def list_urls(value: Any) -> list[str]:
    """The addresses in ``base_url``: one, or several as a list or with ``;`` between them."""
    parts = value if isinstance(value, (list, tuple)) else str(value or "").split(";")
    return list(dict.fromkeys(str(part).strip().rstrip("/") for part in parts if str(part).strip()))


def find_url_faults(urls: Sequence[str], backend: str) -> Iterator[GptaltError]:
    """Addresses that are none, or do not end in what is asked."""
    path = PATHS[backend]
    if not urls:
        text = f"--model {backend} needs the address of a server."
        yield GptaltError(text, f"For example: --model_args base_url=http://localhost:8000{path}")
    for url in urls:
        shown = show_plain(hide_text(url))
        parts = urlsplit(url if "://" in url else f"http://{url}")
        root = parts.path
        for ending in ("/completions", "/chat", "/v1"):
            root = root.removesuffix(ending).rstrip("/")
        right = f"{parts.scheme}://{parts.netloc}{root}{path}"
        if parts.scheme not in ("http", "https") or not parts.hostname:
            text = f"base_url={shown} is not the address of a server."
            yield GptaltError(text, f"It must be such as http://HOST:8000{path}")
        elif url != right:
            text = f"base_url={shown}: --model {backend} asks for {path}."
            yield GptaltError(text, f"Type base_url={hide_text(right)}")


def find_number_faults(args: Mapping[str, Any]) -> Iterator[GptaltError]:
    """Arguments that must be numbers, and are not."""
    for name in NUMBERS:
        value = args.get(name, 1)
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not 0 < value < math.inf or (name in WHOLE and value != int(value)):
            kind = "a whole number" if name in WHOLE else "a number"
            yield GptaltError(f"--model_args {name}={value}: it must be {kind} above 0.", "")


def find_style_faults(backend: str, cells: Sequence[Cell]) -> Iterator[GptaltError]:
    """What a server that takes only the messages of a chat cannot be asked."""
    if backend != CHAT:
        return
    if compared := list_compared(cells):
        yield GptaltError(
            f"--model {CHAT} gives no log-likelihoods, which these tasks compare: {shorten(compared)}.",
            "Choose tasks whose answers are generated, or --model local-completions.",
        )
    plain = [cell for cell in cells if cell.spec.apply_chat_template is not True]
    if plain and plain[0].style:
        text = f"--prompt_style {plain[0].style.name}: --model {CHAT} takes only the messages of a chat."
        yield GptaltError(text, "Use the styles that have a chat template, or --model local-completions.")
    elif plain:
        text = f"--model {CHAT} takes only the messages of a chat."
        yield GptaltError(text, "Add --apply_chat_template; the server applies its own.")


def list_compared(cells: Sequence[Cell]) -> list[str]:
    """The tasks that need log-likelihoods."""
    tasks = {task.name: task.config.get("output_type", GENERATED) for cell in cells for task in cell.tasks}
    return [name for name, kind in tasks.items() if kind != GENERATED]


def shorten(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def find_name(server: Server, args: Mapping[str, Any]) -> tuple[str, str]:
    """The name of the model on a server, and what to say about it."""
    wanted = str(args.get("model") or args.get("pretrained") or "")
    models = server.list_models()
    if wanted in models or (wanted and not models):
        return wanted, ""
    shown = [show_plain(name) for name in models]
    if wanted:
        hint = did_you_mean(wanted, models) or f"It has: {shorten(shown)}."
        raise UnknownNameError(f"{server} has no model '{show_plain(wanted)}'.", show_plain(hint))
    if len(models) == 1:
        return next(iter(models)), f"The model is '{shown[0]}': {server} has no other."
    if not models:
        text = f"{server} does not say which models it has."
        raise GptaltError(text, "Add model=NAME to --model_args.")
    text = f"{server} has several models: {shorten(shown)}."
    raise GptaltError(text, f"Add one of them to --model_args: model={shown[0]}")


def check_answers(
    server: Server, backend: str, name: str, args: Mapping[str, Any], compared: Sequence[str]
) -> None:
    """Try a request of the kind that is needed."""
    in_tokens = args.get("tokenized_requests", True) is not False and backend != CHAT
    try:
        try_request(server, backend, name, compared, in_tokens)
    except (UnusableError, RefusedError) as error:
        reason = str(error).removeprefix(f"{server} ")
        is_refused = isinstance(error, RefusedError) or error.is_refused
        if in_tokens and is_refused and can_read(server, backend, name, compared):
            text = f"{server} takes prompts as text only. What it answered to one in tokens: {reason}."
            raise GptaltError(text, "Add tokenized_requests=False to --model_args.") from None
        if compared:
            raise GptaltError(
                f"{server} gives no log-likelihoods, which these tasks compare: {shorten(compared)}. "
                f"What it answered: {reason}.",
                "Serve the model with vLLM or SGLang, load it with --model hf, or choose tasks whose answers "
                "are generated. See docs/served.md.",
            ) from None
        hint = "Check base_url: is it the address of an OpenAI-compatible server?"
        raise GptaltError(f"{server} {reason}.", hint) from None


def try_request(server: Server, backend: str, name: str, compared: Sequence[str], in_tokens: bool) -> None:
    prompt = TRIED if in_tokens else TEXT
    if compared:
        find_way(server, name, prompt)
        return
    asked = {"messages": [{"role": "user", "content": TEXT}]} if backend == CHAT else {"prompt": prompt}
    server.ask({"model": name, "max_tokens": 1, "temperature": 0} | asked)


def can_read(server: Server, backend: str, name: str, compared: Sequence[str]) -> bool:
    """Whether a server can answer to prompts as text."""
    try:
        try_request(server, backend, name, compared, in_tokens=False)
        return True
    except (UnusableError, RefusedError):
        return False


def check_tokenizer(server: Server, name: str, args: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Check that there is a tokenizer; lm-eval looks for one of the model's name on the hub.

    Raises:
        GptaltError: no argument names one, and the server gives none.
    """
    kind = args.get("tokenizer_backend", "auto")
    given = args.get("tokenizer")
    if given and str(given).startswith((".", "/", "~")) and not Path(str(given)).expanduser().is_dir():
        text = f"There is no folder {given} with a tokenizer."
        raise UnknownNameError(text, "Give tokenizer=<hub id or folder>.")
    if given or kind not in ("auto", "huggingface") or is_place(name):
        return
    if kind == "auto" and has_tokenizer(server):
        return
    root = str(facts.get("root") or "")
    hint = root if is_place(root) else "<hub id or folder of the model>"
    text = f"The server's '{show_plain(name)}' is not a model on the hub: its tokenizer is not known."
    raise GptaltError(text, f"Add it to --model_args: tokenizer={show_plain(hint)}")


def has_tokenizer(server: Server) -> bool:
    """Whether the server tells about its tokenizer, as vLLM does with --enable-tokenizer-info-endpoint."""
    try:
        return "eos_token" in server.request("GET", f"{server.base}/tokenizer_info", timeout=10)
    except (RefusedError, PassingError):
        return False


def is_place(name: str) -> bool:
    """Whether a name can be that of a repository on the hub, or is a folder."""
    if not name or name.startswith((".", "/", "~")):
        return Path(name).is_dir() and bool(name)
    return Path(name).is_dir() or name.count("/") == 1


def find_length(args: Mapping[str, Any], facts: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The context of a served model as an argument, and what to say about it."""
    length = facts.get("max_model_len")
    if "max_length" in args:
        return {}, ""
    if isinstance(length, int) and length > 1:
        return {"max_length": length}, ""
    return {}, (
        f"The server does not say how many tokens its model reads at once: {ASSUMED:,} are assumed. "
        "--model_args max_length=... changes it."
    )
