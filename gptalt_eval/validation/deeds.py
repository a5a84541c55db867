"""What a run would do besides asking questions: told here, and asked about at a run."""

from __future__ import annotations

from pathlib import Path

from gptalt_eval.machine.storage import follow_links
from gptalt_eval.planning.catalog import Catalog
from gptalt_eval.planning.consent.deeds import Deeds
from gptalt_eval.validation.findings import Findings, Place
from gptalt_eval.validation.scene import Scene


def note_deeds(findings: Findings, deeds: Deeds) -> None:
    for deed in deeds.found:
        rule = "runs-code" if deed.text.startswith("runs") else "reads-files"
        text = f"A run asks for consent: it {deed.text}."
        findings.add(rule, text, Place(deed.file, deed.line))


def reads_more(deeds: Deeds) -> bool:
    """Whether its rows are files that it may not simply read; then they are not looked at here either."""
    return any(deed.text.startswith("reads") for deed in deeds.found)


def note_replaced(scene: Scene, catalog: Catalog) -> None:
    """A task with the name of one of lm-eval's takes its place."""
    name = scene.config.get("group") or scene.config.get("task")
    entry = catalog.lm_eval_tasks.get(name) if isinstance(name, str) else None
    file: Path = scene.definition.main.file
    if entry is not None and (entry.file is None or follow_links(entry.file) != follow_links(file)):
        text = f"It overrides {name}: lm-eval has a task of that name."
        scene.findings.add("replaces-task", text, scene.definition.place_name())
