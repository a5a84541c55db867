"""Agreement, ratings and win rates against hand-made cases and independent computations."""

import itertools
import json
import random
from importlib.resources import files

import numpy as np
import pytest
from gptalt_eval_plugin_elo import Vote, published
from gptalt_eval_plugin_elo.agreement import measure_agreement
from gptalt_eval_plugin_elo.bradley_terry import fit_bradley_terry
from gptalt_eval_plugin_elo.evaluation import Rules, evaluate
from gptalt_eval_plugin_elo.formats import list_formats
from gptalt_eval_plugin_elo.importing import import_files, read_votes
from gptalt_eval_plugin_elo.merging import merge_votes, number_units
from gptalt_eval_plugin_elo.page import Report, list_published, write_results
from gptalt_eval_plugin_elo.ratings import (
    Scale,
    compute_elo,
    find_groups,
    number_votes,
    predict,
    shuffle_elo,
)
from gptalt_eval_plugin_elo.table import gather_votes
from gptalt_eval_plugin_elo.tables import calibrate, compare_pairs, count_needed
from hypothesis import given
from hypothesis import strategies as st

from gptalt_eval import GptaltError, Owner, read_jsonl
from gptalt_eval.commands.cli import dispatch
from gptalt_eval.testing import make_plugin_set

SCALE = Scale()


def vote(first, second, winner, question="q", annotator="", category=""):
    return Vote(question, first, second, winner, category, annotator)


def draw_votes(count, strengths, seed=0, ties=0.2):
    """Votes of a Bradley-Terry world, in which ties do not depend on strength."""
    generator = random.Random(seed)
    names = list(strengths)
    found = []
    for number in range(count):
        first, second = generator.sample(names, 2)
        share = 1 / (1 + 10 ** ((strengths[second] - strengths[first]) / 400))
        winner = "tie" if generator.random() < ties else "a" if generator.random() < share else "b"
        found.append(vote(first, second, winner, f"q{number}", category=("x", "y")[number % 2]))
    return found


WORLD = {"a": 1200.0, "b": 1100.0, "c": 1000.0, "d": 900.0, "e": 800.0}

# ---------------------------------------------------------------------- agreement


def test_tie_discounted_by_hand():
    outcomes = [("a", "a"), ("a", "b"), ("a", "tie"), ("tie", "tie"), ("b", "a")]
    votes = [
        each
        for number, (one, other) in enumerate(outcomes)
        for each in (vote("x", "y", one, f"q{number}", "ann"), vote("x", "y", other, f"q{number}", "bob"))
    ]
    every, pair = measure_agreement(gather_votes(votes))
    assert (pair.who, pair.pairs) == ("ann and bob", 5)
    assert every.tie_discounted.value == pair.tie_discounted.value == pytest.approx((1 + 0 + 0.5 + 1 + 0) / 5)
    assert every.tie_discounted.low <= 0.5 <= every.tie_discounted.high


def test_sides_do_not_matter():
    votes = [
        vote("x", "y", "a", annotator="ann"),
        vote("y", "x", "b", annotator="bob"),
        vote("x", "y", "skip", annotator="c"),
    ]
    assert orient(votes[:2]) == [0, 0]
    assert measure_agreement(gather_votes(votes))[0].tie_discounted.value == 1


def orient(votes):
    return number_units(gather_votes(votes))[1].tolist()


def merge(votes, rule):
    """The winners, and the outcomes for models in the order of their names."""
    merged = merge_votes(gather_votes(votes), rule)
    return [("a", "b", "tie")[each] for each in merged.outcome], number_units(merged)[1].tolist()


def rate(votes, merging="survey", scale=SCALE, orders=50):
    return evaluate(gather_votes(votes), Rules(merging, scale, orders))


def judge(rng, items, judges):
    """Judges that see the truth through noise; some skip."""
    votes = []
    for item in range(items):
        truth = rng.choice(["a", "b", "tie"])
        for name in judges:
            winner = truth if rng.random() < 0.6 else rng.choice(["a", "b", "tie", "skip"])
            votes.append(vote("x", "y", winner, f"q{item}", name))
    return votes


