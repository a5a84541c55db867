"""Which repositories a model's arguments name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.handed import is_bare
from gptalt_eval.machine.hub import read_endpoint

KEYS = ("pretrained", "tokenizer", "peft", "delta")  # arguments that name a folder or a repository
MODELSCOPE = "modelscope:"
ID = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)
NOUNS = {"tokenizer": "tokenizer", "peft": "adapter"}


@dataclass(frozen=True)
class Source:
    """A repository with a model's files.

    Attributes:
        key: the argument that names it: one of ``KEYS``.
        id: its name, ``OWNER/NAME`` or ``NAME``.
        revision: a branch, tag or commit; empty: the site's default branch.
        is_modelscope: whether it is on ModelScope; else it is on the hub or a mirror of it.
        token: the token that the arguments give; None: that of the environment.
    """

    key: str
    id: str
    revision: str = "main"
    is_modelscope: bool = False
    token: str | None = None

    @property
    def page(self) -> str:
        """Its page, on the hub or the mirror that is used."""
        site = "https://www.modelscope.cn/models" if self.is_modelscope else read_endpoint().geturl()
        return f"{site.rstrip('/')}/{self.id}"

    @property
    def noun(self) -> str:
        """What is in it, as messages call it."""
        return NOUNS.get(self.key, "model")


def list_sources(args: Mapping[str, Any]) -> Iterator[Source]:
    """The repositories that arguments name; folders on this computer are left out.

    Raises:
        GptaltError: a name or revision that no repository can have.
    """
    for key in KEYS:
        place = args.get(key)
        if place and not is_local(str(place)):
            yield make_source(key, str(place), args)


def is_local(place: str) -> bool:
    """Whether text names a folder of this computer, even one that does not exist."""
    if place.startswith(MODELSCOPE):
        return False
    is_path = place.startswith((".", "/", "~", "\\")) or (os.sep != "/" and os.sep in place)
    return is_path or place.count("/") > 1 or Path(place).expanduser().is_dir()


def make_source(key: str, place: str, args: Mapping[str, Any]) -> Source:
    name = place.removeprefix(MODELSCOPE)
    is_modelscope = name != place
    revision = str(args.get("revision") or ("" if is_modelscope else "main"))
    if not ID.fullmatch(name) or ".." in name or "--" in name or (is_modelscope and "/" not in name):
        raise GptaltError(
            f"--model_args {key}={place}: no repository can have this name.",
            "Give OWNER/NAME, as on its page, or a folder.",
        )
    if revision and not all(map(is_bare, revision.split("/"))):
        raise GptaltError(
            f"--model_args revision={revision}: no revision can have this name.",
            "Give a branch, a tag or a commit.",
        )
    token = args.get("token")
    return Source(key, name, revision, is_modelscope, str(token) if isinstance(token, str) else None)
