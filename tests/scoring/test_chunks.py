"""Chunks and pieces against the whole attention pattern, written out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import list_chunks, queries

from gptalt_eval.scoring import cuts
from gptalt_eval.scoring.chunks import cut_chunk, follow, see
from gptalt_eval.scoring.cuts import Row, cut_pieces, group_rows
from gptalt_eval.scoring.tree import Query, build_tree

# what a call costs on processors without and with tiles
EITHER = pytest.mark.parametrize("call", [2500, 10000])


@given(queries(), st.integers(1, 12))
def test_chunks_hold_every_token_once_and_keep_the_ancestors_only(asked, budget):
    tree = build_tree(asked)
    chunks = list_chunks(tree, budget)
    assert [index for chunk in chunks for index in range(chunk.start, chunk.end)] == list(range(len(tree)))
    for chunk in chunks:
        assert 0 < len(chunk) <= budget
        ancestors = [index for index in range(chunk.start) if tree.subtree_end[index] > chunk.start]
        assert chunk.kept.tolist() == ancestors
        assert tree.depth[chunk.kept].tolist() == list(range(len(ancestors)))


def paint(tree, chunk, rows, blocks):
    """How often each pair of a chunk's pattern is computed for a query's answer."""
    own = np.arange(chunk.start, chunk.end)
    seen = see(tree, own, np.concatenate([chunk.kept, own]))
    painted = np.zeros(seen.shape, dtype=int)
    for row in rows:
        for place in range(row.first, len(row.tokens)):
            painted[row.tokens[place], row.tokens[: place + 1] + len(chunk.kept)] += 1
    for block in blocks:
        painted[slice(*block.rows), slice(*block.columns)] += 1
    return painted, seen


@pytest.mark.parametrize("call", [0, 3, 30, 10000])
@given(asked=queries(), budget=st.integers(1, 40))
def test_pieces_hold_every_seen_pair_once_and_no_other(call, asked, budget):
    tree = build_tree(asked)
    with pytest.MonkeyPatch.context() as patch:  # cheap calls are used for rows as short as these
        patch.setattr(cuts, "ROW", call)
        patch.setattr(cuts, "MERGE", call / 10)
        for chunk in list_chunks(tree, budget):
            rows, blocks = cut_pieces(tree, chunk, call)
            painted, seen = paint(tree, chunk, rows, blocks)
            assert (painted == seen).all()
            answered = [token for row in rows for token in row.tokens[row.first :].tolist()]
            assert sorted(answered) == list(range(len(chunk)))  # each query has exactly one row to begin with


def count_scores(rows, blocks):
    squares = sum(len(row.tokens) ** 2 for row in rows)
    areas = [(b.rows[1] - b.rows[0]) * (b.columns[1] - b.columns[0]) for b in blocks]
    return squares + sum(areas)


@EITHER
def test_shallow_trees_are_cut_apart_and_long_prefixes_shared(call):
    """40 questions of 60 tokens without a common beginning, then after one of 600: far from a dense mask."""
    apart = build_tree([Query([number + 5] * 60, [0]) for number in range(40)])
    (chunk,) = list_chunks(apart, 2400)
    assert count_scores(*cut_pieces(apart, chunk, call)) == 40 * 60 * 60
    shared = build_tree([Query([1] * 600 + [number + 5] * 60, [0]) for number in range(40)])
    (chunk,) = list_chunks(shared, 3000)
    rows, blocks = cut_pieces(shared, chunk, call)
    assert [(block.rows, block.columns) for block in blocks] == [((600, 3000), (0, 600))]
    assert count_scores(rows, blocks) == 600 * 600 + 2400 * 600 + 40 * 60 * 60


@EITHER
def test_a_short_context_is_repeated_before_its_options(call):
    tree = build_tree([Query([1] * 20 + [option] * 15, [0]) for option in (5, 6, 7, 8)])
    (chunk,) = list_chunks(tree, 1000)
    rows, blocks = cut_pieces(tree, chunk, call)
    assert blocks == []
    assert [(len(row.tokens), row.first) for row in rows] == [(35, 0), (35, 20), (35, 20), (35, 20)]


@pytest.mark.parametrize(
    ("call", "batches"),
    [(2500, [[900], [880], [64, 62, 61, 60], [5]]), (10000, [[900], [880], [64, 62, 61, 60, 5]])],
)
def test_rows_of_similar_length_are_one_batch(call, batches):
    lengths = [900, 60, 62, 61, 5, 880, 64]
    groups = group_rows([Row(np.arange(length), 0) for length in lengths], call)
    assert [[len(row.tokens) for row in group] for group in groups] == batches


def test_a_cut_is_moved_to_where_few_ancestors_are_kept():
    tree = build_tree([Query([1] * 10 + [number + 5] * 30, [0]) for number in range(8)])
    chunk = cut_chunk(tree, 0, np.zeros(0, dtype=np.int64), 80)
    assert chunk.end == 70  # after two of the eight branches
    assert len(follow(tree, chunk)) == 10
