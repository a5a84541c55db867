"""The board of people's votes with judges beside them, and the board of judges alone."""

import json
import random

import gptalt_eval_plugin_elo
import pytest
from gptalt_eval_plugin_elo.votes import Vote

from gptalt_eval import GptaltError
from gptalt_eval.commands.cli import dispatch
from gptalt_eval.testing import make_plugin_set

MODELS = ("x", "y", "z")
CATEGORIES = ("maths", "poems")


def list_people(seed=0):
    """Two people on half of the questions, who prefer x to y to z."""
    choice = random.Random(seed)
    for number in range(0, 60, 2):
        for first, second in (("x", "y"), ("y", "z"), ("z", "x")):
            for who in ("anna", "ben"):
                likely = "a" if first < second else "b"
                winner = choice.choice([likely, likely, "a", "b", "tie"])
                yield Vote(
                    f"q{number}", first, second, winner, CATEGORIES[number % 4 // 2], who, language="en"
                )


def list_judge(who="robot", seed=1, language="en"):
    """A judge that prefers z, on all questions."""
    choice = random.Random(seed)
    for number in range(60):
        for first in MODELS:
            for second in MODELS:
                if first != second:
                    likely = "a" if first > second else "b"
                    winner = choice.choice([likely, likely, likely, "a", "b", "skip"])
                    yield Vote(
                        f"q{number}", first, second, winner, CATEGORIES[number % 4 // 2], who,
                        language=language, id=f"{who}-{number}-{first}-{second}", kind="judge",
                    )  # fmt: skip


@pytest.fixture
def rate(tmp_path, capsys):
    plugins = make_plugin_set(gptalt_eval_plugin_elo)

    def call(votes, *words):
        file = tmp_path / "votes.jsonl"
        file.write_text("".join(json.dumps(vote.describe()) + "\n" for vote in votes), encoding="utf-8")
        assert dispatch(["elo", str(file), "--orders", "10", *words], plugins) == 0
        found = json.loads((tmp_path / "elo.json").read_text(encoding="utf-8"))
        page = (tmp_path / "elo.html").read_text(encoding="utf-8")
        return found, page, capsys.readouterr().out

    return call


def test_judges_do_not_change_peoples_board(rate):
    alone, page, printed = rate(list_people())
    assert alone["judges"] == alone["sharpened"] == [] and not alone["judged_by_models"]
    assert "judge" not in page.lower() and "Judge" not in printed
    beside, page, printed = rate([*list_people(), *list_judge()])
    for name in ("boards", "agreement", "categories", "votes", "skipped", "comparisons"):
        assert beside[name] == alone[name]
    assert not beside["judged_by_models"]
    assert "<h1>Human evaluation</h1>" in page and "<h2>Models as judges</h2>" in page
    assert "votes by models do not count" in printed and "agreement with people" in printed


def test_the_order_of_judges_and_people_does_not_matter(rate):
    one = rate([*list_people(), *list_judge()])[0]
    other = rate([*list_judge(), *list_people()])[0]
    assert one["judges"] == other["judges"]
    # whose votes come first decides the order of the models
    ratings = [dict(zip(each["sharpened"][0]["models"], each["sharpened"][0]["sharpened"], strict=True))
               for each in (one, other)]  # fmt: skip
    for model in MODELS:
        assert ratings[0][model]["value"] == pytest.approx(ratings[1][model]["value"])


def test_a_board_of_judges_alone_says_so(rate):
    found, page, printed = rate(list_judge())
    assert found["judged_by_models"] and found["judges"][0]["shared"] == 0
    assert "<h1>Judged by models</h1>" in page and "<title>Judged by models" in page
    assert "Human evaluation" not in page and "not by people" in printed
    assert [each["model"] for each in found["boards"][0]["models"]] == ["z", "y", "x"]


def test_the_judges_board_of_votes_by_both(rate):
    found, page, _ = rate([*list_people(), *list_judge()], "--kind", "judge")
    assert found["judged_by_models"] and "<h1>Judged by models</h1>" in page
    assert [each["model"] for each in found["boards"][0]["models"]] == ["z", "y", "x"]
    assert "The ratings above are from their verdicts." in page
    assert found["judges"][0]["shared"] > 0, "how far they agree with people is shown all the same"


def test_what_is_compared_are_the_votes_that_count(rate):
    votes = [*list_people(), *list_judge(), *list_judge("parrot", 2)]
    every = rate(votes)[0]["judges"]
    maths = rate(votes, "--category", "maths")[0]["judges"]
    assert [each["judge"] for each in every] == ["parrot", "robot"]
    assert 0 < maths[0]["verdicts"] < every[0]["verdicts"] and 0 < maths[0]["shared"] < every[0]["shared"]
    without = rate(votes, "--without", "parrot,ben")[0]["judges"]
    assert [each["judge"] for each in without] == ["robot"]
    assert without[0]["people_agreement"] is None and without[0]["shared"] == every[1]["shared"]


def test_people_who_saw_the_names_are_not_what_judges_are_compared_with(rate):
    seen = [vote._replace(blind=False, annotator="cleo", winner="b") for vote in list_people()]
    hidden = rate([*list_people(), *list_judge()])[0]["judges"]
    assert rate([*list_people(), *seen, *list_judge()])[0]["judges"] == hidden
    shown = rate([*list_people(), *seen, *list_judge()], "--names_shown")[0]["judges"]
    assert shown[0]["agreement"] != hidden[0]["agreement"]


def test_votes_in_another_language_are_not_asked_for(rate):
    votes = [*list_people(), *list_judge(language="en"), *(
        vote._replace(question=f"z{vote.question}", language="zh") for vote in list_judge())]  # fmt: skip
    assert rate(votes, "--language", "en")[0]["judges"] == rate([*list_people(), *list_judge()])[0]["judges"]


def test_a_judge_who_is_left_out_alone(rate):
    with pytest.raises(GptaltError, match="no votes are left"):
        rate(list_judge(), "--without", "robot")
