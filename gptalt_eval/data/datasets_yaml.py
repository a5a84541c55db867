"""The user's own datasets: ``datasets.yaml`` in the data folder maps hub ids to local files.

copa:
  hub: aps/super_glue
  config: copa
  splits: {validation: copa/val.jsonl, train: copa/train.jsonl}
  columns: {label: answer}
  cluster: premise
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from gptalt_eval.contract.errors import DataError, GptaltError, RequestErrors, did_you_mean
from gptalt_eval.contract.handed import open_named
from gptalt_eval.contract.types import Dataset, RowReader, Split
from gptalt_eval.data.readers import REPLACE, read_rows
from gptalt_eval.machine.bounds import read_yaml

FILE = "datasets.yaml"
FIELDS = ("hub", "config", "splits", "columns", "cluster", "licence", "home")
DELIMITERS = {".csv": ",", ".tsv": "\t"}
FORMATS = (".jsonl", ".jsonl.gz", ".json", *DELIMITERS)
Row = dict[str, Any]


def read_datasets(file: Path) -> list[Dataset]:
    """The datasets that a file describes.

    Raises:
        DataError: one problem, with its line; RequestErrors: several problems.
    """
    try:
        root = yaml.compose(read_yaml(file).decode("utf-8"), yaml.SafeLoader)
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read: {error}.") from error
    except RecursionError:
        raise DataError(f"{file} is not a list of datasets: its values are nested too deep.") from None
    except yaml.YAMLError as error:
        raise DataError(f"{file} is not valid YAML: {' '.join(str(error).split())}.") from error
    reader = MappingReader(file)
    datasets = [
        dataset for name, node in reader.list_pairs(root, "the file") if (dataset := reader.read(name, node))
    ]
    served: dict[tuple[str, Any], str] = {}
    for dataset in datasets:
        other = served.setdefault((dataset.hub, dataset.configs), dataset.name)
        if other != dataset.name:
            text = f"'{other}' and '{dataset.name}' have the same hub id and config ({dataset.hub})."
            reader.complain(root, text, "Remove one of them, or give each its own config.")
    if len(reader.faults) == 1:
        raise reader.faults[0]
    if reader.faults:
        raise RequestErrors(reader.faults)
    return datasets


@dataclass
class MappingReader:
    """Turns YAML nodes into datasets and collects the problems in them."""

    file: Path
    faults: list[GptaltError] = field(default_factory=list)

    def complain(self, node: yaml.Node | None, what: str, hint: str = "") -> None:
        line = f", line {node.start_mark.line + 1}" if node is not None else ""
        self.faults.append(DataError(f"{self.file}{line}: {what}", hint))

    def read(self, name: str, node: yaml.Node) -> Dataset | None:
        before = len(self.faults)
        values = dict(self.list_pairs(node, f"'{name}'"))
        for key in [key for key in values if key not in FIELDS]:
            hint = did_you_mean(key, FIELDS) or f"Valid keys: {', '.join(FIELDS)}."
            self.complain(values.pop(key), f"'{name}': unknown key '{key}'.", hint)
        if len(self.faults) == before:
            for key, example in (("hub", "aps/super_glue"), ("splits", "{validation: copa/val.jsonl}")):
                if key not in values:
                    self.complain(
                        node, f"'{name}': '{key}' is missing.", f"Add a line such as '{key}: {example}'."
                    )
        texts = {
            key: self.read_text(node, f"'{key}' of '{name}'")
            for key, node in values.items()
            if key not in ("splits", "columns")
        }
        splits = self.read_splits(name, values.get("splits"))
        columns = self.read_texts(values.get("columns"), f"'columns' of '{name}'")
        if len(self.faults) > before:
            return None
        config, cluster = texts.get("config"), texts.get("cluster", "")
        read = rename_columns(columns, cluster)
        return Dataset(
            name, name, texts["hub"], splits, read, texts.get("licence", "not stated"),
            texts.get("home", "not stated"), (config,) if config else (), cluster=cluster,
        )  # fmt: skip

    def read_splits(self, name: str, node: yaml.Node | None) -> tuple[Split, ...]:
        paths = self.read_texts(node, f"'splits' of '{name}'")
        if node is not None and not paths and not self.faults:
            self.complain(
                node, f"'splits' of '{name}' is empty.", "Add a line such as 'validation: copa/val.jsonl'."
            )
        for path in paths.values():
            pure = PurePosixPath(path)
            if pure.is_absolute() or ".." in pure.parts or "\\" in path:
                text = f"{path} is not a path below the data folder."
                self.complain(node, text, "Write it relative to the folder of datasets.yaml, with '/'.")
            elif not path.endswith(FORMATS):
                text = f"{path}: unsupported file type."
                self.complain(node, text, f"Supported: {', '.join(FORMATS)}.")
        return tuple(Split(split, (path,)) for split, path in paths.items())

    def read_texts(self, node: yaml.Node | None, what: str) -> dict[str, str]:
        pairs = self.list_pairs(node, what) if node is not None else []
        return {key: self.read_text(value, f"'{key}' in {what}") for key, value in pairs}

    def read_text(self, node: yaml.Node, what: str) -> str:
        if isinstance(node, yaml.ScalarNode) and node.value and node.tag != "tag:yaml.org,2002:null":
            return str(node.value)
        self.complain(node, f"{what} must be text.")
        return ""

    def list_pairs(self, node: yaml.Node | None, what: str) -> list[tuple[str, yaml.Node]]:
        """The keys and values of a mapping; duplicate keys are reported."""
        if not isinstance(node, yaml.MappingNode):
            self.complain(node, f"{what} must consist of 'key: value' lines.")
            return []
        pairs: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.complain(key, f"a key in {what} must be text.")
                continue
            if key.value in pairs:
                self.complain(key, f"'{key.value}' appears twice in {what}.", "Remove one of them.")
            pairs[str(key.value)] = value
        return list(pairs.items())


def rename_columns(columns: Mapping[str, str], cluster: str = "") -> RowReader:
    """A reader for any supported format that renames the columns to those of the hub version.

    Args:
        columns: the name in the hub version -> the name in the file.
        cluster: a column that the renamed rows must have; empty: none.
    """

    def read(files: tuple[Path, ...], config: str | None) -> Iterator[Row]:
        for file in files:
            for number, row in enumerate(read_any(file), 1):
                if not isinstance(row, dict):
                    raise DataError(f"{file}, row {number}: a JSON object was expected.", REPLACE)
                for ours in columns.values():
                    if ours not in row:
                        hint = did_you_mean(ours, row) or f"The columns are: {', '.join(row)}."
                        raise DataError(f"{file}, row {number}: there is no column '{ours}'.", hint)
                kept = {key: value for key, value in row.items() if key not in columns.values()}
                renamed = {**kept, **{hub: row[ours] for hub, ours in columns.items()}}
                if cluster and cluster not in renamed:
                    hint = did_you_mean(cluster, renamed) or f"The columns are: {', '.join(renamed)}."
                    raise DataError(f"{file}, row {number}: 'cluster' names no column '{cluster}'.", hint)
                yield renamed

    return read


def read_any(file: Path) -> Iterator[Row]:
    if file.suffix not in DELIMITERS:
        return read_rows(file)
    kinds: dict[str, Callable[[str], Any]] = dict.fromkeys(find_integer_columns(file), int)
    return ({key: kinds.get(key, str)(value) for key, value in row.items()} for row in read_table(file))


def find_integer_columns(file: Path) -> set[str]:
    """The columns of a CSV file that contain only integers (``007`` is text)."""
    integers: set[str] | None = None
    for row in read_table(file):
        found = {key for key, value in row.items() if is_integer(value)}
        integers = found if integers is None else integers & found
    return integers or set()


def is_integer(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and str(int(digits)) == digits and text != "-0"


def read_table(file: Path) -> Iterator[dict[str, str]]:
    """The rows of a CSV or TSV whose first line names the columns."""
    with open_named(file, encoding="utf-8-sig", newline="") as stream:
        lines = csv.reader(stream, delimiter=DELIMITERS[file.suffix])
        try:
            header = next(lines, [])
            if len(set(header)) < len(header):
                raise DataError(f"{file}, line 1: two columns have the same name ({', '.join(header)}).")
            for cells in lines:
                if cells and len(cells) != len(header):
                    text = (
                        f"{file}, line {lines.line_num}: {len(cells)} columns, the header has {len(header)}."
                    )
                    raise DataError(text, REPLACE)
                if cells:
                    yield dict(zip(header, cells, strict=True))
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(f"{file}, line {lines.line_num}: damaged ({error}).", REPLACE) from error
