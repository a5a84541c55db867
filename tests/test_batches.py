"""Chunks and pieces against the whole attention pattern, written out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_tree import queries

from gptalt_eval.scoring import batches
from gptalt_eval.scoring.batches import cut_chunk, cut_pieces, follow, see
from gptalt_eval.scoring.tree import Query, build_tree


def list_chunks(tree, budget):
    kept, start, chunks = np.zeros(0, dtype=np.int64), 0, []
    while start < len(tree):
        chunk = cut_chunk(tree, start, kept, budget)
        chunks.append(chunk)
        kept, start = follow(tree, chunk), chunk.end
    return chunks


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


def paint(tree, chunk, pieces):
    """How often each pair of a chunk's pattern is computed."""
    own = np.arange(chunk.start, chunk.end)
    seen = see(tree, own, np.concatenate([chunk.kept, own]))
    painted = np.zeros(seen.shape, dtype=int)
    for piece in pieces:
        rows, columns = slice(*piece.rows), slice(*piece.columns)
        block = painted[rows, columns]
        if piece.kind == "full":
            block += 1
        else:
            assert piece.columns[0] - len(chunk.kept) == piece.rows[0]
            assert block.shape[0] == block.shape[1]
            block += (
                np.tril(np.ones(block.shape, dtype=int)) if piece.kind == "causal" else seen[rows, columns]
            )
    return painted, seen


@pytest.mark.parametrize("piece_cost", [0.5, 20, 6000])
@given(asked=queries(), budget=st.integers(1, 40))
def test_pieces_hold_every_seen_pair_once_and_no_other(piece_cost, asked, budget):
    tree = build_tree(asked)
    with pytest.MonkeyPatch.context() as patch:  # cheap pieces are cut finer than rows this short deserve
        patch.setattr(batches, "PIECE", piece_cost)
        patch.setattr(batches, "MERGE", piece_cost / 100)
        for chunk in list_chunks(tree, budget):
            pieces = cut_pieces(tree, chunk)
            painted, seen = paint(tree, chunk, pieces)
            assert (painted == seen).all()
            squares = [row for piece in pieces if piece.kind != "full" for row in range(*piece.rows)]
            assert sorted(squares) == list(range(len(chunk)))  # each query has exactly one to begin with


def count_scores(pieces):
    areas = [(piece.rows[1] - piece.rows[0]) * (piece.columns[1] - piece.columns[0]) for piece in pieces]
    return sum(areas)


def test_shallow_trees_are_cut_apart_and_long_prefixes_shared():
    """40 questions of 60 tokens without a common beginning, then after one of 600: far from a dense mask."""
    apart = build_tree([Query([number + 5] * 60, [0]) for number in range(40)])
    (chunk,) = list_chunks(apart, 2400)
    assert count_scores(cut_pieces(apart, chunk)) == 40 * 60 * 60
    shared = build_tree([Query([1] * 600 + [number + 5] * 60, [0]) for number in range(40)])
    (chunk,) = list_chunks(shared, 3000)
    pieces = cut_pieces(shared, chunk)
    assert [(p.rows, p.columns) for p in pieces if p.kind == "full"] == [((600, 3000), (0, 600))]
    assert count_scores(pieces) == 600 * 600 + 2400 * 600 + 40 * 60 * 60


def test_a_cut_is_moved_to_where_few_ancestors_are_kept():
    tree = build_tree([Query([1] * 10 + [number + 5] * 30, [0]) for number in range(8)])
    chunk = cut_chunk(tree, 0, np.zeros(0, dtype=np.int64), 80)
    assert chunk.end == 70  # after two of the eight branches
    assert len(follow(tree, chunk)) == 10
