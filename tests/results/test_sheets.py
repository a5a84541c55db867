"""The rows of many arms at once: which are paired, and what their clusters add to the errors."""

from dataclasses import replace

import numpy as np
import pytest

from gptalt_eval.results.analyse import Score
from gptalt_eval.results.arms import Arm, TaskRows
from gptalt_eval.results.rows import Row
from gptalt_eval.results.sampling import Design, estimate_mean
from gptalt_eval.results.sheets import Sheet, find_errors, make_column, number_clusters, read_sheets

ONE, TWO, THREE = (Arm(name, "standard", 0) for name in ("one", "two", "three"))


def make_rows(values, task="task", hashes=None, cluster=""):
    return {
        (task, row): Row(hashes[row] if hashes else f"d{row}", "", {"acc": value}, cluster=cluster)
        for row, value in enumerate(values)
    }


def make_score(value, interval=(0.0, 1.0)):
    return Score("task", "task", 0, 0, "acc", "none", value, interval, 4, 4, True, False, 0)


def make_sheet(values, design=None, documents=()):
    values = np.array(values, dtype=float).reshape(len(values), -1)
    design = design or Design(range(len(values)))
    documents = documents or [f"d{row}" for row in range(len(values))]
    return Sheet(list(range(values.shape[1])), values, design, documents, np.ones(len(values)))


def test_arms_with_the_same_rows_share_a_sheet():
    rows = {ONE: make_rows([1, 0, 1]), TWO: make_rows([0, 0, 1]), THREE: make_rows([1, 1, 1])}
    [sheet] = read_sheets(TaskRows("task", rows, ["acc"]), "acc", [ONE, TWO, THREE])
    assert sheet.arms == [0, 1, 2]
    assert sheet.values.tolist() == [[1, 0, 1], [0, 0, 1], [1, 1, 1]]
    assert sheet.means.tolist() == pytest.approx([2 / 3, 1 / 3, 1])
    assert sheet.documents == ["d0", "d1", "d2"]


def test_rows_in_another_order_are_the_same():
    backwards = dict(reversed(make_rows([0, 0, 1]).items()))
    rows = {ONE: make_rows([1, 0, 1]), TWO: backwards}
    [sheet] = read_sheets(TaskRows("task", rows, ["acc"]), "acc", [ONE, TWO])
    assert sheet.values.tolist() == [[1, 0], [0, 0], [1, 1]]


@pytest.mark.parametrize(
    "other",
    [
        make_rows([0, 0]),
        make_rows([0, 0, 1], "other"),
        make_rows([0, 0, 1], hashes=["d0", "d1", "e2"]),
        {**make_rows([0, 0, 1]), ("task", 1): Row("d1", "", {"acc_norm": 1.0})},
    ],
)
def test_arms_with_other_rows_have_a_sheet_of_their_own(other):
    rows = {ONE: make_rows([1, 0, 1]), TWO: other, THREE: make_rows([1, 1, 1])}
    one, two = read_sheets(TaskRows("task", rows, ["acc"]), "acc", [ONE, TWO, THREE])
    assert (one.arms, two.arms) == ([0, 2], [1])


def test_arms_without_rows_have_no_sheet():
    rows = {ONE: make_rows([1, 0, 1]), TWO: {("task", 0): Row("d0", "", {})}}
    [sheet] = read_sheets(TaskRows("task", rows, ["acc"]), "acc", [ONE, TWO, THREE])
    assert sheet.arms == [0]
    assert read_sheets(TaskRows("task", {}, []), "acc", [ONE]) == []


def test_clusters_that_only_one_arm_names_are_those_of_all():
    """lm-eval's own folders do not say what rows share."""
    rows = {ONE: make_rows([1, 0, 1]), TWO: make_rows([0, 0, 1], cluster="p")}
    [sheet] = read_sheets(TaskRows("task", rows, ["acc"], cluster="passage"), "acc", [ONE, TWO])
    assert sheet.design.clusters == [("task", "p")] * 3
    assert rows[ONE]["task", 0].cluster == ""


