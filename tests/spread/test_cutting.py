"""Units: every request in one, as large as they may be, and little computed twice."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gptalt_eval.scoring.tree import Query, build_tree
from gptalt_eval.spread.cutting import LEAST, MOST, cut_row, cut_tree

ROW = st.lists(st.integers(0, 3), min_size=1, max_size=12)
ROWS = st.lists(ROW, min_size=1, max_size=40)


def ask(rows):
    return [Query(row, row[-1:]) for row in rows]


@given(ROWS, st.integers(4, 40))
def test_each_request_is_in_one_unit(rows, most):
    cuts = cut_tree(ask(rows), None, most * 2 // 3, most)
    assert sorted(place for cut in cuts for place in cut.places) == list(range(len(rows)))


@given(ROWS, st.integers(20, 60))
def test_a_unit_costs_no_more_than_allowed_and_what_leads_to_it(rows, most):
    queries = ask(rows)
    for cut in cut_tree(queries, None, most * 2 // 3, most):
        distinct = len(build_tree([queries[place] for place in cut.places]))
        assert distinct <= cut.tokens <= most + max(len(row) for row in rows)


@given(ROWS)
def test_a_small_set_is_one_unit(rows):
    [cut] = cut_tree(ask(rows))
    assert cut.tokens == len(build_tree(ask(rows)))


@given(ROWS, st.integers(10, 30))
def test_the_cutting_does_not_depend_on_how_often_it_is_done(rows, most):
    assert cut_tree(ask(rows), None, most // 2, most) == cut_tree(ask(rows), None, most // 2, most)


def make_subjects(subjects, questions, prefix, length, seed=0):
    """Requests like those of MMLU: examples that a subject's questions share, and four options."""
    rng = np.random.default_rng(seed)
    queries = []
    for _ in range(subjects):
        head = rng.integers(10, 30_000, prefix)
        for _ in range(questions):
            row = np.concatenate([head, rng.integers(10, 30_000, length)])
            queries += [Query(row, [letter]) for letter in (3, 4, 5, 6)]
    return queries


def share_twice(queries, cuts):
    """Which part of the distinct tokens is computed again, because it is in several units."""
    computed = sum(len(build_tree([queries[place] for place in cut.places])) for cut in cuts)
    return computed / len(build_tree(queries)) - 1


def test_cuts_are_between_subtrees():
    queries = make_subjects(subjects=57, questions=150, prefix=700, length=90)
    cuts = cut_tree(queries)
    assert all(LEAST * 0.9 < cut.tokens <= MOST + 1000 for cut in cuts[:-1])
    assert share_twice(queries, cuts) < 0.003  # a subject has 14,200 tokens: all cuts are between two


def test_a_subtree_that_is_larger_than_a_unit_is_divided_where_little_is_repeated():
    queries = make_subjects(subjects=2, questions=5000, prefix=1500, length=90)
    cuts = cut_tree(queries)
    assert len(cuts) == 4
    assert share_twice(queries, cuts) < 0.01


@settings(max_examples=30)
@given(st.lists(ROW, min_size=1, max_size=40, unique_by=tuple), st.integers(5, 50))
def test_what_is_generated_counts(rows, extra):
    cuts = cut_tree(ask(rows), [extra] * len(rows), 60, 100)
    assert sum(cut.tokens for cut in cuts) >= extra * len(rows)
    for cut in cuts:
        assert len(cut.places) * extra <= 100 + extra + 12


@given(st.lists(st.integers(0, 200), max_size=30), st.integers(1, 300))
def test_requests_that_share_nothing_stay_in_order(costs, most):
    cuts = cut_row(costs, most)
    assert [place for cut in cuts for place in cut.places] == list(range(len(costs)))
    for cut in cuts:
        assert cut.tokens == sum(costs[place] for place in cut.places)
        assert cut.tokens <= most or len(cut.places) == 1
    for one, other in pairwise(cuts):
        assert one.tokens + costs[other.places[0]] > most


def test_what_costs_more_than_a_unit_is_one_by_itself():
    cuts = cut_tree(ask([[1], [2], [3]]), [500, 500, 500], 60, 100)
    assert [cut.places for cut in cuts] == [[0], [1], [2]]


def test_nothing_gives_no_unit():
    assert cut_tree([]) == []
    assert cut_row([]) == []
