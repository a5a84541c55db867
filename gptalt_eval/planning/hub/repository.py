"""What the hub says of a repository: its files with sizes and hashes, its licence, who may have it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.handed import is_bare
from gptalt_eval.machine.hub import read_endpoint
from gptalt_eval.planning.hub.refusals import choose_wait, describe_break, explain_refusal, list_errors
from gptalt_eval.planning.hub.sources import Source

SECONDS = 10  # that the hub may take for an answer
HEX = re.compile(r"[0-9a-f]{7,64}")


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository.

    Attributes:
        path: its name, below the repository's folder.
        size: in bytes; None: the hub does not say.
        sha256: of its content; empty: the hub does not say, as for small files.
        blob: the id by which git knows its content; empty: the hub does not say.
    """

    path: str
    size: int | None = None
    sha256: str = ""
    blob: str = ""


@dataclass(frozen=True)
class Repository:
    """A repository at one commit.

    Attributes:
        source: which one.
        commit: its hash.
        files: all of its files.
        licence: as its page states it; empty: it does not.
        is_gated: whether its licence must be accepted on its page.
        parameters: number of its weights; None: the hub does not say.
        is_quantized: whether the weights are stored in another form than that in which they were trained.
    """

    source: Source
    commit: str
    files: tuple[RemoteFile, ...]
    licence: str = ""
    is_gated: bool = False
    parameters: int | None = None
    is_quantized: bool = False


def read_repository(source: Source, wait: Callable[[str], None] | None = None) -> Repository:
    """Ask the hub for a repository.

    Args:
        source: which one.
        wait: told how long is waited where the hub does not answer; None: nothing is waited.

    Raises:
        GptaltError: it does not give the repository; says why, and what to type.
    """
    from huggingface_hub import HfApi

    api = HfApi(endpoint=read_endpoint().geturl().rstrip("/"), token=source.token)
    ask = partial(api.model_info, source.id, revision=source.revision, files_metadata=True, timeout=SECONDS)
    try:
        return describe(source, repeat(source, ask, wait))
    except GptaltError:
        raise
    except Exception as error:  # the client's own, those of the network, and of an answer that is none
        raise explain_refusal(error, source) from error


def check_access(repository: Repository, files: Sequence[RemoteFile]) -> None:
    """Check that the hub gives the files of a gated repository; it tells everybody that they exist.

    Raises:
        GptaltError: it does not.
    """
    if not repository.is_gated or not files:
        return
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    source, endpoint = repository.source, read_endpoint().geturl().rstrip("/")
    url = hf_hub_url(source.id, files[0].path, revision=repository.commit, endpoint=endpoint)
    try:
        get_hf_file_metadata(url, token=source.token, timeout=SECONDS)
    except Exception as error:
        raise explain_refusal(error, source) from error


def repeat(source: Source, ask: Callable[[], Any], wait: Callable[[str], None] | None) -> Any:
    """The hub's answer; where it gives none, it is asked again after a while, if there is time to wait."""
    tries = 0
    while True:
        try:
            return ask()
        except list_errors() as error:
            tries += 1
            seconds = choose_wait(error, tries)
            if wait is None or seconds is None:
                raise
            wait(f"{source.id}: {describe_break(error)}; asking again in {seconds:.0f} s")
            time.sleep(seconds)


def describe(source: Source, info: Any) -> Repository:
    """The client's ``ModelInfo`` as a repository.

    Raises:
        GptaltError: a commit that is none, which would become the name of a folder.
    """
    commit = str(info.sha or "")
    if not HEX.fullmatch(commit):
        text = f"The hub gives no commit of '{source.id}' ({commit!r:.60})."
        raise GptaltError(text, "If HF_ENDPOINT is set, check that it is a mirror of the Hugging Face hub.")
    card = dict(info.card_data.to_dict()) if info.card_data else {}
    settings = info.config if isinstance(info.config, Mapping) else {}
    count = getattr(info.safetensors, "total", None)
    licence = card.get("license_name") if card.get("license") == "other" else card.get("license")
    return Repository(
        source,
        commit,
        tuple(map(describe_file, info.siblings or ())),
        licence if isinstance(licence, str) else "",
        bool(info.gated),
        count if isinstance(count, int) and count > 0 else None,
        "quantization_config" in settings,
    )


def describe_file(sibling: Any) -> RemoteFile:
    """A file; hashes that are none are left out."""
    hashes = (str(getattr(sibling.lfs, "sha256", None) or ""), str(sibling.blob_id or ""))
    sha256, blob = (each if HEX.fullmatch(each) else "" for each in hashes)
    size = sibling.size if isinstance(sibling.size, int) and sibling.size >= 0 else None
    return RemoteFile(str(sibling.rfilename), size, sha256 if len(sha256) == 64 else "", blob)


def check_paths(files: Sequence[RemoteFile], source: Source) -> None:
    """Check that files would be written into the repository's own folder.

    Raises:
        GptaltError: the hub's answer has a name that leads elsewhere.
    """
    for file in files:
        if not all(map(is_bare, file.path.split("/"))):
            text = f"'{source.id}' has a file that would be written elsewhere: {file.path!r:.80}."
            raise GptaltError(text, "Do not use this repository. Nothing was downloaded.")
