"""Rows for trying a task's templates: real data, a fixture next to the YAML, or the embedded sample."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from gptalt_eval.contract.errors import GptaltError, did_you_mean
from gptalt_eval.contract.located import SAMPLE
from gptalt_eval.contract.types import Dataset
from gptalt_eval.data import locate as data
from gptalt_eval.data.readers import read_jsonl
from gptalt_eval.planning.catalog import Catalog
from gptalt_eval.planning.consent.links import check_links
from gptalt_eval.planning.local_files import LOCAL_BUILDERS, list_data_files, match_files, read_table
from gptalt_eval.validation.findings import Level, Place
from gptalt_eval.validation.scene import Scene

MAX_ROWS = 2_000  # per split: enough for comparing splits, and read in a fraction of a second
Row = Mapping[str, Any]
SplitReader = Callable[[str | None], Iterable[Row]]


@dataclass(frozen=True)
class Rows:
    """Rows of one task.

    Attributes:
        origin: what messages call them.
        scored: the rows of the evaluated split.
        fewshot: the rows of the few-shot split; empty if none is named.
        are_ready: whether templates can be tried on them: not if process_docs would change them first.
        is_real: whether they are the task's data, rather than a few rows for trying it.
    """

    origin: str
    scored: tuple[Row, ...]
    fewshot: tuple[Row, ...] = ()
    are_ready: bool = True
    is_real: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(column for row in self.scored for column in row))


def find_eval_split(config: Mapping[str, Any]) -> str | None:
    split = config.get("test_split") or config.get("validation_split")
    return split if isinstance(split, str) else None


def find_fewshot_split(config: Mapping[str, Any]) -> str | None:
    """The split that the definition names for few-shot examples."""
    fewshot = config.get("fewshot_config")
    split = fewshot.get("split") if isinstance(fewshot, dict) else None
    split = split or config.get("fewshot_split")
    return split if isinstance(split, str) else None


def find_rows(scene: Scene, catalog: Catalog) -> Rows | None:
    """Rows for a task: from its data files or the data folder, else its fixture, else the sample."""
    config = scene.config
    try:
        rows = find_real_rows(scene, catalog)
    except (GptaltError, OSError) as error:
        what = error.what if isinstance(error, GptaltError) else str(error)
        scene.report("data-unreadable", what, "dataset_path")
        return None
    if rows is None or not rows.are_ready:
        rows = read_fixture(scene) or rows
    if rows is None and catalog.data_dir != SAMPLE:
        dataset = find_dataset(catalog, config)
        rows = read_sample(scene, dataset) if dataset else None
    return rows


def find_real_rows(scene: Scene, catalog: Catalog) -> Rows | None:
    config, hub = scene.config, scene.config.get("dataset_path")
    if not isinstance(hub, str) or config.get("custom_dataset") or config.get("class"):
        return None
    if hub in LOCAL_BUILDERS:
        return read_data_files(scene, hub)
    if hub.startswith((".", "/", "~")):
        if "\0" not in hub and not Path(hub).expanduser().exists():
            scene.report(
                "data-not-found", f"{hub} does not exist (working directory: {Path.cwd()}).", "dataset_path"
            )
        return None
    dataset = find_dataset(catalog, config)
    if dataset is None:
        return None
    if catalog.data_dir == SAMPLE:
        return read_sample(scene, dataset)
    return read_release(scene, dataset, Path(catalog.data_dir)) if catalog.data_dir else None


def find_dataset(catalog: Catalog, config: Mapping[str, Any]) -> Dataset | None:
    hub, name = config.get("dataset_path"), config.get("dataset_name")
    owned = catalog.find_dataset(hub, name) if isinstance(hub, str) and not isinstance(name, dict) else None
    return owned.item if owned else None


def read_release(scene: Scene, dataset: Dataset, folder: Path) -> Rows | None:
    name = scene.config.get("dataset_name")

    def read(split: str | None) -> Iterable[Row]:
        check_links(folder, dataset, name, [split or ""])
        found = dataset.split(split) if split else None
        files = data.find_files(folder, found, name) if found else ()
        return dataset.reading(split or "").read(files, name) if files else ()

    return make_rows(scene, f"{dataset.title}{f' {name}' if name else ''} in {folder}", read, True)


def read_sample(scene: Scene, dataset: Dataset) -> Rows | None:
    name = scene.config.get("dataset_name")

    def read(split: str | None) -> Iterable[Row]:
        files = data.find_sample(dataset, split) if split else ()
        return data.read_split(dataset, name, files, True) if files else ()

    return make_rows(scene, f"the embedded sample of {dataset.title}", read, False)


def make_rows(scene: Scene, origin: str, read: SplitReader, is_real: bool) -> Rows | None:
    """The rows that ``read(split)`` returns for the scored and the few-shot split; None if there are none."""
    scored = tuple(islice(read(find_eval_split(scene.config)), MAX_ROWS))
    fewshot = tuple(islice(read(find_fewshot_split(scene.config)), MAX_ROWS))
    ready = scene.config.get("process_docs") is None
    return Rows(origin, fill_columns(scored), fewshot, ready, is_real) if scored else None


def fill_columns(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """Every row with every column, as in a table."""
    columns = dict.fromkeys(column for row in rows for column in row)
    return tuple({**columns, **row} for row in rows)


def read_fixture(scene: Scene) -> Rows | None:
    """``<name>.fixture.jsonl`` next to the YAML: rows as templates see them, so after process_docs."""
    main = scene.definition.main.file
    file = main.with_name(f"{main.stem}.fixture.jsonl")
    if not file.is_file():
        return None
    try:
        rows = list(read_jsonl(file))
    except GptaltError as error:
        scene.findings.add("data-unreadable", error.what, Place(file))
        return None
    scored, fewshot = split_fixture(rows, find_eval_split(scene.config), find_fewshot_split(scene.config))
    return Rows(file.name, fill_columns(tuple(scored)), tuple(fewshot)) if scored else None


def split_fixture(
    rows: list[dict[str, Any]], evaluated: str | None, source: str | None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows to score and the examples, by each row's "split"; rows without one are scored."""
    fewshot = [row for row in rows if source and row.get("split") == source]
    named = [row for row in rows if evaluated and row.get("split") == evaluated]
    return named or [row for row in rows if row not in fewshot] or rows, fewshot


