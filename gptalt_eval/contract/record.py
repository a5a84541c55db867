"""A run on disk: lm-eval's own result layout, plus ``run.json``.

    <output_path>/<model>/results_<time>.json           scores, as lm-eval writes them
    <output_path>/<model>/samples_<task>_<time>.jsonl   each item's prompt, answers and metrics
    <output_path>/<model>/pictures/<SHA-256>.webp       the pictures that the items name, made small
    <output_path>/<model>/run.json                      how the scores were produced
    <output_path>/<model>/answers.jsonl                 the model's answers, until the run is complete

Files are written atomically after every task, so that finished results are never lost.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from gptalt_eval.contract.errors import GptaltError, did_you_mean, nearest
from gptalt_eval.contract.handed import check_folders, check_plain, is_bare, open_plain, parse_json, read_json
from gptalt_eval.contract.pictures import LARGEST_THUMBNAIL, PREFIX
from gptalt_eval.contract.run import Run
from gptalt_eval.contract.shapes import check_results, check_sample
from gptalt_eval.contract.typed import build
from gptalt_eval.machine.storage import walk_files

RUN_FILE = "run.json"
EXPERIMENT_FILE = "experiment.json"  # in the folder that contains the runs of an experiment
PICTURES = "pictures"  # the folder for them
PICTURE = re.compile(f"{PREFIX}([0-9a-f]{{64}})")  # what items call one
DAMAGED = "Results of other runs are not affected."
DAMAGED_ITEMS = "The scores and all other tasks are not affected."


@dataclass(frozen=True)
class Record:
    """A run, read from disk.

    Attributes:
        folder: the run's folder.
        run: the content of ``run.json``; all defaults for a folder that lm-eval itself wrote.
        results: lm-eval's results, one for each number of shots.
        files: the file of each of them.
    """

    folder: Path
    run: Run
    results: tuple[Mapping[str, Any], ...]
    files: tuple[Path, ...]

    @property
    def model(self) -> str:
        named = self.run.model.name or (self.results[0].get("model_name") if self.results else "")
        return str(named or self.folder.name)

    @property
    def notes(self) -> tuple[str, ...]:
        """What must be shown with the results."""
        again = f"To compute them again: gptalt-eval resume {quote(str(self.folder))}"
        gone = [
            f"{name} is missing, so its scores are not shown. {again}"
            for name in self.run.results
            if self.folder / name not in self.files
        ]
        unread = [
            f"The scores in {file.name} are not shown: a version of lm-eval before 0.4 wrote them."
            for file, results in zip(self.files, self.results, strict=True)
            if is_outdated(results.get("results", {}))
        ]
        cut = [cut.explain(task) for task, cut in self.run.cut.items()]
        return (*self.run.notes, *self.run.explain_versions(), *cut, *unread, *gone)

    @property
    def failed(self) -> Mapping[str, str]:
        """Tasks that could not be evaluated, by label, and why."""
        return self.run.failed

    @property
    def is_complete(self) -> bool:
        return self.run.status == "complete"

    def read_samples(self, result: int, task: str) -> Iterator[dict[str, Any]]:
        """The logged items of a task in the ``result``-th results file; none if they were not saved.

        Raises:
            GptaltError: the file is a link, cut off or damaged; names the line and the field.
        """
        file = self.find_samples(self.files[result].name, task)
        if file is not None:
            yield from read_lines(file)

    def read_picture(self, name: str) -> bytes | None:
        """The small copy of a picture that items name; None: it is not in the folder.

        Its content is whatever the folder's author put there: see ``measure_thumbnail``.

        Raises:
            GptaltError: it is a link, no ordinary file, or larger than a small copy is.
            OSError: it cannot be read.
        """
        named = PICTURE.fullmatch(name)
        folder = check_folders(self.folder, PICTURES)
        file = find_file(folder, f"{named[1]}.webp") if named else None
        if file is None:
            return None
        with open_plain(file, "rb") as stream:
            content: bytes = stream.read(LARGEST_THUMBNAIL + 1)
        return content

    def find_samples(self, results: str, task: str) -> Path | None:
        """The samples of a task that belong to a results file; None: they were not saved.

        Raises:
            GptaltError: what has their name is a link, or no file.
        """
        time = results.removesuffix(".json").rpartition("results_")[2]
        return find_file(self.folder, f"samples_{task}_{time}.jsonl")


def is_outdated(scores: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether no score has a filter in its name, as they have since lm-eval 0.4."""
    keys = [key for each in scores.values() for key, value in each.items() if isinstance(value, (int, float))]
    return any(key != "sample_len" for key in keys) and not any("," in key for key in keys)


