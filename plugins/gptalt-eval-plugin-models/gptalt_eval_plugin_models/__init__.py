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

    examples = (
        "gptalt-eval models convert chatglm --to ~/models/chatglm",
        "gptalt-eval models convert vicuna-7b-v0 --to vicuna --model_args pretrained=./llama,delta=./delta",
    )
    summary = "write a model in the format of transformers"
    convert = Command("convert", summary, run_convert, CONVERT, examples=examples)
    return [Command("models", "work with the files of models", commands=(convert,))]
