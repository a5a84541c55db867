import time
from types import SimpleNamespace

import pytest
from hub_server import Hub, Repo
from model_folders import write_model

VARIABLES = (
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
    "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN", "HF_HUB_CACHE", "MODELSCOPE_CACHE",
)  # fmt: skip


def read_files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.fixture
def hub(cache, tmp_path, monkeypatch):
    """A hub on this computer, and an empty cache for its client; nothing is waited for."""
    from huggingface_hub.utils import close_session

    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    server = Hub()
    server.pauses = []  # seconds that were waited
    clock = SimpleNamespace(sleep=server.pauses.append, time=time.time, monotonic=time.monotonic)
    for module in (
        "huggingface_hub.file_download",
        "huggingface_hub.utils._http",
        "gptalt_eval.planning.hub.repository",
        "gptalt_eval.planning.hub.download",
    ):
        monkeypatch.setattr(f"{module}.time", clock)
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    close_session()  # proxies are read when it is opened
    yield server
    server.close()
    close_session()


@pytest.fixture
def model(hub, tmp_path):
    """A model of two shards on the hub, ``org/tiny``."""
    files = read_files(write_model(tmp_path / "made", shards=2))
    files |= {"modeling_tiny.py": b"boom()", "pytorch_model.bin": b"PK" + b"0" * 500, "README.md": b"# Tiny"}
    hub.repos["org/tiny"] = Repo(files)
    return hub.repos["org/tiny"]


@pytest.fixture
def shown():
    """What the user is shown: steps and notes."""
    steps, notes = [], []
    return SimpleNamespace(steps=steps, notes=notes, say=steps.append, note=notes.append)
