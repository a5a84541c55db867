"""The packages and plugins with which runs were made, where these are not the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gptalt_eval.contract.record import Record
from gptalt_eval.contract.run import Run, name_versions

Packages = Mapping[str, str]


def list_packages(run: Run) -> Packages:
    """Package or plugin -> its version, of a plugin with the hash of its files; empty: not recorded."""
    plugins = {each.distribution or each.name: str(each).partition(" ")[2] for each in run.plugins}
    return {**run.versions, **plugins} if run.versions else {}


def tell_packages(first: tuple[str, Packages], second: tuple[str, Packages]) -> str:
    """A sentence on what two named runs were made with, as far as that differs; empty: it does not."""
    (one, before), (other, after) = first, second
    if not before or not after or before == after:
        return ""
    return (
        f"{one} was run with {name_versions(before, after)}, and {other} with {name_versions(after, before)}."
    )


def tell_differences(records: Sequence[Record], names: Sequence[str]) -> list[str]:
    """A sentence for each run that was made with other packages or plugins than the first."""
    known = [
        (name, packages)
        for name, record in zip(names, records, strict=True)
        if (packages := list_packages(record.run))
    ]
    told = (tell_packages(known[0], each) for each in known[1:])
    return [sentence for sentence in told if sentence]
