"""What is wrong with a model's YAML."""

from __future__ import annotations

from pathlib import Path

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.planning.catalog import Catalog
from gptalt_eval.planning.models.reader import read_models
from gptalt_eval.validation.chats import NoConversation, check_template
from gptalt_eval.validation.findings import Finding, Findings, Place

RULE = "bad-model"


def find_model_faults(file: Path, catalog: Catalog) -> tuple[Finding, ...]:
    """All faults of a YAML with models: its keys and values, and what its chat templates render."""
    findings = Findings()
    described = read_models(file, {name: owned.item for name, owned in catalog.loaders.items()})
    for fault in described.faults:
        text = f"{fault.text[0].upper()}{fault.text[1:]} {fault.hint}"
        findings.add(RULE, text, Place(file, fault.line, fault.column))
    for model in described.models:
        try:
            check_template(model)
        except NoConversation:
            continue
        except GptaltError as error:
            place = described.templates.get(model.name, (1, 1))
            findings.add(RULE, f"{error.what} {error.hint}", Place(file, *place))
    return findings.sorted()
