"""What a data folder contains of a dataset, split by split, and whether it is complete."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gptalt_eval.contract.errors import DataError
from gptalt_eval.contract.located import FAULTY, Known, LocatedSplit, State
from gptalt_eval.contract.types import Dataset, Split
from gptalt_eval.data import locate as data
from gptalt_eval.data.check import read_checksums

MISSING = "missing"
FullState = State | Literal["damaged", "missing"]
WORST_FIRST: tuple[FullState, ...] = ("damaged", "altered", "short", "partial", "unchecked", "complete")


@dataclass(frozen=True)
class SplitSurvey:
    """What a data folder contains of one split.

    Attributes:
        dataset: the dataset's name.
        split: the split's name.
        files: the path below the data folder that was found, or else the first one that was searched for.
        count: how many files there are.
        rows: how many rows they contain; None: unknown, because a file is damaged.
        expected: how many they should contain; None: unknown.
        official: how many the complete split has; None: unknown.
        sha256: whether the checksums are the known ones; empty if there are no files.
        state: see :class:`~gptalt_eval.contract.located.Verdict`; also ``damaged`` and ``missing``.
        part: if the state is ``partial``, which part it is.
        reasons: what is wrong or incomplete, in sentences.
    """

    dataset: str
    split: str
    files: str
    count: int = 0
    rows: int | None = None
    expected: int | None = None
    official: int | None = None
    sha256: Known | Literal[""] = ""
    state: FullState = "missing"
    part: str = ""
    reasons: tuple[str, ...] = ()

    @property
    def is_faulty(self) -> bool:
        return self.state in FAULTY


def survey_dataset(dataset: Dataset, folder: Path) -> list[SplitSurvey]:
    """Survey every split of a dataset; damaged files are reported, not raised."""
    return [survey_split(dataset, split, folder) for split in dataset.splits]


def survey_split(dataset: Dataset, split: Split, folder: Path) -> SplitSurvey:
    configs = list_configs(dataset, split, folder)
    found: list[LocatedSplit] = []
    damages: list[str] = []
    absent: list[str] = []
    for config in configs:
        try:
            located = data.locate_split(dataset, config, split, folder)
        except DataError as error:
            damages.append(error.what)
            continue
        if located is None:
            absent.append(str(config))
        else:
            found.append(located)
    if not found and not damages:
        return SplitSurvey(dataset.name, split.name, split.files[0], expected=split.rows, official=split.rows)
    return sum_up(dataset, split, folder, found, damages, absent)


def sum_up(
    dataset: Dataset,
    split: Split,
    folder: Path,
    found: Sequence[LocatedSplit],
    damages: Sequence[str],
    absent: Sequence[str],
) -> SplitSurvey:
    """One survey of the files of all configurations."""
    verdicts = [located.verdict for located in found if located.verdict]
    is_one = len(found) + len(damages) + len(absent) == 1
    states: list[FullState] = [verdict.state for verdict in verdicts]
    states += ["damaged"] * bool(damages)
    reasons = [*damages, *(verdict.reason for verdict in verdicts if verdict.reason)]
    rows = sum(located.rows for located in found)
    title = f"{dataset.title} {split.name}"
    if absent:
        states.append("short")
        named = ", ".join(absent[:5]) + (f" and {len(absent) - 5} more" if len(absent) > 5 else "")
        missing = "1 file is missing" if len(absent) == 1 else f"{len(absent)} files are missing"
        reasons.append(f"{title}: {missing}: {named}.")
    elif not is_one and not damages and split.rows is not None and rows != split.rows:
        states.append("short")
        reasons.append(f"{title}: {rows:,} rows in total, {split.rows:,} expected.")
    known = {verdict.known for verdict in verdicts}
    sha256: Known = "altered" if "altered" in known else "known" if known == {"known"} else "unknown"
    files = next((pattern for pattern in split.files if found_by(folder, pattern)), split.files[0])
    return SplitSurvey(
        dataset.name, split.name, files, sum(len(located.files) for located in found) + len(damages),
        None if damages else rows, verdicts[0].expected if is_one and verdicts else split.rows, split.rows,
        sha256,
        next(state for state in WORST_FIRST if state in states),
        next((verdict.part for verdict in verdicts if verdict.part), ""), tuple(reasons),
    )  # fmt: skip


def found_by(folder: Path, pattern: str) -> bool:
    return next(folder.glob(pattern.replace("{config}", "*")), None) is not None


def list_configs(dataset: Dataset, split: Split, folder: Path) -> list[str | None]:
    """The configurations to search for: those in the folder, and those whose checksums are listed."""
    summed = [pattern for pattern in split.files if "{config}" in pattern]
    if not summed or dataset.configs:
        return list(dataset.configs) if summed else [dataset.configs[0] if dataset.configs else None]
    names: set[str] = set()
    for pattern in summed:
        here = [file.relative_to(folder).as_posix() for file in folder.glob(pattern.replace("{config}", "*"))]
        shape = re.compile(re.escape(pattern).replace(r"\{config\}", "([^/]+)"))
        if here:
            names |= {
                match[1]
                for path in [*here, *read_checksums(dataset.checksums)]
                if (match := shape.fullmatch(path))
            }
    return list(sorted(names))
