"""Random trees and their chunks, for property tests of the scorer."""

import numpy as np
from hypothesis import strategies as st

from gptalt_eval.scoring.chunks import cut_chunk, find_kept
from gptalt_eval.scoring.tree import Query

TOKENS = st.integers(0, 2)  # few, so that rows share prefixes, nest and repeat


@st.composite
def queries(draw):
    rows = draw(st.lists(st.lists(TOKENS, min_size=1, max_size=10), min_size=1, max_size=9))
    made = []
    for row in rows:
        if made and draw(st.booleans()):
            shared = made[draw(st.integers(0, len(made) - 1))].inputs
            row = [*shared[: draw(st.integers(0, len(shared)))], *row]
        targets = draw(st.lists(st.integers(0, 99), min_size=1, max_size=len(row)))
        made.append(Query(row, targets))
    return made


def list_chunks(tree, budget):
    kept, start, chunks = np.zeros(0, dtype=np.int64), 0, []
    while start < len(tree):
        chunk = cut_chunk(tree, start, kept, budget)
        chunks.append(chunk)
        kept, start = find_kept(tree, chunk), chunk.end
    return chunks
