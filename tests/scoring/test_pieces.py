"""Attention by pieces against the whole pattern, written out."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from trees import list_chunks, queries

from gptalt_eval.scoring import attention, cuts, pieces
from gptalt_eval.scoring.attention import make_dense_mask
from gptalt_eval.scoring.cuts import Row
from gptalt_eval.scoring.pieces import Layout, LongRow, PieceAttention
from gptalt_eval.scoring.tree import Query, build_tree

SIZE = 8
# what a call, and a token above the diagonal of a long row, cost: rows are unrolled or cut, alone or together
PRICES = {"short rows": (10000, 1e9), "long rows": (10000, -1e9), "blocks": (0, 1e9), "all": (0, -1e9)}


def make_states(chunk, heads, groups, seed=0):
    """Random queries, keys and values of a chunk, the queries as models lay them out."""
    generator = torch.Generator().manual_seed(seed)
    keys = len(chunk.kept) + len(chunk)
    query = torch.randn(1, len(chunk), heads, SIZE, generator=generator).transpose(1, 2)
    return query, *(torch.randn(1, groups, keys, SIZE, generator=generator) for _ in range(2))


def attend_densely(tree, chunk, query, key, value, scale):
    """[1, T, heads, D] by a mask over all pairs."""
    repeats = query.shape[1] // key.shape[1]
    key, value = (states.repeat_interleave(repeats, 1) for states in (key, value))
    scores = query @ key.transpose(-1, -2) * scale + make_dense_mask(tree, chunk, query.dtype, "cpu")
    return (scores.softmax(-1) @ value).transpose(1, 2)


@pytest.mark.parametrize("prices", PRICES)
@given(
    asked=queries(),
    budget=st.integers(1, 40),
    heads=st.sampled_from([(1, 1), (4, 4), (4, 2), (6, 1), (6, 3)]),
)
def test_pieces_attend_to_what_a_token_sees(prices, asked, budget, heads):
    tree = build_tree(asked)
    with pytest.MonkeyPatch.context() as patch:
        call, edge = PRICES[prices]
        patch.setattr(pieces, "CALL", call)
        for name, price in (("ROW", 0), ("MERGE", call / 100), ("EDGE", edge)):
            patch.setattr(cuts, name, price)
        for chunk in list_chunks(tree, budget):
            states = make_states(chunk, *heads)
            pattern = PieceAttention(tree, chunk)
            found = pattern.attend(*states, 0.5)
            assert torch.allclose(found, attend_densely(tree, chunk, *states, 0.5), atol=1e-5)
            (layout,) = pattern.layouts.values()
            assert isinstance(layout.pieces[0], LongRow) == (edge < 0)


def test_long_passages_and_what_hangs_on_them():
    """Of the sizes that the prices are made for: a long row, blocks and batches of several lengths at once."""
    asked = []
    for passage in (5, 6):
        for question in range(7, 12):
            start = [1] * 40 + [passage] * 700 + [question] * (5 * question)
            asked += [Query(start + [option] * (option - 10), [0]) for option in range(20, 24)]
    tree = build_tree(asked)
    kinds = set()
    for chunk in list_chunks(tree, 1000):
        pattern = PieceAttention(tree, chunk)
        states = make_states(chunk, 4, 2)
        assert torch.allclose(
            pattern.attend(*states, 0.5), attend_densely(tree, chunk, *states, 0.5), atol=1e-5
        )
        (layout,) = pattern.layouts.values()
        kinds |= {type(piece).__name__ for piece in layout.pieces} | ({"Block"} if pattern.blocks else set())
    assert kinds == {"LongRow", "ShortRows", "Block"}


def test_layers_may_differ_in_heads():
    tree = build_tree([Query([1] * 9 + [number] * 5, [0]) for number in (2, 3)])
    (chunk,) = list_chunks(tree, 100)
    pattern = PieceAttention(tree, chunk)
    for heads, groups in ((4, 2), (6, 2), (4, 2), (2, 2)):
        states = make_states(chunk, heads, groups)
        expected = attend_densely(tree, chunk, *states, 0.5)
        assert torch.allclose(pattern.attend(*states, 0.5), expected, atol=1e-5)
    assert len(pattern.layouts) == 3


@pytest.mark.parametrize(("lanes", "keys"), [(16, 48), (32, 64)])
def test_keys_fill_the_lanes(lanes, keys, monkeypatch):
    monkeypatch.setattr(attention, "LANES", lanes)
    rows = [Row(np.arange(start, start + length), 0) for start, length in ((0, 40), (40, 35))]
    (piece,) = Layout(rows, 0, 75, 1, 1, torch.float32).pieces
    assert piece.mask.shape[-1] == keys
