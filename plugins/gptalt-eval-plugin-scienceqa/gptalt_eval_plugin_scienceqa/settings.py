"""How questions are asked: what ``--metadata``, or a flag of this plugin, can say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any

from gptalt_eval import GptaltError
from gptalt_eval_plugin_scienceqa.formats import DEFAULT, FORMATS

SHOTS = ("same", "per_question")
BAD_ROWS = ("refuse", "leave_out")
SEEN = ("", "one", "several")
SUBSETS = ("", "img", "txt")
NEAR = 0.8  # how similar a name is that was meant to be another


@dataclass(frozen=True)
class Settings:
    """How questions are asked.

    Attributes:
        prompt_format: one of the release's formats.
        use_caption: whether the caption is in the context, in place of the picture.
        shot_qids: the examples, by their numbers in the release; empty: drawn from train.
        shots: ``same`` examples for all questions, or others for each (``per_question``).
        bad_rows: whether questions with a fault are refused, or left out and counted.
        pictures: how many pictures a prompt may have: ``one``, ``several``; empty: the model sees none.
        subset: ``img``: questions with a picture; ``txt``: those without; empty: all.
    """

    prompt_format: str = DEFAULT
    use_caption: bool = False
    shot_qids: tuple[str, ...] = ()
    shots: str = "same"
    bad_rows: str = "refuse"
    pictures: str = ""
    subset: str = ""


def read_settings(metadata: Mapping[str, Any]) -> Settings:
    """The settings in a task's metadata.

    Raises:
        GptaltError: a value is none of those that are possible.
    """
    check_names(metadata)
    choices = {
        "prompt_format": FORMATS, "shots": SHOTS, "bad_rows": BAD_ROWS, "pictures": SEEN, "subset": SUBSETS
    }  # fmt: skip
    found = {name: read_choice(name, metadata.get(name), known) for name, known in choices.items()}
    chosen = {name: value for name, value in found.items() if value is not None}
    return Settings(
        **chosen,
        use_caption=read_flag("use_caption", metadata.get("use_caption")),
        shot_qids=read_names(metadata.get("shot_qids")),
    )


def check_names(metadata: Mapping[str, Any]) -> None:
    """Check that no entry is nearly one of ours: other tasks and models have entries there too.

    Raises:
        GptaltError: one is.
    """
    known = [field.name for field in fields(Settings)]
    for name in metadata:
        near = [] if name in known else get_close_matches(name, known, 1, NEAR)
        if near:
            raise GptaltError(f"ScienceQA knows no setting '{name}'.", f"Did you mean {near[0]}?")


def read_choice(name: str, value: object, known: tuple[str, ...]) -> str | None:
    if value is None:
        return None
    if value in known:
        return str(value)
    near = get_close_matches(str(value).upper() if known is FORMATS else str(value), known, 1)
    hint = f"Did you mean {near[0]}?" if near else f"Possible: {', '.join(filter(None, known))}."
    raise GptaltError(f"ScienceQA knows no {name} '{value}'.", hint)


def read_flag(name: str, value: object) -> bool:
    if value in (None, False, True):
        return bool(value)
    if str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    raise GptaltError(f"ScienceQA: {name} is '{value}'.", "It is true or false.")


def read_names(value: object) -> tuple[str, ...]:
    """Numbers of questions: a list, or separated by commas or blanks."""
    if value in (None, ""):
        return ()
    listed = value if isinstance(value, (list, tuple)) else str(value).replace(",", " ").split()
    names = tuple(str(each) for each in listed)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise GptaltError(f"shot_qids has question {twice[0]} twice.", "Give each example once.")
    return names
