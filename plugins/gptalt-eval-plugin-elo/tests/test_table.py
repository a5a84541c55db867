"""Votes as columns."""

import numpy as np
from gptalt_eval_plugin_elo.table import FIRST, SKIP, TIE, gather_votes
from gptalt_eval_plugin_elo.votes import Style, Vote
from hypothesis import given
from hypothesis import strategies as st

NAMES = st.sampled_from(["x", "y", "z", "模型", ""])
STYLES = st.none() | st.builds(Style, *[st.integers(0, 2**31 - 1)] * 4)
VOTES = st.builds(
    Vote, question=NAMES, model_a=NAMES, model_b=NAMES, winner=st.sampled_from(["a", "b", "tie", "skip"]),
    category=NAMES, annotator=NAMES, time=NAMES, language=NAMES, id=NAMES,
    kind=st.sampled_from(["person", "judge"]), blind=st.booleans(), style_a=STYLES, style_b=STYLES,
)  # fmt: skip


def restore(table):
    """The votes of a table, but for their times and ids."""
    for row in range(len(table)):
        styles = [None if style[0] < 0 else Style(*style.tolist()) for style in table.style[row]]
        yield Vote(
            table.questions[table.question[row]].split("\0")[0], table.models[table.first[row]],
            table.models[table.second[row]], ("a", "b", "tie", "skip")[table.outcome[row]],
            table.categories[table.category[row]], table.annotators[table.annotator[row]],
            language=table.languages[table.language[row]],
            kind="judge" if table.by_judge[row] else "person", blind=bool(table.blind[row]),
            style_a=styles[0], style_b=styles[1],
        )  # fmt: skip


@given(st.lists(VOTES, max_size=20))
def test_a_table_has_what_the_votes_say(votes):
    table = gather_votes(iter(votes))
    assert len(table) == len(votes)
    assert list(restore(table)) == [vote._replace(time="", id="") for vote in votes]


def test_names_are_numbered_in_the_order_of_their_first_votes():
    table = gather_votes([Vote("q", "y", "x", "a"), Vote("p", "x", "z", "tie")])
    assert table.models == ["y", "x", "z"]
    assert table.first.tolist() == [0, 1]
    assert table.outcome.tolist() == [FIRST, TIE]


def test_chosen_votes_keep_the_names():
    table = gather_votes([Vote("q", "x", "y", "skip"), Vote("p", "x", "z", "tie")])
    chosen = table.choose(table.outcome != SKIP)
    assert len(chosen) == 1
    assert chosen.models == table.models
    assert chosen.style.shape == (1, 2, 4)
    assert len(table.choose(np.array([1, 0, 1]))) == 3
