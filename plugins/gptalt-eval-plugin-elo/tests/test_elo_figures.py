"""The figures of the board: their numbers, and that nothing of them is cut off or too small."""

import json
import re
import xml.etree.ElementTree as ET

import gptalt_eval_plugin_elo
import numpy as np
import pytest
from gptalt_eval_plugin_elo.figures import choose_ink, draw_calibration, draw_heat_map, draw_ratings, shorten
from gptalt_eval_plugin_elo.page import name_colours, set_width
from gptalt_eval_plugin_elo.tables import Calibration

from gptalt_eval import make_svg
from gptalt_eval.commands.cli import dispatch
from gptalt_eval.testing import make_plugin_set

SVG = "{http://www.w3.org/2000/svg}"
LONG = [
    "mistralai/Mixtral-8x22B-Instruct-v0.1",
    "BAAI/悟道·天鹰（Aquila）通用语言模型-7B",
    "chatglm3-6b 智谱清言",
]


def name_models(count):
    return [*LONG, *(f"model-{number}" for number in range(count))][:count]


def make_shares(count):
    shares = np.random.default_rng(0).random((count, count))
    np.fill_diagonal(shares, np.nan)
    return shares


def list_texts(svg):
    return ["".join(node.itertext()).strip() for node in ET.fromstring(svg).iter(f"{SVG}text")]


@pytest.mark.parametrize("count", [2, 5, 16, 25])
def test_every_share_is_in_its_cell(count):
    shares = make_shares(count)
    texts = list_texts(make_svg(draw_heat_map("t", name_models(count), shares), "a"))
    written = [f"{share * 100:.0f}" for share in shares.ravel() if share == share]
    assert [text for text in texts if re.fullmatch(r"\d+", text)][count:] == written
    assert [text.rpartition(" ")[2] for text in texts if "model" in text] == [
        str(n) for n in range(4, count + 1)
    ]


def test_above_25_models_every_fifth_column_is_numbered():
    texts = list_texts(make_svg(draw_heat_map("t", name_models(59), make_shares(59)), "a"))
    assert [text for text in texts if re.fullmatch(r"\d+", text)] == [str(n) for n in range(1, 60, 5)]


def test_numbers_can_be_read_on_their_cells():
    import matplotlib

    colours = matplotlib.colormaps["PuOr"](np.linspace(0, 1, 101))
    for colour in colours:
        parts = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in colour[:3]]
        light = 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]
        ink = {"#000000": 0.0, "#ffffff": 1.0}[choose_ink(colour)]
        assert (max(light, ink) + 0.05) / (min(light, ink) + 0.05) >= 4.5


def test_long_names_keep_both_ends():
    assert shorten("short") == "short"
    assert shorten(LONG[0]) == "mistralai/…nstruct-v0.1"
    assert shorten(LONG[1]).startswith("BAAI/悟道") and shorten(LONG[1]).endswith("-7B")
    assert shorten("通" * 12) == "通" * 12 and shorten("通" * 13) == "通" * 5 + "…" + "通" * 6


@pytest.mark.parametrize("names", [["a", "b", "c"], LONG])
def test_ratings_are_where_their_numbers_say(names):
    places, low, high = (
        np.array([1100.0, 1000, 900]),
        np.array([1050.0, 970, 800]),
        np.array([1150.0, 1030, 950]),
    )
    svg = make_svg(draw_ratings(names, places, low, high, np.array([True, True, False])), "r")
    root = ET.fromstring(svg)
    assert all(name in list_texts(svg) for name in names)
    ticks = {}
    for group in root.iter(f"{SVG}g"):
        if re.search(r"-xtick_\d+$", group.get("id", "")):
            place = next(node for node in group.iter(f"{SVG}use"))
            ticks[float("".join(next(group.iter(f"{SVG}text")).itertext()))] = float(place.get("x"))
    (one, first), *_, (other, last) = sorted(ticks.items())
    accent = [
        node for node in root.iter() if "var(--accent)" in (node.get("stroke", ""), node.get("fill", ""))
    ]
    lines = [
        [float(x) for x in re.findall(r"[ML] ([\d.]+) ", node.get("d"))]
        for node in accent
        if node.tag == f"{SVG}path"
    ]
    found = [
        [one + (x - first) * (other - one) / (last - first) for x in line] for line in lines if len(line) == 2
    ]
    expected = [[begin, end] for begin, end in zip(low, high, strict=True)]
    assert np.allclose(found, expected, atol=0.5)


