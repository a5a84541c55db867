"""Checks a model before its weights are loaded."""

from __future__ import annotations

import difflib
import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gptalt_eval.contract.errors import GptaltError, UnknownNameError, nearest, raise_together
from gptalt_eval.contract.models import Loader, Model
from gptalt_eval.contract.spec import RunSpec
from gptalt_eval.machine.hub import (
    can_reach_hub,
    explain_refusal,
    explain_unreachable,
    find_snapshot,
    is_in_hub_cache,
    list_cached_models,
)
from gptalt_eval.planning.backends import HF_BACKENDS, check_backend
from gptalt_eval.planning.folders import find_adapter_faults, find_folder_faults, read_config
from gptalt_eval.planning.gguf_header import check_header
from gptalt_eval.planning.loading import find_device_faults, find_dtype_faults, find_quantization_faults

GGUF_MAGIC = b"GGUF"
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
    return args


def check_weights(model: Model, spec: RunSpec) -> None:
    """Check that the model can be loaded, as far as that shows without loading it.

    Raises:
        GptaltError, RequestErrors: a wrong argument, a missing package, no weights named, no such folder,
            files that are missing or damaged, or weights that are neither in the cache nor on the hub.
    """
    if model.check is not None:
        model.check()
    if model.create is None:
        raise_together(find_model_faults(model, spec))


def find_model_faults(model: Model, spec: RunSpec) -> Iterator[GptaltError]:
    if shows_pictures(model):
        text = f"'{model.name}' answers questions about pictures, which only a later plugin can ask."
        yield GptaltError(text, f"What is known about it: gptalt-eval show model {model.name}")
        return
    args = merge_model_args(model, spec)
    is_hf = model.backend in HF_BACKENDS
    folder = find_folder(args) if is_hf and model.fetch is None else None
    settings = read_settings(folder) if folder else {}
    yield from check_backend(model, args, settings)
    if is_hf:
        yield from find_dtype_faults(args)
        yield from find_device_faults(spec.device or args.get("device"))
    if folder is not None:
        yield from check_folder(folder, args, model.loader)
        yield from find_quantization_faults(settings)
    elif is_hf and model.fetch is None:
        yield from find_source_faults(model, args)
    for key in ("tokenizer", "peft", "delta") if is_hf else ():
        if args.get(key) is not None:
            yield from find_place_faults(str(args[key]), key, args)
    if is_hf and args.get("peft") and Path(str(args["peft"])).is_dir():
        yield from find_adapter_faults(Path(str(args["peft"])))


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


def find_source_faults(model: Model, args: Mapping[str, Any]) -> Iterator[GptaltError]:
    """No weights named, no such folder, or a repository that is neither in the cache nor on the hub."""
    pretrained = args.get("pretrained")
    if not pretrained:
        text = f"--model {model.name} needs weights to load."
        yield GptaltError(text, "Add --model_args pretrained=<hub id or folder>, or try --model smollm2.")
        return
    yield from find_place_faults(str(pretrained), "pretrained", args)


def find_place_faults(place: str, key: str, args: Mapping[str, Any]) -> Iterator[GptaltError]:
    """Whether there are a model's or tokenizer's files: a folder, or a repository that can be had."""
    folder = Path(place).expanduser()
    if folder.is_dir():
        return
    if place.startswith((".", "/", "~")) or place.count("/") > 1:
        close = difflib.get_close_matches(folder.name, [path.name for path in folder.parent.glob("*")], 1)
        hint = (
            f"Did you mean '{folder.parent / close[0]}'?"
            if close
            else "Give the folder that contains config.json."
        )
        yield UnknownNameError(f"There is no model folder {place}.", hint)
    elif not is_in_hub_cache(place, "models"):
        yield from find_hub_faults(place, key, str(args.get("revision") or "main"))
    elif key == "pretrained":
        snapshot = find_snapshot(place, str(args.get("revision") or "main"))
        found = list(find_folder_faults(snapshot, args)) if snapshot else []
        if found and not can_reach_hub():  # else transformers downloads the rest
            yield from found


def find_hub_faults(hub: str, key: str, revision: str) -> Iterator[GptaltError]:
    """Why a model or tokenizer that is not on this computer cannot be downloaded."""
    what = f"The tokenizer '{hub}' is" if key == "tokenizer" else f"The weights of '{hub}' are"
    cached = [name for name in list_cached_models() if name.rpartition("/")[2].lower() == hub.lower()]
    near = cached[:1] or nearest(hub, list_cached_models(), 1)
    known = f"Did you mean '{near[0]}', which is here? " if near else ""
    if not can_reach_hub():
        why, cure = explain_unreachable()
        text = f"{what} not on this computer, and {why}."
        cure = f"{cure[0].upper()}{cure[1:]}, give a local folder as {key}=..., or try --model smollm2."
        yield GptaltError(text, f"{known}{cure}")
        return
    reason = explain_refusal(hub, revision)
    if reason:
        cure = (
            "Give OWNER/NAME, as on its page." if "/" not in hub else "If it is yours or gated: hf auth login"
        )
        yield UnknownNameError(f"{what} not on this computer, and the hub says: {reason}.", f"{known}{cure}")


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


def shows_pictures(model: Model) -> bool:
    """Whether a model needs pictures, and nothing is installed that loads it."""
    is_listed = model.card is not None and model.card.modality == "image-text"
    return is_listed and model.loader is None and model.create is None


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
    try:
        check_gguf(folder / str(args["gguf_file"]))
    except GptaltError as error:
        yield error


def check_gguf(path: Path) -> None:
    """Check that a file exists, is a GGUF file, and is as long as its own table of tensors says.

    The package ``gguf`` reads it by the GGUF specification (ggml project).

    Raises:
        GptaltError: it is missing, something else, or truncated.
    """
    if not path.is_file():
        close = [other.name for other in path.parent.glob("*.gguf")]
        hint = f"Available: {', '.join(close)}" if close else ""
        raise UnknownNameError(f"There is no file {path}.", hint)
    with path.open("rb") as stream:
        head = stream.read(8)
    if len(head) < 8 or head[:4] != GGUF_MAGIC or not 1 <= struct.unpack("<I", head[4:])[0] <= 3:
        raise GptaltError(f"{path} is not a GGUF file.", "Download it again.")
    from gguf import GGUFReader

    try:
        check_header(path)
        tensors = GGUFReader(path).tensors
        end = max((tensor.data_offset + tensor.n_bytes for tensor in tensors), default=0)
    except Exception as error:  # a damaged file can raise anything, since the reader trusts its input
        raise GptaltError(
            f"{path} is damaged or truncated ({type(error).__name__}).", "Download it again."
        ) from error
    if end > path.stat().st_size:
        text = f"{path} is truncated: {path.stat().st_size:,} bytes, {end:,} expected."
        raise GptaltError(text, "Download it again.")


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
    config = folder / "tokenizer_config.json"
    if args.get("gguf_file") or not config.is_file():
        return None
    if any(
        (folder / name).exists()
        for name in ("chat_template.jinja", "chat_template.json", "additional_chat_templates")
    ):
        return True
    try:
        return bool(json.loads(config.read_text(encoding="utf-8")).get("chat_template"))
    except ValueError:
        return None
