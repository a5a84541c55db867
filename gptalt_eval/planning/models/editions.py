"""Which named model a folder contains: its config.json says that, whatever the folder is called."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.models import Model
from gptalt_eval.contract.spec import RunSpec
from gptalt_eval.contract.types import Owned
from gptalt_eval.planning.backends import HF_BACKENDS
from gptalt_eval.planning.catalog import LM_EVAL, Catalog
from gptalt_eval.planning.folders import read_config
from gptalt_eval.planning.weights import find_folder, merge_model_args


def match_folder(catalog: Catalog, owned: Owned[Model], spec: RunSpec) -> tuple[Owned[Model], str]:
    """The model that runs: a folder can contain another one than its name says, and a hub id be that of one.

    Only folders that transformers cannot load itself are looked at: those need their own loader, and the
    layout is that of one model.

    Args:
        catalog: the names.
        owned: the model that was named.
        spec: the request.

    Returns:
        the model, and a sentence about what is run instead; empty: nothing is.

    Raises:
        GptaltError: one of lm-eval's classes was named, which cannot load this folder.
    """
    named = owned.item
    args = merge_model_args(named, spec)
    folder = find_folder(args) if named.backend in HF_BACKENDS and named.create is None else None
    if owned.owner == LM_EVAL and (published := find_published(catalog, named.name)):
        own = replace(published.item, name=named.name)
        return Owned(own, published.owner), f"{named.name} is loaded as '{published.item.name}'."
    found = identify(catalog, folder) if folder else None
    if folder is None or found is None or found.item.name == named.name:
        return owned, ""
    if owned.owner != LM_EVAL:
        if found.owner != owned.owner:  # a model of the user's own has its own template
            return owned, ""
        text = f"{folder} contains a model like '{found.item.name}', not '{named.name}': it is run as "
        return found, f"{text}'{found.item.name}', with the chat template of that."
    if named.name in HF_BACKENDS:
        if spec.trust_remote_code or args.get("trust_remote_code"):
            return owned, ""  # the code of the folder was asked for
        raise GptaltError(
            f"--model {named.name} cannot load {folder}, which contains a model like '{found.item.name}'.",
            f"Type: --model {found.item.name} --model_args pretrained={folder}",
        )
    own = replace(found.item, name=named.name, args=named.args)
    return Owned(own, found.owner), f"{folder} is loaded as a model like '{found.item.name}'."


def find_published(catalog: Catalog, hub: str) -> Owned[Model] | None:
    """The named model that is published under a hub id, if it needs its own loader."""
    for owned in catalog.models.values() if "/" in hub else ():
        args = owned.item.args
        if owned.item.loader and args.get("pretrained") == hub and not args.keys() & {"delta", "peft"}:
            return owned
    return None


def identify(catalog: Catalog, folder: Path) -> Owned[Model] | None:
    """The named model whose layout a folder has, if transformers does not know that layout."""
    try:
        config = read_config(folder / "config.json")
    except GptaltError:
        return None  # reported when its files are checked
    if str(config.get("model_type")) in list_native_types():
        return None
    for owned in catalog.loaders.values():
        name = call_identify(catalog, owned, config)
        if name is not None and name in catalog.models:
            return catalog.models[name]
    return None


def call_identify(catalog: Catalog, owned: Owned[Any], config: Mapping[str, Any]) -> str | None:
    """What a loader says about a configuration, which can contain anything."""
    try:
        name: str | None = owned.item.identify(config)
        return name
    except Exception as error:
        text = f"the loader '{owned.item.name}' cannot read a config.json: {type(error).__name__}: {error}"
        catalog.plugins.blame(owned.owner, text, "Report it to the plugin's author.")
        return None


@cache
def list_native_types() -> frozenset[str]:
    """The model types that the installed transformers has code for, without importing it."""
    found = importlib.util.find_spec("transformers")
    places = found.submodule_search_locations if found else None
    folders = Path(places[0], "models").iterdir() if places else ()
    return frozenset(name for folder in folders for name in (folder.name, folder.name.replace("_", "-")))
