"""Compares release files with the published ones, by row count and SHA-256."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gptalt_eval.contract.located import Known, Verdict
from gptalt_eval.contract.types import Dataset, Split
from gptalt_eval.machine.bounds import open_file


@dataclass(frozen=True)
class Hashes:
    """SHA-256 of some files.

    Attributes:
        together: of the files' concatenated bytes.
        each: of each file alone.
    """

    together: str
    each: Mapping[Path, str]


def hash_files(files: tuple[Path, ...]) -> Hashes:
    together, each = hashlib.sha256(), {}
    for file in files:
        alone = hashlib.sha256()
        with open_file(file, "rb") as stream:
            while block := stream.read(1 << 20):
                alone.update(block)
                together.update(block)
        each[file] = alone.hexdigest()
    return Hashes(together.hexdigest(), each)


def read_checksums(file: Path | None) -> Mapping[str, str]:
    """Path below the data folder -> SHA-256, from a file in ``sha256sum`` format; ``#`` starts a comment."""
    if file is None:
        return {}
    lines = file.read_text(encoding="utf-8").splitlines()
    pairs = [line.split(maxsplit=1) for line in lines if line.strip() and not line.startswith("#")]
    return {path.removeprefix("*"): digest for digest, path in pairs}


def is_summed(dataset: Dataset, split: Split) -> bool:
    """Whether the official row count is the total of configurations that have their own files."""
    return len(dataset.configs) != 1 and any("{config}" in pattern for pattern in split.files)


def find_published_rows(
    dataset: Dataset, split: Split, pattern: str, hashes: Mapping[str, str]
) -> int | None:
    """How many rows files have that are byte for byte the published ones; None: they must be counted.

    Args:
        dataset: the dataset.
        split: the split that the files belong to.
        pattern: the pattern in ``split.files`` that matches them.
        hashes: path below the data folder -> SHA-256.
    """
    listed = read_checksums(dataset.checksums)
    if "*" in pattern or any(listed.get(path) != found for path, found in hashes.items()):
        return None
    part = split.parts.get(pattern)
    return part.rows if part else None if is_summed(dataset, split) else split.rows


def judge(
    dataset: Dataset, split: Split, pattern: str, place: str, rows: int, hashes: Mapping[str, str]
) -> Verdict:
    """Compare the files of a split with the published ones.

    Args:
        dataset: the dataset.
        split: the split that the files belong to.
        pattern: the pattern in ``split.files`` that matches them.
        place: the pattern with the configuration filled in, for messages.
        rows: how many rows they contain.
        hashes: path below the data folder -> SHA-256.
    """
    title = f"{dataset.title} {split.name}"
    part = split.parts.get(pattern)
    expected = part.rows if part else None if is_summed(dataset, split) else split.rows
    listed = read_checksums(dataset.checksums)
    altered = [path for path, found in hashes.items() if listed.get(path, found) != found]
    known: Known = "altered" if altered else "known" if hashes.keys() <= listed.keys() else "unknown"
    likely = guess_file(altered, hashes, listed)
    # RACE: one file per passage, and any number of them may be present
    is_collection = "*" in pattern or split.is_listed
    if expected is not None and rows != expected and not (is_collection and rows < expected):
        text = f"{title}: {rows:,} rows, {expected:,} expected ({place})."
        return Verdict("short" if rows < expected else "altered", known, expected, text, likely)
    if altered:
        first = altered[0]
        digests = f"SHA-256 {hashes[first][:12]}..., {listed[first][:12]}... expected"
        text = f"{title}: {first} is altered ({rows:,} rows, {digests})."
        return Verdict("altered", known, expected, text, likely)
    if split.rows and (part or (is_collection and expected is not None and rows < expected)):
        what = part.title if part else "only some of the files" if "*" in pattern else "only some of the rows"
        text = f"{title}: {what}, {rows:,} of {split.rows:,} rows ({place})."
        return Verdict("partial", known, expected, text, part=what)
    return Verdict("complete" if expected is not None or known == "known" else "unchecked", known, expected)


def guess_file(altered: list[str], hashes: Mapping[str, str], listed: Mapping[str, str]) -> str:
    """If an altered file is another one of the listed release files, a sentence that says which one."""
    for path in altered:
        for other, digest in listed.items():
            if digest == hashes[path]:
                return f"{path} has the content of the published {other}."
    return ""
