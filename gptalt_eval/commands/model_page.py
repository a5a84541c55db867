"""The details of a model, for ``gptalt-eval show model``."""

from __future__ import annotations

from collections.abc import Mapping

from gptalt_eval.contract.models import PLACES, Card, Model, Template
from gptalt_eval.contract.types import Owned
from gptalt_eval.validation.chats import show_example

WIDTHS: Mapping[str, int] = {"fp32": 32, "fp16": 16, "8-bit": 8, "4-bit": 4}


def list_facts(owned: Owned[Model]) -> dict[str, str]:
    """What is known about a model; empty texts are not shown."""
    model = owned.item
    where = " --model_args pretrained=FOLDER" if model.loader and "pretrained" not in model.args else ""
    facts = {
        "Model": f"{model.name}: {model.summary}",
        "Also called": ", ".join(model.aliases),
        "From": str(owned.owner),
        "Parameters": model.parameters,
        "Pictures": say_sight(model),
        "Languages": ", ".join(model.languages),
        "Licence": model.licence,
        "Published": model.home,
        **(list_card(model.card) if model.card else {}),
        "Chat template": {True: "yes", False: "no", None: "known after loading"}[model.chat_template],
        **(list_prompt(model.template) if model.template else {}),
        "Arguments": ", ".join(f"{key}={value}" for key, value in model.args.items()),
        "Loader": model.loader.summary if model.loader else "",
        "Try": f"gptalt-eval --model {model.name} --tasks piqa --data_dir sample{where}",
    }
    if not model.is_loadable:
        facts["Try"] = "it cannot be run: nothing here loads its files"
    return facts


def say_sight(model: Model) -> str:
    """How many pictures a prompt for a model may have; empty: it sees none."""
    if not model.sees_pictures:
        return ""
    is_one = model.card is not None and model.card.pictures == "one"
    return "sees one picture a prompt" if is_one else "sees pictures, several in a prompt"


def list_card(card: Card) -> dict[str, str]:
    sizes = (f"{bits} {card.measure_weights(width):.1f} GiB" for bits, width in WIDTHS.items())
    return {
        "Commercial use": {"yes": "yes", "no": "no", "ask": "ask its publisher"}[card.commercial],
        "Weights take": ", ".join(sizes) if card.parameters else "",
        "Base": card.base,
        "Tuned on": card.tuning,
        "Released": card.released,
        "Editions": ", ".join(card.editions),
        "Sources": "; ".join(card.sources),
        "Unverified": "; ".join(card.unverified),
    }


def list_prompt(template: Template) -> dict[str, str]:
    return {
        "Template from": template.source,
        "Template notes": template.notes,
        "System text": PLACES[template.system_place],
        "Answers end at": ", ".join(map(repr, [*template.stop, *template.stop_token_ids])),
    }


def render_example(model: Model) -> str:
    """A conversation of two turns under its heading; empty: only the tokenizer knows the template.

    The template of a judge, which takes no conversation, is shown by its notes alone.
    """
    if model.template is None or model.template.system_place == "nowhere":
        return ""
    line = "-" * 60
    return f"\n\nTwo turns ({{bos}} and {{eos}} are its own tokens):\n{line}\n{show_example(model)}\n{line}"
