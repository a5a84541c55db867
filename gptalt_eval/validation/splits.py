"""What every task needs: a name, data, splits and templates; and where its examples come from."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from gptalt_eval.contract.types import Dataset
from gptalt_eval.planning.task_data import LOCAL_BUILDERS
from gptalt_eval.validation.findings import Level
from gptalt_eval.validation.rows import Rows, check_split_names, find_eval_split, find_fewshot_split
from gptalt_eval.validation.scene import Scene

SPLITS = ("training_split", "validation_split", "test_split")
NUMBERINGS = {"id", "_id", "idx", "ind", "index", "split"}  # columns that differ even if rows are equal


def check_needs(scene: Scene) -> None:
    """The fields without which lm-eval cannot build the task."""
    config = scene.config
    if config.get("dataset_path") is None and config.get("custom_dataset") is None:
        scene.report(
            "missing-field", "'dataset_path' is missing: the hub id of the data, or 'json' for files."
        )
    if config.get("use_prompt") is not None:
        return  # it includes the templates
    for name in ("doc_to_text", "doc_to_target"):
        if config.get(name) is None:
            scene.report("missing-field", f"'{name}' is missing.")
    if config.get("output_type") == "multiple_choice" and config.get("doc_to_choice") is None:
        scene.report("missing-field", "'doc_to_choice' is missing: a multiple_choice task compares choices.")


def check_splits(scene: Scene, dataset: Dataset | None) -> None:
    """There is a split to evaluate and another one for few-shot examples."""
    config = scene.config
    if config.get("test_split") is None and config.get("validation_split") is None:
        text = "There is neither 'test_split' nor 'validation_split': nothing to evaluate."
        scene.report("missing-split", text)
    if dataset is not None and dataset.splits:
        check_split_names(scene, [split.name for split in dataset.splits], dataset.title)
    shots = config.get("num_fewshot")
    shots = shots if isinstance(shots, int) and not isinstance(shots, bool) else None
    evaluated, source = find_eval_split(config), find_fewshot_split(config)
    fewshot = config.get("fewshot_config")
    has_samples = isinstance(fewshot, dict) and fewshot.get("samples") is not None
    if source and source == evaluated and shots != 0 and not has_samples:
        name = "fewshot_config" if "fewshot_split" not in config else "fewshot_split"
        text = (
            f"Examples come from '{source}', which is also evaluated, so prompts show other items' answers."
        )
        level: Level = "warning" if shots else "note"
        scene.report("fewshot-is-test", text, name, level=level)
    if shots and shots > 0 and not source and not has_samples:
        taken = next((config[name] for name in SPLITS if config.get(name)), None)
        text = f"'num_fewshot' is {shots}, but no 'fewshot_split' is named; lm-eval uses '{taken}'."
        scene.report("fewshot-split-missing", text, "num_fewshot")


def check_overlap(scene: Scene, rows: Rows) -> None:
    """Whether rows of the few-shot split are also among those that are evaluated."""
    if find_fewshot_split(scene.config) == find_eval_split(scene.config):
        return
    scored = {fingerprint(row) for row in rows.scored}
    shared = sum(fingerprint(row) in scored for row in rows.fewshot)
    if shared:
        name = "fewshot_split" if "fewshot_split" in scene.config else "fewshot_config"
        text = (
            f"{shared} of {len(rows.fewshot)} rows of the few-shot split are also evaluated ({rows.origin})."
        )
        scene.report("fewshot-in-test", text, name)


def fingerprint(row: Any) -> str:
    kept = {key: value for key, value in row.items() if key not in NUMBERINGS and value is not None}
    return json.dumps(kept, sort_keys=True, default=str)


def note_absent_data(scene: Scene, rows: Rows | None) -> None:
    """Note that templates could not be tried, because the data is not on this computer."""
    config, hub = scene.config, scene.config.get("dataset_path")
    uses_templates = any(isinstance(config.get(name), str) for name in ("doc_to_text", "doc_to_target"))
    is_hub_id = isinstance(hub, str) and hub not in LOCAL_BUILDERS and not hub.startswith((".", "/", "~"))
    if not is_hub_id or not uses_templates or (rows is not None and rows.are_ready):
        return
    if rows is not None:
        why = "process_docs changes the rows, and it is not run here"
    else:
        why = f"there are no rows of {hub} on this computer"
    fixture = f"{scene.definition.main.file.stem}.fixture.jsonl"
    text = f"Only the syntax of templates was checked: {why}. To check more, put a few rows into {fixture}."
    scene.report("data-elsewhere", text, "dataset_path")


def is_included(file: Path) -> bool:
    """Whether some file in or below the same folder includes this one, which has no name."""
    pattern = re.compile(rb"include:[^\n]*(?:\n[ \t]*-[^\n]*)*\b" + re.escape(file.name).encode())
    for count, other in enumerate(file.resolve().parent.rglob("*.y*ml")):
        if count > 3_000:
            return False
        try:
            if pattern.search(other.read_bytes()):
                return True
        except OSError:
            continue
    return False
