"""Is the hub within reach? Asked without importing its library's machinery."""

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
