"""The open models of 2023: facts, chat templates, and loaders that run no code from the models' folders."""

from __future__ import annotations

from pathlib import Path

from gptalt_eval import Command, Loader, hookimpl

gptalt_eval_api = 1  # the version of gptalt-eval's hook API
CATALOGUE = Path(__file__).parent / "catalogue"


@hookimpl
def register_model_dirs() -> list[Path]:
    return [CATALOGUE]


@hookimpl
def register_loaders() -> list[Loader]:
    from gptalt_eval_plugin_models.families import FAMILIES

    return [family.make_loader() for family in FAMILIES]


@hookimpl
def register_commands() -> list[Command]:
    from gptalt_eval_plugin_models.converting import CONVERT, run_convert

    convert = Command("convert", "write a model in the format of transformers", run_convert, CONVERT)
    return [Command("models", "work with the files of models", commands=(convert,))]