def test_colours_are_fixed_outside_of_the_page():
    svg = make_svg(draw_calibration([Calibration(0.6, 0.7, 12), Calibration(0.8, 0.75, 9)]), "c")
    assert "var(--accent)" in svg and "var(" not in name_colours(svg)


def write_board(tmp_path, models):
    """The page of a board of some models, from random votes."""
    drawn = np.random.default_rng(0)
    lines = [
        {
            "question": f"q{drawn.integers(40)}", "annotator": f"a{drawn.integers(5)}", "category": f"c{drawn.integers(3)}",
            "model_a": one, "model_b": other, "winner": str(drawn.choice(["a", "b", "tie"])),
        }
        for _ in range(12) for place, one in enumerate(models) for other in models[:place]
    ]  # fmt: skip
    file = tmp_path / "votes.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    plugins = make_plugin_set(gptalt_eval_plugin_elo)
    assert dispatch(["elo", str(file), "-o", str(tmp_path / "out"), "--orders", "10"], plugins) == 0
    return tmp_path / "out" / "elo.html"


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (1280, "dark"), (390, "dark")])
def test_the_page_of_a_board(open_tab, tmp_path, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    tab = open_tab(write_board(tmp_path, name_models(16)), width=width, scheme=scheme, bypass_csp=True)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    found = axe.run(tab).response["violations"]
    assert [(each["id"], each["impact"]) for each in found if each["impact"] in ("serious", "critical")] == []
    tops = tab.evaluate(
        "[...document.querySelectorAll('figure')].map(figure => figure.getBoundingClientRect().top)"
    )
    assert tab.locator("figure").first.get_attribute("aria-label") == "Ratings with 95 % intervals"
    assert (tops[0] == tops[1]) == (width > 1000), (
        "the second figure is beside the first one, if there is room"
    )
    sizes = tab.evaluate(
        "[...document.querySelectorAll('.figures svg, .map[open] svg')].map(svg => svg.getBoundingClientRect().width / svg.viewBox.baseVal.width)"
    )
    assert min(sizes) * 10 > 9, "the text's size in px"


@pytest.mark.parametrize("count", [2, 5, 16, 59])
def test_no_text_is_cut_off_or_small(open_tab, tmp_path, count):
    names = name_models(count)
    places = np.linspace(1200, 800, count)
    drawn = [
        draw_ratings(names, places, places - 30, places + 30, np.ones(count, bool)),
        draw_heat_map("title", names, make_shares(count), np.full((count, count), 30)),
        draw_calibration([Calibration(0.6, 0.7, 12)]),
    ]
    page = tmp_path / "page.html"
    figures = "".join(set_width(make_svg(figure, f"f{number}")) for number, figure in enumerate(drawn))
    page.write_text(
        f"<!doctype html><meta charset=utf-8><style>svg {{ display: block }}</style>{figures}",
        encoding="utf-8",
    )
    found = open_tab(
        page
    ).evaluate("""() => [...document.querySelectorAll("svg")].map(svg => {
        const box = svg.getBoundingClientRect();
        return [box.left, box.right, [...svg.querySelectorAll("text")].map(text => {
            const inner = text.getBoundingClientRect(); return [inner.left, inner.right, inner.height]; })]; })""")
    assert len(found) == 3
    for left, right, texts in found:
        assert len(texts) > 3
        for begin, end, height in texts:
            assert left - 1 <= begin and end <= right + 1
            assert height > 9
