"""``elo`` and ``votes agreement``: which votes count, and what the board, its files and its flags say."""

import csv
import io
import itertools
import json
import random
from pathlib import Path

import numpy as np
import pytest
from gptalt_eval_plugin_elo import page
from gptalt_eval_plugin_elo.bradley_terry import fit_bradley_terry
from gptalt_eval_plugin_elo.evaluation import Rules, evaluate
from gptalt_eval_plugin_elo.filters import Filters, choose_votes
from gptalt_eval_plugin_elo.leaderboard import span
from gptalt_eval_plugin_elo.page import Report, protect, write_results, write_table
from gptalt_eval_plugin_elo.ratings import Scale, number_table
from gptalt_eval_plugin_elo.style import compare_styles
from gptalt_eval_plugin_elo.table import gather_votes
from gptalt_eval_plugin_elo.votes import Style, Vote

from gptalt_eval import GptaltError, Owner
from gptalt_eval.commands.cli import dispatch
from gptalt_eval.testing import make_plugin_set

STRENGTH = {"strong": 300, "middle": 0, "weak": -300}


def draw(count=300, seed=0, **fields):
    source = random.Random(seed)
    votes = []
    for number in range(count):
        first, second = source.sample(sorted(STRENGTH), 2)
        share = 1 / (1 + 10 ** ((STRENGTH[second] - STRENGTH[first]) / 400))
        winner = "tie" if source.random() < 0.1 else "a" if source.random() < share else "b"
        style = [
            Style(source.randrange(100, 900), 0, source.randrange(5), source.randrange(3)) for _ in range(2)
        ]
        given = {
            "category": ("code", "prose")[number % 2], "annotator": ("anna", "ben", "cleo")[number % 3],
            "language": ("en", "zh")[number // 2 % 2], "style_a": style[0], "style_b": style[1], **fields,
        }  # fmt: skip
        votes.append(Vote(f"q{number}", first, second, winner, **given))
    return votes


def choose(votes, **filters):
    return choose_votes(gather_votes(votes), Filters(**filters))


# ---------------------------------------------------------------------- which votes count


def test_votes_of_a_category_or_a_language():
    votes = draw(40)
    table, notes = choose(votes, category="code", language="zh")
    assert len(table) == sum(each.category == "code" and each.language == "zh" for each in votes) == 10
    assert notes == ["Only votes of the category 'code': 20.", "Only votes of the language 'zh': 10."]


@pytest.mark.parametrize(
    ("filters", "what", "hint"),
    [
        ({"category": "art"}, "no votes in the category 'art'", "Available: code, prose."),
        ({"language": "fr"}, "no votes in the language 'fr'", "Available: en, zh."),
        ({"without": ["zoe"]}, "nobody is called 'zoe'", "Annotators: anna, ben, cleo."),
        ({"without": [""]}, "nobody is called ''", "Annotators: anna, ben, cleo."),
        ({"without": ["anna", "ben", "cleo"]}, "no votes are left", "fewer"),
        ({"kind": "judge"}, "no votes of a judge", "--kind"),
    ],
)
def test_names_that_nothing_has(filters, what, hint):
    with pytest.raises(GptaltError) as caught:
        choose(draw(40), **filters)
    assert what in caught.value.what and hint in caught.value.hint


def test_an_annotator_who_is_left_out():
    table, notes = choose(draw(30), without=["ben"])
    assert len(table) == 20 and notes == ["Without ben: 10 votes do not count."]
    assert {table.annotators[each] for each in table.annotator} == {"anna", "cleo"}


def test_people_are_rated_and_judges_are_not_mixed_in():
    votes = draw(30) + draw(50, seed=1, kind="judge", annotator="gpt")
    table, notes = choose(votes)
    assert len(table) == 30 and not table.by_judge.any()
    assert notes == ["50 votes by models do not count. For theirs alone: --kind judge"]
    table, notes = choose(votes, kind="judge")
    assert len(table) == 50 and notes == ["These are votes by models, not by people."]
    table, notes = choose(votes[30:])
    assert len(table) == 50 and notes == ["These are votes by models, not by people."]


def test_votes_by_people_who_saw_the_names_do_not_count():
    votes = draw(30) + draw(8, seed=1, blind=False)
    table, notes = choose(votes)
    assert len(table) == 30 and "8 votes by people who saw the models' names do not count" in notes[0]
    assert len(choose(votes, names_shown=True)[0]) == 38
    with pytest.raises(GptaltError, match="All 8 votes are by people who saw"):
        choose(votes[30:])


def test_no_votes_at_all():
    table, notes = choose([])
    assert len(table) == 0 and notes == []


def test_what_is_said_without_votes_and_with_skipped_ones_only():
    with pytest.raises(GptaltError, match="There are no votes\\."):
        rate([])
    with pytest.raises(GptaltError, match="No vote says which answer is better") as caught:
        rate([Vote("q", "x", "y", "skip")])
    assert caught.value.hint == "All of them were skipped."


# ---------------------------------------------------------------------- rules


def rate(votes, **rules):
    return evaluate(gather_votes(votes), Rules(orders=20, **rules))


def test_the_board_is_in_the_order_of_bradley_terry():
    """Elo's order is another: what came last counts most."""
    votes = draw(400)
    votes += [Vote(f"late {number}", "weak", "strong", "a") for number in range(15)]
    [board] = rate(votes).boards
    assert [each.model for each in board.standings] == ["strong", "middle", "weak"]
    assert [each.rank for each in board.standings] == [1, 2, 3]
    elo = [each.elo for each in board.standings]
    assert elo != sorted(elo, reverse=True)


def test_the_average_win_rate():
    [board] = rate(draw(400)).boards
    rating = {each.model: each.rating for each in board.standings}
    for each in board.standings:
        others = [other for other in rating if other != each.model]
        shares = [1 / (1 + 10 ** ((rating[other] - each.rating) / 400)) for other in others]
        assert each.average == pytest.approx(np.mean(shares))


@pytest.mark.parametrize("anchor", [("weak", 800.0), ("middle", 1000.0)])
def test_an_anchor_moves_everybody(anchor):
    plain, moved = rate(draw()), rate(draw(), anchor=anchor)
    one, two = ({each.model: each for each in found.boards[0].standings} for found in (plain, moved))
    assert two[anchor[0]].rating == pytest.approx(anchor[1])
    by = anchor[1] - one[anchor[0]].rating
    for model, each in one.items():
        assert two[model].rating == pytest.approx(each.rating + by)
        assert two[model].rating_low == pytest.approx(each.rating_low + by)
        assert two[model].rank == each.rank


def test_an_anchor_that_is_unknown_or_unrated():
    with pytest.raises(GptaltError, match="'gpt' is not among the models"):
        rate(draw(), anchor=("gpt", 1000.0))
    votes = [*draw(), Vote("q", "new", "weak", "a")]
    with pytest.raises(GptaltError, match="'new' has no finite rating"):
        rate(votes, anchor=("new", 1000.0))


def test_models_with_few_comparisons_are_left_out_and_named():
    votes = [*draw(), Vote("q", "new", "weak", "a"), Vote("q", "new", "strong", "b")]
    found = rate(votes, least_votes=3)
    assert found.left_out == ["new"]
    assert [each.model for each in found.boards[0].standings] == ["strong", "middle", "weak"]
    assert not rate(votes, least_votes=2).left_out
    with pytest.raises(GptaltError, match="No two models have 9000 comparisons"):
        rate(votes, least_votes=9000)


def test_categories_have_ratings_and_intervals_of_their_own():
    votes = [*draw(400), Vote("q", "strong", "weak", "a", "rare")]
    found = rate(votes).categories
    assert set(found) == {"code", "prose", "rare"} and found["rare"] == {}
    own = number_table(gather_votes([each for each in votes if each.category == "code"]))
    fitted = fit_bradley_terry(own, Scale())
    for number, model in enumerate(own.models):
        each = found["code"][model]
        assert (each.rating, each.low, each.high) == pytest.approx(
            (fitted.rating[number], fitted.low[number], fitted.high[number])
        )
    assert rate([each._replace(category="code") for each in votes]).categories == {}


def test_a_category_that_does_not_rate_the_anchor_has_no_ratings():
    """They would be on another scale than those beside them."""
    votes = draw(400)
    votes = [each for each in votes if each.category == "code" or "weak" not in (each.model_a, each.model_b)]
    found = rate(votes, anchor=("weak", 800.0)).categories
    assert found["code"]["weak"].rating == pytest.approx(800) and found["prose"] == {}
    assert set(rate(votes).categories["prose"]) == {"strong", "middle"}


def test_style_is_compared_from_both_sides():
    one, other = Style(300, 0, 2, 0), Style(100, 0, 0, 0)
    votes = [
        Vote("q1", "x", "y", "a", style_a=one, style_b=other), Vote("q2", "x", "y", "a", style_a=other, style_b=one),
        Vote("q3", "x", "y", "a", style_a=one, style_b=one),
    ]  # fmt: skip
    found = compare_styles(gather_votes(votes))
    assert found.names == ["length", "lists"], "no answer has headers or bold passages"
    usual = np.sqrt(2 / 3)
    assert found.values == pytest.approx(np.array([[1, 1], [-1, -1], [0, 0]]) / usual)


def test_a_style_that_is_not_known_is_not_guessed():
    votes = [*draw(20), Vote("q", "strong", "weak", "a")]
    with pytest.raises(GptaltError, match="1 of 21 comparisons do not say how long answers were"):
        rate(votes, style_control=True)


def test_a_style_that_is_the_models_cannot_be_told_from_them():
    length = {"strong": 300, "middle": 200, "weak": 100}
    votes = [
        each._replace(
            style_a=Style(length[each.model_a], 0, 0, 0), style_b=Style(length[each.model_b], 0, 0, 0)
        )
        for each in draw()
        if "weak" not in (each.model_a, each.model_b)
    ]
    with pytest.raises(GptaltError, match="style cannot be told from them"):
        rate(votes, style_control=True)


def test_style_control_shows_both_ratings():
    [board] = rate(draw(400), style_control=True).boards
    assert [each.name for each in board.style] == ["length", "lists", "bold"]
    for each in board.standings:
        assert each.plain != each.rating and abs(each.plain - each.rating) < 60
    assert all(np.isnan(each.plain) for each in rate(draw(400)).boards[0].standings)


# ---------------------------------------------------------------------- files


def read_table(found):
    return list(csv.DictReader(io.StringIO(write_table(found))))


def test_the_board_as_csv():
    votes = [
        *draw(),
        *[Vote(f"w{number}", "new", "weak", "a") for number in range(9)],
        Vote("z", "p", "q", "tie"),
    ]
    found = rate(votes)
    lines = read_table(found)
    assert [line["board"] for line in lines] == ["1"] * 4 + ["2"] * 2
    by_name = {line["model"]: line for line in lines}
    for board in found.boards:
        for each in board.standings:
            line = by_name[each.model]
            assert int(line["rank"]) == each.rank and int(line["rank_worst"]) == each.worst
            assert int(line["votes"]) == int(line["wins"]) + int(line["losses"]) + int(line["ties"])
            assert line["rating"] == ("" if np.isnan(each.rating) else f"{each.rating:.4f}")
    assert by_name["new"]["rating"] == by_name["new"]["rating_high"] == "" and float(
        by_name["new"]["rating_low"]
    )


@pytest.mark.parametrize("name", ["=1+1", "+x", "-x", "@x", "\tx", "\rx"])
def test_no_name_is_a_formula_of_a_spreadsheet(name):
    shown = name.replace("\t", " ").replace("\r", " ")
    assert protect(name) == f"'{shown}" and protect("x=1\n2") == "x=1 2"
    found = rate([Vote(f"q{n}", name, "other", "ab"[n % 2]) for n in range(4)])
    assert {line["model"] for line in read_table(found)} == {f"'{shown}", "other"}


def test_the_page_says_what_does_not_count_and_what_changed(tmp_path):
    table = gather_votes(draw())
    chosen, notes = choose_votes(table, Filters(without=["anna"]))
    rules = Rules(orders=20, style_control=True)
    report = Report(evaluate(chosen, rules), rules, notes=notes, before=evaluate(table, rules))
    shown = write_results(tmp_path, report)[0].read_text(encoding="utf-8")
    assert "Without anna: 100 votes do not count." in shown
    assert (
        "Before and after leaving out annotators" in shown and "Style: a usual difference in length" in shown
    )
    numbers = json.loads((tmp_path / "elo.json").read_text(encoding="utf-8"))
    assert numbers["notes"] == notes and numbers["settings"]["style_control"] is True
    assert numbers["settings"]["width"] == 400
    assert {"rating", "low", "high"} == set(numbers["categories"]["code"]["strong"])


def test_a_huge_board_has_no_figures_of_models(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "MOST_DRAWN", 3)
    votes = [
        Vote(f"q{i}", one, other, "ab"[i % 2]) for i in range(2) for one, other in itertools.pairwise("vwxyz")
    ]
    files = write_results(tmp_path, Report(rate(votes), Rules()))
    assert {file.name for file in files} == {
        "elo.html",
        "elo.json",
        "elo.csv",
        "calibration.png",
        "calibration.svg",
    }


def test_a_large_board_has_no_numbers_in_its_cells(tmp_path):
    names = [f"m{number}" for number in range(40)]
    votes = [
        Vote(f"q{i}", one, other, "ab"[i % 2]) for i in range(2) for one, other in itertools.pairwise(names)
    ]
    files = write_results(tmp_path, Report(rate(votes), Rules()))
    text = files[0].read_text(encoding="utf-8")
    assert "How many more votes" not in text and text.count("<figure") == 5


# ---------------------------------------------------------------------- commands


@pytest.fixture
def call(monkeypatch, tmp_path, capsys):
    import gptalt_eval_plugin_elo as plugin

    plugins = make_plugin_set()
    plugins.register(plugin, Owner("elo"))
    monkeypatch.chdir(tmp_path)
    lines = (json.dumps(each.describe()) for each in draw(300))
    (tmp_path / "given.jsonl").write_text("\n".join(lines), encoding="utf-8")

    def run(*words):
        assert dispatch(list(words), plugins) == 0
        return capsys.readouterr().out

    run("votes", "import", "given.jsonl")
    return run


def test_the_terminal_shows_rank_rating_and_elo(call):
    said = call("elo", "--orders", "20", "--without", "anna", "--anchor", "weak=500")
    assert "Note: Without anna: 100 votes do not count." in said
    heading = next(line for line in said.splitlines() if line.startswith("Model"))
    assert heading.split()[:4] == ["Model", "rank", "95", "%"]
    assert said.index("strong") < said.index("middle") < said.index("weak ")
    assert "rank before" in said and " 500 " in said


def test_a_minus_is_not_read_as_the_dash_of_an_interval(call):
    said = call("elo", "--orders", "20", "--start", "-1000")
    assert " to -" in said and "--" not in said
    assert " to " not in call("elo", "--orders", "20")
    assert (span(0, 20), span(-3, 20), span(-30, -20)) == ("0-20", "-3 to 20", "-30 to -20")


def test_one_comparison_is_called_so_and_has_no_interval_of_agreement(call):
    lines = (
        {"question": "q", "model_a": "x", "model_b": "y", "winner": winner, "annotator": who, "category": "c"}
        for winner, who in (("a", "n"), ("tie", "m"))
    )
    Path("one.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    call("votes", "import", "one.jsonl", "--into", "one")
    assert "; 1 comparison after" in call("elo", "one", "--orders", "20")
    shown = Path("one/elo.html").read_text(encoding="utf-8")
    assert "1 comparison after" in shown and ">0.500</td>" in shown and "nan" not in shown
    assert json.loads(Path("one/elo.json").read_text())["agreement"][0]["tie_discounted"]["low"] is None
    assert json.loads(call("votes", "agreement", "one", "--json"))[0]["tie_discounted"]["low"] is None
    assert "nan" not in call("votes", "agreement", "one")


def test_agreement_has_the_same_filters(call):
    with pytest.raises(GptaltError, match="Nothing was judged twice"):
        call("votes", "agreement", "--language", "zh")
    with pytest.raises(GptaltError, match="no votes in the category 'art'"):
        call("votes", "agreement", "--category", "art")


def test_json_has_the_settings(call):
    numbers = json.loads(call("elo", "--json", "--orders", "20", "--even_pairs", "--anchor", "weak"))
    assert numbers["settings"]["even_pairs"] is True and numbers["settings"]["anchor"] == ["weak", 1000.0]
    ratings = {each["model"]: each["rating"] for each in numbers["boards"][0]["models"]}
    assert ratings["weak"] == pytest.approx(1000)
