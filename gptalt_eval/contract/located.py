"""A task's data: the files that were found, their row counts, and whether they are the published ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from gptalt_eval.contract.types import Dataset

Origin = Literal["folder", "sample", "hub", "files", "code"]
SAMPLE = "sample"


@dataclass(frozen=True)
class LocatedSplit:
    """One split whose files were found and counted.

    Attributes:
        name: the split.
        files: its files.
        rows: how many rows they contain.
        official: how many the official release has; None: unknown.
        sha256: of the concatenated bytes of the files, label files included.
        verdict: whether these are the published files; None for the sample.
        key: the key of the rows in the cache; empty: they are not cached.
    """

    name: str
    files: tuple[Path, ...]
    rows: int
    official: int | None
    sha256: str
    verdict: Verdict | None = None
    key: str = ""


@dataclass(frozen=True)
class LocatedData:
    """The data of one task.

    Attributes:
        hub: the task's ``dataset_path``.
        config: the task's ``dataset_name``.
        origin: ``folder`` (release files), ``sample`` (the embedded sample), ``hub``, ``files`` (local files
            that the YAML names) or ``code`` (the task makes its data).
        dataset: the registered dataset for this task, if there is one.
        splits: the located splits, by name; empty for hub and code.
    """

    hub: str
    config: str | None
    origin: Origin
    dataset: Dataset | None = None
    splits: Mapping[str, LocatedSplit] = field(default_factory=dict)

    @property
    def is_sample(self) -> bool:
        return self.origin == SAMPLE


State = Literal["complete", "partial", "short", "altered", "unchecked"]
Known = Literal["known", "unknown", "altered"]
FAULTY = ("short", "altered", "damaged")


@dataclass(frozen=True)
class Verdict:
    """How the files of one split compare with the published ones.

    Attributes:
        state: ``complete``; ``partial``: part of the release by design; ``short``; ``altered``;
            ``unchecked``: neither a row count nor a checksum is known.
        known: whether the files have the listed checksums; ``unknown``: not all of them are listed.
        expected: how many rows these files should have; None: unknown.
        reason: a sentence, if the rows are not those of the complete release.
        likely: what the files seem to be instead, or an empty string.
        part: if the state is ``partial``, which part it is.
    """

    state: State
    known: Known
    expected: int | None = None
    reason: str = ""
    likely: str = ""
    part: str = ""

    @property
    def is_faulty(self) -> bool:
        return self.state in FAULTY
