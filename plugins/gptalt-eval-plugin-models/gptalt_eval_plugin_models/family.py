"""Families of models: how their published files are read, and what is wrong with a folder of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptalt_eval import GptaltError, Loader
from gptalt_eval_plugin_models.checkpoint import AGAIN, Header, find_weights, read_checkpoint
from gptalt_eval_plugin_models.layout import Layout

#: the setting of a converted folder's config.json with the name of the model in the catalogue
MARK = "gptalt_eval_model"
LOADER = "gptalt_eval_loader"  # the same, with the name of the loader
#: arguments that only transformers' own loading obeys
FOREIGN = (
    "parallelize", "load_in_4bit", "load_in_8bit", "quantization_config", "autogptq", "gptqmodel",
    "gguf_file", "tp_plan", "device_map", "max_memory_per_gpu", "max_cpu_memory", "offload_folder",
)  # fmt: skip


def read_config(folder: Path) -> dict[str, Any]:
    """A folder's config.json.

    Raises:
        GptaltError: it is missing or damaged.
    """
    file = folder / "config.json"
    if not file.is_file():
        text = f"{folder} does not contain a model: config.json is missing."
        raise GptaltError(text, "Download the whole model.")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise GptaltError(f"{file} is damaged or not JSON ({error}).", AGAIN) from error
    if not isinstance(config, dict):
        raise GptaltError(f"{file} is damaged: it contains no settings.", AGAIN)
    return config


@dataclass(frozen=True)
class Family:
    """Models that are published in the same format.

    Attributes:
        name: what a model's YAML calls its loader.
        summary: one line.
        identify: the catalogue's name for a config.json of this family; None: it is of another.
        describe: the published weights for a config.json.
        find_setting_faults: settings that are not supported.
        tokenizers: names of files, one of which the tokenizer needs.
        make_class: the lm-eval model class.
        standard: whether transformers has such models, so that their files can be converted.
        own: names of those of them that it does not have.
        find_files: the files with the weights in a folder; raises GptaltError.
        read_settings: the settings of config.json for a folder; raises GptaltError.
        repairs: what this code does right where transformers, which loads such models too, does not.
        tells: whether a config.json tells which model of the family it is of; else it tells only the family.
    """

    name: str
    summary: str
    identify: Callable[[Mapping[str, Any]], str | None]
    describe: Callable[[Mapping[str, Any]], Layout]
    find_setting_faults: Callable[[Mapping[str, Any]], Iterator[GptaltError]]
    tokenizers: tuple[str, ...]
    make_class: Callable[[], type[Any]]
    standard: bool = True
    own: tuple[str, ...] = ()
    find_files: Callable[[Path], tuple[Path, ...]] = find_weights
    read_settings: Callable[[Path], dict[str, Any]] = read_config
    repairs: Callable[[Path, Mapping[str, Any]], str] = lambda folder, config: ""
    tells: bool = True

    def name_model(self, config: Mapping[str, Any]) -> str | None:
        """The model in the catalogue that a config.json describes, as published or converted."""
        if self.owns_converted(config):
            return str(config[MARK])
        return self.identify(config) if self.tells else None

    def read_whole(self, folder: Path, args: Mapping[str, Any]) -> dict[str, Any]:
        """The settings, with those of what the arguments add."""
        return self.read_settings(folder)

    def read_own(self, folder: Path) -> dict[str, Header]:
        """The weights in a folder, by name."""
        return read_checkpoint(self.find_files(folder))

    def read_headers(self, folder: Path, args: Mapping[str, Any]) -> dict[str, Header]:
        """The weights in a folder, with those of what the arguments add."""
        return self.read_own(folder)

    def owns_converted(self, config: Mapping[str, Any]) -> bool:
        """Whether ``gptalt-eval models convert`` wrote this config.json for a model of this family."""
        return config.get(MARK) is not None and config.get(LOADER) == self.name

    def find_faults(self, folder: Path, args: Mapping[str, Any]) -> Iterator[GptaltError]:
        """All problems with a folder and the arguments for it, from names and headers alone."""
        folder = folder / str(args.get("subfolder") or "")
        try:
            config = self.read_whole(folder, args)
        except GptaltError as error:
            yield error
            return
        if self.owns_converted(config):
            return  # transformers loads it
        yield from self.find_argument_faults(args, config)
        if self.identify(config) is None:
            text = f"{folder / 'config.json'} does not describe a model that the loader '{self.name}' knows"
            yield GptaltError(
                f"{text} (model_type: {config.get('model_type')}).", "Give another folder or model."
            )
            return
        yield from self.find_setting_faults(config)
        yield from self.find_weight_faults(folder, config)
        if (place := self.find_tokenizer(folder, args)) is not None:
            yield from self.find_tokenizer_faults(place)

    def converts(self, name: str) -> bool:
        """Whether a model of this family can be written in transformers' own format."""
        return self.standard and name not in self.own

    def find_argument_faults(
        self, args: Mapping[str, Any], config: Mapping[str, Any]
    ) -> Iterator[GptaltError]:
        given = [name for name in FOREIGN if args.get(name)]
        if not given:
            return
        shown = ", ".join(f"{name}={args[name]}" for name in given)
        text = f"--model_args {shown}: only transformers' own loading supports this, which cannot read these."
        if not self.converts(str(self.identify(config))):
            yield GptaltError(text, "Omit it; to need less memory: --model_args dtype=float16")
            return
        source = f"--model_args pretrained={args.get('pretrained')}"
        name = self.name if self.tells else "NAME"  # the model's, whose chat template is written
        first = f"gptalt-eval models convert {name} --to FOLDER {source}"
        then = f"--model {name} --model_args pretrained=FOLDER,{shown.replace(' ', '')}"
        hint = f"Type: {first}\nThen: {then}"
        yield GptaltError(text, hint)

    def find_weight_faults(self, folder: Path, config: Mapping[str, Any]) -> Iterator[GptaltError]:
        try:
            layout = self.describe(config)
        except KeyError as error:
            yield GptaltError(f"{folder / 'config.json'} lacks the setting {error}.", AGAIN)
            return
        except (TypeError, ValueError, ArithmeticError) as error:
            yield GptaltError(f"{folder / 'config.json'} has a setting of a wrong type: {error}.", AGAIN)
            return
        yield from layout.find_faults(folder, self.read_own)

    def find_tokenizer(self, folder: Path, args: Mapping[str, Any]) -> Path | None:
        """The folder with the tokenizer; None: it is not a folder on this computer."""
        named = args.get("tokenizer")
        place = folder if named is None else Path(str(named)).expanduser()
        return place if place.is_dir() else None

    def find_tokenizer_faults(self, folder: Path) -> Iterator[GptaltError]:
        if not any((folder / name).is_file() for name in self.tokenizers):
            text = f"{folder}: it has no tokenizer (looked for {', '.join(self.tokenizers)})."
            yield GptaltError(
                text, "Download the whole model, or name another: --model_args tokenizer=FOLDER"
            )

    def make_loader(self) -> Loader:
        def check(folder: Path, args: Mapping[str, Any]) -> Iterable[GptaltError]:
            return self.find_faults(folder, args)

        return Loader(
            self.name, self.summary, self.make_class, self.name_model, check, self.converts, self.repairs
        )


def find_no_faults(config: Mapping[str, Any]) -> Iterator[GptaltError]:
    """For families of which every edition can be loaded."""
    yield from ()
