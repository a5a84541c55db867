"""Which figures a report has, what they say, and how they are saved."""

import random
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import Environment, PackageLoader, StrictUndefined

from gptalt_eval.results.analyse import Score
from gptalt_eval.results.arms import Arm
from gptalt_eval.results.columns import Column, Entry, describe_column
from gptalt_eval.results.facts import Facts
from gptalt_eval.results.figures.charts import Mark
from gptalt_eval.results.figures.choice import draw_figures, find_near
from gptalt_eval.results.figures.common import style_arms
from gptalt_eval.results.figures.drawing import COLOURS, MARKERS
from gptalt_eval.results.overview import Overview
from gptalt_eval.results.page import make_policy, read_file
from gptalt_eval.results.ranking import rank_arms
from gptalt_eval.results.tree import Branch

TASKS = ("arc_easy", "arc_challenge", "hellaswag", "mmlu", "medqa_zh", "sciq")
LONG = (
    "mistralai/Mixtral-8x22B-Instruct-v0.1", "BAAI/悟道·天鹰（Aquila）通用语言模型-7B", "smollm2-135m",
    "Qwen2.5-72B-Instruct-GPTQ-Int4", "chatglm3-6b 智谱清言", *(f"model-{number:02}-instruct" for number in range(11)),
)  # fmt: skip
SVG = "{http://www.w3.org/2000/svg}"


def make_score(task, value, items=1000, metric="acc", higher=True):
    half = 1.96 * (value * (1 - value) / items) ** 0.5 if value < 1 else 0.03 * value
    return Score(
        task, task, 0, 0, metric, "none", value, (value - half, value + half), items, items, higher, False, 0,
        chance=0.25 if higher else None,
    )  # fmt: skip


def make_overview(
    models=("small", "large"), styles=("standard", "alpaca"), shots=(0, 5), tasks=TASKS, subjects=57, seed=1,
    perplexity=True,
):  # fmt: skip
    """An overview without rows, and a tree of tasks in which mmlu has subjects; scores are random."""
    drawn = random.Random(seed)
    arms = [Arm(model, style, count) for model in models for style in styles for count in shots]
    level = {model: drawn.uniform(0.35, 0.7) for model in models}
    scores = {
        Column(task): {
            arm: [make_score(task, level[arm.model] + shift + drawn.uniform(-0.03, 0.03) + 0.01 * (arm.num_fewshot or 0))]
            for arm in arms
        }
        for task in tasks
        for shift in (drawn.uniform(-0.2, 0.2),)
    }  # fmt: skip
    if perplexity:
        scores[Column("wikitext")] = {
            arm: [make_score("wikitext", drawn.uniform(8, 30), 500, "word_perplexity", False)] for arm in arms
        }
    headings = [describe_column(column, by_arm) for column, by_arm in scores.items()]
    standings, averaged = rank_arms(
        [({arm: found[0] for arm, found in by_arm.items()}, None) for by_arm in scores.values()]
    )
    arms.sort(key=lambda arm: standings[arm].rank if arm in standings else 0)
    facts = [
        Facts(int(1e8 * 1.7 ** models.index(arm.model)), device="cpu", seconds=60.0 * 1.3 ** models.index(arm.model))
        for arm in arms
    ]  # fmt: skip
    overview = Overview(
        arms=arms,
        headings=headings,
        entries=[[Entry(by_arm[arm][0]) for by_arm in scores.values()] for arm in arms],
        scores=scores,
        all_scores=scores,
        rows={},
        evaluated=[],
        standings=standings,
        averaged=averaged,
        facts=facts,
        failed={},
        packages=[],
        left_out={},
    )
    tree = []
    for heading, *entries in zip(headings, *overview.entries, strict=True):
        count = subjects if heading.title == "mmlu" else 0
        tree.append(Branch(heading, 0, entries, count))
        for number in range(count):
            name = "内科学" if number == 3 else f"mmlu_high_school_subject_{number}"
            found = {arm: [make_score(name, drawn.uniform(0.1, 0.9), 100)] for arm in arms}
            tree.append(
                Branch(describe_column(Column(name), found), 1, [Entry(each[0]) for each in found.values()])
            )
    return overview, tree


CASES = {
    "two": {},
    "many": {"models": LONG, "shots": (0, 1, 3, 5)},
    "models": {"models": LONG, "styles": ("standard",), "shots": (0,)},
}