def test_kappa_and_alpha_are_those_of_the_libraries():
    krippendorff = pytest.importorskip("krippendorff")
    metrics = pytest.importorskip("sklearn.metrics")
    votes = judge(random.Random(3), 300, ["ann", "bob", "eve"])
    found = {each.who: each for each in measure_agreement(gather_votes(votes))}
    codes = {"a": 0, "b": 1, "tie": 2, "skip": np.nan}
    table = np.array(
        [[codes[v.winner] for v in votes if v.annotator == name] for name in ("ann", "bob", "eve")]
    )
    expected = krippendorff.alpha(reliability_data=table, level_of_measurement="nominal")
    assert found["all votes"].alpha.value == pytest.approx(expected, abs=1e-12)
    assert found["all votes"].alpha.low < expected < found["all votes"].alpha.high
    for (i, one), (j, other) in itertools.combinations(enumerate(("ann", "bob", "eve")), 2):
        both = ~np.isnan(table[i]) & ~np.isnan(table[j])
        own = found[f"{one} and {other}"]
        assert own.kappa.value == pytest.approx(
            metrics.cohen_kappa_score(table[i][both], table[j][both]), abs=1e-12
        )
        pair = krippendorff.alpha(reliability_data=table[[i, j]][:, both], level_of_measurement="nominal")
        assert own.alpha.value == pytest.approx(pair, abs=1e-12)
        assert own.pairs == both.sum()


def test_judges_with_themselves_and_categories():
    votes = [vote("x", "y", "a", "q1", "ann", "c1"), vote("x", "y", "b", "q1", "ann", "c1")]
    votes += [vote("x", "y", "a", "q2", "ann", "c2"), vote("x", "y", "a", "q2", "bob", "c2")]
    found = {each.who: each.tie_discounted.value for each in measure_agreement(gather_votes(votes))}
    assert found == {"all votes": 0.5, "ann and bob": 1.0, "ann, twice": 0.0, "c1": 0.0, "c2": 1.0}


def test_nothing_judged_twice_is_said():
    with pytest.raises(GptaltError, match="Nothing was judged twice"):
        measure_agreement(gather_votes([vote("x", "y", "a"), vote("x", "z", "a")]))


@pytest.mark.parametrize(
    ("winners", "survey", "majority"),
    [
        (("a", "a"), "a", "a"), (("a", "tie"), "a", "tie"), (("a", "b"), "tie", "tie"), (("tie", "b"), "b", "tie"),
        (("tie", "tie"), "tie", "tie"), (("a", "a", "b"), "a", "a"), (("a", "tie", "tie"), "a", "tie"), (("b",), "b", "b"),
        (("skip", "b"), "b", "b"), (("a", "b", "tie"), "tie", "tie"),
    ],
)  # fmt: skip
def test_merging(winners, survey, majority):
    votes = [vote("x", "y", winner, annotator=str(number)) for number, winner in enumerate(winners)]
    for rule, expected in (("survey", survey), ("majority", majority)):
        assert merge(votes, rule)[0] == [expected]
        # the same from the other side
        swapped = [
            each._replace(model_a="y", model_b="x", winner={"a": "b", "b": "a"}.get(each.winner, each.winner))
            for each in votes
        ]
        assert merge(swapped, rule)[1] == merge(votes, rule)[1]
    assert len(merge(votes, "all")[0]) == sum(winner != "skip" for winner in winners)


# ---------------------------------------------------------------------- ratings


def test_elo_by_hand():
    votes = number_votes([vote("x", "y", "a"), vote("y", "z", "tie"), vote("z", "x", "b")])
    x, y, z = 1000 + 8, 1000 - 8, 1000.0
    change = 16 * (0.5 - 1 / (1 + 10 ** ((z - y) / 400)))
    y, z = y + change, z - change
    change = 16 * (0 - 1 / (1 + 10 ** ((x - z) / 400)))
    z, x = z + change, x - change
    assert compute_elo(votes, SCALE) == pytest.approx([x, y, z], abs=1e-9)


