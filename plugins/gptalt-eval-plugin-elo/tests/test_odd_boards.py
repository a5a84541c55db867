"""Boards that could be taken for something else: models that are gone, names that look alike, odd numbers."""

import json

import numpy as np
import pytest
from gptalt_eval_plugin_elo import Vote
from gptalt_eval_plugin_elo.evaluation import Rules, evaluate
from gptalt_eval_plugin_elo.filters import Filters, choose_votes
from gptalt_eval_plugin_elo.ratings import Scale, compute_elo, number_votes, shuffle_elo
from gptalt_eval_plugin_elo.table import gather_votes
from gptalt_eval_plugin_elo.votes import Style

from gptalt_eval.__main__ import main


def duel(first, second, won, lost, **more):
    words = ["a"] * won + ["b"] * lost
    return [Vote(f"{first} {second} {n}", first, second, word, **more) for n, word in enumerate(words)]


@pytest.fixture
def elo(tmp_path, capsys):
    """Runs ``elo`` on votes; returns its exit code and what it prints."""

    def run(votes, *options):
        file = tmp_path / "v.jsonl"
        file.write_text("".join(json.dumps(vote.describe()) + "\n" for vote in votes), encoding="utf-8")
        code = main(["elo", str(file), "--orders", "2", *options])
        return code, "".join(capsys.readouterr())

    return run


def test_enough_comparisons_with_those_who_stay():
    """x has 20 comparisons, but all of them with models that have one; y has 3, of which 2 are with z."""
    votes = duel("a", "b", 6, 5) + [Vote("q", "x", f"new {n}", "ab"[n % 2]) for n in range(20)]
    votes += duel("y", "z", 1, 1) + duel("y", "a", 1, 0)
    found = evaluate(gather_votes(votes), Rules(orders=1, least_votes=3))
    assert [each.model for board in found.boards for each in board.standings] == ["a", "b"]
    assert sorted(found.left_out) == sorted(["x", "y", "z", *(f"new {n}" for n in range(20))])
    assert found.merged == 11
    for least in range(8):
        found = evaluate(gather_votes(votes), Rules(orders=1, least_votes=least))
        assert all(each.votes >= least for board in found.boards for each in board.standings)


def test_a_model_whose_votes_were_all_skipped_is_named(elo):
    code, said = elo([*duel("x", "y", 2, 2), Vote("q", "x", "z", "skip")])
    assert code == 0 and "Left out, with too few comparisons or none: z." in said


@pytest.mark.parametrize(
    "names", [("GPT-4", "gpt-4"), ("caf\u00e9", "cafe\u0301"), ("m 1", "m1"), ("ｍ1", "m1")]
)
def test_names_that_look_alike_are_said(elo, names):
    votes = duel(names[0], "x", 1, 1) + duel(names[1], "x", 1, 1)
    assert (
        f"models are counted apart, though their names look alike: '{names[0]}', '{names[1]}'"
        in elo(votes)[1]
    )
    votes = duel("x", "y", 1, 1, annotator=names[0]) + duel("x", "y", 1, 1, annotator=names[1])
    _, notes = choose_votes(gather_votes(votes), Filters())
    assert len(notes) == 1 and "annotators are counted apart" in notes[0]
    assert not choose_votes(gather_votes(duel("m-1", "m-11", 1, 1)), Filters())[1]


def test_a_group_that_lost_as_a_whole_is_not_said_to_have_only_lost(elo):
    votes = duel("a", "b", 5, 5) + duel("c", "d", 5, 3) + duel("a", "c", 4, 0) + duel("b", "d", 3, 0)
    said = " ".join(elo(votes)[1].split())
    assert "none: the model, or a group with it, won or lost all its comparisons with the rated ones" in said


def test_an_annotator_with_a_comma_can_be_left_out(elo):
    votes = duel("x", "y", 1, 1, annotator="Smith, J.") + duel("x", "y", 2, 1, annotator="Smith")
    code, said = elo(votes, "--without", '"Smith, J.",')
    assert code == 0 and "Without Smith, J.: 2 votes do not count." in said
    assert "Without Smith: 3 votes do not count." in elo(votes, "--without", "Smith")[1]


@pytest.mark.parametrize("scale", [1e-300, 0.5, 1e6])
def test_a_narrow_scale_is_no_overflow(scale):
    votes, points = number_votes(duel("x", "y", 9, 9)), Scale(k=1000, width=scale)
    with np.errstate(over="raise", invalid="raise"):
        for found in (compute_elo(votes, points)[None], shuffle_elo(votes, points, 200)):
            assert np.isfinite(found).all() and found.sum(1) == pytest.approx(2000)


@pytest.mark.parametrize(("option", "value"), [
    ("--k", "1e300"), ("--k", "inf"), ("--k", "0"), ("--scale", "1e7"), ("--scale", "nan"), ("--start", "1e308"),
    ("--start", "1000001"), ("--start", "nan"),
])  # fmt: skip
def test_numbers_that_no_rating_can_have(elo, option, value):
    code, said = elo(duel("x", "y", 1, 1), option, value)
    assert code == 2 and option in said and "Omit it" in said


@pytest.mark.parametrize("models", ["xy", "xyz"])
def test_style_that_decides_all_votes_has_no_effect_of_finite_size(elo, models):
    """The longer answer always wins: what the regression ended with had given a model 3,316 points."""
    generator = np.random.default_rng(0)

    def draw(votes, flipped):
        for n in range(votes):
            one, other = generator.permutation(list(models))[:2].tolist()
            sizes = generator.choice(900, 2, replace=False) + 10
            won = "ab"[int(sizes[0] < sizes[1]) ^ (n in flipped)]
            styles = [Style(int(size), 0, 0, 0) for size in sizes]
            yield Vote(f"q{n}", one, other, won, style_a=styles[0], style_b=styles[1])

    code, said = elo([*draw(60, ())], "--style_control")
    assert code == 2 and "the effect of style has no finite size" in said
    code, said = elo([*draw(60, (3, 9, 20, 33, 41, 52))], "--style_control")
    assert code == 0 and "Style: length moves votes by +" in said
