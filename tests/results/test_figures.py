"""Figures that plugins draw with matplotlib."""

import re
import xml.etree.ElementTree as ET

import pytest

import gptalt_eval
from gptalt_eval.machine.plain import show_plain
from gptalt_eval.results.figures import matplotlib_style as figures


@gptalt_eval.page_style()
def draw(name):
    from matplotlib.figure import Figure

    axes = (figure := Figure((2, 2))).add_subplot()
    axes.plot([0, 1], [0, 1], color="C0")
    axes.set_title(name)
    axes.set_yticks([0, 1], ["a", name])
    axes.set_xticks([0, 1], [4, 5])
    return figure


@pytest.mark.parametrize(
    "evil", ["\x1b[2J\0", "\ud800", "\uffff", '" style="color: red"><style>*{}</style>', "模型", "$x^2$"]
)
def test_a_figure_is_xml_whatever_the_names(evil):
    svg = gptalt_eval.make_svg(draw(evil), evil)
    assert svg == gptalt_eval.make_svg(draw(evil), evil)
    root = ET.fromstring(svg)
    assert show_plain(evil) in [text.strip() for text in root.itertext()]
    ids = [node.get("id") for node in root.iter() if node.get("id")]
    assert len(set(ids)) == len(ids)
    for node in root.iter():
        assert "style" not in node.attrib and not node.tag.endswith("style")


def test_colours_are_the_pages():
    svg = gptalt_eval.make_svg(draw("a"), "a")
    assert not {figures.INK, figures.LINE, figures.ACCENT} & set(re.findall(r"#[0-9a-f]{6}", svg))
    assert all(f"var(--{name})" in svg for name in ("ink", "line", "accent"))


@pytest.mark.parametrize("name", ["通用语言模型" * 4, "a plain name that is long"])
def test_no_text_is_cut_off(open_tab, tmp_path, name):
    """Matplotlib has no letters for Chinese names, but the browser has."""
    page = tmp_path / "page.html"
    page.write_text(
        f"<!doctype html><meta charset=utf-8>{gptalt_eval.make_svg(draw(name), 'a')}", encoding="utf-8"
    )
    edges = open_tab(page).evaluate("""() => [...document.querySelectorAll("svg, svg text")].map(node => {
        const box = node.getBoundingClientRect(); return [box.left, box.right]; })""")
    (left, right), *texts = edges
    assert len(texts) > 4
    assert all(left - 1 <= begin and end <= right + 1 for begin, end in texts)