def test_elo_is_evalicas():
    evalica = pytest.importorskip("evalica")
    votes = draw_votes(500, WORLD)
    winners = {"a": evalica.Winner.X, "b": evalica.Winner.Y, "tie": evalica.Winner.Draw}
    theirs = evalica.elo(
        [v.model_a for v in votes], [v.model_b for v in votes], [winners[v.winner] for v in votes],
        initial=1000.0, base=10.0, scale=400.0, k=16.0,
    ).scores  # fmt: skip
    numbered = number_votes(votes)
    ours = dict(zip(numbered.models, compute_elo(numbered, SCALE), strict=True))
    assert ours == pytest.approx(dict(theirs), abs=1e-6)


def test_the_order_of_this_many_votes_moves_ratings_as_published():
    """26 to 29 points of standard deviation on 6,000 votes of 16 models."""
    strengths = {name: float(rating) for name, rating in published.RATINGS.items()}
    shuffled = shuffle_elo(number_votes(draw_votes(6_000, strengths, ties=0.3)), SCALE, 300)
    assert 20 < shuffled.std(0).mean() < 35


@given(
    st.lists(
        st.tuples(st.sampled_from("xyz"), st.sampled_from("xyz"), st.sampled_from(["a", "b", "tie"])),
        max_size=30,
    )
)
def test_points_are_only_moved(drawn):
    votes = number_votes([vote(*each) for each in drawn if each[0] != each[1]])
    if len(votes):
        assert compute_elo(votes, SCALE).sum() == pytest.approx(1000 * len(votes.models))
        assert shuffle_elo(votes, SCALE, 5).sum(1) == pytest.approx(1000 * len(votes.models))


def test_predictions_are_the_surveys():
    assert float(predict(1222.0, 1172.0)) == pytest.approx(0.571, abs=5e-4)
    assert float(predict(1000.0, 1000.0)) == 0.5


def test_bradley_terry_finds_the_strengths_that_made_the_votes():
    numbered = number_votes(draw_votes(8_000, WORLD, ties=0))
    fitted = fit_bradley_terry(numbered, SCALE)
    for model, rating, low, high in zip(numbered.models, fitted.rating, fitted.low, fitted.high, strict=True):
        assert rating == pytest.approx(WORLD[model], abs=30)
        assert low < rating < high < low + 80
    ranks = dict(zip(numbered.models, zip(fitted.best, fitted.worst, strict=True), strict=True))
    assert ranks == {name: (place, place) for place, name in enumerate(WORLD, 1)}


def test_bradley_terry_is_the_likelihoods_maximum():
    """At the maximum each model wins as many votes, ties half, as is expected of it."""
    numbered = number_votes(draw_votes(300, WORLD, seed=2))
    rating = fit_bradley_terry(numbered, SCALE).rating
    share = predict(rating[numbered.first], rating[numbered.second])
    for model in range(len(numbered.models)):
        won = (
            numbered.score[numbered.first == model].sum()
            + (1 - numbered.score[numbered.second == model]).sum()
        )
        expected = share[numbered.first == model].sum() + (1 - share[numbered.second == model]).sum()
        assert won == pytest.approx(expected, abs=1e-3)


def test_a_model_that_only_wins_has_no_finite_rating():
    votes = draw_votes(200, {"a": 1000.0, "b": 1000.0, "c": 1000.0})
    votes += [vote("best", name, "a") for name in "abc"] + [vote("a", "worst", "a")]
    board = rate(votes, "all").boards[0]
    by_name = {each.model: each for each in board.standings}
    for name in ("best", "worst"):
        assert np.isnan(by_name[name].rating)
    assert by_name["best"].rank == 1 and by_name["worst"].rank == 5
    assert all(np.isfinite(by_name[name].rating) for name in "abc")


