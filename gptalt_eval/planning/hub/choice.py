"""Which files of a repository a model needs: settings, tokenizer, and its weights in one format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.planning.folders import VOCABULARIES
from gptalt_eval.planning.hub.repository import RemoteFile, Repository, check_paths

SMALL = ("*.json", "*.txt", "*.jinja", "LICENSE*", *VOCABULARIES)
ENDINGS = (".safetensors", ".bin", ".pth", ".pt", ".ckpt", ".gguf", ".h5", ".msgpack", ".onnx", ".ot")
LEFT = ("training_args.*", "optimizer.*", "scheduler.*", "rng_state*", "consolidated*")  # of a training
TEMPLATES = "additional_chat_templates"


def choose_files(repository: Repository, args: Mapping[str, Any]) -> tuple[RemoteFile, ...]:
    """The files that are downloaded; of weights in several formats, only those in the first that serves.

    Args:
        repository: what there is.
        args: the model's arguments.

    Raises:
        GptaltError: there are no weights, or a file would be written outside the folder.
    """
    key = repository.source.key
    with_code = bool(args.get("trust_remote_code")) and key in ("pretrained", "tokenizer")
    folder = str(args.get("subfolder") or "") if key in ("pretrained", "tokenizer") else ""
    inside = {name: file for file in repository.files if (name := strip_folder(file.path, folder))}
    wanted = {name for name in inside if is_small(name) or (with_code and name.endswith(".py"))}
    if key == "tokenizer":
        wanted = {name for name in wanted if not name.endswith(".index.json")}
    else:
        names = [name for name in inside if name.endswith(ENDINGS) and "/" not in name]
        weights = choose_adapter(names) if key == "peft" else choose_weights(names, args)
        if not weights:
            raise describe_no_weights(repository, args, names)
        wanted.update(weights)
    chosen = tuple(inside[name] for name in sorted(wanted))
    check_paths(chosen, repository.source)
    return chosen


def strip_folder(path: str, folder: str) -> str:
    """A path below a folder of the repository; empty: it is elsewhere."""
    if not folder:
        return path
    inner = PurePosixPath(path)
    return inner.relative_to(folder).as_posix() if inner.is_relative_to(folder) else ""


def is_small(name: str) -> bool:
    """Whether a file is a setting or a part of the tokenizer, none of weights."""
    if "/" in name:
        return name.startswith(f"{TEMPLATES}/") and name.endswith(".jinja")
    return not name.endswith(ENDINGS) and any(fnmatchcase(name, pattern) for pattern in SMALL)


def choose_adapter(names: Sequence[str]) -> list[str]:
    """The weights of an adapter (``peft=``)."""
    return next(([name] for name in ("adapter_model.safetensors", "adapter_model.bin") if name in names), [])


def choose_weights(names: Sequence[str], args: Mapping[str, Any]) -> list[str]:
    """The names of weights in the first format that is there; empty: none that the arguments allow."""
    for key in ("gguf_file", "transformers_weights"):
        if args.get(key):
            return [name for name in names if name == str(args[key])]
    variant = f".{args['variant']}" if args.get("variant") else ""
    for ending, stem in list_formats(args):
        patterns = (f"{stem}{variant}{ending}", f"{stem}{variant}-[0-9]*-of-[0-9]*{ending}")
        found = list(match(names, patterns))
        if found:
            return found
    if choose_adapter(names):  # an adapter in place of a model, which names the model that it belongs to
        return choose_adapter(names)
    return [] if variant else choose_others(names, args)


def list_formats(args: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(ending, stem) of the weights in which transformers looks, in its order."""
    formats = {True: [(".safetensors", "model")], False: [(".bin", "pytorch_model")]}
    choice = args.get("use_safetensors")
    return formats[choice] if isinstance(choice, bool) else [*formats[True], *formats[False]]


def choose_others(names: Sequence[str], args: Mapping[str, Any]) -> list[str]:
    """Weights under other names, for quantizers and loaders with names of their own."""
    allowed = {ending for ending, _ in list_formats(args)}
    if args.get("use_safetensors") is None:
        allowed |= {".pth", ".pt"}
    for ending in ENDINGS:
        found = [
            name
            for name in names
            if name.endswith(ending) and not any(fnmatchcase(name, pattern) for pattern in LEFT)
        ]
        if found and ending in allowed:
            return found
    return []


def match(names: Iterable[str], patterns: Iterable[str]) -> Iterator[str]:
    known = tuple(patterns)
    return (name for name in names if any(fnmatchcase(name, pattern) for pattern in known))


def describe_no_weights(repository: Repository, args: Mapping[str, Any], names: Sequence[str]) -> GptaltError:
    """What to tell the user if a repository has no weights, or none that these arguments choose."""
    source = repository.source
    asked = next(
        (key for key in ("gguf_file", "variant", "use_safetensors") if args.get(key) is not None), ""
    )
    text = f"The {source.noun} '{source.id}' has no weights that can be loaded"
    ggufs = [name for name in names if name.endswith(".gguf")]
    if asked and names:
        shown = ", ".join(sorted(names)[:5])
        return GptaltError(f"{text} with {asked}={args[asked]}.", f"It has: {shown}")
    if ggufs:
        return GptaltError(f"{text} without gguf_file.", f"Add to --model_args: gguf_file={ggufs[0]}")
    return GptaltError(f"{text}.", f"See what it is: {source.page}")
