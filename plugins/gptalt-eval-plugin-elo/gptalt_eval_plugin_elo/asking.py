"""Runs tasks written for the occasion with a model, and keeps every reply."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptalt_eval import GptaltError, check_folders, check_plain
from gptalt_eval_plugin_elo.folders import written

if TYPE_CHECKING:
    from gptalt_eval import Record


def write_task(folder: Path, name: str, rows: Iterable[Mapping[str, str]], task: Mapping[str, Any]) -> None:
    """Write an lm-eval task whose rows have a ``prompt``.

    Args:
        folder: an existing folder.
        name: the task's name.
        rows: its documents.
        task: what is special about it.
    """
    import yaml

    file = folder / f"{name}.jsonl"
    check_plain(file, folder / f"{name}.yaml")
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    file.write_text("".join(lines), encoding="utf-8")
    whole = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(file.resolve())}},
        "test_split": "test",
        "doc_to_text": "{{prompt}}",
        "metric_list": [{"metric": "bypass"}],
        "metadata": {"version": 1.0},
        **task,
    }
    text = yaml.safe_dump(whole, allow_unicode=True, sort_keys=False)
    (folder / f"{name}.yaml").write_text(text, encoding="utf-8")


def run_tasks(
    model: str, tasks: Iterable[str], include: Path, runs: Path, settings: Mapping[str, Any], plugins: Any
) -> Record:
    """Run the tasks of a folder with a model; an interrupted run is continued, and no reply computed again.

    Args:
        model: a ``--model`` name.
        tasks: their names.
        include: their folder, which is named after what they contain.
        runs: the folder for the model's runs.
        settings, plugins: flags and plugins for ``gptalt_eval.evaluate``.

    Raises:
        GptaltError: the model is not available, or it has no chat template but needs one.
        InterruptedRun: it ended early; another call continues it.
    """
    from gptalt_eval import evaluate

    # the run is named after the questions and settings: other ones make another run
    output = check_folders(runs, f"{include.name}-{hash_text(repr(sorted(settings.items())))}")
    try:
        record = evaluate(
            model, list(tasks), plugins=plugins, include_path=str(include), log_samples=True,
            output_path=str(output), predict_only=True, resume=True, use_cache=str(runs / "answers"),
            **settings,
        )  # fmt: skip
    except (GptaltError, ValueError) as error:
        if settings.get("apply_chat_template") and re.search("chat.template", str(error)):
            raise GptaltError(
                f"'{model}' has no chat template.", "Ask it the bare questions: --plain"
            ) from error
        raise
    if record.failed:
        label, reason = next(iter(record.failed.items()))
        raise GptaltError(f"{model}: {label} failed: {reason}")
    return record


def make_folder(root: Path, content: str) -> Path:
    """A folder for tasks, named after what they contain."""
    include = check_folders(root, "tasks", hash_text(content))
    with written(include, "--output_path"):
        return include


def hash_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def make_word(text: str) -> str:
    """A text as part of a file name; different texts have different names."""
    word = "".join(letter if letter.isalnum() or letter in "-." else "_" for letter in text).strip(".")
    return word if word == text else f"{word}_{hashlib.sha256(text.encode()).hexdigest()[:6]}"