def test_models_that_no_vote_connects_are_apart():
    votes = [vote("a", "b", "a"), vote("b", "c", "tie"), vote("x", "y", "b"), vote("x", "y", "a")]
    assert find_groups(number_votes(votes)) == [[0, 1, 2], [3, 4]]
    found = rate(votes, "all")
    assert [sorted(board.models) for board in found.boards] == [["a", "b", "c"], ["x", "y"]]


def test_only_skips_are_said():
    with pytest.raises(GptaltError, match="No vote says"):
        rate([vote("a", "b", "skip")])


# ---------------------------------------------------------------------- pairs


def test_win_rates_by_hand():
    votes = [vote("vicuna", "glm", "a", f"q{n}") for n in range(17)] + [
        vote("glm", "vicuna", "a", f"r{n}") for n in range(14)
    ]
    votes += [vote("glm", "vicuna", "tie", f"t{n}") for n in range(19)]
    numbered = number_votes(votes)
    pairs = compare_pairs(numbered, np.array([1222.0, 1172.0]))
    assert pairs.actual[0, 1] == pytest.approx(17 / 31)
    assert pairs.actual[1, 0] == pytest.approx(14 / 31)
    assert np.isnan(pairs.actual[0, 0])
    assert pairs.votes.tolist() == [[0, 50], [50, 0]]
    assert pairs.predicted[0, 1] == pytest.approx(0.571, abs=5e-4)
    # 57.1 % takes 385 decided votes; 354 are missing, and 31 of 50 votes decide
    assert count_needed(np.array(pairs.predicted[0, 1])) == pytest.approx(385, abs=5)
    assert pairs.more[0, 1] == pytest.approx(
        (count_needed(np.array(pairs.predicted[0, 1])) - 31) * 50 / 31, abs=1
    )


def test_the_votes_that_are_needed_find_the_difference_four_times_in_five():
    scipy = pytest.importorskip("scipy.stats")
    for share in (0.55, 0.6, 0.7):
        needed = int(count_needed(np.array(share)))
        won = np.arange(needed + 1)
        extreme = [scipy.binomtest(int(k), needed, 0.5).pvalue < 0.05 for k in won]
        assert scipy.binom.pmf(won, needed, share)[extreme].sum() == pytest.approx(0.8, abs=0.05)


def test_equal_models_are_never_settled():
    assert np.isinf(count_needed(np.array(0.5)))


def test_calibration_of_a_true_world():
    numbered = number_votes(draw_votes(20_000, WORLD, ties=0))
    bins = calibrate(compare_pairs(numbered, np.array([WORLD[name] for name in numbered.models])))
    assert len(bins) >= 4
    assert all(each.actual == pytest.approx(each.predicted, abs=0.03) for each in bins)
    assert sum(each.votes for each in bins) == 20_000


# ---------------------------------------------------------------------- real votes, pages


@pytest.fixture
def pandalm(shared_data, tmp_path):
    folder = tmp_path / "votes"
    file = shared_data / "votes" / "pandalm-testset-v1.json"
    counts = import_files([file], folder, list_formats())[file]
    assert (counts.format, counts.added, counts.rejected) == ("pandalm", 2_997, 0)
    return list(read_votes(folder))


def test_pandalms_agreement_is_the_libraries(pandalm, shared_data):
    krippendorff = pytest.importorskip("krippendorff")
    metrics = pytest.importorskip("sklearn.metrics")
    rows = json.loads((shared_data / "votes" / "pandalm-testset-v1.json").read_text(encoding="utf-8"))
    table = np.array([[row[f"annotator{n}"] for row in rows] for n in (1, 2, 3)])
    found = {each.who: each for each in measure_agreement(gather_votes(pandalm))}
    assert found["all votes"].alpha.value == pytest.approx(
        krippendorff.alpha(reliability_data=table, level_of_measurement="nominal"), abs=1e-12
    )
    for one, other in itertools.combinations((1, 2, 3), 2):
        own = found[f"annotator{one} and annotator{other}"]
        first, second = table[one - 1], table[other - 1]
        assert own.pairs == 999
        assert own.kappa.value == pytest.approx(metrics.cohen_kappa_score(first, second), abs=1e-12)
        worth = np.where(first == second, 1, np.where((first == 0) ^ (second == 0), 0.5, 0))
        assert own.tie_discounted.value == pytest.approx(worth.mean(), abs=1e-12)


