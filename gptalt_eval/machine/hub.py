"""Whether the Hugging Face hub can be reached, and what its local cache contains."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import Literal
from urllib.parse import urlparse


def is_in_hub_cache(hub: str, kind: Literal["datasets", "models"]) -> bool:
    """Whether the local hub cache contains anything of this repository."""
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface")).expanduser()
    snapshot = f"{kind}--{hub.replace('/', '--')}"
    places = [Path(os.environ.get("HF_HUB_CACHE", home / "hub")) / snapshot]
    if kind == "datasets":
        places.append(
            Path(os.environ.get("HF_DATASETS_CACHE", home / "datasets")) / hub.replace("/", "___").lower()
        )
        places.append(Path(os.environ.get("HF_DATASETS_CACHE", home / "datasets")) / hub.replace("/", "___"))
    return any(place.is_dir() for place in places)


def can_reach_hub(timeout: float = 1.0) -> bool:
    """Whether the hub, or the mirror in ``HF_ENDPOINT``, accepts connections.

    Args:
        timeout: seconds, for name lookup and connection together.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "TRUE", "YES", "ON"}:
        return False
    address = urlparse(os.environ.get("HF_ENDPOINT") or default_endpoint())
    reached = threading.Event()

    def connect() -> None:
        port = address.port or (80 if address.scheme == "http" else 443)
        try:
            with socket.create_connection((address.hostname or "", port), timeout):
                reached.set()
        except OSError:
            pass

    # name lookups have no timeout, but a thread can be abandoned
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(timeout)
    return reached.is_set()


def default_endpoint() -> str:
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def find_snapshot(hub: str, revision: str = "main") -> Path | None:
    """The folder of a model in the local hub cache; None: this revision is not there."""
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface")).expanduser()
    folder = Path(os.environ.get("HF_HUB_CACHE", home / "hub")) / f"models--{hub.replace('/', '--')}"
    reference = folder / "refs" / revision
    commit = reference.read_text(encoding="utf-8").strip() if reference.is_file() else revision
    snapshot = folder / "snapshots" / commit
    return snapshot if snapshot.is_dir() else None


def list_cached_models() -> list[str]:
    """The hub ids of the models in the local hub cache."""
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface")).expanduser()
    folders = Path(os.environ.get("HF_HUB_CACHE", home / "hub")).glob("models--*")
    return sorted(folder.name.removeprefix("models--").replace("--", "/") for folder in folders)


def explain_refusal(hub: str, revision: str = "main") -> str:
    """Why the hub does not give a model's configuration; empty if it does, or if that is unknown."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        get_hf_file_metadata(hf_hub_url(hub, "config.json", revision=revision), timeout=10)
    except GatedRepoError:
        return "its licence must be accepted there first"
    except RepositoryNotFoundError:
        return "there is no such model, or it is private"
    except RevisionNotFoundError:
        return f"it has no revision '{revision}'"
    except Exception:  # it is loaded later, which says more
        return ""
    return ""
