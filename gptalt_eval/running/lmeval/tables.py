"""Located rows as Arrow tables: converted once, then read from the cache."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa

from gptalt_eval.contract.errors import DataError
from gptalt_eval.contract.located import LocatedData
from gptalt_eval.contract.plan import Plan
from gptalt_eval.data import cache as rowcache
from gptalt_eval.data.locate import read_located
from gptalt_eval.data.progress import is_big

BATCH = 1000  # rows that are Python objects at the same time
log = logging.getLogger(__name__)


def prepare_big_files(plan: Plan) -> None:
    """Convert big files before the run shows its own progress bar, so that theirs are visible."""
    located = {id(task.data): task.data for cell in plan.cells for task in cell.tasks}
    for data in located.values():
        for name, split in data.splits.items():
            if split.key and is_big(split.files):
                load_rows(data, name)


def load_rows(data: LocatedData, name: str) -> datasets.Dataset:
    """The rows of one located split, from the cache if they are there."""
    split = data.splits[name]
    if not split.key:
        return convert_rows(read_located(data, name))
    folder = rowcache.find_folder(split.key)
    if folder is not None:
        kept = open_folder(folder)
        if kept is not None and len(kept) == split.rows:
            return kept
        rowcache.drop_folder(split.key)
    rows = convert_rows(read_located(data, name))
    if len(rows) != split.rows:
        where = ", ".join(map(str, split.files[:3]))
        raise DataError(
            f"{where}: {len(rows):,} rows were read, {split.rows:,} expected.",
            "The files changed while they were read, or the dataset's plugin reads them wrongly.",
        )
    try:
        with rowcache.keep_folder(split.key) as target:
            rows.save_to_disk(str(target))
    except OSError as error:  # a full or read-only cache must not stop the run
        log.info("%s: the converted rows could not be saved: %s", rowcache.rows_dir(), error)
    return rows


def open_folder(folder: Path) -> datasets.Dataset | None:
    try:
        # in memory, because lm-eval's conversions of mapped rows would be written into our folder
        return datasets.load_from_disk(str(folder), keep_in_memory=True)
    except Exception as error:  # the library raises many types of errors for damaged folders
        log.info("%s: %s", folder, error)
        return None


def convert_rows(rows: Iterable[dict[str, Any]]) -> datasets.Dataset:
    """Rows as one table; only one batch of them is Python objects at a time."""
    batches = list(convert_batches(iter(rows)))
    if len(batches) <= 1:
        return batches[0] if batches else datasets.Dataset.from_list([])
    # a column that is empty in one batch and not in the next gets the wider type
    tables = [batch.data.table.replace_schema_metadata(None) for batch in batches]
    table = pa.concat_tables(tables, promote_options="permissive")
    return datasets.Dataset(datasets.table.InMemoryTable(table))


def convert_batches(rows: Iterator[dict[str, Any]]) -> Iterator[datasets.Dataset]:
    columns: list[str] | None = None
    while batch := list(islice(rows, BATCH)):
        columns = columns or list(batch[0])  # as in the library, the first row decides
        yield datasets.Dataset.from_dict({key: [row.get(key) for row in batch] for key in columns})
