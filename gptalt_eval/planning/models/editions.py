"""Which named model a folder contains: its config.json says that, whatever the folder is called."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.models import MULTIMODAL, Loader, Model
from gptalt_eval.contract.spec import RunSpec
from gptalt_eval.contract.types import Owned
from gptalt_eval.machine.hub import find_snapshot
from gptalt_eval.planning.backends import HF_BACKENDS
from gptalt_eval.planning.catalog import LM_EVAL, Catalog
from gptalt_eval.planning.hub.sources import MODELSCOPE, is_local
from gptalt_eval.planning.weights import find_folder, merge_model_args, read_settings

Matched = tuple[Owned[Model], str]


def match_model(catalog: Catalog, owned: Owned[Model], spec: RunSpec) -> Matched:
    """The model that runs: a folder can contain another one than its name says, and a hub id be that of one.

    Args:
        catalog: the names.
        owned: the model that was named.
        spec: the request.

    Returns:
        the model, and a sentence about what is run instead; empty: nothing is.

    Raises:
        GptaltError: the folder does not contain such a model.
    """
    named = owned.item
    if owned.owner == LM_EVAL and (published := find_published(catalog, named.name)):
        own = replace(published.item, name=named.name)
        return Owned(own, published.owner), f"{named.name} is loaded as '{published.item.name}'."
    folder = find_files(named, merge_model_args(named, spec))
    return match_folder(catalog, owned, spec, folder) if folder else (owned, "")


def find_files(model: Model, args: Mapping[str, Any]) -> Path | None:
    """The folder with a model's files; None: they are not here, or its backend reads others."""
    if model.backend not in HF_BACKENDS or model.create is not None:
        return None
    place = str(args.get("pretrained") or "")
    if not place or is_local(place) or place.startswith(MODELSCOPE):
        return find_folder(args)
    snapshot = find_snapshot(place, str(args.get("revision") or "main"))
    return snapshot / str(args.get("subfolder") or "") if snapshot else None


def match_folder(catalog: Catalog, owned: Owned[Model], spec: RunSpec, folder: Path) -> Matched:
    """The model that runs, by what its folder contains.

    A folder that transformers cannot load, or that ``gptalt-eval models convert`` wrote, is that of one
    model. One that transformers loads with faults gets the loader that repairs them, and keeps its own chat
    template.

    Args:
        catalog: the names.
        owned: the model that was named.
        spec: the request.
        folder: the model's files.

    Returns:
        see ``match_model``.

    Raises:
        GptaltError: one of lm-eval's classes was named, which cannot load this folder; or the folder contains
            a model of another kind than the named one.
    """
    named = owned.item
    settings, args = read_settings(folder), merge_model_args(named, spec)
    if owned.owner == LM_EVAL and is_multimodal(catalog, settings):
        return see_pictures(owned, str(args.get("pretrained")))
    found = identify(catalog, settings)
    is_own = owned.owner not in (LM_EVAL, found.owner) if found else False  # has a template of its own
    if found and (found.item.name == named.name or is_own or is_kin(named, found.item, settings)):
        return owned, ""
    place = str(args.get("pretrained"))
    is_asked = bool(spec.trust_remote_code or args.get("trust_remote_code"))  # for the code of the folder
    is_native = str(settings.get("model_type")) in list_native_types()
    if found is None or (named.name in HF_BACKENDS and is_native):
        check_kind(named, settings, place)
        has_code = is_asked and settings.get("auto_map")
        return (owned, "") if has_code else add_repair(catalog, owned, folder, place)
    other = found.item.name
    if owned.owner != LM_EVAL:
        text = (
            f"{place} contains a model like '{other}', not '{named.name}': it is run as '{other}', with the"
        )
        return found, f"{text} chat template of that."
    if named.name not in HF_BACKENDS:
        own = replace(found.item, name=named.name, args=named.args)
        return Owned(own, found.owner), f"{place} is loaded as a model like '{other}'."
    if is_asked:
        return owned, ""
    raise GptaltError(
        f"--model {named.name} cannot load {place}, which contains a model like '{other}'.",
        f"Type: --model {other} --model_args pretrained={place}",
    )


