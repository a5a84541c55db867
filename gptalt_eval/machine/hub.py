"""Whether the Hugging Face hub can be reached, and what its local cache contains."""

from __future__ import annotations

import os
import socket
import threading
import urllib.request
from base64 import b64encode
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import ParseResult, unquote, urlparse

OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")  # huggingface_hub reads both
PORTS = {"http": 80, "https": 443}


def is_in_hub_cache(hub: str, kind: Literal["datasets", "models"]) -> bool:
    """Whether the local hub cache contains anything of this repository."""
    places = [find_hub_cache() / f"{kind}--{hub.replace('/', '--')}"]
    if kind == "datasets":
        name = hub.replace("/", "___")
        places += [find_datasets_cache() / name.lower(), find_datasets_cache() / name]
    return any(place.is_dir() for place in places)


class Unreachable(NamedTuple):
    """Why the hub cannot be asked, and what to do, as parts of sentences."""

    why: str
    cure: str


def can_reach_hub(timeout: float = 1.0) -> bool:
    """Whether the hub, or the mirror in ``HF_ENDPOINT``, accepts connections; through a proxy if one is set.

    Args:
        timeout: seconds, for name lookup and connection together; through a proxy five times as long.
    """
    if find_offline():
        return False
    address = read_endpoint()
    proxy = find_proxy(address)
    patience = timeout * (5 if proxy else 1)
    reached = threading.Event()

    def attempt() -> None:
        with suppress(OSError, HTTPException, ValueError):
            connect(address, proxy, patience)
            reached.set()

    # name lookups have no timeout, but a thread can be abandoned
    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(patience)
    return reached.is_set()


def explain_unreachable() -> Unreachable:
    """Why the hub cannot be asked: a variable forbids it, or neither it nor the proxy answers."""
    variable = find_offline()
    if variable:
        return Unreachable(f"{variable} is set, which forbids asking the hub", f"unset {variable}")
    proxy = find_proxy(read_endpoint())
    if proxy:
        place = proxy.netloc.rpartition("@")[2]
        why = f"the hub cannot be reached through the proxy {place} (HTTPS_PROXY)"
        return Unreachable(why, "check the proxy, set HF_ENDPOINT to a mirror")
    return Unreachable("the hub cannot be reached", "set HF_ENDPOINT to a mirror")


def find_offline() -> str:
    """The variable that forbids asking the hub; empty: none does."""
    set_to = {name: os.environ.get(name, "").upper() for name in OFFLINE}
    return next((name for name, value in set_to.items() if value in {"1", "TRUE", "YES", "ON"}), "")


def read_endpoint() -> ParseResult:
    return urlparse(os.environ.get("HF_ENDPOINT") or default_endpoint())


def find_proxy(address: ParseResult) -> ParseResult | None:
    """The proxy for an address, by ``HTTPS_PROXY``, ``ALL_PROXY``, ``NO_PROXY`` or the system's settings."""
    known = urllib.request.getproxies()
    chosen = known.get(address.scheme) or known.get("all")
    if not chosen or urllib.request.proxy_bypass(address.hostname or ""):
        return None
    return urlparse(chosen if "://" in chosen else f"http://{chosen}")


def connect(address: ParseResult, proxy: ParseResult | None, timeout: float) -> None:
    """Connect to an address. Of proxies that are not asked with HTTP, only they themselves are tried.

    Raises:
        OSError: there is no connection, or the proxy refuses it.
        HTTPException: what answers is not a proxy.
    """
    host, port = address.hostname or "", address.port or PORTS.get(address.scheme, 443)
    if proxy and proxy.scheme == "http" and address.scheme == "https":
        login = f"{unquote(proxy.username or '')}:{unquote(proxy.password or '')}".encode()
        headers = {"Proxy-Authorization": f"Basic {b64encode(login).decode()}"} if proxy.username else {}
        with closing(HTTPConnection(proxy.hostname or "", proxy.port or 80, timeout=timeout)) as tunnel:
            tunnel.set_tunnel(host, port, headers)
            tunnel.connect()
        return
    if proxy:
        host, port = proxy.hostname or "", proxy.port or PORTS.get(proxy.scheme, 1080)
    socket.create_connection((host, port), timeout).close()


def default_endpoint() -> str:
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def find_hub_cache() -> Path:
    """The folder in which the hub's client keeps what it downloads."""
    earlier = os.environ.get("HUGGINGFACE_HUB_CACHE", find_home() / "hub")  # its older name
    return Path(os.environ.get("HF_HUB_CACHE", earlier)).expanduser()


def find_home() -> Path:
    """The folder of all that Hugging Face's libraries keep."""
    kept = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return Path(os.environ.get("HF_HOME", kept / "huggingface")).expanduser()


def find_datasets_cache() -> Path:
    """The folder in which ``datasets`` keeps rows that it has converted."""
    return Path(os.environ.get("HF_DATASETS_CACHE", find_home() / "datasets")).expanduser()


def find_modules() -> Path:
    """The folder from which transformers and ``evaluate`` load the code of models and metrics."""
    return Path(os.environ.get("HF_MODULES_CACHE", find_home() / "modules")).expanduser()


def find_storage(hub: str) -> Path:
    """Where a model's files are in the local hub cache, if they are there."""
    return find_hub_cache() / f"models--{hub.replace('/', '--')}"


def find_snapshot(hub: str, revision: str = "main") -> Path | None:
    """The folder of a model in the local hub cache; None: this revision is not there."""
    folder = find_storage(hub)
    reference = folder / "refs" / revision
    commit = reference.read_text(encoding="utf-8").strip() if reference.is_file() else revision
    snapshot = folder / "snapshots" / commit
    return snapshot if snapshot.is_dir() else None


def list_cached_models() -> list[str]:
    """The hub ids of the models in the local hub cache."""
    folders = find_hub_cache().glob("models--*")
    return sorted(folder.name.removeprefix("models--").replace("--", "/") for folder in folders)
