"""Chunks and pieces against the whole attention pattern, written out."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import list_chunks, queries

from gptalt_eval.scoring import cuts
from gptalt_eval.scoring.chunks import cut_chunk, find_kept, find_needed, find_scored, find_visible
from gptalt_eval.scoring.cuts import (
    PieceCutter,
    Row,
    cut_pieces,
    estimate_causal_cost,
    estimate_masked_cost,
    group_rows,
)
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


@given(queries(), st.integers(1, 12), st.lists(st.integers(1, 5), min_size=1))
def test_what_sees_each_other_stays_in_one_chunk(asked, budget, sizes):
    """Runs of a few tokens without a fork, as those of a picture; each token of a run sees all of it."""
    tree = build_tree(asked)
    starts = [0]
    while starts[-1] < len(tree):
        start, size = starts[-1], sizes[len(starts) % len(sizes)]
        end = start + 1
        while (
            end < min(len(tree), start + size)
            and tree.depth[end] == tree.depth[end - 1] + 1
            and (tree.subtree_end[end] == tree.subtree_end[start])
        ):
            end += 1
        starts.append(end)
    lengths = np.diff(starts)
    tree = replace(tree, first=np.repeat(starts[:-1], lengths))
    chunks = list_chunks(tree, budget)
    assert [index for chunk in chunks for index in range(chunk.start, chunk.end)] == list(range(len(tree)))
    assert {chunk.start for chunk in chunks} <= set(starts)
    assert all(len(chunk) <= max(budget, lengths.max(initial=0)) for chunk in chunks)
    every = np.arange(len(tree))
    seen = find_visible(tree, every, every)
    for i, j in product(range(len(tree)), repeat=2):
        together = tree.first[i] == tree.first[j]
        assert seen[i, j] == (together or j <= i < tree.subtree_end[j])


def paint(tree, chunk, rows, blocks):
    """How often each pair of a chunk's pattern is computed for a query's answer."""
    own = np.arange(chunk.start, chunk.end)
    seen = find_visible(tree, own, np.concatenate([chunk.kept, own]))
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
    assert len(find_kept(tree, chunk)) == 10


@given(queries(), st.integers(1, 12))
def test_a_chunk_ends_late_and_where_little_is_kept(asked, budget):
    """Of the last quarter of the budget, the shallowest place; of several, the latest."""
    tree = build_tree(asked)
    for chunk in list_chunks(tree, budget):
        furthest = chunk.start + budget
        if furthest >= len(tree):
            assert chunk.end == len(tree)
            continue
        places = range(chunk.start + max(1, budget * 3 // 4), furthest + 1)
        assert chunk.end == min(places, key=lambda place: (tree.depth[place], -place))


@given(queries(), st.integers(1, 12), st.data())
def test_the_chunks_that_are_needed_are_those_with_a_place_and_those_they_build_upon(asked, budget, data):
    tree = build_tree(asked)
    chunks = list_chunks(tree, budget)
    places = np.array(data.draw(st.lists(st.integers(0, len(tree) - 1), max_size=3)), dtype=np.int64)
    needed, found = [*places], set()
    while needed:
        token = needed.pop()
        [number] = [number for number, chunk in enumerate(chunks) if chunk.start <= token < chunk.end]
        if number not in found:
            found.add(number)
            needed += chunks[number].kept.tolist()
    assert find_needed(chunks, places) == [chunks[number] for number in sorted(found)]


@given(queries(), st.integers(1, 12))
def test_what_is_read_in_each_chunk_is_together_what_is_read_in_the_tree(asked, budget):
    tree = build_tree(asked)
    positions, targets, owners = [], [], []
    for chunk in list_chunks(tree, budget):
        places, rows, ids, queries_of = find_scored(tree, chunk)
        assert places.tolist() == sorted(set(places.tolist()))
        assert ((places >= 0) & (places < len(chunk))).all()
        positions += (places[rows] + chunk.start).tolist()
        targets += ids.tolist()
        owners += queries_of.tolist()
    assert (positions, targets, owners) == (
        tree.positions.tolist(),
        tree.targets.tolist(),
        tree.owners.tolist(),
    )


def count_cost(rows, blocks, call):
    """What a cut costs, by the prices: of its rows and of its blocks among the chunk's own tokens."""
    cost = 0.0
    for row in rows:
        length, own = len(row.tokens), len(row.tokens) - row.first
        alone = min(estimate_causal_cost(length), estimate_masked_cost(length))
        cost += cuts.ROW + (cuts.MASKED * own * length + cuts.COPY * length if row.first else alone)
    for block in blocks:
        height, width = block.rows[1] - block.rows[0], block.columns[1] - block.columns[0]
        cost += call + height * (width + cuts.MERGE)
    return cost


PRICES = st.tuples(
    *(
        st.sampled_from(values)
        for values in ((0, 1, 7), (0, 0.5, 3), (0.45, 1), (0, 2, 9), (0.5, 1.15), (0, 1, 5))
    )
)