def test_an_arm_whose_score_is_not_the_mean_of_its_rows_is_not_paired():
    """Its rows are those of another filter, say, or its group weighs members otherwise."""
    task = TaskRows("task", {ONE: make_rows([1, 0, 1, 1]), TWO: make_rows([0, 0, 1, 1])}, ["acc"])
    column = make_column({ONE: make_score(0.75), TWO: make_score(0.25)}, task, [ONE, TWO])
    assert [sheet.arms for sheet in column.sheets] == [[0]]
    column = make_column({ONE: make_score(0.25), TWO: make_score(0.25)}, task, [ONE, TWO])
    assert column.sheets == []
    assert column.values.tolist() == [0.25, 0.25]


def test_how_far_intervals_reach():
    scores = {
        ONE: make_score(0.5, (0.25, 0.625)),
        TWO: make_score(1.0, (0.5, 1.0)),
        THREE: make_score(0.5, None),
    }
    column = make_column(scores, None, [ONE, TWO, THREE])
    assert column.below.tolist() == pytest.approx([0.25, 0.5, np.nan], nan_ok=True)
    assert column.above.tolist() == pytest.approx([0.125, 0, np.nan], nan_ok=True)
    assert column.clusters.tolist() == [4, 4, 4]
    scores[ONE] = replace(scores[ONE], clusters=2)
    scores[TWO] = replace(scores[TWO], items=0)
    assert make_column(scores, None, [ONE, TWO, THREE]).clusters.tolist() == [2, 1, 4]


DESIGNS = {
    "rows": Design(range(24)),
    "passages": Design([row // 5 for row in range(24)]),
    "one passage": Design([0] * 24),
    "members": Design(range(24), ["a"] * 9 + ["b"] * 15),
    "equal members": Design(range(24), ["a"] * 9 + ["b"] * 15, True),
    "a member of one row": Design(range(24), ["a"] * 9 + ["b"] * 14 + ["c"], True),
    "members of one row": Design(range(24), ["a"] * 9 + ["b"] * 12 + ["c", "d", "e"]),
    "only members of one row": Design(range(24), range(24)),
    "passages in members": Design([row // 2 for row in range(24)], ["a"] * 10 + ["b"] * 14, True),
}


@pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
def test_errors_are_those_of_a_single_mean(design):
    values = np.random.default_rng(0).integers(0, 2, (24, 3)).astype(float)
    sheet = make_sheet(values, design)
    [clusters] = number_clusters([sheet])
    errors, freedom = find_errors(sheet, [2, 0], clusters)
    for column, arm in enumerate((2, 0)):
        expected = estimate_mean(values[:, arm].tolist(), design)
        assert freedom == expected.freedom
        if freedom:
            assert (errors[:, column] ** 2).sum() ** 0.5 == pytest.approx(expected.stderr)


def test_rows_of_one_document_in_two_columns_are_one_cluster():
    first = make_sheet([1, 0, 1, 1], Design(["p", "p", "q", "r"]), ["a", "b", "c", "d"])
    second = make_sheet([1, 0, 1], None, ["d", "x", "b"])
    one, other = (each.tolist() for each in number_clusters([first, second]))
    assert one[0] == one[1] == other[2], "b is in p"
    assert one[3] == other[0], "d"
    assert len({*one, *other}) == 4


def test_a_document_twice_in_one_column_alone_is_two_rows():
    first = make_sheet([1, 0, 1], None, ["a", "a", "b"])
    second = make_sheet([1, 0], None, ["b", "c"])
    one, other = (each.tolist() for each in number_clusters([first, second]))
    assert len(set(one)) == 3 and one[2] == other[0] and len({*one, *other}) == 4
    assert [each.tolist() for each in number_clusters([first])] == [[0, 1, 2]]


def test_columns_without_a_common_document_are_numbered_apart():
    one, other = number_clusters([make_sheet([1, 0], None, ["a", "b"]), make_sheet([1, 0], None, ["c", "d"])])
    assert len({*one.tolist(), *other.tolist()}) == 4
