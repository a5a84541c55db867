"""The folders that a run writes into: whether it can, before it has computed anything."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from shlex import quote

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.models import Model
from gptalt_eval.contract.spec import RunSpec
from gptalt_eval.machine.storage import cache_dir, find_shared

RUNS = "runs"  # where runs are saved without --output_path


def list_included(folder: str | None) -> list[Path]:
    """The folders of ``--include_path``: one, or none.

    Raises:
        GptaltError: it does not exist.
    """
    if folder and not Path(folder).is_dir():
        text = f"--include_path: there is no folder {folder}."
        raise GptaltError(text, "Give a folder with YAMLs of tasks or models.")
    return [Path(folder)] if folder else []


def find_place_faults(spec: RunSpec, model: Model | None, saves: bool) -> Iterator[GptaltError]:
    """Folders that are missing or not writable.

    Args:
        spec: the request.
        model: its model, if that is known.
        saves: whether results will be saved if the request names no folder for them.
    """
    try:
        list_included(spec.include_path)
    except GptaltError as error:
        yield error
    path = Path(spec.output_path or RUNS).expanduser()
    reason = explain_unwritable(path.parent if path.suffix == ".json" else path)
    if reason and spec.output_path:
        text = f"--output_path {spec.output_path} is not writable ({reason})."
        yield GptaltError(text, "Give a folder that you can write to.")
    elif reason and saves:
        text = f"Results are saved in {path.absolute()}, which is not writable ({reason})."
        yield GptaltError(text, "Add --output_path FOLDER, or change to another folder.")
    if spec.use_cache:
        reason = explain_unwritable(Path(spec.use_cache).expanduser().parent)
        if reason:
            text = f"--use_cache {spec.use_cache}: its folder is not writable ({reason})."
            yield GptaltError(text, "Give a path that you can write to.")
    try:
        check_cached(cache_dir())
    except GptaltError as error:
        yield error
    keeps = (model is not None and model.fetch is not None) or spec.cache_requests in ("true", "refresh")
    reason = explain_unwritable(cache_dir()) if keeps else ""
    if reason:
        source = "GPTALT_CACHE is" if os.environ.get("GPTALT_CACHE") else "The cache folder is"
        text = f"{source} {cache_dir()}, which is not writable ({reason})."
        yield GptaltError(text, "Type: export GPTALT_CACHE=FOLDER, with a folder that you can write to.")


def check_cached(path: Path) -> None:
    """Refuse a folder or file of the cache that other users may have changed.

    Raises:
        GptaltError: says which, and what to type.
    """
    shared = find_shared(path)
    if shared is None:
        return
    own = "Or use a folder of your own: export GPTALT_CACHE=FOLDER"
    if shared.stat().st_mode & 0o022:
        text = f"Other users can write to {shared}, so what is in the cache may not be ours."
        raise GptaltError(text, f"If you trust them, or are alone: chmod -R go-w {quote(str(shared))}\n{own}")
    text = f"{shared} belongs to another user, so what is in the cache may not be ours."
    raise GptaltError(text, f"If it should be yours: sudo chown -R $USER {quote(str(shared))}\n{own}")


def explain_unwritable(folder: Path) -> str:
    """Why nothing can be written into a folder, which need not exist yet; empty: it can. Makes no folder."""
    existing = next((path for path in (folder, *folder.absolute().parents) if os.path.lexists(path)), folder)
    if not existing.is_dir():
        return f"{existing} is not a folder"
    try:
        with tempfile.TemporaryFile(dir=existing):
            return ""
    except OSError as error:
        return error.strerror or str(error)