def is_multimodal(catalog: Catalog, settings: Mapping[str, Any]) -> bool:
    """Whether a config.json has the type of an image-text model that transformers loads, by the catalogue."""
    kind = settings.get("model_type")
    return bool(kind) and any(
        owned.item.backend == MULTIMODAL and owned.item.card and owned.item.card.model_type == kind
        for owned in catalog.models.values()
    )


def see_pictures(owned: Owned[Model], place: str) -> Matched:
    """A folder's image-text model with the model class for such, and what to say.

    Raises:
        GptaltError: a class for texts was named, which cannot load it.
    """
    named = owned.item
    if named.backend == MULTIMODAL:
        return owned, ""
    if named.name in HF_BACKENDS:
        raise GptaltError(
            f"--model {named.name} cannot load {place}, which contains a model that sees pictures.",
            f"Type: --model {MULTIMODAL} --model_args pretrained={place}",
        )
    own = replace(named, backend=MULTIMODAL)
    return Owned(own, owned.owner), f"{place} sees pictures: it is loaded as --model {MULTIMODAL}."


def is_kin(named: Model, found: Model, settings: Mapping[str, Any]) -> bool:
    """Whether a config.json can be that of either of two models, so that the named one is meant."""
    kind = named.card.model_type if named.card else ""
    names = {model.loader.name if model.loader else "" for model in (named, found)}
    return bool(kind) and len(names) == 1 and kind == settings.get("model_type")


def check_kind(model: Model, settings: Mapping[str, Any], place: str) -> None:
    """Check that a folder contains a model of the kind that was named, whose chat template is used.

    Raises:
        GptaltError: it contains one of another kind.
    """
    expected = model.card.model_type if model.card and model.loader is None else ""  # a loader checks more
    kind = str(settings.get("model_type") or "")
    if expected and kind and kind != expected:
        text = (
            f"{place} contains a model of the type '{kind}', and '{model.name}' is of the type '{expected}'."
        )
        raise GptaltError(text, f"To run it with its own chat template, if it has one: --model {place}")


def add_repair(catalog: Catalog, owned: Owned[Model], folder: Path, place: str) -> Matched:
    """A model with the loader that repairs what transformers does wrong with its folder, and what to say."""
    settings = read_settings(folder)

    def ask(loader: Loader) -> object:
        return loader.repairs(folder, settings) if settings else ""

    for loader, repair in ask_loaders(catalog, ask) if owned.item.loader is None else ():
        text = f"{place} is loaded by the loader '{loader.name}', which {repair}."
        return Owned(replace(owned.item, loader=loader), owned.owner), text
    return owned, ""


def find_published(catalog: Catalog, hub: str) -> Owned[Model] | None:
    """The named model that is published under a hub id, if a text model's class cannot load it."""
    for owned in catalog.models.values() if "/" in hub else ():
        args = owned.item.args
        is_special = owned.item.loader or owned.item.backend == MULTIMODAL
        if is_special and args.get("pretrained") == hub and not args.keys() & {"delta", "peft"}:
            return owned
    return None


def identify(catalog: Catalog, settings: Mapping[str, Any]) -> Owned[Model] | None:
    """The named model that a config.json describes; None: it does not tell."""

    def ask(loader: Loader) -> object:
        return loader.identify(settings) if settings else None

    names = (name for _, name in ask_loaders(catalog, ask))
    return next((catalog.models[name] for name in names if name in catalog.models), None)


def ask_loaders(catalog: Catalog, ask: Callable[[Loader], object]) -> Iterator[tuple[Loader, str]]:
    """The loaders that have an answer about a folder, which can contain anything, and their answers."""
    for owned in catalog.loaders.values():
        try:
            answer = ask(owned.item)
        except Exception as error:
            text = (
                f"the loader '{owned.item.name}' cannot read a config.json: {type(error).__name__}: {error}"
            )
            catalog.plugins.blame(owned.owner, text, "Report it to the plugin's author.")
            continue
        if answer:
            yield owned.item, str(answer)


@cache
def list_native_types() -> frozenset[str]:
    """The model types that the installed transformers has code for, without importing it."""
    found = importlib.util.find_spec("transformers")
    places = found.submodule_search_locations if found else None
    folders = Path(places[0], "models").iterdir() if places else ()
    return frozenset(name for folder in folders for name in (folder.name, folder.name.replace("_", "-")))
