"""What a file of votes changes among those that are known."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from gptalt_eval_plugin_elo.identity import Identities, Mask, find_copies, pair_votes


@dataclass(frozen=True)
class Settlement:
    """Attributes:
    kept: [N] which of the new lines are to be written.
    dropped: [M] which of the old lines are to go.
    added, known, changed: votes that are new, that were known, and that were known with another verdict.
    taken_back: votes that are no longer on their page.
    """

    kept: Mask
    dropped: Mask
    added: int
    known: int
    changed: int
    taken_back: int


def settle_votes(
    new: Identities,
    old: Identities,
    replaced: Collection[int] = (),
    repeated: Collection[int] = (),
    ignored: Collection[int] = (),
) -> Settlement:
    """Compare the votes of a file with those that are known.

    Args:
        new, old: the votes.
        replaced: numbers of the pages all of whose votes are in the file.
        repeated: those of which the file says the same as what is known.
        ignored: numbers of the pages of which a newer export is known; their votes in the file do not count.
    """
    copies = find_copies(new)
    wanted = np.flatnonzero(~np.isin(new.page, list(ignored)) & ~copies)
    paired, at_old = pair_votes(new.choose(wanted), old)
    at_new = wanted[paired]
    is_new, gone = np.zeros(len(new), bool), np.ones(len(old), bool)
    is_new[wanted] = True
    is_new[at_new] = gone[at_old] = False
    # a page knows better than a line that came from it without an id
    foreign = (new.own[at_new] == 0) & (old.page[at_old] >= 0)
    other = (new.verdict[at_new] != old.verdict[at_old]) & ~foreign
    # a line that says more takes the place of one that says less
    better = ((new.own[at_new] != 0) & (old.own[at_old] == 0)) | (new.told[at_new] & ~old.told[at_old])
    touched = np.concatenate([new.page[is_new], old.page[gone], new.page[at_new[other]]])
    whole = [*replaced, *np.intersect1d(list(repeated), touched)]  # as a block, in the page's order
    on_page, was_on_page = np.isin(new.page, whole), np.isin(old.page, whole)
    gone &= was_on_page
    kept, dropped = is_new | (on_page & ~copies), was_on_page
    for place in (other, better & ~foreign, on_page[at_new]):
        kept[at_new[place]] = True
        dropped[at_old[place]] = True
    known = int((~other).sum() + copies.sum())
    return Settlement(kept, dropped, int(is_new.sum()), known, int(other.sum()), int(gone.sum()))


def count_differences(new: Identities, old: Identities) -> tuple[int, int, int]:
    """Of two exports of a page, how many old votes are gone, how many are new, and how many are different."""
    _, at_new, at_old = np.intersect1d(new.own, old.own, return_indices=True)
    changed = int((new.verdict[at_new] != old.verdict[at_old]).sum())
    return len(old) - len(at_old), len(new) - len(at_new), changed
