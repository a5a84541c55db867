"""``gptalt-eval ls models``: the models, filtered by what is published about them."""

from __future__ import annotations

import argparse
import re
from dataclasses import asdict

from gptalt_eval.commands.model_page import WIDTHS, say_sight
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.models import MULTIMODAL, Model
from gptalt_eval.contract.types import Owned
from gptalt_eval.planning.candidates import check_language
from gptalt_eval.planning.catalog import LM_EVAL, Catalog
from gptalt_eval.planning.models.fields import UNITS

SIZE = re.compile(r"\s*(<=|>=|<|>|)\s*(\d+(?:\.(\d+))?)\s*([MBT])\s*", re.IGNORECASE)
ANY = tuple(
    Model(name, f"any {kind} model of transformers: --model_args pretrained=<hub id or folder>", "", "", name)
    for name, kind in (("hf", "text"), (MULTIMODAL, "image-text"))
)


def choose_models(catalog: Catalog, arguments: argparse.Namespace) -> list[Owned[Model]]:
    """The models that meet ``--language``, ``--size`` and ``--commercial``.

    Raises:
        GptaltError: no model has the language, or the size cannot be read.
    """
    listed = [owned for _, owned in sorted(catalog.models.items())] + [Owned(model, LM_EVAL) for model in ANY]
    check_language(arguments.language, [owned.item for owned in listed])
    lowest, highest = read_size(arguments.size) if arguments.size else (0.0, float("inf"))
    found = []
    for owned in listed:
        model, card = owned.item, owned.item.card
        speaks = not arguments.language or arguments.language in model.languages
        fits = not arguments.size or (card is not None and lowest <= card.parameters < highest)
        allowed = not arguments.commercial or (card is not None and card.commercial == "yes")
        if speaks and fits and allowed:
            found.append(owned)
    return found


def read_size(text: str) -> tuple[float, float]:
    """Numbers of parameters from the first to just below the second; ``7B`` is what rounds to it.

    Raises:
        GptaltError: it is not a size.
    """
    matched = SIZE.fullmatch(text)
    if matched is None:
        text = f"--size {text}: that is not a number of parameters."
        raise GptaltError(text, "Write it like this: --size 7B, or in quotes: --size '<10B'")
    sign, number, decimals, unit = matched.groups()
    size = round(float(number) * UNITS[unit.upper()])
    half = UNITS[unit.upper()] / 10 ** len(decimals or "") / 2
    ranges = {
        "<": (1.0, size),  # 0: unknown
        "<=": (1.0, size + 1),
        ">": (size + 1, float("inf")),
        ">=": (size, float("inf")),
        "": (size - half, size + half),
    }
    return ranges[sign]


def make_row(owned: Owned[Model]) -> dict[str, str]:
    model = owned.item
    sight = say_sight(model).partition(",")[0]
    return {
        "name": model.name,
        "size": model.parameters,
        "languages": ", ".join(model.languages),
        "commercial": model.card.commercial if model.card else "",
        "licence": model.licence,
        "from": str(owned.owner),
        "what": f"{model.summary}, {sight}" if model.card and sight else model.summary,
    }


def make_facts(owned: Owned[Model]) -> dict[str, object]:
    """All that is known about a model, for programs; sizes in GiB."""
    model, card = owned.item, owned.item.card
    memory = {name: round(card.measure_weights(bits), 2) for name, bits in WIDTHS.items()} if card else {}
    return {
        "name": model.name,
        "aliases": list(model.aliases),
        "what": model.summary,
        "from": str(owned.owner),
        "licence": model.licence,
        "commercial": card.commercial if card else None,
        "languages": list(model.languages),
        "parameters": (card.parameters if card else 0) or None,
        "memory": memory if card and card.parameters else {},
        "base": card.base if card else "",
        "tuning": card.tuning if card else "",
        "released": card.released if card else "",
        "modality": "image-text" if model.sees_pictures else "text",
        "pictures": (card.pictures if card else "several") if model.sees_pictures else "",
        "editions": list(card.editions) if card else [],
        "sources": list(card.sources) if card else [],
        "unverified": list(card.unverified) if card else [],
        "hub": str(model.args.get("pretrained", "")),
        "home": model.home,
        "loader": model.loader.name if model.loader else "",
        "system": model.system_instruction,
        "template": asdict(model.template) if model.template else None,
    }
