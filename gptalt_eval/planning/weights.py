"""Checks a model before its weights are loaded."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from gptalt_eval.contract.errors import GptaltError, UnknownNameError, raise_together
from gptalt_eval.contract.models import Loader, Model, Pictures
from gptalt_eval.contract.spec import RunSpec
from gptalt_eval.machine.bounds import read_file
from gptalt_eval.planning.backends import ENGINES, HF_BACKENDS, check_backend
from gptalt_eval.planning.engines import find_engine_faults
from gptalt_eval.planning.folders import (
    LARGEST_CONFIG,
    find_adapter_faults,
    find_folder_faults,
    read_config,
)
from gptalt_eval.planning.gguf_header import find_gguf_faults
from gptalt_eval.planning.hub.faults import find_source_faults
from gptalt_eval.planning.hub.sources import KEYS, is_local, list_sources
from gptalt_eval.planning.loading import (
    find_bits_faults,
    find_device_faults,
    find_dtype_faults,
    find_gptq_faults,
    find_quantization_faults,
)
from gptalt_eval.planning.shared import find_code_faults

FLAGS = ("device", "batch_size", "max_batch_size")  # settings of lm-eval's classes that are flags here
BESIDE = ("revision", "tokenizer", "delta", "peft")  # arguments that belong to particular weights


def merge_model_args(model: Model, spec: RunSpec) -> dict[str, Any]:
    """The model's own arguments, overridden by the user's; transformers does not know what ``~`` means.

    Weights of the user's own are whole: what the model's own arguments add to its base is not added to them.
    """
    own = {
        key: value
        for key, value in model.args.items()
        if key not in BESIDE or "pretrained" not in spec.model_args
    }
    given = {**own, **spec.model_args}
    args = {
        key: str(Path(value).expanduser()) if isinstance(value, str) and value.startswith("~/") else value
        for key, value in given.items()
    }
    if spec.trust_remote_code:
        args["trust_remote_code"] = True
    if (spec.gpus_per_worker or 1) > 1 and model.backend in HF_BACKENDS:
        args.setdefault("parallelize", True)
    return args


def check_weights(model: Model, spec: RunSpec, others: Iterable[Model] = ()) -> None:
    """Check that the model can be loaded, as far as that shows without loading it.

    Args:
        model: the model.
        spec: the request.
        others: the models of the catalogue, one of which may fit where this one does not.

    Raises:
        GptaltError, RequestErrors: a wrong argument, a missing package, no weights named, no such folder,
            files that are missing or damaged, or weights that are neither in the cache nor on the hub.
    """
    if model.check is not None:
        model.check()
    if model.create is None:
        raise_together(find_model_faults(model, spec, others))


def find_model_faults(model: Model, spec: RunSpec, others: Iterable[Model]) -> Iterator[GptaltError]:
    if not model.is_loadable:
        text = f"'{model.name}' sees pictures, and nothing here loads its files."
        yield GptaltError(text, f"What is known about it: gptalt-eval show model {model.name}")
        return
    args = merge_model_args(model, spec)
    for name in FLAGS:
        if name in args:
            text = f"--model_args {name}={args[name]}: this is a setting of its own."
            yield GptaltError(text, f"Type: --{name} {args[name]}")
    is_hf = model.backend in HF_BACKENDS
    folder = find_folder(args) if is_hf and model.fetch is None else None
    settings = read_settings(folder) if folder else {}
    yield from check_backend(model, args, settings)
    if model.backend in ENGINES:
        yield from find_dtype_faults(args)
        yield from find_engine_faults(model.backend, args, spec.device)
        yield from find_place_faults("pretrained", args)
        if not args.get("pretrained"):
            text = f"--model {model.name} needs weights to load."
            yield GptaltError(text, "Add --model_args pretrained=<hub id or folder>.")
    if not is_hf:
        if args.get("trust_remote_code"):
            yield from find_code_faults(list_sources(args))
        return
    yield from find_dtype_faults(args)
    yield from find_device_faults(spec.device)
    yield from find_bits_faults(args, settings)
    yield from find_gptq_faults(args)
    if folder is not None:
        yield from check_folder(folder, args, model.loader)
        yield from find_quantization_faults(settings)
    elif model.fetch is None and not args.get("pretrained"):
        text = f"--model {model.name} needs weights to load."
        if model.loader:
            text += f" They are published at {model.home} ({model.licence}). {model.loader.summary}."
        yield GptaltError(text, "Add --model_args pretrained=<hub id or folder>, or try --model smollm2.")
    for key in KEYS:
        yield from find_place_faults(key, args)
    if args.get("peft") and Path(str(args["peft"])).is_dir():
        yield from find_adapter_faults(Path(str(args["peft"])))
    try:
        sources = list(list_sources(args)) if model.fetch is None else []
    except GptaltError as error:
        yield error
        return
    if args.get("trust_remote_code"):
        yield from find_code_faults(sources)
    yield from find_source_faults(sources, model, spec, args, others)


def find_folder(args: Mapping[str, Any]) -> Path | None:
    """The local folder with the model's files; None: there is none."""
    folder = Path(str(args.get("pretrained") or "nowhere")).expanduser()
    return folder / str(args.get("subfolder") or "") if folder.is_dir() else None


