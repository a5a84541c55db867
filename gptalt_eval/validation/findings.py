"""What a check reports: findings, each with its rule, level and place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Level = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Place:
    """Where in a file; lines and columns count from 1."""

    file: Path
    line: int = 1
    column: int = 1


@dataclass(frozen=True)
class Rule:
    """A kind of finding: its usual level and a general description."""

    level: Level
    summary: str


RULES = {
    "runs-code": Rule("note", "It runs Python code, which a run asks about first."),
    "reads-files": Rule("note", "It reads what is outside of its folder, which a run asks about first."),
    "replaces-task": Rule("note", "It has the name of one of lm-eval's tasks."),
    "bad-model": Rule("error", "A model's YAML that cannot be used."),
    "syntax-error": Rule("error", "The file is not YAML that lm-eval can read."),
    "duplicate-key": Rule("warning", "A key appears twice; YAML keeps only the last value."),
    "unknown-field": Rule("error", "A field that lm-eval does not know."),
    "wrong-type": Rule("error", "A field has a value of the wrong type."),
    "bad-value": Rule("error", "A value is out of range."),
    "missing-include": Rule("error", "An included file does not exist."),
    "include-cycle": Rule("error", "A file includes itself, or is included twice."),
    "missing-field": Rule("error", "A required field is missing."),
    "missing-split": Rule("error", "There is no split to evaluate."),
    "unknown-split": Rule("error", "A split that the data does not have."),
    "unknown-metric": Rule("error", "A metric that lm-eval does not know."),
    "metric-not-computed": Rule("error", "A metric that lm-eval does not compute for this output type."),
    "unknown-aggregation": Rule("error", "An aggregation that lm-eval does not know."),
    "unknown-filter": Rule("error", "A filter that lm-eval does not know."),
    "unknown-sampler": Rule("error", "A few-shot sampler that lm-eval does not know."),
    "unknown-output-type": Rule("error", "An output type that lm-eval does not know."),
    "unknown-argument": Rule("error", "An argument that the metric or filter does not have."),
    "missing-argument": Rule("error", "A required argument of the filter is missing."),
    "bad-pattern": Rule("error", "A regular expression that does not compile."),
    "missing-until": Rule("warning", "Nothing says where generated text ends."),
    "missing-temperature": Rule("error", "Sampling without a temperature."),
    "unknown-generation-key": Rule("error", "A generation setting that no backend knows."),
    "unused-field": Rule("warning", "A field that has no effect here."),
    "missing-module": Rule("error", "The module of a !function does not exist."),
    "missing-function": Rule("error", "The module of a !function does not define that name."),
    "unknown-member": Rule("error", "A group names a task that does not exist."),
    "group-cycle": Rule("error", "A group contains itself."),
    "data-not-found": Rule("error", "A data file that the task names does not exist."),
    "data-unreadable": Rule("error", "A data file is damaged."),
    "data-elsewhere": Rule("note", "There are no rows, so only the syntax of templates was checked."),
    "template-syntax": Rule("error", "A Jinja template that does not parse."),
    "undefined-column": Rule("error", "A column that the data does not have."),
    "template-error": Rule("error", "A template fails on a real row."),
    "choices-not-list": Rule("error", "doc_to_choice does not produce a list of strings."),
    "too-few-choices": Rule("error", "There are fewer than two choices."),
    "equal-choices": Rule("error", "Two choices are equal."),
    "empty-choice": Rule("error", "A choice is empty."),
    "target-out-of-range": Rule("error", "The target is not an index into the choices."),
    "target-not-in-choices": Rule("error", "The target is not one of the choices."),
    "number-as-index": Rule("error", "A number is taken for the index of a choice."),
    "mixed-targets": Rule("error", "Some targets are lists and others are not."),
    "empty-prompt": Rule("error", "The prompt is empty."),
    "own-answer": Rule("error", "The row that is scored can be among its own examples."),
    "too-few-examples": Rule("error", "There are fewer few-shot examples than requested."),
    "fewshot-is-test": Rule("warning", "Few-shot examples come from the split that is evaluated."),
    "fewshot-in-test": Rule("warning", "Rows of the few-shot split are also evaluated."),
    "fewshot-split-missing": Rule(
        "warning", "Few-shot examples are requested, but no split for them is named."
    ),
    "run-together": Rule("warning", "Prompt and answer are joined without a space."),
    "doubled-space": Rule(
        "warning", "Prompt and answer are joined by two spaces, which are tokenized differently from one."
    ),
}


@dataclass(frozen=True)
class Finding:
    """One problem and its place."""

    rule: str
    level: Level
    message: str
    place: Place


@dataclass(frozen=True)
class Report:
    """The findings in one file and the files that it includes.

    Attributes:
        target: the file.
        findings: sorted by file, line and column.
    """

    target: Path
    findings: tuple[Finding, ...] = ()

    def count(self, level: Level) -> int:
        return sum(finding.level == level for finding in self.findings)


class Findings:
    """Collects the findings of one file; duplicates are dropped."""

    def __init__(self) -> None:
        self._found: dict[Finding, None] = {}

    def add(self, rule: str, message: str, place: Place, level: Level | None = None) -> None:
        """Add a finding. ``level`` overrides the usual level of its rule."""
        self._found[
            Finding(rule, level or RULES[rule].level, " ".join(message.splitlines()).strip(), place)
        ] = None

    def sorted(self) -> tuple[Finding, ...]:
        def key(finding: Finding) -> tuple[str, int, int, str]:
            return str(finding.place.file), finding.place.line, finding.place.column, finding.rule

        return tuple(sorted(self._found, key=key))


def gather_distinct(reports: Iterable[Report]) -> list[Finding]:
    """The findings of several reports; those in files that several tasks include appear only once."""
    return list(dict.fromkeys(finding for report in reports for finding in report.findings))
