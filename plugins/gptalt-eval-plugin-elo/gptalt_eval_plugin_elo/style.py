"""Differences in style between two answers, to tell them from how good the answers are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gptalt_eval import GptaltError
from gptalt_eval_plugin_elo.ratings import Floats
from gptalt_eval_plugin_elo.table import VoteTable
from gptalt_eval_plugin_elo.votes import Style

NAMES = Style._fields


@dataclass(frozen=True)
class Differences:
    """Attributes:
    names: what is compared; what all answers are alike in is left out.
    values: [N, names] first less second, each divided by its root mean square.
    """

    names: Sequence[str]
    values: Floats


def compare_styles(table: VoteTable) -> Differences:
    """The differences of length and Markdown.

    As in LMArena's style control (Li, Angelopoulos and Chiang 2024, Does style matter?): (a - b) / (a + b) of
    the two answers' numbers, 0 if both are 0. Their mean stays: who is named first is not a matter of style.

    Raises:
        GptaltError: the style of some answers is not known.
    """
    known = (table.style >= 0).all((1, 2))
    if not known.all():
        missing = int((~known).sum())
        raise GptaltError(
            f"--style_control: {missing:,} of {len(table):,} comparisons do not say how long answers were.",
            "Export votes from the voting page again, or omit --style_control.",
        )
    one, other = table.style[:, 0].astype(float), table.style[:, 1].astype(float)
    total = one + other
    share = np.divide(one - other, total, out=np.zeros_like(total), where=total > 0)
    size = np.sqrt((share**2).mean(0))
    return Differences(
        [name for name, each in zip(NAMES, size, strict=True) if each > 0],
        share[:, size > 0] / size[size > 0],
    )
