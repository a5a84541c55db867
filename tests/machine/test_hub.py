"""Is the hub within reach? Asked without importing its library's machinery."""

import contextlib
import socket
import threading
from types import SimpleNamespace

import pytest

from gptalt_eval.machine import hub


def test_an_unreachable_hub_is_found_out_quickly(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert not hub.can_reach_hub()
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nothing listens on the discard port
    assert not hub.can_reach_hub()


def test_a_mirror_is_reached(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        assert hub.can_reach_hub()


def test_the_hubs_cache_is_seen(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    for name in ("HF_HUB_CACHE", "HF_DATASETS_CACHE"):
        monkeypatch.delenv(name, raising=False)
    assert not hub.is_in_hub_cache("org/name", "models")
    (tmp_path / "hub" / "models--org--name").mkdir(parents=True)
    assert hub.is_in_hub_cache("org/name", "models")
    (tmp_path / "datasets" / "org___set").mkdir(parents=True)
    assert hub.is_in_hub_cache("org/set", "datasets")


def test_a_snapshot_is_found_by_branch_or_commit(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "models--org--name"
    (folder / "snapshots" / "abc").mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc\n")
    assert (
        hub.find_snapshot("org/name") == hub.find_snapshot("org/name", "abc") == folder / "snapshots" / "abc"
    )
    assert hub.find_snapshot("org/name", "v2") is None and hub.find_snapshot("org/other") is None
    (tmp_path / "models--gpt2").mkdir()
    (tmp_path / "datasets--org--set").mkdir()
    assert hub.list_cached_models() == ["gpt2", "org/name"]


# ------------------------------------------------------------------ proxies, and what forbids asking


PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture
def proxied(monkeypatch):
    """A proxy that notes what it is asked and answers as told, and a hub that is nowhere else."""
    for name in (*PROXIES, *map(str.lower, PROXIES), *hub.OFFLINE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.invalid")
    asked, answer = [], ["200 Connection established"]
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection:
                    connection.settimeout(1)
                    with contextlib.suppress(OSError):
                        asked.append(connection.recv(4096).decode())
                        connection.sendall(f"HTTP/1.1 {answer[0]}\r\n\r\n".encode())

    threading.Thread(target=serve, daemon=True).start()
    yield SimpleNamespace(port=server.getsockname()[1], asked=asked, answer=answer)
    server.close()


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize("form", ["http://127.0.0.1:{}", "127.0.0.1:{}", "http://me:p%40ss@127.0.0.1:{}/"])
def test_the_hub_is_reached_through_a_proxy(proxied, monkeypatch, name, form):
    assert not hub.can_reach_hub()
    monkeypatch.setenv(name, form.format(proxied.port))
    assert hub.can_reach_hub()
    [request] = proxied.asked
    assert request.startswith("CONNECT hub.invalid:443 ")
    assert ("Proxy-Authorization: Basic bWU6cEBzcw==" in request) is ("me:" in form)


@pytest.mark.parametrize(
    "answer", ["403 Forbidden", "407 Proxy Authentication Required", "502 Bad Gateway", "nonsense"]
)
def test_a_proxy_that_refuses_is_not_a_way(proxied, monkeypatch, answer):
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@127.0.0.1:{proxied.port}")
    proxied.answer[0] = answer
    assert not hub.can_reach_hub()
    why, cure = hub.explain_unreachable()
    assert why == f"the hub cannot be reached through the proxy 127.0.0.1:{proxied.port} (HTTPS_PROXY)"
    assert cure == "check the proxy, set HF_ENDPOINT to a mirror"


def test_a_proxy_that_is_not_there_or_not_for_this_host(proxied, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    assert not hub.can_reach_hub()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{proxied.port}")
    assert hub.can_reach_hub(), "an address that begins with http is not for HTTPS_PROXY"
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert not hub.can_reach_hub()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert hub.can_reach_hub()


def test_other_kinds_of_proxies_are_only_looked_for(proxied, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", f"socks5://127.0.0.1:{proxied.port}")
    assert hub.can_reach_hub()
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    assert not hub.can_reach_hub()
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:not-a-port")
    assert not hub.can_reach_hub()


@pytest.mark.parametrize("name", hub.OFFLINE)
@pytest.mark.parametrize("value", ["1", "true", "YES", "on"])
def test_a_variable_that_forbids_asking_is_named(proxied, monkeypatch, name, value):
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxied.port}")
    assert hub.can_reach_hub()
    monkeypatch.setenv(name, value)
    assert not hub.can_reach_hub() and len(proxied.asked) == 1
    assert hub.explain_unreachable() == (f"{name} is set, which forbids asking the hub", f"unset {name}")
    monkeypatch.setenv(name, "0")
    assert hub.find_offline() == ""


def test_without_a_proxy_a_mirror_is_advised(proxied):
    assert hub.explain_unreachable() == ("the hub cannot be reached", "set HF_ENDPOINT to a mirror")
