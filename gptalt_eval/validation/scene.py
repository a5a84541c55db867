"""What every check of a definition needs, and how it reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gptalt_eval.contract.errors import did_you_mean
from gptalt_eval.planning.index import Function
from gptalt_eval.validation.findings import Findings, Level
from gptalt_eval.validation.sources import OPEN, Module, Signature, Sources
from gptalt_eval.validation.vocabulary import Vocabulary
from gptalt_eval.validation.yamlmap import Definition, Steps


@dataclass(frozen=True)
class Scene:
    """What every check of a definition needs.

    Attributes:
        definition: the task or group.
        findings: collects the problems.
        vocabulary: the names that lm-eval knows.
        sources: reads Python modules without running them.
    """

    definition: Definition
    findings: Findings
    vocabulary: Vocabulary
    sources: Sources
    modules: dict[str, Module | None] = field(default_factory=dict)

    @property
    def config(self) -> Mapping[str, Any]:
        return self.definition.config

    def report(
        self, rule: str, message: str, *steps: str | int, of_key: bool = False, level: Level | None = None
    ) -> None:
        self.findings.add(rule, message, self.definition.place(*steps, of_key=of_key), level)

    def refuse_unknown(
        self, rule: str, what: str, name: str, known: Iterable[str], steps: Steps, of_key: bool = False
    ) -> None:
        """Report a name that is not known, with the nearest known ones."""
        names = list(known)
        hint = did_you_mean(name, names) or (f"Known: {', '.join(names)}." if len(names) < 16 else "")
        self.report(rule, f"There is no {what} '{name}'. {hint}", *steps, of_key=of_key)

    def list_registered(self, decorator: str) -> set[str]:
        """The names that this definition's modules register with lm-eval when they are loaded."""
        modules = [module for module in self.modules.values() if module is not None]
        return {name for module in modules for name in module.registered.get(decorator, ())}

    def find_signature(self, function: Function) -> Signature:
        module_name, _, name = function.name.rpartition(".")
        module = self.sources.find(module_name, function.file.parent) if module_name else None
        return module.find_signature(name) if module else OPEN