def test_pandalms_ratings_are_evalicas(pandalm):
    evalica = pytest.importorskip("evalica")
    found = rate(pandalm, orders=200)
    merged = merge_votes(gather_votes(pandalm), "survey")
    assert found.merged == len(merged) == 999
    winners = [evalica.Winner.X, evalica.Winner.Y, evalica.Winner.Draw]
    columns = (
        [merged.models[each] for each in merged.first], [merged.models[each] for each in merged.second],
        [winners[each] for each in merged.outcome],
    )  # fmt: skip
    elo = evalica.elo(*columns, initial=1000.0, base=10.0, scale=400.0, k=16.0).scores
    strength = evalica.bradley_terry(*columns, tolerance=1e-9, limit=10_000).scores
    [board] = found.boards
    logs = 400 * np.log10(strength)
    first = board.standings[0]
    for each in board.standings:
        assert each.elo == pytest.approx(elo[each.model], abs=1e-6)
        assert each.rating - first.rating == pytest.approx(logs[each.model] - logs[first.model], abs=1e-3)
        assert each.low < each.mean < each.high


HOSTILE = "<script>document.title='owned'</script>$x$"


def test_the_page_and_its_files(tmp_path):
    votes = [
        each._replace(model_a=each.model_a.replace("a", HOSTILE), model_b=each.model_b.replace("a", HOSTILE))
        for each in draw_votes(300, WORLD)
    ]
    votes += [vote("x", "y 模型", "a", "q1", "ann"), vote("x", "y 模型", "b", "q1", "bob")]
    found = rate(votes)
    report = Report(found, Rules(), measure_agreement(gather_votes(votes)), list_published(found))
    paths = write_results(tmp_path, report)
    names = {path.name for path in paths}
    assert {
        "elo.html",
        "elo.json",
        "win-rates-1.png",
        "win-rates-1.svg",
        "predicted-2.svg",
        "difference-1.png",
    } <= names
    page = paths[0].read_text(encoding="utf-8")
    assert "<script" not in page and "&lt;script" in page
    assert "y 模型" in page and "Agreement between annotators" in page and "StableLM" in page
    assert page.count("<figure") == 10
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths if path.suffix == ".png")
    numbers = json.loads(paths[1].read_text(encoding="utf-8"))
    assert numbers["comparisons"] == 301
    assert [len(board["models"]) for board in numbers["boards"]] == [5, 2]


@pytest.mark.parametrize(("size", "scheme"), [("1280,1600", "light"), ("390,1200", "dark")])
def test_in_a_browser(tmp_path, browser, probe, size, scheme):
    found = rate(draw_votes(400, WORLD))
    page = write_results(tmp_path, Report(found, Rules(), beside=list_published(found)))[0]
    text = page.read_text(encoding="utf-8")
    assert "unsafe-inline" not in text and "style=" not in text
    script = "document.title = document.documentElement.scrollWidth + ' ' + innerWidth"
    page.write_text(
        probe(text, script).replace("</head>", "<script>document.write('owned')</script></head>"),
        encoding="utf-8",
    )
    dom = browser.open(page, size, scheme, "--dump-dom")
    wide, window = dom.split("<title>")[1].split("</title>")[0].split()
    assert int(wide) <= int(window) and "owned<" not in dom


def test_published_names_are_matched_by_their_words():
    found = published.match(
        ["lmsys/vicuna-7b-v1.1", "chatglm-6b", "alpaca-lora-7b", "BELLE-7B", "gpt2", "moss-moon"]
    )
    assert found == {
        "Vicuna-7B": "lmsys/vicuna-7b-v1.1",
        "ChatGLM": "chatglm-6b",
        "Alpaca-LoRA": "alpaca-lora-7b",
        "BELLE": "BELLE-7B",
    }


# ---------------------------------------------------------------------- commands


