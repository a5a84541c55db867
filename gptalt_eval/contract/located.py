"""Rows found, counted, judged."""

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
    """One split, found and counted.

    Attributes:
        name: the split.
        files: the files that hold it.
        rows: how many rows they give.
        official: how many the official release has for this configuration's dataset; None: not known.
        sha256: of the files' bytes, one after the other, and of those beside them (labels).
        verdict: whether these are the published files; None for the sample.
        key: the name under which the rows are kept in the cache; empty: they are not.
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
        origin: ``folder`` (release files), ``sample`` (items of our own), ``hub``, ``files`` (the YAML
            itself names local files) or ``code`` (the task makes its data).
        dataset: the registered dataset, where one serves the task.
        splits: what was found, by split name; empty for hub and code.
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
    """What there is to say about the files of one split.

    Attributes:
        state: ``complete``; ``partial``: part of the release by design; ``short``; ``altered``;
            ``unchecked``: neither a row count nor a checksum is known.
        known: whether the files' checksums are those that are listed; ``unknown``: none is listed.
        expected: how many rows these files should have; None: not stated.
        reason: a sentence, wherever the rows are not those of the whole release.
        likely: what the files seem to be instead, or an empty string.
        part: of a ``partial`` state, which part is here.
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
