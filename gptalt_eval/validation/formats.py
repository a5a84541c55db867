"""Findings as text for people, JSON for programs, and SARIF for editors and code hosts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gptalt_eval.validation.findings import RULES, Finding, Level, Report, gather_distinct

LEVELS: tuple[Level, ...] = ("error", "warning", "note")
MAX_UNTRIED = 5  # notes which only say that there are no rows; more than these become one line
SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def format_text(reports: Sequence[Report]) -> str:
    """One line per finding, one for each file without findings, and a last one with the counts."""
    findings = gather_distinct(reports)
    untried = [finding for finding in findings if finding.rule == "data-elsewhere"]
    is_many = len(untried) > MAX_UNTRIED
    lines = [
        format_finding(finding) for finding in findings if not (is_many and finding.rule == "data-elsewhere")
    ]
    lines += [f"{show_path(report.target)}: no problems found" for report in reports if not report.findings]
    if is_many:
        lines.append(f"{len(untried)} files: there are no rows, so only the syntax of templates was checked")
    return "\n".join([*lines, format_counts(reports)])


def format_finding(finding: Finding) -> str:
    place = finding.place
    where = f"{show_path(place.file)}:{place.line}:{place.column}"
    return f"{where}: {finding.level}: {finding.message} [{finding.rule}]"


def format_counts(reports: Sequence[Report]) -> str:
    findings = gather_distinct(reports)
    counts = {level: sum(finding.level == level for finding in findings) for level in LEVELS}
    parts = [f"{number} {level}{'' if number == 1 else 's'}" for level, number in counts.items()]
    return f"{len(reports)} file{'' if len(reports) == 1 else 's'}: {', '.join(parts)}"


def make_json(reports: Sequence[Report]) -> list[dict[str, Any]]:
    """A list of {file, findings}, ready for ``json.dumps``."""
    return [
        {"file": show_path(report.target), "findings": [describe(finding) for finding in report.findings]}
        for report in reports
    ]


def describe(finding: Finding) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "level": finding.level,
        "message": finding.message,
        "file": show_path(finding.place.file),
        "line": finding.place.line,
        "column": finding.place.column,
    }


def make_sarif(reports: Sequence[Report]) -> dict[str, Any]:
    """A SARIF 2.1.0 log (OASIS, 2020) with one run."""
    from gptalt_eval.machine.version import __version__

    findings = gather_distinct(reports)
    used = sorted({finding.rule for finding in findings})
    driver = {
        "name": "gptalt-eval validate",
        "version": __version__,
        "rules": [
            {
                "id": rule,
                "shortDescription": {"text": RULES[rule].summary},
                "defaultConfiguration": {"level": RULES[rule].level},
            }
            for rule in used
        ],
    }
    results = [make_result(finding, used.index(finding.rule)) for finding in findings]
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def make_result(finding: Finding, rule_index: int) -> dict[str, Any]:
    place = finding.place
    location = {
        "artifactLocation": {"uri": make_uri(place.file)},
        "region": {"startLine": place.line, "startColumn": place.column},
    }
    return {
        "ruleId": finding.rule,
        "ruleIndex": rule_index,
        "level": finding.level,
        "message": {"text": finding.message},
        "locations": [{"physicalLocation": location}],
    }


def make_uri(file: Path) -> str:
    """The file relative to the working directory, as code hosts expect it, percent-encoded."""
    from urllib.parse import quote

    return quote(Path(show_path(file, shorter=False)).as_posix())


def show_path(file: Path, shorter: bool = True) -> str:
    """The file relative to the working directory; with ``shorter``, as given if that is shorter."""
    try:
        relative = os.path.relpath(file)
    except ValueError:  # another drive, on Windows
        return str(file)
    return str(file) if shorter and len(str(file)) <= len(relative) else relative
