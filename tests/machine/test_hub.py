"""Is the hub within reach? Asked without importing its library's machinery."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from gptalt_eval.machine import hub


def test_an_unreachable_hub_is_found_out_quickly(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert not hub.can_reach_hub()
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nothing listens on the discard port
    assert not hub.can_reach_hub()


def test_a_mirror_is_reached(monkeypatch):
    import socket

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


@pytest.fixture
def answers(monkeypatch):
    """A hub on this computer that gives one answer to everything."""
    given = {}

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(given["status"])
            for name, value in given["headers"].items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("HF_ENDPOINT", address)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr(
            "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
            address + "/{repo_id}/resolve/{revision}/{filename}",
        )
        yield lambda status, **headers: given.update(
            status=status, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (404, {"X_Error_Code": "RepoNotFound"}, "there is no such model, or it is private"),
        (401, {"X_Error_Code": "RepoNotFound"}, "there is no such model, or it is private"),
        (403, {"X_Error_Code": "GatedRepo"}, "its licence must be accepted there first"),
        (404, {"X_Error_Code": "RevisionNotFound"}, "it has no revision 'main'"),
        (404, {"X_Error_Code": "EntryNotFound"}, ""),
        (200, {"ETag": '"x"', "X_Repo_Commit": "abc", "Content_Length": "5"}, ""),
    ],
)
def test_what_the_hub_says_of_a_model(answers, status, headers, expected):
    answers(status, **headers)
    assert hub.explain_refusal("org/name") == expected
