"""How often intervals of means and ranks include the truth, in 2,000 simulated experiments."""

import numpy as np
import pytest

from gptalt_eval.results.analyse import Score
from gptalt_eval.results.arms import Arm, TaskRows
from gptalt_eval.results.ranking import rank_arms
from gptalt_eval.results.rows import Row

WORLDS = 500  # of each kind


def make_column(name, table, documents, passages):
    """A column whose scores' intervals say nothing: those of the mean are of the rows alone."""
    labels = [str(row // passages) if passages > 1 else "" for row in range(len(table))]
    kinds = [
        [Row(document, "", {"acc": value}, cluster=label) for value in (0.0, 1.0)]
        for document, label in zip(documents, labels, strict=True)
    ]
    scores, rows = {}, {}
    for place, values in enumerate(table.T.tolist()):
        arm, mean = Arm(str(place), "standard", 0), sum(values) / len(values)
        scores[arm] = Score(name, name, 0, 0, "acc", "none", mean, (-1, 2), 9, 9, True, False, 0)
        rows[arm] = {(name, row): kinds[row][int(value)] for row, value in enumerate(values)}
    return scores, TaskRows(name, rows, ["acc"], "passage" if passages > 1 else "")


def answer(source, levels, rows, passages):
    """Right or wrong: a hard passage is hard for all arms, and on average each is as good as its level."""
    hard = np.repeat(source.random((rows // passages, 1)) < 0.5, passages, axis=0)
    chances = np.where(hard, np.maximum(0, 2 * levels - 1), np.minimum(1, 2 * levels))
    return source.random((rows, len(levels))) < (0.5 * chances + 0.5 * levels)


KINDS = {  # levels of the arms in each column, rows, rows of a passage, whether documents are shared
    "equal arms": ([[0.6] * 8, [0.3] * 8], (40, 20), 1, False),
    "better in one and worse in the other": ([[0.8, 0.4, 0.6], [0.4, 0.8, 0.6]], (60, 20), 1, False),
    "nearly all right": ([[0.97, 0.97, 0.95]] * 3, (20, 20, 20), 1, False),
    "passages that are two columns": ([[0.6, 0.6, 0.5]] * 2, (120, 60), 4, True),
}


@pytest.mark.parametrize(("levels", "sizes", "passages", "are_shared"), KINDS.values(), ids=KINDS)
def test_truth_is_where_it_is_said_to_be(levels, sizes, passages, are_shared):
    levels = np.array(levels)
    truth = levels.mean(axis=0).round(9)
    source = np.random.default_rng(0)
    right, covered = 0, 0
    for _ in range(WORLDS):
        first = answer(source, levels[0], sizes[0], passages)
        columns = []
        for place, (level, size) in enumerate(zip(levels, sizes, strict=True)):
            table = first[:size] if are_shared else answer(source, level, size, passages)
            documents = [f"{0 if are_shared else place} {row}" for row in range(size)]
            columns.append(make_column(f"task {place}", table.astype(float), documents, passages))
        found = list(rank_arms(columns)[0].values())
        covered += sum(
            one.interval[0] <= mean <= one.interval[1] for one, mean in zip(found, truth, strict=True)
        )
        right += all(
            one.lowest <= 1 + (truth > mean).sum() and one.highest >= len(truth) - (truth < mean).sum()
            for one, mean in zip(found, truth, strict=True)
        )
    assert 0.93 <= covered / WORLDS / len(truth) <= 0.985
    assert right / WORLDS >= 0.94
