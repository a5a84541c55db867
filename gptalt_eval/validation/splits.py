"""What every task needs: a name, data, splits and templates; and where its examples come from."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from gptalt_eval.contract.types import Dataset
from gptalt_eval.machine.bounds import LARGEST_YAML, read_file
from gptalt_eval.machine.storage import follow_links, walk_files
from gptalt_eval.planning.examples import ExamplePool, find_pool
from gptalt_eval.planning.local_files import LOCAL_BUILDERS
from gptalt_eval.validation.rows import MAX_ROWS, Rows, check_split_names, find_eval_split, find_fewshot_split
from gptalt_eval.validation.scene import Scene

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
    if shots is None or shots >= 0:
        check_examples(scene, find_pool(config), shots)


def check_examples(scene: Scene, pool: ExamplePool, shots: int | None) -> None:
    """The few-shot examples are other rows than those that are scored, and there are enough of them."""
    name = next((key for key in ("fewshot_split", "fewshot_config") if key in scene.config), "num_fewshot")
    if pool.shows_own_answer and (shots or (pool.named and shots is None)):
        text = (
            f"The examples come from '{pool.split}', which is also evaluated, and lm-eval does not leave "
            f"out the row itself: prompts can contain their own answer. {cure_own_answer(scene, pool)}"
        )
        scene.report("own-answer", text, name, level="error" if shots else "warning")
    elif shots and pool.split and not pool.named:
        text = f"'num_fewshot' is {shots}, but no 'fewshot_split' is named; lm-eval uses '{pool.split}'."
        scene.report("fewshot-split-missing", text, "num_fewshot")
    elif pool.is_scored and pool.named and shots != 0:
        shown = "so prompts show other items' answers"
        text = f"Examples come from '{pool.split}', which is also evaluated, {shown}."
        scene.report("fewshot-is-test", text, name, level="warning" if shots else "note")
    if pool.split is None and pool.written is not None:
        report_shortage(scene, pool, pool.written, "written out")


def cure_own_answer(scene: Scene, pool: ExamplePool) -> str:
    """What to write so that lm-eval leaves the scored row out."""
    if pool.named and pool.split == scene.config.get("test_split"):
        return "Use the same process_docs for examples and scored rows, or name another split."
    if scene.config.get("test_split") is None:
        return f"Name another split, or write 'test_split: {pool.split}' instead of 'validation_split'."
    return f"Name another split with 'fewshot_split', or write 'fewshot_split: {pool.split}'."


def report_shortage(scene: Scene, pool: ExamplePool, rows: int, where: str) -> None:
    shots = scene.config.get("num_fewshot")
    usable = pool.count_usable(rows)
    if isinstance(shots, int) and shots > usable:
        spare = f", of which lm-eval can show {usable}" if usable < rows else ""
        text = f"'num_fewshot' is {shots}, but only {rows} examples are {where}{spare}."
        scene.report("too-few-examples", text, "num_fewshot")


def check_overlap(scene: Scene, rows: Rows) -> None:
    """Whether rows of the few-shot split are also among those that are evaluated."""
    pool = find_pool(scene.config)
    if rows.is_real and pool.named and len(rows.fewshot) < MAX_ROWS:
        report_shortage(scene, pool, len(rows.fewshot), f"in '{pool.split}'")
    name = "fewshot_split" if "fewshot_split" in scene.config else "fewshot_config"
    written = scene.config["fewshot_config"]["samples"] if pool.split is None and pool.written else ()
    repeated = sum(any(is_part(example, row) for row in rows.scored) for example in written)
    if repeated:
        text = (
            f"{repeated} of {len(written)} examples that are written out are also evaluated ({rows.origin})."
        )
        scene.report("fewshot-in-test", text, name)
    if find_fewshot_split(scene.config) == find_eval_split(scene.config):
        return
    scored = {fingerprint(row) for row in rows.scored}
    shared = sum(fingerprint(row) in scored for row in rows.fewshot)
    if shared:
        text = (
            f"{shared} of {len(rows.fewshot)} rows of the few-shot split are also evaluated ({rows.origin})."
        )
        scene.report("fewshot-in-test", text, name)


def is_part(example: Any, row: Mapping[str, Any]) -> bool:
    """Whether an example has at least two columns, and the row has the same values in all of them."""
    if not isinstance(example, dict) or len(example) < 2:
        return False
    return all(key in row and row[key] == value for key, value in example.items())


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
    yamls = (other for other in walk_files(follow_links(file).parent) if other.suffix in (".yaml", ".yml"))
    for other in islice(yamls, 3_000):
        try:
            if pattern.search(read_file(other, LARGEST_YAML)):
                return True
        except (OSError, ValueError):
            continue
    return False