def read_data_files(scene: Scene, builder: str) -> Rows | None:
    """Rows of ``dataset_path: json`` (or csv, ...) with ``dataset_kwargs: data_files``."""
    settings = scene.config.get("dataset_kwargs")
    files = settings.get("data_files") if isinstance(settings, dict) else None
    if files is None:
        has_folder = isinstance(settings, dict) and "data_dir" in settings
        if not has_folder and not scene.config.get("dataset_name"):
            text = f"'dataset_path: {builder}' needs 'dataset_kwargs: data_files: ...'."
            scene.report("missing-field", text, "dataset_path")
        return None
    named = list_data_files(settings)
    check_split_names(scene, list(named), "data_files")
    found = {split: list_files(scene, value, settings) for split, value in named.items()}
    field = settings.get("field") if isinstance(settings, dict) else None

    def read(split: str | None) -> Iterable[Row]:
        paths = found.get(split or "", [])
        return (row for path in paths for row in read_table(path, builder, field))

    return make_rows(scene, "its data files", read, True)


def list_files(scene: Scene, value: Any, settings: Any) -> list[Path]:
    """The files of a ``data_files`` value; missing ones are reported."""
    found: list[Path] = []
    for name, path, matches in match_files(value, settings):
        found += matches
        if not matches:
            report_absent_file(scene, path, name)
    return found


def report_absent_file(scene: Scene, path: Path, name: str) -> None:
    """An error if the file's name is wrong; a warning if its whole folder is missing on this computer."""
    beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
    hint = did_you_mean(path.name, beside)
    if (scene.definition.main.file.parent / name).is_file():
        hint = "It is next to the YAML, but paths are relative to the working directory."
    text = f"There is no data file {path} (working directory: {Path.cwd()}). {hint}"
    level: Level = "error" if path.parent.is_dir() else "warning"
    scene.report("data-not-found", text, "dataset_kwargs", "data_files", level=level)


def check_split_names(scene: Scene, known: list[str], where: str) -> None:
    """The data has the splits that the task reads."""
    for key in ("test_split", "validation_split", "training_split", "fewshot_split"):
        split = scene.config.get(key)
        if isinstance(split, str) and split not in known:
            hint = did_you_mean(split, known) or f"Available: {', '.join(known)}."
            scene.report("unknown-split", f"{where} has no split '{split}'. {hint}", key)
