"""Models on ModelScope, through its own client, which is installed separately."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.machine.secrets import hide_text
from gptalt_eval.planning.hub.choice import choose_files
from gptalt_eval.planning.hub.hashes import SHA256, check_files
from gptalt_eval.planning.hub.repository import HEX, RemoteFile, Repository
from gptalt_eval.planning.hub.sources import MODELSCOPE, Source

INSTALL = "Type: pip install modelscope"


def check_client(source: Source) -> None:
    """Check that ModelScope's client is installed.

    Raises:
        GptaltError: it is not.
    """
    if importlib.util.find_spec("modelscope") is None:
        text = f"{source.key}={MODELSCOPE}{source.id}: ModelScope's client is not installed."
        raise GptaltError(text, INSTALL)


def list_modelscope(source: Source) -> Repository:
    """The files of a model on ModelScope, as its client lists them.

    Raises:
        GptaltError: there is no such model, or ModelScope does not answer.
    """
    check_client(source)
    from modelscope.hub.api import HubApi

    try:
        listed = HubApi().get_model_files(source.id, revision=source.revision or None, recursive=True)
    except Exception as error:  # the client's own errors, and those of the library with which it asks
        raise explain_modelscope(error, source) from error
    files = tuple(describe_file(each) for each in listed if each.get("Type", "blob") != "tree")
    return Repository(source, source.revision or "master", files)


def find_copy(source: Source) -> Path | None:
    """The folder in which ModelScope's client has a model's files already; None: it has none.

    Raises:
        GptaltError: the client is not installed.
    """
    check_client(source)
    from modelscope.hub.snapshot_download import snapshot_download

    try:
        folder = Path(snapshot_download(source.id, revision=source.revision or None, local_files_only=True))
    except Exception:  # each version has another error for it
        return None
    return folder if folder.is_dir() else None


def describe_file(listed: Mapping[str, Any]) -> RemoteFile:
    size, sha256 = listed.get("Size"), str(listed.get("Sha256") or "")
    is_hash = HEX.fullmatch(sha256) is not None and len(sha256) == SHA256
    path = str(listed.get("Path") or "")
    return RemoteFile(path, size if isinstance(size, int) else None, sha256 if is_hash else "")


def download_modelscope(source: Source, args: Mapping[str, Any], say: Callable[[str], None]) -> Path:
    """The folder with a model's files. The client resumes downloads itself.

    Raises:
        GptaltError: it cannot be had, or a file is not what ModelScope lists.
    """
    repository = list_modelscope(source)
    files = choose_files(repository, args)
    from modelscope.hub.snapshot_download import snapshot_download

    say(f"Downloading {source.id} from ModelScope")
    names = [file.path for file in files]
    try:
        folder = Path(snapshot_download(source.id, revision=source.revision or None, allow_patterns=names))
    except Exception as error:
        raise explain_modelscope(error, source) from error
    check_files(folder, source.id, files, say)
    return folder


def explain_modelscope(error: Exception, source: Source) -> GptaltError:
    lines = str(error).strip().splitlines()
    reason = hide_text(f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__)
    return GptaltError(
        f"ModelScope does not give '{source.id}' ({reason}).",
        f"Check its name ({source.page}) and the network, then run the same command again.",
    )