@pytest.fixture
def call(monkeypatch, tmp_path, capsys):
    """A command of the plugin, as the program calls it; returns what it prints."""
    import gptalt_eval_plugin_elo as plugin

    plugins = make_plugin_set()
    plugins.register(plugin, Owner("elo"))
    monkeypatch.chdir(tmp_path)

    def run(*words):
        assert dispatch(list(words), plugins) == 0
        return capsys.readouterr().out

    return run


def test_one_command_each(call, tmp_path):
    votes = [
        {**each._asdict(), "model_a": f"m-{each.model_a}", "model_b": f"m-{each.model_b}", "annotator": name}
        for each in draw_votes(60, WORLD)
        for name in ("ann", "bob")
    ]
    lines = [json.dumps(each) for each in votes] + [
        "{",
        json.dumps(votes[0] | {"model_b": "m", "model_a": "m"}),
    ]
    (tmp_path / "v.jsonl").write_text("\n".join(lines))
    printed = call("votes", "import", "v.jsonl")
    assert "gptalt, 120 new votes; 2 records are not votes" in printed
    assert "1 times: a model against itself" in printed and "rejected.jsonl" in printed
    assert "0 new votes, 120 already known" in call("votes", "import", "v.jsonl")
    assert "ann and bob" in call("votes", "agreement")
    assert json.loads(call("votes", "agreement", "--json"))[0]["tie_discounted"]["value"] == 1
    printed = call("elo", "--orders", "50", "--published")
    assert "120 votes, 0 skipped; 60 comparisons" in printed and "Vicuna-7B" in printed
    assert (tmp_path / "votes" / "elo.html").exists()
    numbers = json.loads(call("elo", "votes", "--json", "--category", "x", "--orders", "20", "-o", "out"))
    assert numbers["comparisons"] == 30 and (tmp_path / "out" / "win-rates.png").exists()


def test_the_published_table_needs_no_votes(call):
    printed = call("elo", "--published")
    assert "Vicuna-7B" in printed and "1222" in printed and "17 of 31" in printed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("elo",), "There are no votes in votes"),
        (("votes", "import"), "arguments are required: FILE"),
        (("votes", "imprt", "x"), "There is no command 'votes imprt'.\nDid you mean 'import'"),
        (("votes", "import", "none.jsonl"), "cannot be read"),
        (("elo", "--orders", "0"), "--orders 0: the number must be at least 1"),
        (("elo", "--seed", "-1"), "--seed -1: the number must be at least 0"),
        (("votes", "agreement", "--seed", "-1"), "--seed -1: the number must be at least 0"),
        (("elo", "--least_votes", "-1"), "--least_votes -1: the number must be at least 0"),
        (("elo", "--k", "nan"), "--k nan: the number must be above 0"),
        (("elo", "--k", "-1"), "--k -1.0: the number must be above 0"),
        (("elo", "--scale", "inf"), "--scale inf: the number must be above 0"),
        (("elo", "--start", "nan"), "--start nan: the number must be above -1,000,000"),
        (("elo", "--anchor", "x=high"), "--anchor: 'x=high' is not a model and its rating"),
        (("elo", "--anchor", "=3"), "--anchor: '=3' is not a model and its rating"),
        (("elo", "--anchor", "x=inf"), "--anchor: 'x=inf' is not a model and its rating"),
    ],
)
def test_mistakes_are_explained(call, words, said):
    with pytest.raises(GptaltError, match=said):
        call(*words)


def test_the_questions_are_fifty_in_nine_categories_and_two_languages():
    rows = list(read_jsonl(files("gptalt_eval_plugin_elo") / "questions-v1.jsonl"))
    assert len({row["id"] for row in rows}) == len(rows) == 50
    assert len({row["category"] for row in rows}) == 9
    for row in rows:
        assert row.keys() == {"id", "category", "en", "zh", "expected_en", "expected_zh"}
        assert row["en"].isascii() or row["category"] in ("chemistry", "mathematics", "physics")
        assert all(any("\u4e00" <= char <= "\u9fff" for char in row[name]) for name in ("zh",))