def find_file(folder: Path, name: str | None) -> Path | None:
    """A file directly in a folder; None: there is none, or the name would lead out of the folder.

    Raises:
        GptaltError: it is a link, which could lead anywhere, or no ordinary file.
    """
    if not name or not is_bare(name):
        return None
    check_plain(folder / name)
    return folder / name if (folder / name).is_file() else None


def read_lines(file: Path) -> Iterator[dict[str, Any]]:
    """The samples in a JSON Lines file.

    Raises:
        GptaltError: a line is cut off or damaged, or a field of it has the wrong type.
    """
    number = 1
    try:
        with open_plain(file) as stream:
            for number, line in enumerate(stream, 1):  # noqa: B007 (named when a line fails)
                if line.strip():
                    content = parse_json(line)
                    if not isinstance(content, dict):
                        raise ValueError("not a JSON object")
                    check_sample(content)
                    yield content
    except (OSError, ValueError) as error:
        raise GptaltError(f"{file} is damaged (line {number}: {error}).", DAMAGED_ITEMS) from error


def find_runs(path: Path) -> list[Path]:
    """The run folders at or below a path (an ``--output_path`` contains one for each model)."""
    if not path.is_dir():
        siblings = [other.name for other in path.parent.glob("*")] if path.parent.is_dir() else []
        near = [str(path.parent / name) for name in nearest(path.name, siblings)]
        raise GptaltError(f"There is no run folder {path}.", did_you_mean(str(path), near))
    found = sorted({file.parent for file in walk_files(path) if is_run_file(file.name)})
    if not found:
        raise GptaltError(
            f"{path} contains no run: there is no {RUN_FILE} and no results_*.json.",
            "Give the folder that a run printed at its end.",
        )
    return found


def is_run_file(name: str) -> bool:
    return name == RUN_FILE or (name.startswith("results_") and name.endswith(".json"))


def is_run(folder: Path) -> bool:
    """Whether a folder itself is that of a run."""
    return folder.is_dir() and any(is_run_file(file.name) for file in folder.iterdir())


def find_experiment(folder: Path) -> Path | None:
    """The folder of the experiment that a run's folder belongs to; None: the run is on its own."""
    return next((place for place in (folder, folder.parent) if find_file(place, EXPERIMENT_FILE)), None)


def load_record(folder: Path) -> Record:
    """Read one run folder.

    Raises:
        GptaltError: it contains no run, or one of its files is damaged.
    """
    run_file = find_file(folder, RUN_FILE)
    run = read_run(run_file) if run_file else None
    names = (run and run.results) or sorted(file.name for file in folder.glob("*results_*.json"))
    files = tuple(file for name in names if (file := find_file(folder, name)))
    if not files and run is None:
        raise GptaltError(f"{folder} contains no run.")
    return Record(folder, run or Run(), tuple(read_results(file) for file in files), files)


def read_run(file: Path) -> Run:
    """The content of a ``run.json``.

    Raises:
        GptaltError: it is a link or damaged, or a name in it is not that of a file in the same folder.
    """
    content = read_json(file, DAMAGED)
    try:
        run = build(Run, content)
        run.check()
    except ValueError as error:
        raise GptaltError(f"{file} is damaged ({error}).", DAMAGED) from error
    return run


def read_results(file: Path) -> dict[str, Any]:
    """The content of a results file.

    Raises:
        GptaltError: it is a link or damaged; names the field.
    """
    content = read_json(file, DAMAGED)
    try:
        check_results(content)
    except ValueError as error:
        raise GptaltError(f"{file} is damaged ({error}).", DAMAGED) from error
    return content
