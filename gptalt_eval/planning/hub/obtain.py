"""Gets a model's files before it is loaded: from the cache, or else from where its arguments name it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gptalt_eval.contract.errors import GptaltError, raise_together
from gptalt_eval.contract.models import Model
from gptalt_eval.machine.hub import can_reach_hub, explain_unreachable, find_hub_cache, find_snapshot
from gptalt_eval.planning.backends import HF_BACKENDS
from gptalt_eval.planning.hub.choice import choose_files
from gptalt_eval.planning.hub.download import download, is_here
from gptalt_eval.planning.hub.hashes import check_files
from gptalt_eval.planning.hub.lacks import find_lacks
from gptalt_eval.planning.hub.modelscope import download_modelscope, find_copy
from gptalt_eval.planning.hub.needs import GB
from gptalt_eval.planning.hub.repository import RemoteFile, Repository, read_repository
from gptalt_eval.planning.hub.sources import Source, list_sources
from gptalt_eval.planning.shared import find_shared_files

Show = Callable[[str], None]


@dataclass(frozen=True)
class Obtained:
    """A model's files on this computer.

    Attributes:
        args: argument -> folder, for each argument that names a repository.
        commits: argument -> ``OWNER/NAME@COMMIT``, of what is in these folders.
    """

    args: Mapping[str, str]
    commits: Mapping[str, str]


def obtain_files(model: Model, args: Mapping[str, Any], say: Show, note: Show) -> Obtained:
    """Download what is missing of a model, and check what is there.

    Args:
        model: the model.
        args: its merged arguments.
        say: shows the current step.
        note: shows what the user should know.

    Raises:
        GptaltError: a file cannot be had, or is not what it should be; says what to type.
    """
    folders: dict[str, str] = {}
    commits: dict[str, str] = {}
    for source in list_fetched(model, args):
        if source.is_modelscope:
            folder, commit = obtain_copy(source, model, args, say), source.revision or "master"
        else:
            folder, commit = obtain_snapshot(source, model, args, say, note)
        folders[source.key], commits[source.key] = str(folder), f"{source.id}@{commit}"
    return Obtained(folders, commits)


def list_fetched(model: Model, args: Mapping[str, Any]) -> list[Source]:
    """The repositories from which a model is loaded; none if its plugin gets its files itself."""
    is_ours = model.create is None and model.fetch is None and model.backend in HF_BACKENDS
    return list(list_sources(args)) if is_ours else []


def obtain_snapshot(
    source: Source, model: Model, args: Mapping[str, Any], say: Show, note: Show
) -> tuple[Path, str]:
    """The folder of a hub repository and its commit; a complete one in the cache is used as it is."""
    snapshot = find_snapshot(source.id, source.revision)
    if snapshot is not None and not any(find_lacks(source, snapshot, model, args)):
        check_files(snapshot, source.id, list_kept(snapshot), say)
        if find_shared_files(source, "*") is not None:
            compare_with_hub(source, snapshot, say)
        return snapshot, snapshot.name
    if not can_reach_hub():
        why = explain_unreachable().why
        raise GptaltError(f"The {source.noun} '{source.id}' is not on this computer, and {why}.")
    say(f"Asking the hub for {source.id}")
    repository = read_repository(source, wait=note)
    files = choose_files(repository, args)
    note(describe_download(repository, files, model))
    folder = download(repository, files, say, note)
    raise_together(find_lacks(source, folder, model, args))
    return folder, repository.commit


def compare_with_hub(source: Source, snapshot: Path, say: Show) -> None:
    """Compare files that others can change with the hashes of the hub, if it can be reached.

    Raises:
        GptaltError: one is another; it has been removed.
    """
    if not can_reach_hub():
        return
    say(f"Asking the hub for the hashes of {source.id}")
    try:
        repository = read_repository(replace(source, revision=snapshot.name))
    except GptaltError:  # it knows nothing of it, or does not answer
        return
    here = [file for file in repository.files if (snapshot / file.path).is_file()]
    check_files(snapshot, source.id, here, say)


def obtain_copy(source: Source, model: Model, args: Mapping[str, Any], say: Show) -> Path:
    """The folder of a ModelScope repository; a complete one here is used as it is."""
    copy = find_copy(source)
    if copy is None or any(find_lacks(source, copy, model, args)):
        copy = download_modelscope(source, args, say)
        raise_together(find_lacks(source, copy, model, args))
    return copy


def list_kept(snapshot: Path) -> Iterator[RemoteFile]:
    """The files of a folder in the cache; their hashes are the names that the client gave them."""
    for path in sorted(snapshot.rglob("*")):
        if path.is_file() and path.suffix != ".py":
            yield RemoteFile(path.relative_to(snapshot).as_posix())


def describe_download(repository: Repository, files: tuple[RemoteFile, ...], model: Model) -> str:
    """What is downloaded, where it is kept, and under which licence."""
    total = sum(file.size or 0 for file in files)
    missing = sum(file.size or 0 for file in files if not is_here(repository, file))
    source = repository.source
    owned = source.key == "pretrained" and model.args.get("pretrained") == source.id
    licence = repository.licence or (model.licence if owned else "") or "not stated"
    use = f", commercial use: {model.card.commercial}" if owned and model.card else ""
    gated = ", gated" if repository.is_gated else ""
    return (
        f"{missing / GB:.2f} GB of '{source.id}' ({repository.commit[:12]}) are downloaded; "
        f"{total / GB:.2f} GB are kept in {find_hub_cache()}. Licence: {licence}{use}{gated}."
    )
