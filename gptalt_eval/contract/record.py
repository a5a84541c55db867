"""A run on disk: lm-eval's own result layout, plus ``run.json``.

    <output_path>/<model>/results_<time>.json           scores, as lm-eval writes them
    <output_path>/<model>/samples_<task>_<time>.jsonl   each item's prompt, answers and metrics
    <output_path>/<model>/run.json                      how the scores came about
    <output_path>/<model>/answers.jsonl                 the model's answers, until the run is complete

Every file is written whole or not at all, task by task, so that what was finished stays finished.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptalt_eval.contract.errors import GptaltError, did_you_mean

RUN_FILE = "run.json"


@dataclass(frozen=True)
class Record:
    """A run, read from disk.

    Attributes:
        folder: where it lies.
        run: what ``run.json`` says (empty for a folder that plain lm-eval wrote).
        results: lm-eval's results, one for each number of shots.
        files: the file of each of these.
    """

    folder: Path
    run: Mapping[str, Any]
    results: tuple[Mapping[str, Any], ...]
    files: tuple[Path, ...]

    @property
    def model(self) -> str:
        named = self.run.get("model", {}).get("name") or (
            self.results[0].get("model_name") if self.results else ""
        )
        return str(named or self.folder.name)

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(self.run.get("notes", ()))

    @property
    def failed(self) -> Mapping[str, str]:
        """What could not be evaluated, by label, and why."""
        return dict(self.run.get("failed", {}))

    @property
    def is_complete(self) -> bool:
        return bool(self.run.get("status", "complete") == "complete")

    def read_samples(self, result: int, task: str) -> Iterator[dict[str, Any]]:
        """The logged items of a task in the ``result``-th result; none where they were not saved."""
        time = self.files[result].stem.rpartition("results_")[2]
        file = self.folder / f"samples_{task}_{time}.jsonl"
        if file.is_file():
            with file.open(encoding="utf-8") as stream:
                yield from (json.loads(line) for line in stream if line.strip())


def find_runs(path: Path) -> list[Path]:
    """The run folders at or below a path (an ``--output_path`` holds one for each model)."""
    if not path.is_dir():
        siblings = (
            [str(path.parent / other.name) for other in path.parent.glob("*")] if path.parent.is_dir() else []
        )
        raise GptaltError(f"There is no run folder {path}.", did_you_mean(str(path), siblings))
    found = sorted({file.parent for name in (RUN_FILE, "results_*.json") for file in path.rglob(name)})
    if not found:
        raise GptaltError(
            f"{path} holds no run: no {RUN_FILE} and no results_*.json.",
            "Give the folder that a run named when it ended.",
        )
    return found


def load_record(folder: Path) -> Record:
    """Read one run folder.

    Raises:
        GptaltError: it holds no run, or one of its files is damaged.
    """
    run_file = folder / RUN_FILE
    run = read_json(run_file) if run_file.is_file() else {}
    names = run.get("results") or sorted(file.name for file in folder.glob("*results_*.json"))
    files = tuple(folder / name for name in names if (folder / name).is_file())
    if not files and not run:
        raise GptaltError(f"{folder} holds no run.")
    return Record(folder, run, tuple(read_json(file) for file in files), files)


def read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GptaltError(
            f"{file} is damaged ({error}).", "Results of other runs are not touched by this."
        ) from error
    return dict(content)
