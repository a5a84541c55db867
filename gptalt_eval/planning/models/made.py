"""A model from the facts in its YAML."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from gptalt_eval.contract.errors import GptaltError, did_you_mean
from gptalt_eval.contract.handed import is_bare
from gptalt_eval.contract.models import MULTIMODAL, Card, Loader, Model, Template
from gptalt_eval.machine.bounds import read_file
from gptalt_eval.machine.storage import follow_links
from gptalt_eval.planning.models.fields import Facts, FieldError

LARGEST_TEMPLATE = 1 << 20  # bytes
#: the model's own system message, as templates name it
DEFAULT = "default_system"
UNSTATED = "not stated"


def make_model(name: str, facts: Mapping[str, Facts], file: Path, loaders: Mapping[str, Loader]) -> Model:
    """A model.

    Args:
        name: its name.
        facts: the values of its YAML's keys.
        file: its YAML, to which paths are relative.
        loaders: those that it may name.

    Raises:
        FieldError: facts that do not fit together.
    """
    known = {key: fact.value for key, fact in facts.items()}
    patch = known.get("delta") or known.get("adapter")
    home = known.get("home") or patch or known.get("hub") or UNSTATED
    count = known.get("parameters", 0)
    check_sight(known)
    return Model(
        name=name,
        summary=known.get("summary") or home,
        licence=known.get("licence", UNSTATED),
        home=home,
        backend=known.get("backend", "hf"),
        args=make_args(name, known, file),
        chat_template=True if "template" in known else None,
        languages=known.get("languages", ()),
        parameters=show_number(count),
        system_instruction=known.get("system"),
        aliases=known.get("aliases", ()),
        template=make_template(known, file),
        loader=find_loader(known.get("loader"), loaders),
        card=Card(
            commercial=known.get("commercial", "ask"),
            parameters=count,
            base=known.get("base", ""),
            tuning=known.get("tuning", ""),
            released=known.get("released", ""),
            editions=known.get("editions", ()),
            modality=known.get("modality", "text"),
            pictures=known.get("pictures", "several"),
            model_type=known.get("model_type", ""),
            sources=known.get("sources", ()),
            unverified=known.get("unverified", ()),
        ),
    )


def check_sight(known: Mapping[str, Any]) -> None:
    """Check that what is said about pictures is said of an image-text model, and of one loader."""
    is_multimodal = known.get("backend") == MULTIMODAL
    if known.get("modality") != "image-text":
        for key in ("pictures", *(["backend"] if is_multimodal else [])):
            if key in known:
                text = f"'{key}: {known[key]}' is for models that see pictures"
                raise FieldError(text, "Add 'modality: image-text', or remove it.", key)
    if is_multimodal and "loader" in known:
        text = f"'backend: {MULTIMODAL}' and the loader '{known['loader']}' would both load it"
        raise FieldError(text, "Remove one of them.", "backend")


def make_args(name: str, known: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """Its ``--model_args``: where its weights and its tokenizer are."""
    patches = [key for key in ("delta", "adapter") if key in known]
    if len(patches) > 1 or (patches and "hub" in known):
        text = f"'{name}' has more than one of hub, delta and adapter"
        raise FieldError(text, "A delta or an adapter belongs to 'base'; 'hub' is a whole model.", patches[0])
    if patches and "base" not in known:
        text = f"'{name}' has no 'base', to which its {patches[0]} is added"
        raise FieldError(text, "Add a line such as 'base: huggyllama/llama-7b'.", patches[0])
    named = {
        "pretrained": known.get("base" if patches else "hub"),
        "delta": known.get("delta"),
        "peft": known.get("adapter"),
        "tokenizer": known.get("tokenizer"),
        "revision": known.get("revision"),
    }
    return {key: find_path(value, file) for key, value in named.items() if value not in (None, "main")}


def find_path(place: str, file: Path) -> str:
    """A hub id as it is; a path that begins with a dot is relative to the YAML."""
    return str(follow_links(file.parent / place)) if place.startswith(("./", "../")) else place


def make_template(known: Mapping[str, Any], file: Path) -> Template | None:
    if "template" not in known:
        idle = [key for key in known if key.startswith(("stop", "system_place", "template_"))]
        if idle:
            raise FieldError(f"'{idle[0]}' has no effect without 'template'", "Add it.", idle[0])
        return None
    return Template(
        jinja=add_system(read_template(known["template"], file), known.get("system")),
        system_place=known.get("system_place", "own"),
        stop=known.get("stop", ()),
        stop_token_ids=known.get("stop_token_ids", ()),
        source=known.get("template_source", ""),
        notes=known.get("template_notes", ""),
    )


def read_template(text: str, file: Path) -> str:
    """The text of a chat template, or of the file that it names, which is beside the YAML."""
    if not text.endswith(".jinja") or "\n" in text:
        return text
    if not is_bare(text):
        raise FieldError(f"'{text}' is not the name of a file beside {file.name}", key="template")
    beside = file.parent / text
    try:
        return read_file(beside, LARGEST_TEMPLATE).decode("utf-8")
    except FileNotFoundError:
        hint = did_you_mean(text, [other.name for other in file.parent.glob("*.jinja")])
        raise FieldError(f"there is no file {text} beside {file.name}", hint, "template") from None
    except (OSError, ValueError) as error:
        raise FieldError(f"{beside} cannot be read: {error}", key="template") from error


def add_system(jinja: str, system: str | None) -> str:
    """A template with the model's own system message, if it names that."""
    if DEFAULT not in jinja:
        return jinja
    if system is None:
        raise FieldError(f"the template names {DEFAULT}, but there is no 'system'", "Add it.", "template")
    return f"{{%- set {DEFAULT} = {json.dumps(system, ensure_ascii=False)} -%}}\n{jinja}"


def show_number(count: int) -> str:
    """A number of parameters in words: 6738415616 as ``6.7B``; empty: unknown."""
    for unit, size in (("T", 10**12), ("B", 10**9), ("M", 10**6)):
        if count >= size:
            return f"{count / size:.2g}{unit}" if count / size < 10 else f"{count / size:.0f}{unit}"
    return str(count or "")


def find_loader(name: str | None, loaders: Mapping[str, Loader]) -> Loader | None:
    """The loader with this name; one that is not installed says so before anything is loaded."""
    if name is None or name in loaders:
        return loaders[name] if name else None
    error = GptaltError(
        f"The loader '{name}' is not installed.",
        did_you_mean(name, loaders) or "Install or update the plugin that has it.",
    )

    def refuse() -> NoReturn:
        raise error

    def check(folder: Path, args: Mapping[str, Any]) -> Iterator[GptaltError]:
        yield error

    return Loader(name, "not installed", refuse, lambda config: None, check)