def read_settings(folder: Path) -> Mapping[str, Any]:
    """The model's configuration; empty if it cannot be read, which ``check_folder`` reports."""
    try:
        return read_config(folder / "config.json")
    except GptaltError:
        return {}


def find_place_faults(key: str, args: Mapping[str, Any]) -> Iterator[GptaltError]:
    """No weights named, or no such folder."""
    place = str(args.get(key) or "")
    folder = Path(place).expanduser()
    if not place or not is_local(place) or folder.is_dir():
        return
    close = difflib.get_close_matches(folder.name, [path.name for path in folder.parent.glob("*")], 1)
    hint = (
        f"Did you mean '{folder.parent / close[0]}'?"
        if close
        else "Give the folder that contains config.json."
    )
    yield UnknownNameError(f"There is no model folder {place}.", hint)


def check_built(model: Model, spec: RunSpec) -> None:
    """Refuse flags that only lm-eval's own backends read, for a model that its plugin builds.

    Raises:
        GptaltError: one of them was given.
    """
    if model.create is None:
        return
    given: dict[str, object] = {
        "--device": spec.device,
        "--batch_size": spec.batch_size != RunSpec.batch_size and spec.batch_size,
        "--max_batch_size": spec.max_batch_size,
        "--scorer": spec.scorer != RunSpec.scorer and spec.scorer,
        "--apply_chat_template": spec.apply_chat_template is not True and spec.apply_chat_template,
    }
    for flag, value in given.items():
        if value:
            text = f"{flag} {value} has no effect: the model '{model.name}' is built by its plugin."
            raise GptaltError(text, "Omit it; settings for the plugin go into --model_args.")


def count_pictures(model: Model, spec: RunSpec) -> Pictures | Literal[""]:
    """How many pictures a prompt for this model may have; empty: it sees none.

    ``max_images=`` of lm-eval's model class counts where it allows fewer than the model was made for.
    """
    limit = str(merge_model_args(model, spec).get("max_images", ""))
    if not model.sees_pictures or limit == "0":
        return ""
    made_for = model.card.pictures if model.card else "several"
    return "one" if limit == "1" else made_for


def check_folder(
    folder: Path, args: Mapping[str, Any], loader: Loader | None = None
) -> Iterator[GptaltError]:
    """All problems with the files of a local model; a loader knows what files it needs."""
    if loader is not None:
        yield from loader.check(folder, args)
        return
    if not args.get("gguf_file"):
        yield from find_folder_faults(folder, args)
        return
    yield from find_gguf_faults(folder / str(args["gguf_file"]))


def check_chat_template(model: Model, spec: RunSpec) -> None:
    """Refuse ``--apply_chat_template`` if the model is known to have no chat template.

    Raises:
        GptaltError: it has none, or none that takes the request's system message.
    """
    if not spec.apply_chat_template:
        return
    if spec.system_instruction and model.template and model.template.system_place == "nowhere":
        text = f"'{model.name}' takes no system message: its chat template has no place for one."
        raise GptaltError(text, "Omit the system message, or the chat template.")
    if has_chat_template(model, spec) is False:
        flag = "--prompt_style" if spec.prompt_style else "--apply_chat_template"
        raise GptaltError(
            f"{flag}: '{spec.model}' has no chat template.",
            "Omit the flag, or choose a chat model: gptalt-eval ls models",
        )


def has_chat_template(model: Model, spec: RunSpec) -> bool | None:
    """Whether the model's tokenizer has a chat template; None if that is unknown before loading it."""
    if model.template is not None or model.chat_template is not None:
        return model.template is not None or model.chat_template
    args = merge_model_args(model, spec)
    folder = Path(str(args.get("tokenizer") or args.get("pretrained") or "")).expanduser()
    if args.get("gguf_file") or not (folder / "tokenizer_config.json").is_file():
        return None
    found = read_chat_templates(folder)
    return None if found is None else bool(found)


def read_chat_templates(folder: Path) -> list[str] | None:
    """The chat templates of a folder's tokenizer, those with names too; None: a file is damaged."""
    files = [folder / "chat_template.jinja", *sorted((folder / "additional_chat_templates").glob("*.jinja"))]
    settings = [folder / "chat_template.json", folder / "tokenizer_config.json"]
    try:
        found = [read_file(file, LARGEST_CONFIG).decode("utf-8") for file in files if file.is_file()]
        written = [read_config(file).get("chat_template") for file in settings if file.is_file()]
    except (GptaltError, OSError, ValueError):
        return None
    for each in written:
        named = (
            [one.get("template") for one in each if isinstance(one, Mapping)]
            if isinstance(each, list)
            else [each]
        )
        found += [str(one) for one in named if one]
    return found
