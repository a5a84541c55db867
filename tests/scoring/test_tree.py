"""The prefix tree against the plain meaning of a prefix."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import TOKENS, queries

from gptalt_eval.scoring.chunks import find_visible
from gptalt_eval.scoring.tree import Queries, Query, build_tree, divide, measure_common, walk


def list_prefixes(rows):
    return {tuple(row[: end + 1]) for row in rows for end in range(len(row))}


def read_path(tree, index):
    """The tokens from the root to a token of the tree, by the rule that token i sees j when j <= i < end[j]."""
    everything = np.arange(len(tree))
    return tuple(tree.tokens[find_visible(tree, np.array([index]), everything)[0]].tolist())


@given(queries())
def test_each_distinct_prefix_is_one_token(asked):
    tree = build_tree(asked)
    paths = [read_path(tree, index) for index in range(len(tree))]
    assert sorted(paths) == sorted(list_prefixes([query.inputs for query in asked]))


@given(queries())
def test_depth_is_the_number_of_ancestors(asked):
    tree = build_tree(asked)
    assert tree.depth.tolist() == [len(read_path(tree, index)) - 1 for index in range(len(tree))]


@given(queries())
def test_every_target_is_read_after_the_tokens_before_it(asked):
    tree = build_tree(asked)
    assert (np.diff(tree.positions) >= 0).all()
    read = {index: [] for index in range(len(asked))}
    for position, target, owner in zip(tree.positions, tree.targets, tree.owners, strict=True):
        read[owner].append((read_path(tree, position), target))
    for index, query in enumerate(asked):
        before = len(query.inputs) - len(query.targets)
        wanted = [(tuple(query.inputs[: before + 1 + k]), target) for k, target in enumerate(query.targets)]
        assert read[index] == wanted


@given(queries())
def test_siblings_stand_in_the_order_of_the_first_query_that_needs_them(asked):
    tree = build_tree(asked)
    first_need = {}
    for index, query in enumerate(asked):
        for prefix in list_prefixes([query.inputs]):
            first_need.setdefault(prefix, index)
    paths = [read_path(tree, index) for index in range(len(tree))]
    by_parent = {}
    for path in paths:
        by_parent.setdefault(path[:-1], []).append(first_need[path])
    assert all(needs == sorted(needs) for needs in by_parent.values())


def test_no_queries_are_an_empty_tree():
    assert len(build_tree([])) == 0


@pytest.mark.parametrize(("inputs", "targets"), [([], []), ([], [1]), ([1], []), ([1], [1, 2])])
def test_a_query_must_read_as_many_tokens_as_it_scores(inputs, targets):
    with pytest.raises(ValueError, match=f"{len(targets)} tokens to score after {len(inputs)} read"):
        build_tree([Query(inputs, targets)])


def test_ids_beyond_one_byte_are_told_apart():
    rows = [[1], [256], [65536], [1, 256], [1, 1]]
    assert len(build_tree([Query(row, [0]) for row in rows])) == 5


@given(st.lists(TOKENS), st.lists(TOKENS))
def test_common_length(one, other):
    length = measure_common(np.array(one, dtype=np.int64), np.array(other, dtype=np.int64))
    assert one[:length] == other[:length]
    assert length == min(len(one), len(other)) or one[length] != other[length]


@given(queries(), st.integers(1, 4))
def test_division_gives_each_query_to_one_process(asked, parts):
    divided = divide(build_tree(asked), asked, parts)
    assert len(divided) == parts
    assert sorted(index for part in divided for index in part) == list(range(len(asked)))


def test_division_is_by_tokens_and_at_shallow_places():
    """Two subjects of 40 questions after a long prefix each, one question of the first three times as long."""
    rows = [
        [subject] * 300 + [number + 5] * (150 if number == 0 else 50)
        for subject in (1, 2)
        for number in range(40)
    ]
    asked = [Query(row, [0]) for row in rows]
    for parts in (2, 4):
        sizes = [
            len(build_tree([asked[i] for i in part])) for part in divide(build_tree(asked), asked, parts)
        ]
        assert max(sizes) < 1.35 * min(sizes)
    first, second = divide(build_tree(asked), asked, 2)
    assert set(first) == set(range(40))
    assert sum(len(build_tree([asked[i] for i in part])) for part in (first, second)) == len(
        build_tree(asked)
    )


@given(queries(), st.integers(1, 5))
def test_division_cuts_at_the_shallowest_place_within_a_twentieth_of_a_part(asked, parts):
    tree = build_tree(asked)
    last = [max(tree.positions[tree.owners == index]) for index in range(len(asked))]
    cuts = [0]
    for part in range(1, parts):
        ideal, slack = len(tree) * part // parts, max(1, len(tree) // (parts * 20))
        places = range(max(cuts[-1], ideal - slack), min(len(tree), ideal + slack))
        cuts.append(
            min(places, key=lambda place: tree.depth[place]) if places else min(len(tree), ideal + slack)
        )
    expected = [[] for _ in range(parts)]
    for index, position in enumerate(last):
        expected[sum(cut <= position for cut in cuts[1:])].append(index)
    assert divide(tree, asked, parts) == expected


@pytest.mark.parametrize(
    ("length", "parts"),
    [(474, [[0, 2], [1]]), (475, [[0], [1, 2]]), (524, [[0], [1, 2]]), (525, [[], [0, 1, 2]])],
)
def test_division_of_a_large_tree_looks_a_twentieth_of_a_part_around(length, parts):
    """Of 1,000 tokens for two processes, 475 to 524: is the second branch seen, which begins after ``length``?"""
    asked = [Query([1] * length, [0]), Query([2] * (1000 - length), [0]), Query([2], [0])]
    assert divide(build_tree(asked), asked, 2) == parts


def test_whatever_numbers_come_in_whole_ones_of_64_bits_come_out():
    for kind in (np.int32, np.uint16, list):
        inputs = [1, 2, 3] if kind is list else np.array([1, 2, 3], dtype=kind)
        tree = build_tree([Query(inputs, [4, 5]), Query([1, 2], [6])])
        names = ("tokens", "depth", "subtree_end", "positions", "targets", "owners")
        assert {name: getattr(tree, name).dtype for name in names} == dict.fromkeys(names, np.dtype(np.int64))
    empty = build_tree([])
    assert {name: getattr(empty, name).dtype for name in names} == dict.fromkeys(names, np.dtype(np.int64))


def test_answers_at_one_place_are_in_the_order_of_their_queries():
    tree = build_tree([Query([1, 2], [number % 7]) for number in range(2_000)])
    assert tree.owners.tolist() == list(range(2_000))
    assert tree.targets.tolist() == [number % 7 for number in range(2_000)]


@given(queries(), st.randoms())
def test_queries_come_back_as_they_were_added(asked, random):
    kept = Queries(asked)
    assert len(kept) == len(asked)
    assert [(one.inputs.tolist(), one.targets.tolist()) for one in kept] == [
        (list(one.inputs), list(one.targets)) for one in asked
    ]
    start, end = sorted(random.randrange(len(asked) + 1) for _ in range(2))
    part = kept[start:end]
    assert [one.inputs.tolist() for one in part] == [list(one.inputs) for one in asked[start:end]]
    assert kept.count_inputs().tolist() == [len(one.inputs) for one in asked]
    assert kept.count_targets().tolist() == [len(one.targets) for one in asked]


@given(queries())
def test_queries_keep_each_distinct_token_once(asked):
    kept = Queries(asked)
    tokens = sum(len(node.tokens) for node, leaving in walk(kept.root) if not leaving)
    assert tokens == len(list_prefixes([query.inputs for query in asked]))
    for node, _ in walk(kept.root):
        assert all(
            child.parent is node and first == child.tokens[0] for first, child in node.children.items()
        )
        assert len(node.children) != 1 or node.queries or node is kept.root


def test_the_memory_of_queries_grows_with_their_distinct_tokens():
    def measure(shared):
        tracemalloc.start()
        generator = np.random.default_rng(0)
        prefix = generator.integers(0, 50_000, shared)
        kept = Queries(
            Query(np.concatenate([prefix, generator.integers(0, 50_000, 20)]), [1]) for _ in range(500)
        )
        taken, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(kept) == 500
        return taken

    asked = 500 * 2_000 * 4  # bytes, if each query kept its tokens
    assert measure(2_000) - measure(20) < asked / 20


def test_negative_and_large_ids_stay_what_they_are():
    tree = build_tree([Query([-1, 2**31 - 1], [2**31 - 1])])
    assert tree.tokens.tolist() == [-1, 2**31 - 1]
    with pytest.raises(OverflowError):
        build_tree([Query([2**31], [0])])
