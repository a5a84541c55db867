"""``gptalt-eval models convert``: a model of 2023 in the format that transformers loads itself."""

from __future__ import annotations

import argparse
import math
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptalt_eval import GptaltError, Option, RequestErrors, UnknownNameError, parse_settings
from gptalt_eval import print_plain as print
from gptalt_eval_plugin_models.checkpoint import SIZES
from gptalt_eval_plugin_models.families import FAMILIES
from gptalt_eval_plugin_models.family import Family

if TYPE_CHECKING:
    from gptalt_eval import Installed, Model

DTYPES = ("auto", "float32", "float16", "bfloat16")
CONVERT = (
    Option(("model",), {"metavar": "NAME", "help": "name of the model"}),
    Option(("--to",), {"required": True, "type": Path, "metavar": "FOLDER", "help": "new folder"}),
    Option(
        ("--model_args",),
        {
            "default": "",
            "metavar": "KEY=VALUE,...",
            "help": "pretrained=FOLDER, and what is added to it",
        },
    ),
    Option(
        ("--dtype",),
        {"choices": DTYPES, "default": "auto", "help": "type of weights; default: as published"},
    ),
)
RESERVE = 100_000_000  # bytes that are left free beside the weights
SPECIAL = {
    "chatglm": (
        "transformers has no such model: weights keep their published names. The folder is loaded by\n"
        "    gptalt-eval --model chatglm --model_args pretrained=FOLDER\n"
    ),
    "chatglm2": (
        "ChatGLM2-6B was trained with fp16 angles of positions. transformers computes them in fp32, which\n"
        "changes fp16 logits by up to 0.25 beyond 512 tokens; gptalt-eval computes them as published.\n"
    ),
}


def run_convert(arguments: argparse.Namespace, plugins: Installed) -> int:
    args = read_args(arguments.model_args)
    from gptalt_eval import find_model  # it imports what runs need

    named = find_model(arguments.model, plugins)
    folder = find_folder(named, args)
    find_family(named)
    model = find_model(arguments.model, plugins, folder)
    check_parts(model, args)
    family, to = find_family(model), arguments.to
    if not family.standard:
        text = f"'{model.name}' cannot be converted: transformers has no such model."
        raise GptaltError(text, f"Use it as it is: --model {model.name} --model_args pretrained={folder}")
    if to.exists():
        raise GptaltError(f"{to} exists already.", "Give a new folder.")
    faults = list(family.find_faults(folder, args))
    if faults:
        raise faults[0] if len(faults) == 1 else RequestErrors(faults)
    if family.owns_converted(family.read_settings(folder)):
        raise GptaltError(
            f"{folder} was converted before.", f"Type: --model hf --model_args pretrained={folder}"
        )
    check_room(family, folder, to, arguments.dtype)
    note = convert(family, folder, args, to, arguments.dtype, model.name, model)
    print(f"Written: {to}")
    print(note, end="")
    return 0


def check_parts(model: Model, args: Mapping[str, Any]) -> None:
    """Check that all is there of a model that is made from a base and a difference or an adapter.

    Raises:
        GptaltError: only the base is named.
    """
    missing = [name for name in ("delta", "peft") if model.args.get(name) and not args.get(name)]
    if missing and not {"delta", "peft"} & args.keys():
        [name] = missing
        text = f"'{model.name}' is made from a base and {model.args[name]}, which is not named."
        raise GptaltError(text, f"Add it: --model_args pretrained={args.get('pretrained')},{name}=FOLDER")


def read_args(text: str) -> dict[str, Any]:
    try:
        return parse_settings(text)
    except ValueError as error:
        raise GptaltError(f"--model_args: {error}", "Give --model_args pretrained=FOLDER") from error


def find_family(model: Model) -> Family:
    """The family of a model.

    Raises:
        GptaltError: transformers loads it itself.
    """
    families = {family.name: family for family in FAMILIES}
    if model.loader is None or model.loader.name not in families:
        text = f"'{model.name}' needs no conversion: transformers loads its files itself."
        raise GptaltError(text, "Use it as it is: --model hf --model_args pretrained=FOLDER")
    return families[model.loader.name]


def find_folder(model: Model, args: Mapping[str, Any]) -> Path:
    """The folder with the published files.

    Raises:
        GptaltError: none is named, or it does not exist.
    """
    given = args.get("pretrained")
    if not given:
        home = f" Download {model.args['pretrained']} ({model.licence})." if model.args else ""
        raise GptaltError(
            f"The files of '{model.name}' are not named.{home}", "Add --model_args pretrained=FOLDER"
        )
    folder = Path(str(given)).expanduser()
    if not folder.is_dir():
        raise UnknownNameError(
            f"There is no model folder {folder}.", "Give the folder that contains config.json."
        )
    return folder


def check_room(family: Family, folder: Path, to: Path, dtype: str) -> None:
    """Check that the disk has room for the new folder.

    Raises:
        GptaltError: it has not.
    """
    headers = family.read_own(folder).values()
    sizes = [math.prod(each.shape) * (SIZES.get(dtype) or SIZES[each.dtype]) for each in headers]
    needed = sum(sizes) + RESERVE
    place = next(parent for parent in [to, *to.absolute().parents] if parent.exists())
    free = shutil.disk_usage(place).free
    if free < needed:
        text = f"{to} needs {needed / 1e9:.1f} GB, and its disk has {free / 1e9:.1f} GB free."
        raise GptaltError(text, "Free some, or give a folder on another disk.")


def convert(
    family: Family,
    folder: Path,
    args: Mapping[str, Any],
    to: Path,
    dtype: str,
    name: str,
    model: Model | None = None,
) -> str:
    """Write a folder for transformers, completely or not at all.

    Args:
        family: the model's family.
        folder: its published files.
        args: its arguments: what is added to them.
        to: the new folder.
        dtype: the name of the type of the weights.
        name: its name in the catalogue.
        model: its entry there.

    Returns:
        what one must know about the written folder.
    """
    from gptalt_eval_plugin_models.writing import write_model

    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=to.parent, prefix=f".{to.name}.") as made:
        new = Path(made) / "model"
        new.mkdir()
        lm = family.make_class().open(folder, args)
        template = model.template.jinja if model and model.template else None
        note = write_model(lm, name, new, dtype, template)
        text = SPECIAL.get(name, "") + note
        (new / "README.md").write_text(describe(name, model, folder, text), encoding="utf-8")
        new.rename(to)
    return text


def describe(name: str, model: Model | None, folder: Path, note: str) -> str:
    """The page of a converted folder."""
    licence = (
        f"Licence of the weights, as their publisher states it: {model.licence}"
        if model
        else ("The licence of the weights is that of the published files")
    )
    home = f"\nPublished at: {model.home}" if model and model.home else ""
    return (
        f"# {name}\n\nConverted by `gptalt-eval models convert` from the files in `{folder.name}`.\n"
        f"{licence}.{home}\n\n{note}"
    )
