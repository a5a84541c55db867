"""Checks a model before its weights are loaded."""

from __future__ import annotations

import difflib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gptalt_eval.contract.errors import GptaltError, UnknownNameError
from gptalt_eval.contract.spec import RunSpec
from gptalt_eval.contract.types import Model
from gptalt_eval.machine.hub import can_reach_hub, is_in_hub_cache

HF_BACKENDS = ("hf", "hf-auto", "huggingface", "hf-multimodal")
GGUF_MAGIC = b"GGUF"


def merge_model_args(model: Model, spec: RunSpec) -> dict[str, Any]:
    """The model's own arguments, overridden by the user's."""
    args = {**model.args, **spec.model_args}
    if spec.trust_remote_code:
        args["trust_remote_code"] = True
    return args


def check_weights(model: Model, spec: RunSpec) -> None:
    """Check that the weights are available.

    Raises:
        GptaltError: no weights named, no such folder, a damaged GGUF, or neither in the cache nor on the hub.
    """
    if model.check is not None:
        model.check()
    if model.fetch is not None or model.create is not None or model.backend not in HF_BACKENDS:
        return
    args = merge_model_args(model, spec)
    pretrained = args.get("pretrained")
    if not pretrained:
        text = f"--model {model.name} needs weights to load."
        raise GptaltError(text, "Add --model_args pretrained=<hub id or folder>, or try --model smollm2.")
    folder = Path(str(pretrained)).expanduser()
    if folder.is_dir():
        check_folder(folder, args)
    elif str(pretrained).startswith((".", "/", "~")) or str(pretrained).count("/") > 1:
        close = difflib.get_close_matches(folder.name, [path.name for path in folder.parent.glob("*")], 1)
        hint = (
            f"Did you mean '{folder.parent / close[0]}'?"
            if close
            else "Give the folder that contains config.json."
        )
        raise UnknownNameError(f"There is no model folder {pretrained}.", hint)
    elif not is_in_hub_cache(str(pretrained), "models") and not can_reach_hub():
        raise GptaltError(
            f"The weights of '{pretrained}' are not on this computer, and the hub cannot be reached.",
            "Set HF_ENDPOINT to a mirror, give a local folder as pretrained=..., or try --model smollm2.",
        )


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


def check_folder(folder: Path, args: Mapping[str, Any]) -> None:
    gguf = args.get("gguf_file")
    if gguf:
        check_gguf(folder / str(gguf))
    elif not (folder / "config.json").is_file():
        raise GptaltError(
            f"{folder} does not contain a model: config.json is missing.",
            "Give a folder saved by transformers.",
        )


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
    """Refuse ``--apply_chat_template`` if the model is known to have no chat template."""
    if not spec.apply_chat_template:
        return
    if has_chat_template(model, spec) is False:
        flag = "--prompt_style" if spec.prompt_style else "--apply_chat_template"
        raise GptaltError(
            f"{flag}: '{spec.model}' has no chat template.",
            "Omit the flag, or choose a chat model: gptalt-eval ls models",
        )


def has_chat_template(model: Model, spec: RunSpec) -> bool | None:
    """Whether the model's tokenizer has a chat template; None if that is unknown before loading it."""
    if model.chat_template is not None:
        return model.chat_template
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