@given(asked=queries(), call=st.sampled_from([0, 2, 10, 60]), prices=PRICES)
def test_no_other_cut_of_a_chunk_is_cheaper(asked, call, prices):
    """Against all that there are: each branching segment unrolled, or a row of its own with a block below."""
    tree = build_tree(asked)
    (chunk,) = list_chunks(tree, 1000)
    with pytest.MonkeyPatch.context() as patch:
        for name, price in zip(("ROW", "MERGE", "CAUSAL", "EDGE", "MASKED", "COPY"), prices, strict=True):
            patch.setattr(cuts, name, price)
        cutter = PieceCutter(tree.depth, tree.subtree_end, 0, call)
        found = count_cost(*cutter.cut(), call)
        branching = [index for index in range(len(cutter.begin)) if cutter.stop[index] != cutter.end[index]]
        patch.setattr(PieceCutter, "choose", lambda self: None)
        costs = []
        for choices in product((True, False), repeat=min(len(branching), 7)):
            for index, choice in zip(branching, choices, strict=False):
                cutter.unrolled[index] = choice
            costs.append(count_cost(*cutter.cut(), call))
        assert found <= min(costs) + 1e-9
    assert all(row.first == 0 or row.first < len(row.tokens) for row in cut_pieces(tree, chunk, call)[0])


@pytest.mark.parametrize(("call", "longest"), [(2500, 106), (10000, 226)])
def test_where_a_passage_is_long_enough_to_be_shared(call, longest):
    """A passage before four options of 15 tokens. Of 106 tokens, with calls at 2,500, the four rows cost
    4 x 500 + 121 x (1.15 x 121 + 12) + 3 x 121 x (1.15 x 15 + 12) = 30,907, and the passage, a block and the options
    500 + 106 x (1.15 x 106 + 12) + 2,500 + 60 x (106 + 60) + 4 x (500 + 15 x (1.15 x 15 + 12)) = 30,908;
    of 107, 31,287 and 31,226."""
    for length, shared in ((longest, False), (longest + 1, True)):
        tree = build_tree([Query([1] * length + [option] * 15, [0]) for option in (7, 8, 9, 10)])
        (chunk,) = list_chunks(tree, 1000)
        rows, blocks = cut_pieces(tree, chunk, call)
        found = [(len(row.tokens), row.first) for row in rows]
        if shared:
            assert found == [(length, 0), *[(15, 0)] * 4]
            assert [(block.rows, block.columns) for block in blocks] == [((length, length + 60), (0, length))]
        else:
            assert (found, blocks) == ([(length + 15, 0), *[(length + 15, length)] * 3], [])


@pytest.mark.parametrize(("call", "longest"), [(2500, 506), (10000, 561)])
def test_where_two_passages_are_long_enough_for_a_beginning_of_their_own(call, longest):
    """Two passages after 20 tokens, four options of 15 after each: shared, every token below pays to be put together."""
    for length, shared in ((longest, False), (longest + 1, True)):
        rows = [
            [1] * 20 + [passage] * length + [option] * 15 for passage in (5, 6) for option in (7, 8, 9, 10)
        ]
        tree = build_tree([Query(row, [0]) for row in rows])
        (chunk,) = list_chunks(tree, 5000)
        rows, blocks = cut_pieces(tree, chunk, call)
        found = [(len(row.tokens), row.first) for row in rows]
        if shared:
            assert found == [(20, 0), *[(length, 0), *[(15, 0)] * 4] * 2]
            assert [block.columns[1] - block.columns[0] for block in blocks] == [20, length, length]
        else:
            whole = length + 35
            assert found == [(whole, 0), *[(whole, whole - 15)] * 3, (whole, 20), *[(whole, whole - 15)] * 3]
            assert blocks == []


@pytest.mark.parametrize("call", [0, 100, 2500])
@given(lengths=st.lists(st.integers(1, 90), min_size=1, max_size=12), data=st.data())
def test_a_batch_takes_rows_as_long_as_padding_costs_less_than_a_call(call, lengths, data):
    rows = [Row(np.arange(length), data.draw(st.integers(0, length - 1))) for length in lengths]

    def count_wasted(group):
        answers = [len(row.tokens) - row.first for row in group]
        needed = sum(len(row.tokens) * own for row, own in zip(group, answers, strict=True))
        return len(group) * len(group[0].tokens) * max(answers) - needed

    groups = group_rows(rows, call)
    assert [len(row.tokens) for group in groups for row in group] == sorted(lengths, reverse=True)
    for group, following in zip(groups, [*groups[1:], None], strict=True):
        assert count_wasted(group) <= call
        assert following is None or count_wasted([*group, following[0]]) > call


@pytest.mark.parametrize(
    ("length", "first", "is_long"), [(471, 0, True), (400, 0, False), (471, 1, False), (5000, 0, True)]
)
def test_a_long_row_of_its_own_is_computed_causally(length, first, is_long):
    """(0.45 n + 330) n against (1.15 n + 12) n: they are equal at 318 / 0.7 = 454.3 tokens."""
    assert Row(np.arange(length), first).is_long is is_long


@pytest.mark.parametrize(("length", "is_long"), [(454, False), (455, True)])
def test_where_a_row_becomes_long(length, is_long):
    assert Row(np.arange(length), 0).is_long is is_long
    assert estimate_causal_cost(100) == pytest.approx((0.45 * 100 + 330) * 100)
    assert estimate_masked_cost(100) == pytest.approx((1.15 * 100 + 12) * 100)
