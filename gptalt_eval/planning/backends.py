"""lm-eval's model classes: what ``--model_args`` each takes, which packages and which key it needs."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.models import Model

FILE = Path(__file__).with_name("lm_eval_models.json")  # tests/read_lm_eval.py writes it
ENGINES = ("vllm", "sglang")  # each wants its own torch, so it has its own constraints
SERVED_BACKENDS = ("local-completions", "local-chat-completions")
SERVED_ARGUMENTS = ("requests_per_minute",)  # our own
HF_BACKENDS = ("hf", "hf-auto", "huggingface", "hf-multimodal")


@dataclass(frozen=True)
class Backend:
    """One of lm-eval's model classes.

    Attributes:
        arguments: its own ``--model_args``.
        is_open: whether it takes others too, to pass on or to ignore.
        packages: the modules that it imports.
        key: the environment variable that must contain a key; empty: none.
    """

    arguments: tuple[str, ...]
    is_open: bool
    packages: tuple[str, ...]
    key: str


def load_backends() -> dict[str, Backend]:
    stored = json.loads(FILE.read_text(encoding="utf-8"))["models"]
    return {
        name: Backend(tuple(item["arguments"]), item["is_open"], tuple(item["packages"]), item["key"])
        for name, item in stored.items()
    }


def load_loading_arguments() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What transformers' ``from_pretrained`` takes, and settings of models that resemble one of these."""
    stored = json.loads(FILE.read_text(encoding="utf-8"))
    return tuple(stored["loading"]), tuple(stored["lookalikes"])


def find_near(name: str, known: Iterable[str]) -> list[str]:
    """The names of which this one can be a misspelling, best first; only clear cases."""
    words = [word for word in dict.fromkeys(known) if word[:1] == name[:1].lower()]
    swapped = [word for word in words if sorted(word) == sorted(name.lower())]
    return list(dict.fromkeys([*swapped, *get_close_matches(name.lower(), words, 2, 0.82)]))[:2]


def check_backend(model: Model, args: Mapping[str, Any], settings: Iterable[str]) -> Iterator[GptaltError]:
    """All that a model class would complain about when it is made.

    Args:
        model: the model; one that its plugin builds is not checked.
        args: its merged arguments.
        settings: the keys of the model's own configuration, which are arguments too.
    """
    backend = load_backends().get(model.backend)
    if backend is None or model.create is not None:
        return
    yield from check_names(model.backend, backend, args, settings)
    missing = [name for name in backend.packages if importlib.util.find_spec(name) is None]
    if missing:
        text = f"--model {model.backend} needs packages that are not installed: {', '.join(missing)}."
        yield GptaltError(text, f"Type: pip install {name_wanted(missing)}")
    if backend.key and not os.environ.get(backend.key):
        text = f"--model {model.backend} needs a key in the environment variable {backend.key}."
        yield GptaltError(text, f"Type: export {backend.key}=...")


def name_wanted(missing: Sequence[str]) -> str:
    """What to give to ``pip install`` for these packages."""
    engine = next((name for name in ENGINES if name in missing), "")
    if engine:
        return f"-c constraints-{engine}.txt '.[{engine}]'"
    extra = find_extra(missing)
    return f"'lm-eval[{extra}]'" if extra else " ".join(missing)


def check_names(
    name: str, backend: Backend, args: Mapping[str, Any], settings: Iterable[str]
) -> Iterator[GptaltError]:
    """Misspelt arguments. Others are passed on to the model's loader, which knows many more."""
    loading, lookalikes = load_loading_arguments() if name in HF_BACKENDS else ((), ())
    own = SERVED_ARGUMENTS if name in SERVED_BACKENDS else ()
    known = (*backend.arguments, *own, *loading, *settings)
    for key in args if backend.arguments else ():
        if key in known or key in lookalikes:
            continue
        near = find_near(key, known)
        if near:
            hint = f"Did you mean {' or '.join(map(repr, near))}?"
            yield GptaltError(f"--model_args {key}=...: '{name}' has no argument '{key}'.", hint)
        elif not backend.is_open:
            hint = f"Its arguments: {', '.join(backend.arguments)}."
            yield GptaltError(f"--model_args {key}=...: '{name}' has no argument '{key}'.", hint)


def find_extra(packages: Iterable[str]) -> str:
    """The extra of lm-eval that installs most of these packages; empty: none does."""
    wanted = {package.replace("_", "-").lower() for package in packages}
    found: dict[str, set[str]] = {}
    for requirement in importlib.metadata.requires("lm_eval") or ():
        matched = re.match(r"([\w.-]+).*;.*extra == [\"']([\w-]+)[\"']", requirement)
        if matched and matched[1].replace("_", "-").lower() in wanted:
            found.setdefault(matched[2], set()).add(matched[1])
    found.pop("dev", None)
    return max(found, key=lambda extra: len(found[extra]), default="")
