"""What stands in the way of a model's files, before anything is downloaded."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gptalt_eval.contract.errors import GptaltError, nearest
from gptalt_eval.contract.models import Card, Model
from gptalt_eval.contract.spec import RunSpec, format_command
from gptalt_eval.machine.hub import (
    can_reach_hub,
    explain_unreachable,
    find_hub_cache,
    find_snapshot,
    find_storage,
    list_cached_models,
)
from gptalt_eval.planning.hub.choice import ENDINGS, choose_files
from gptalt_eval.planning.hub.download import find_part, is_here, measure
from gptalt_eval.planning.hub.lacks import find_lacks
from gptalt_eval.planning.hub.modelscope import find_copy, list_modelscope
from gptalt_eval.planning.hub.needs import GB, Need, find_disk_faults, find_memory_faults
from gptalt_eval.planning.hub.refusals import Unanswered
from gptalt_eval.planning.hub.repository import RemoteFile, Repository, check_access, read_repository
from gptalt_eval.planning.hub.sources import Source

COMMERCIAL = {
    "yes": "commercial use is allowed",
    "no": "no commercial use",
    "ask": "commercial use only after asking its publisher",
}


def find_source_faults(
    sources: Iterable[Source], model: Model, spec: RunSpec, args: Mapping[str, Any], others: Iterable[Model]
) -> Iterator[GptaltError]:
    """All that keeps repositories from being downloaded and loaded. Complete copies here are not looked for.

    Args:
        sources: the repositories.
        model: the model.
        spec: the request.
        args: the model's merged arguments.
        others: the models of the catalogue, one of which may fit where this one does not.
    """
    needs: dict[Path, list[Need]] = {}
    for source in sources:
        try:
            need = weigh(source, model, spec, args)
        except GptaltError as error:
            yield error
            continue
        if need is None:
            continue
        needs.setdefault(find_cache(source), []).append(need)
        if source.key == "pretrained":
            yield from find_memory_faults(need, model, args, spec.device or args.get("device"), others)
    for cache, some in needs.items():
        yield from find_disk_faults(some, cache)


def find_cache(source: Source) -> Path:
    """The folder in which the client of a site keeps what it downloads."""
    if not source.is_modelscope:
        return find_hub_cache()
    return Path(os.environ.get("MODELSCOPE_CACHE") or Path.home() / ".cache" / "modelscope").expanduser()


def weigh(source: Source, model: Model, spec: RunSpec, args: Mapping[str, Any]) -> Need | None:
    """What a repository needs; None: it is here, or nothing is known about it yet.

    Raises:
        GptaltError: it cannot be had.
    """
    copy = find_copy(source) if source.is_modelscope else find_snapshot(source.id, source.revision)
    lacks = list(find_lacks(source, copy, model, args)) if copy else []
    if copy and not lacks:
        return None
    if not source.is_modelscope and not can_reach_hub():
        raise describe_missing(source, model, spec, lacks)
    card = find_card(source, model)
    try:
        repository = list_modelscope(source) if source.is_modelscope else read_repository(source)
        files = choose_files(repository, args)
        check_access(repository, files)
    except Unanswered:  # it is asked again when the run begins, and then waited for
        return estimate(source, card) if card else None
    if any(file.size is None for file in files):
        return estimate(source, card) if card else None
    return add_up(repository, files, card)


def add_up(repository: Repository, files: Iterable[RemoteFile], card: Card | None) -> Need:
    """What the files of a repository need, less what is in the cache."""
    storage = find_storage(repository.source.id)
    missing = [file for file in files if not is_here(repository, file)]
    begun = sum(measure(find_part(storage, file)) for file in missing if file.sha256)
    return Need(
        repository.source.id,
        sum(file.size or 0 for file in missing) - begun,
        sum(file.size or 0 for file in files if file.path.endswith(ENDINGS)),
        repository.parameters or (card.parameters if card else None),
        repository.is_quantized,
    )


def find_card(source: Source, model: Model) -> Card | None:
    """What is published about the model in a repository; None: it is another model's, or not known."""
    is_own = source.key == "pretrained" and model.args.get("pretrained") == source.id
    return model.card if is_own else None


def estimate(source: Source, card: Card) -> Need:
    """What a model needs as far as its number of parameters tells: with 16 bits for each."""
    size = card.parameters * 2
    return Need(source.id, size, size, card.parameters, is_estimate=True)


def describe_missing(
    source: Source, model: Model, spec: RunSpec, lacks: Iterable[GptaltError]
) -> GptaltError:
    """What to download, how large it is, under which licence, and the command that then works."""
    why, cure = explain_unreachable()
    faults = " ".join(error.what for error in lacks)
    card = find_card(source, model)
    named = f"'{source.id}'" if not card or model.name == source.id else f"'{model.name}' ({source.id})"
    what = f"The {source.noun} {named} is not on this computer, and {why}."
    if faults:
        what = f"Only a part of the {source.noun} {named} is on this computer, and {why}. {faults}"
    cached = [name for name in list_cached_models() if name.rpartition("/")[2].lower() == source.id.lower()]
    near = cached[:1] or nearest(source.id, [name for name in list_cached_models() if name != source.id], 1)
    lines = [f"Did you mean '{near[0]}', which is here?"] if near and not lacks else []
    lines.append(f"{cure[0].upper()}{cure[1:]}, and type the same command again.")
    lines.append("Or download it elsewhere: " + describe_command(source, card, model))
    args = {**spec.model_args, source.key: "FOLDER"}
    lines.append("Then type: " + format_command(replace(spec, model_args=args)))
    return GptaltError(what, "\n".join(lines))


def describe_command(source: Source, card: Card | None, model: Model) -> str:
    """The command that downloads a repository, its page, size and licence."""
    revision = f" --revision {source.revision}" if source.revision != "main" else ""
    command = f"hf download {source.id}{revision} --local-dir FOLDER ({source.page}"
    if card is None:
        return f"{command})"
    size = f"about {card.parameters * 2 / GB:.1f} GB at 16 bits a weight (an estimate)"
    return f"{command}; {size}; licence {model.licence}: {COMMERCIAL[card.commercial]})"
