"""What an import did, and when that is not what was asked for."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gptalt_eval import GptaltError, open_named

LARGE = 0.1  # share of records that are not votes, above which an import has failed


def generalise(reason: str) -> str:
    """A reason without its specific values, for counting."""
    return reason.split(":")[0].split("(")[0].split(";")[0].strip()


@dataclass
class Counts:
    """The result of importing one file.

    Attributes:
        format: the name of its format.
        added, known, rejected: new votes, votes that were already known, records that are not votes.
        reasons: why records were rejected, with counts.
        changed: votes that were known with another verdict.
        taken_back: votes of the page that are no longer on it.
        older: why a page's votes were left alone.
    """

    format: str
    added: int = 0
    known: int = 0
    rejected: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    changed: int = 0
    taken_back: int = 0
    older: list[str] = field(default_factory=list)

    @property
    def votes(self) -> int:
        return self.added + self.known + self.changed


def check_imported(counts: Mapping[Path, Counts], rejected: Path) -> None:
    """Check that each file gave votes, and few other records.

    Raises:
        GptaltError: one did not; the votes that there are have been added.
    """
    for file, each in counts.items():
        reasons = each.reasons.most_common(1)
        most = f" Most frequent reason: {reasons[0][0]} ({reasons[0][1]:,})." if reasons else ""
        if not each.votes and not each.taken_back and not each.older:
            raise GptaltError(
                f"No vote was imported from {file} (format {each.format}): "
                f"{count_rejected(each.rejected)}.{most}"
                if each.rejected
                else f"No vote was imported from {file} (format {each.format}): there is none in it.",
                f"See {rejected}." if each.rejected else "Is it the right file?",
            )
        if each.rejected > LARGE * (each.votes + each.rejected):
            raise GptaltError(
                f"{each.rejected:,} of {each.votes + each.rejected:,} records of {file} are not votes; "
                f"the others were imported.{most}",
                f"See {rejected}, before you rely on ratings of the rest.",
            )


def count_rejected(number: int) -> str:
    return "1 record is not a vote" if number == 1 else f"{number:,} records are not votes"


def explain_missing(path: Path, rejected: Path) -> GptaltError:
    """Why there are no votes in a folder: nothing was imported, or nothing of it was a vote."""
    hint = "Import some: gptalt-eval votes import FILE..."
    reasons: Counter[str] = Counter()
    if rejected.is_file():
        with open_named(rejected) as stream:
            for line in stream:
                try:
                    reasons[generalise(str(json.loads(line)["reason"]))[:100]] += 1
                except (ValueError, LookupError, TypeError, RecursionError):
                    continue
    if not reasons:
        return GptaltError(f"There are no votes in {path}.", hint)
    number = sum(reasons.values())
    reason, times = reasons.most_common(1)[0]
    return GptaltError(
        f"There are no votes in {path}: {number:,} {'record' if number == 1 else 'records'} were imported, "
        f"none of them a vote. Most frequent reason: {reason} ({times:,}).",
        f"See {rejected}, and import again.",
    )
