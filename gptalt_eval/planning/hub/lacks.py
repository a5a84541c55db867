"""Whether the folder of a repository contains all that is needed of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.models import Model
from gptalt_eval.planning.folders import (
    find_adapter_faults,
    find_folder_faults,
    find_tokenizer_faults,
    find_weight_faults,
    read_config,
)
from gptalt_eval.planning.gguf_header import find_gguf_faults
from gptalt_eval.planning.hub.sources import Source


def find_lacks(
    source: Source, snapshot: Path, model: Model, args: Mapping[str, Any]
) -> Iterator[GptaltError]:
    """What is missing in, or wrong with, a folder with the files of a repository."""
    inner = str(args.get("subfolder") or "") if source.key in ("pretrained", "tokenizer") else ""
    folder = snapshot / inner
    if not folder.is_dir():
        yield GptaltError(f"'{source.id}' has no folder {inner}.", "Check --model_args subfolder=...")
    elif source.key == "peft":
        yield from find_adapter_faults(folder)
    elif source.key == "tokenizer":
        yield from find_tokenizer_faults(folder, {})
    elif source.key == "delta":
        yield from find_delta_faults(folder)
    elif args.get("gguf_file"):
        yield from find_gguf_faults(folder / str(args["gguf_file"]))
    elif model.loader is not None:
        yield from model.loader.check(folder, args)
    elif (folder / "config.json").is_file() or not (folder / "adapter_config.json").is_file():
        yield from find_folder_faults(folder, args)
    if args.get("trust_remote_code") and source.key == "pretrained":
        yield from find_code_faults(folder)


def find_delta_faults(folder: Path) -> Iterator[GptaltError]:
    try:
        yield from find_weight_faults(folder, read_config(folder / "config.json"), {})
    except GptaltError as error:
        yield error


def find_code_faults(folder: Path) -> Iterator[GptaltError]:
    """Code that a configuration names and that was not downloaded, as it was not trusted then."""
    try:
        named = read_config(folder / "config.json").get("auto_map", {})
    except GptaltError:
        return
    for value in named.values() if isinstance(named, Mapping) else ():
        module = str(value).partition(".")[0]
        if "--" not in str(value) and not (folder / f"{module}.py").is_file():
            yield GptaltError(f"{folder} lacks {module}.py, the code that its configuration names.")
