"""All named models: those of the plugins, and those in the user's own YAMLs, which take precedence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from gptalt_eval.contract.errors import GptaltError, raise_together
from gptalt_eval.contract.models import Loader, Model
from gptalt_eval.contract.types import Installed, Owned, Owner
from gptalt_eval.planning.models.reader import find_model_yamls, read_models


def list_plugin_models(plugins: Installed, loaders: Mapping[str, Loader]) -> Iterator[Owned[Model]]:
    """The models of the core and its plugins; what is wrong with a YAML is a problem of its plugin."""
    for owner, model in plugins.contribute("register_models"):
        yield Owned(model, owner)
    for owner, folder in plugins.contribute("register_model_dirs"):
        if not folder.is_dir():
            text = f"register_model_dirs returned {str(folder)!r}, which does not exist."
            plugins.blame(owner, text, 'Start from the module: Path(__file__).parent / "catalogue".')
            continue
        for file in find_model_yamls(folder):
            described = read_models(file, loaders)
            for fault in described.faults:
                if not fault.is_absent:  # a run of this model says so
                    plugins.blame(owner, fault.explain(file).what, fault.hint)
            yield from (Owned(model, owner) for model in described.models)


def list_own_models(folders: Iterable[Path], loaders: Mapping[str, Loader]) -> list[Owned[Model]]:
    """The models in the YAMLs of ``--include_path``.

    Raises:
        GptaltError, RequestErrors: all that is wrong with them, with line and column.
    """
    found: list[Owned[Model]] = []
    faults: list[GptaltError] = []
    taken: dict[str, Path] = {}
    for folder in folders:
        owner = Owner(f"--include_path {folder}")
        for file in find_model_yamls(folder):
            described = read_models(file, loaders)
            faults += [fault.explain(file) for fault in described.faults]
            for model in described.models:
                found.append(Owned(model, owner))
                for name in (model.name, *model.aliases):
                    other = taken.setdefault(name, file)
                    if other != file:
                        text = f"Two YAMLs describe the model '{name}': {other} and {file}."
                        faults.append(GptaltError(text, "Omit or rename one of them."))
    raise_together(faults)
    return found