def write_page(figures):
    """A page that has nothing but figures."""
    environment = Environment(
        loader=PackageLoader("gptalt_eval.results", "pages"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    body = environment.get_template("figures.html.j2").render(figures=figures)
    style = "".join(read_file("gptalt_eval.results", f"{name}.css") for name in ("report", "figures"))
    script = read_file("gptalt_eval.results", "figures.js")
    policy = make_policy(style, script)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>figures</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"><style>{style}</style>'
        f"<body>{body}<script>{script}</script></body></html>"
    )


def test_kinds_of_figures():
    figures = dict(draw_figures(*make_overview()))
    assert [(kind, len(found)) for kind, found in figures.items()] == [
        ("Ranking", 3), ("Tasks and prompts", 3), ("Number of shots", 7), ("Subjects and members", 1),
    ]  # fmt: skip
    titles = [figure.title for found in figures.values() for figure in found]
    assert len(set(titles)) == len(titles), "a title is also a file's name"


def test_what_says_nothing_is_not_drawn():
    one = dict(
        draw_figures(*make_overview(styles=("standard",), shots=(0,), tasks=("arc_easy",), perplexity=False))
    )
    assert list(one) == ["Ranking"]
    assert draw_figures(*make_overview(models=("a",), styles=("s",), shots=(0,))) == []
    same = make_overview(models=("a",))
    titles = [figure.title for figure in dict(draw_figures(*same))["Ranking"]]
    assert titles == ["Mean of 6 scores"], "one model has one size and one time"


def find_points(svg):
    return [
        node.find(f"{SVG}title").text for node in ET.fromstring(svg).iter() if node.get("class") == "f-point"
    ]


def test_the_ranking_says_what_the_standings_say():
    overview, tree = make_overview(models=LONG)
    ranking = dict(draw_figures(overview, tree))["Ranking"][0]
    told = find_points(ranking.svg)
    assert len(told) == 20 and "The best 20 of 64 arms." in ranking.note
    best = sorted(overview.standings, key=lambda arm: -overview.standings[arm].mean)[:20]
    for text, arm in zip(told, best, strict=True):
        standing = overview.standings[arm]
        assert text.startswith(f"{arm.model} · {arm.prompt_style} · {arm.shots} {standing.mean:.3f} (")
        assert text.endswith(f"rank {standing.lowest} to {standing.highest}")
    hollow = [
        node.get("fill") == "var(--page)"
        for node in ET.fromstring(ranking.svg).iter()
        if node.get("class") == "f-point"
    ]
    assert hollow == [not (overview.is_best(arm) or overview.is_tied(arm)) for arm in best]
    assert ranking.alt.startswith(f"Mean of 6 scores: {best[0].model}")
    assert ranking.alt.endswith("and 8 more.")


def test_models_that_are_worth_their_size():
    overview, tree = make_overview(
        models=("a", "b", "c"), styles=("s",), shots=(0,), tasks=("x",), perplexity=False
    )
    means = {arm.model: standing.mean for arm, standing in overview.standings.items()}
    size = next(
        figure for figure in dict(draw_figures(overview, tree))["Ranking"] if figure.title == "Mean by size"
    )
    front = [
        model
        for model in means
        if f"{model} {means[model]:.3f} with" in size.alt
        and "at the front" in size.alt.split(f"{model} {means[model]:.3f}")[1].split(";")[0]
    ]
    best, expected = -1, []
    for model in "abc":  # in the order of their sizes
        if means[model] > best:
            best, expected = means[model], [*expected, model]
    assert front == expected


def test_times_on_other_machines_are_not_compared():
    overview, tree = make_overview()
    facts = [Facts(100, device=f"cuda:{place}", seconds=10 + place) for place in range(len(overview.arms))]
    titles = [figure.title for figure in dict(draw_figures(replace(overview, facts=facts), tree))["Ranking"]]
    assert titles == ["Mean of 6 scores"]


@pytest.mark.parametrize("case", CASES)
def test_at_most_seven_colours(case):
    for _, found in draw_figures(*make_overview(**CASES[case])):
        for figure in found:
            assert len(set(re.findall(r"var\(--s\d\)", figure.svg))) <= COLOURS


def test_no_two_arms_of_a_figure_look_the_same():
    arms = [Arm(model, style, shots) for model in "abcdefgh" for style in "st" for shots in range(4)]
    for most in range(2, 40):
        for chosen in (arms, arms[::-1], arms[::8], arms[:8], arms[::2]):
            styles = style_arms(chosen, most)
            assert 0 < len(styles) <= most and len(set(styles.values())) == len(styles)
            assert all(style.colour < COLOURS and style.marker < MARKERS for style in styles.values())


def test_many_arms_are_the_best_of_them():
    overview, tree = make_overview(**CASES["many"])
    figures = dict(draw_figures(overview, tree))
    assert "The best 12 of 128 arms." in figures["Tasks and prompts"][0].note
    assert "The best 7 of 32 curves." in figures["Number of shots"][0].note
    assert "The best 6 of 64 in each task." in figures["Tasks and prompts"][-1].note
    [heat] = figures["Subjects and members"]
    assert "The best 16 of 128 arms." in heat.note
    assert heat.svg.count('class="f-label"') == 57


def test_chance_is_shown_where_it_leaves_room_for_the_curves():
    marks = [Mark(0.5, 0.4, 0.6), Mark(0.55, 0.5, 0.6)]
    assert find_near(0.25, marks) == 0.25 and find_near(0.1, marks) is None and find_near(None, marks) is None


def test_each_figure_says_its_numbers_in_words():
    for kind, found in draw_figures(*make_overview()):
        for figure in found:
            assert len(re.findall(r"\d\.\d{3}", figure.alt)) >= 2, (kind, figure.alt)
            assert len(figure.alt) < 1500


def read_points(svg, kind, side):
    """The value of each point by its place on an axis, and its hint."""
    nodes = list(ET.fromstring(svg).iter())
    shift = 4 if side == "y" else 0
    labels = sorted(
        (float(node.text.replace(",", "")), float(node.get(side)) - shift)
        for node in nodes
        if node.get("class") == f"f-{kind}"
    )
    (one, first), (other, last) = labels[0], labels[-1]
    for node in nodes:
        if node.get("class") == "f-point":
            place = float(re.findall(r"[-\d.]+", node.get("transform"))["xy".index(side)])
            yield one + (place - first) * (other - one) / (last - first), node.find(f"{SVG}title").text


@pytest.mark.parametrize("case", CASES)
def test_points_are_where_the_scores_are(case):
    overview, tree = make_overview(**CASES[case])
    figures = [figure for _, found in draw_figures(overview, tree) for figure in found if not figure.is_wide]
    scores = {
        overview.name(arm): {heading.title: entry.score.value for heading, entry in zip(overview.headings, row, strict=True)}
        for arm, row in zip(overview.arms, overview.entries, strict=True)
    }  # fmt: skip
    seen = 0
    for figure in figures:
        task = figure.title.removesuffix(" by number of shots")
        for value, hint in read_points(
            figure.svg, "tick", "y" if task != figure.title or "Mean by" in task else "x"
        ):
            said = float(re.search(r"(\d+\.\d{3})", hint)[1])
            assert value == pytest.approx(said, abs=max(1.5e-3, said * 2e-3)), (figure.title, hint)
            if figure.title == "Scores by task":
                about, name = hint.rpartition(" (")[0].rpartition(" ")[0].split(", ", 1)
                assert scores[name][about] == pytest.approx(said, abs=6e-4)
                seen += 1
    assert seen == sum(len(re.findall("f-point", f.svg)) for f in figures if f.title == "Scores by task") > 6


ODD = st.sampled_from([0.0, 1.0, 0.5, -0.1, 1.5, 1e9, 1e-9, float("nan"), float("inf"), None])


@settings(max_examples=60)
@given(st.data(), st.booleans())
def test_odd_scores_and_gaps_break_nothing(data, has_standings):
    overview, tree = make_overview(models=("a", "模型 b\x1b"), tasks=("x", "mmlu"), subjects=3)
    entries = []
    for row in overview.entries:
        values = [data.draw(ODD) for _ in row]
        entries.append([
            None if value is None else replace(entry, score=replace(entry.score, value=value, interval=data.draw(
                st.sampled_from([None, (value, value), (value - 0.1, value + 0.1), (float("nan"), value)])
            )))
            for entry, value in zip(row, values, strict=True)
        ])  # fmt: skip
    arms = [
        replace(arm, num_fewshot=data.draw(st.sampled_from([None, arm.num_fewshot]))) for arm in overview.arms
    ]
    if len(set(arms)) < len(arms):
        arms = overview.arms
    changed = replace(
        overview,
        arms=arms,
        entries=entries,
        standings={} if arms != overview.arms or not has_standings else overview.standings,
    )
    for _, found in draw_figures(changed, tree):
        for figure in found:
            assert "nan" not in figure.svg.replace("nan-", "") and "inf" not in figure.svg
            ET.fromstring(figure.svg)


def test_without_means_the_first_arms_are_shown_and_not_the_best():
    overview, tree = make_overview(models=LONG)
    figures = dict(draw_figures(replace(overview, standings={}, averaged=[]), tree))
    assert "Ranking" not in figures
    assert "The first 12 of 64 arms." in figures["Tasks and prompts"][0].note


def test_many_tasks_have_fewer_arms():
    overview, tree = make_overview(
        models=LONG, tasks=[f"task {number}" for number in range(60)], perplexity=False
    )
    figures = dict(draw_figures(overview, tree))
    scores, styles = figures["Tasks and prompts"]
    assert "The best 3 of 64 arms." in scores.note and "The best 1 of 32 in each task." in styles.note
    assert len(figures["Number of shots"]) == 24


def test_subjects_of_one_name_in_two_tasks_are_two_rows():
    overview, tree = make_overview(subjects=2)
    place = next(place for place, line in enumerate(tree) if line.branches)
    tree[place + 2] = replace(tree[place + 2], heading=tree[place + 1].heading)
    [heat] = dict(draw_figures(overview, tree))["Subjects and members"]
    assert heat.svg.count('class="f-label"') == 2


# ---------------------------------------------------------------------- in a browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_saved_figure_needs_no_page(open_tab, tmp_path, scheme):
    page = tmp_path / "page.html"
    overview, tree = make_overview(models=("<b>small</b> \x1b", "大模型 & co"))
    figures = draw_figures(overview, tree)
    page.write_text(write_page(figures), encoding="utf-8")
    tab = open_tab(page, scheme=scheme)
    tab.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    buttons = tab.locator(".save")
    every = [figure for _, found in figures for figure in found]
    assert buttons.count() == len(every)
    for place in (0, 1, 3, len(every) - 1):
        with tab.expect_download() as download:
            buttons.nth(place).click()
        figure = every[place]
        assert download.value.suggested_filename == re.sub(r"[^\w.-]+", "-", figure.title) + ".svg"
        text = download.value.path().read_text(encoding="utf-8")
        root = ET.fromstring(text)
        assert "var(" not in text and "system-ui" not in text
        assert [root.get("width"), root.get("height")] == root.get("viewBox").split()[2:]
        assert root.find(f"{SVG}title").text == figure.title and root.find(f"{SVG}desc").text == figure.alt
        background = root.find(f"{SVG}rect")
        assert [background.get(name) for name in ("x", "y", "width", "height")] == root.get("viewBox").split()
        assert background.get("fill") == "#ffffff" and "paint-order" not in text
        assert "#1c2430" in {node.get("fill") for node in root.iter(f"{SVG}text")}, "the light page's colours"
        assert "sans-serif" in root.get("font-family")
        drawn = [node.text for node in ET.fromstring(figure.svg).iter(f"{SVG}text")]
        assert [node.text for node in root.iter(f"{SVG}text")] == drawn


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("width", [1400, 1280, 390])
def test_nothing_is_cut_off(open_tab, tmp_path, case, width):
    page = tmp_path / "page.html"
    page.write_text(write_page(draw_figures(*make_overview(**CASES[case]))), encoding="utf-8")
    tab = open_tab(page, width=width)
    closed = tab.evaluate("document.documentElement.scrollHeight")
    assert closed <= (1400 if width > 400 else 900), "the tables and items are not far below"
    tab.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    found = tab.evaluate("""() => [...document.querySelectorAll("figure")].map(figure => {
        const box = figure.getBoundingClientRect(), svg = figure.querySelector("svg").getBoundingClientRect();
        const texts = [...figure.querySelectorAll("svg text")].map(text => text.getBoundingClientRect().height);
        return {left: box.left, right: box.right, svg: [svg.left, svg.right], wide: figure.classList.contains("wide"),
                scale: svg.width / figure.querySelector("svg").viewBox.baseVal.width};
    })""")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    for figure in found:
        assert figure["left"] >= 0 and figure["right"] <= width
        if not figure["wide"]:
            assert figure["svg"][1] <= figure["right"] + 0.5
        assert figure["scale"] * 12.5 >= 10.5, "the smallest text, in px"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(open_tab, tmp_path, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = tmp_path / "page.html"
    page.write_text(write_page(draw_figures(*make_overview())), encoding="utf-8")
    tab = open_tab(page, scheme=scheme, bypass_csp=True)
    tab.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    found = axe.run(tab).response["violations"]
    assert [(each["id"], each["impact"]) for each in found if each["impact"] in ("serious", "critical")] == []


def test_without_scripts_the_figures_are_there(open_tab, tmp_path):
    page = tmp_path / "page.html"
    page.write_text(write_page(draw_figures(*make_overview())), encoding="utf-8")
    tab = open_tab(page, java_script_enabled=False)
    assert tab.locator("figure:visible").count() == 3
    assert tab.locator(".save:visible").count() == 0
