"""The report's charts: each point and interval is where its number says, and no text covers another."""

import re
import xml.etree.ElementTree as ET
from collections import Counter
from html import unescape
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptalt_eval.results.figures.charts import Line, Mark, Row, Section, draw_curves, draw_rows
from gptalt_eval.results.figures.drawing import Key, Style, clean, measure
from gptalt_eval.results.figures.heatmap import draw_heat_map, find_luminance
from gptalt_eval.results.figures.scatter import Spot, draw_scatter

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<script>document.title='owned'</script>$x^2$ _模型\x1b\ud800"


def find(svg, kind):
    return [node for node in ET.fromstring(svg).iter() if node.get("class") == f"f-{kind}"]


def find_place(point):
    return tuple(map(float, re.fullmatch(r"translate\((\S+) (\S+)\)", point.get("transform")).groups()))


def read_axis(svg, kind, side):
    """A function from places to values, from the first and the last label of an axis."""
    shift = 4 if side == "y" else 0  # of a label's baseline below its middle
    labels = sorted(
        (float(node.text.replace(",", "")), float(node.get(side)) - shift) for node in find(svg, kind)
    )
    (one, first), (other, last) = labels[0], labels[-1]
    return lambda place: one + (place - first) * (other - one) / (last - first)


WIDTHS = st.sampled_from([0, 0.002, 0.05, 0.2])
SHARES = st.lists(
    st.tuples(st.integers(0, 1000).map(lambda number: number / 1000), WIDTHS, WIDTHS), min_size=1, max_size=5
)


def make_marks(numbers):
    return [
        Mark(value, max(0, value - below), min(1, value + above), Style(place, place))
        for place, (value, below, above) in enumerate(numbers)
    ]


@given(
    st.lists(SHARES, min_size=1, max_size=4), st.sampled_from(["a", "a long name of a model, 很长的名字" * 2])
)
def test_points_of_rows_are_where_their_numbers_say(numbers, label):
    rows = [Row(label, make_marks(each)) for each in numbers]
    svg = draw_rows([Section("", rows)])
    for tick in find(svg, "tick"):
        half = measure(tick.text, 12.5) / 2
        assert half <= float(tick.get("x")) <= 400 - half, "labels of the axis are not cut off"
    assert all(5 <= find_place(each)[0] <= 395 for each in find(svg, "point"))
    if len(find(svg, "tick")) < 2:
        return
    read = read_axis(svg, "tick", "x")
    marks = [mark for row in rows for mark in row.marks]
    points = find(svg, "point")
    assert [read(find_place(each)[0]) for each in points] == pytest.approx(
        [mark.value for mark in marks], abs=1e-3
    )
    intervals = [(read(float(each.get("x1"))), read(float(each.get("x2")))) for each in find(svg, "interval")]
    expected = [(mark.low, mark.high) for mark in marks if mark.low != mark.high]
    assert [end for each in intervals for end in each] == pytest.approx(
        [end for each in expected for end in each], abs=1e-3
    )
    colours = [each.get("fill") for each in points]
    assert colours == [f"var(--s{mark.style.colour + 1})" for mark in marks]


def test_chance_is_a_tick_of_its_row():
    rows = [Row("a", [Mark(0.5, 0.4, 0.6)], chance=0.25), Row("b", [Mark(0.5, 0.4, 0.6)])]
    svg = draw_rows([Section("", rows)])
    [chance] = find(svg, "chance")
    assert read_axis(svg, "tick", "x")(float(chance.get("x1"))) == pytest.approx(0.25, abs=1e-3)
    assert float(chance.get("y2")) < find_place(find(svg, "point")[1])[1]


def test_points_of_a_row_do_not_cover_each_other():
    svg = draw_rows([Section("", [Row("a", [Mark(0.5, 0.4, 0.6, Style(n, n)) for n in range(7)])])])
    heights = [find_place(each)[1] for each in find(svg, "point")]
    assert all(other - one >= 9 for one, other in pairwise(heights))


def test_curves_are_where_their_numbers_say():
    lines = [
        Line("a", [Mark(0.2, 0.1, 0.35, Style(0, 0), place=0), Mark(0.4, 0.3, 0.5, Style(0, 0), place=5)], Style(0, 0)),
        Line("b", [Mark(0.7, 0.6, 0.8, Style(1, 1), place=5), Mark(0.6, 0.5, 0.7, Style(1, 1), place=1)], Style(1, 1)),
    ]  # fmt: skip
    svg = draw_curves(lines)
    read = read_axis(svg, "tick", "y")
    places = {node.text: float(node.get("x")) for node in find(svg, "place")}
    assert list(places) == ["0", "1", "5"]
    points = [find_place(each) for each in find(svg, "point")]
    assert [read(y) for _, y in points] == pytest.approx([0.2, 0.4, 0.6, 0.7], abs=2e-3)
    for (x, _), place in zip(points, ("0", "5", "1", "5"), strict=True):
        assert min(places, key=lambda each: abs(places[each] - x)) == place
    ends = [(read(float(each.get("y1"))), read(float(each.get("y2")))) for each in find(svg, "interval")]
    assert [end for each in ends for end in each] == pytest.approx(
        [0.1, 0.35, 0.3, 0.5, 0.5, 0.7, 0.6, 0.8], abs=2e-3
    )
    assert len({x for x, _ in points}) == 4, "two points of the same number of shots are beside each other"


def test_a_scatter_plot_by_hand():
    spots = [
        Spot("small", Mark(0.3, 0.25, 0.35, place=1e8), True), Spot("middle", Mark(0.2, 0.15, 0.25, place=1e9)),
        Spot("large", Mark(0.6, 0.55, 0.65, place=1e10), True),
    ]  # fmt: skip
    svg = draw_scatter(spots, "parameters", "mean")
    points = [find_place(each) for each in find(svg, "point")]
    read = read_axis(svg, "tick", "y")
    assert [read(y) for _, y in points] == pytest.approx([0.3, 0.2, 0.6], abs=2e-3)
    assert points[1][0] - points[0][0] == pytest.approx(points[2][0] - points[1][0], abs=0.02)
    ticks = {node.text: float(node.get("x")) for node in find(svg, "place")}
    assert ticks["1B"] == pytest.approx(points[1][0], abs=0.02)
    [front] = find(svg, "front")
    numbers = [float(each) for each in re.findall(r"[\d.]+", front.get("d"))]
    assert numbers == pytest.approx([*points[0], *points[2]], abs=0.02)


def test_a_heat_map_by_hand():
    svg = draw_heat_map(["easy", "hard 难"], ["a", "b", "c"], [[0.9, 0.8, None], [0.314, 0.2, 0.1]])
    assert [node.text for node in find(svg, "share")] == ["90", "80", "31", "20", "10"]
    cells = find(svg, "cell")
    heights = Counter(float(each.get("y")) for each in cells)
    assert sorted(heights.values()) == [2, 3]
    lights = [find_luminance(each.get("fill")) for each in cells]
    assert lights == sorted(lights, reverse=True), "more is lighter"
    for cell, text in zip(cells, find(svg, "share"), strict=True):
        shades = sorted([find_luminance(cell.get("fill")), find_luminance(text.get("fill"))])
        assert (shades[1] + 0.05) / (shades[0] + 0.05) >= 4.5
    assert "hard 难, b: 0.200" in [node.text for node in ET.fromstring(svg).iter(f"{SVG}title")]


def test_cells_are_in_their_rows_and_columns():
    names, columns = ["r0", "r1", "r2"], ["c0", "c1", "c2", "c3"]
    shares = [[0.25 * (row + column) / 1.25 for column in range(4)] for row in range(3)]
    svg = draw_heat_map(names, columns, shares)
    heads = [float(node.get("x")) for node in find(svg, "head")]
    labels = [float(node.get("y")) for node in find(svg, "label")]
    for cell, text in zip(find(svg, "cell"), find(svg, "share"), strict=True):
        row, column, said = re.fullmatch(r"r(\d), c(\d): ([\d.]+)", cell.find(f"{SVG}title").text).groups()
        share = shares[int(row)][int(column)]
        assert float(said) == pytest.approx(share, abs=5e-4) and text.text == f"{share * 100:.0f}"
        x, y, width, height = (float(cell.get(name)) for name in ("x", "y", "width", "height"))
        assert x <= heads[int(column)] <= x + width and y <= labels[int(row)] <= y + height
        assert x <= float(text.get("x")) <= x + width and y <= float(text.get("y")) <= y + height
    low, high = (node.text for node in ET.fromstring(svg).iter(f"{SVG}text") if node.text.endswith(" %"))
    key = [node.get("fill") for node in find(svg, "key")]
    assert (low, high) == ("0 %", "100 %")
    fills = {node.find(f"{SVG}title").text[-5:]: node.get("fill") for node in find(svg, "cell")}
    assert fills["0.000"] == key[0] == "#00224e" and fills["1.000"] == key[-1] == "#fee838"


def test_legends_have_the_looks_of_their_points():
    lines = [Line(name, [Mark(0.2, 0.1, 0.3, style, place=place) for place in (0, 1)], style)
             for name, style in (("a", Style(2, 3)), ("b", Style(4, 1)))]  # fmt: skip
    for svg, names in (
        (draw_curves(lines), "ab"),
        (draw_curves(lines, [Key(name, Style()) for name in "xyz"]), "xyz"),
    ):
        keys = find(svg, "key")
        assert [node.text for node in keys if node.tag == f"{SVG}text"] == list(names)
        if names == "ab":
            looks = [(node.get("d"), node.get("fill")) for node in keys if node.tag == f"{SVG}path"]
            points = [(node.get("d"), node.get("fill")) for node in find(svg, "point")]
            assert points == [looks[0], looks[0], looks[1], looks[1]]


@pytest.mark.parametrize("label", ["a", "a long name of a model that is above its row, 很长"])
def test_labels_are_at_their_rows(label):
    rows = [
        Row(f"{label} {place}", [Mark(0.5, 0.4, 0.6)] * (place + 1), notes=(f"{place}",))
        for place in range(3)
    ]
    svg = draw_rows([Section("first", rows[:2]), Section("second", rows[2:])], heads=("mean",))
    heights = [find_place(each)[1] for each in find(svg, "point")]
    middles = [heights[0], sum(heights[1:3]) / 2, heights[4]]
    labels = [float(node.get("y")) for node in find(svg, "label")]
    notes = [float(node.get("y")) for node in find(svg, "note")]
    for middle, text, note, top in zip(
        middles, labels, notes, (heights[0], heights[1], heights[3]), strict=True
    ):
        assert abs(note - middle) < 8
        assert abs(text - middle) < 8 if label == "a" else 8 < top - text < 25
    assert [node.text for node in find(svg, "section")] == ["first", "second"]
    first, second = (float(node.get("y")) for node in find(svg, "section"))
    assert first < labels[0] < labels[1] < second < labels[2]


def test_notes_are_below_their_heads_and_beside_the_points():
    rows = [
        Row(f"row {place}", [Mark(place / 2, 0, 1)], notes=(f"{place}.000", "1 to 3")) for place in range(3)
    ]
    svg = draw_rows([Section("", rows)], heads=("mean", "rank"))
    heads = {
        node.text: float(node.get("x"))
        for node in ET.fromstring(svg).iter(f"{SVG}text")
        if node.text in ("mean", "rank")
    }
    notes = [(node.text, float(node.get("x"))) for node in find(svg, "note")]
    assert all(x == heads["rank" if text == "1 to 3" else "mean"] for text, x in notes)
    assert heads["rank"] == 400 and heads["rank"] - heads["mean"] > measure("1 to 3", 12.5)
    starts = [x - measure(text, 12.5) for text, x in notes]
    assert max(find_place(each)[0] for each in find(svg, "point")) + 5 < min(starts)
    assert max(float(each.get("x2")) for each in find(svg, "interval")) < min(starts)


def test_a_curve_goes_through_its_points():
    marks = [Mark(0.1 * place, 0, 1, place=place) for place in (5, 0, 2)]
    svg = draw_curves([Line("a", marks), Line("b", marks[:2])])
    points = [find_place(each) for each in find(svg, "point")]
    found = [[float(each) for each in re.findall(r"[\d.]+", node.get("d"))] for node in find(svg, "curve")]
    for path, part in zip(found, (points[:3], points[3:]), strict=True):
        assert path == pytest.approx([each for point in part for each in point], abs=0.02)
        assert path[::2] == sorted(path[::2]), "in the order of their shots"


def test_lines_lead_from_a_point_to_its_name():
    spots = [
        Spot(f"model {n}", Mark(0.5 + 0.002 * n, 0.49, 0.53, place=1e8 * 1.03**n, hint=f"{n}"))
        for n in range(8)
    ]
    svg = draw_scatter(spots, "size", "mean")
    places = {node.find(f"{SVG}title").text: find_place(node) for node in find(svg, "point")}
    labels = {node.text: (float(node.get("x")), float(node.get("y"))) for node in find(svg, "label")}
    assert labels, "some of them have room"
    for line in find(svg, "leader"):
        end, start = ((float(line.get(f"x{n}")), float(line.get(f"y{n}"))) for n in "12")
        name = min(places, key=lambda name: abs(places[name][0] - start[0]) + abs(places[name][1] - start[1]))
        x, y = labels[f"model {name}"]
        assert places[name] == pytest.approx(start, abs=0.02)
        assert x - 0.1 <= end[0] <= x + measure(f"model {name}", 12.5) + 0.1 and y - 13 <= end[1] <= y + 3
    lonely = draw_scatter(
        [Spot(name, Mark(0.5, 0.4, 0.6, place=place)) for name, place in (("a", 1e6), ("b", 1e9))], "x", "y"
    )
    assert [node.text for node in find(lonely, "label")] == ["a", "b"] and not find(lonely, "leader")


def draw_all(name):
    marks = [
        Mark(0.1 * place, 0.1 * place - 0.05, 0.1 * place + 0.05, Style(place, place), name, place)
        for place in range(7)
    ]
    keys = [Key(f"{name} {place}", Style(place, place)) for place in range(7)]
    rows = [Row(f"{name} {place}", marks, 0.25, (f"{place}", "1 to 3")) for place in range(4)]
    return {
        "rows": draw_rows([Section(name, rows), Section("", rows)], keys, "axis", ("mean", "rank")),
        "linked": draw_rows([Section("s", [Row("a", marks[:2]), Row("b", marks[:2])])], keys[:2], is_linked=True),
        "curves": draw_curves([Line(f"{name} {n}", [marks[n], marks[-1]], Style(n, n)) for n in range(5)], keys[:5], chance=0.2),
        "scatter": draw_scatter([Spot(f"{name} {n}", Mark(0.3 + 0.001 * n, 0.2, 0.4, place=1e8 * 1.01**n)) for n in range(12)], "size", "mean"),
        "heat": draw_heat_map([f"{name} {n}" for n in range(9)], [f"{name} {n}" for n in range(16)], [[0.01 * (r + c) for c in range(16)] for r in range(9)]),
    }  # fmt: skip


@given(st.text(max_size=40))
def test_figures_are_xml_whatever_the_names(name):
    for svg in draw_all(name).values():
        root = ET.fromstring(svg)
        assert root.tag == f"{SVG}svg"
        for node in root.iter():
            assert node.tag.removeprefix(SVG) in {"svg", "text", "title", "path", "line", "rect"}
            assert not {"style", "id", "href"} & set(node.attrib) and not any(
                key.startswith("on") for key in node.attrib
            )


def test_texts_are_texts_and_the_same_each_time():
    for svg in draw_all(HOSTILE).values():
        assert "<script" not in svg
        assert set(re.findall(r"var\((--\w+)\)", svg)) <= {
            "--ink",
            "--soft",
            "--line",
            "--page",
            *(f"--s{n}" for n in range(1, 8)),
        }
    assert clean(HOSTILE) in unescape(draw_all(HOSTILE)["rows"])
    assert draw_all("a") == draw_all("a")


@pytest.mark.parametrize(
    "name",
    ["a", "mistralai/Mixtral-8x22B-Instruct-v0.1 · alpaca · 5-shot", "BAAI/悟道·天鹰（Aquila）通用语言模型"],
)
def test_no_text_covers_another_or_leaves_its_figure(open_tab, tmp_path, name):
    page = tmp_path / "page.html"
    figures = draw_all(name)
    page.write_text(f"<!doctype html><meta charset=utf-8><body>{''.join(figures.values())}", encoding="utf-8")
    tab = open_tab(page)
    found = tab.evaluate("""() => [...document.querySelectorAll("svg")].map(svg => {
        const [, , width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
        const boxes = [...svg.querySelectorAll("text")].map(text => {
            const box = text.getBBox(), corners = [];
            const turn = text.transform.baseVal.consolidate()?.matrix ?? svg.createSVGMatrix();
            for (const [x, y] of [[box.x, box.y], [box.x + box.width, box.y], [box.x + box.width, box.y + box.height], [box.x, box.y + box.height]])
                corners.push(new DOMPoint(x, y).matrixTransform(turn));
            return {text: text.firstChild.data, turned: text.hasAttribute("transform"), corners: corners.map(p => [p.x, p.y]), box: [box.x, box.y, box.width, box.height]};
        });
        return {width, height, boxes};
    })""")
    assert len(found) == len(figures)
    for kind, figure in zip(figures, found, strict=True):
        for text in figure["boxes"]:
            for x, y in text["corners"]:
                assert -1 <= x <= figure["width"] + 1 and -1 <= y <= figure["height"] + 1, (kind, text)
        straight = [text for text in figure["boxes"] if not text["turned"]]
        for place, one in enumerate(straight):
            for other in straight[:place]:
                (x, y, width, height), (left, top, wide, high) = one["box"], other["box"]
                across = min(x + width, left + wide) - max(x, left)
                down = min(y + height, top + high) - max(y, top)
                assert across < 1 or down < 4, (
                    kind,
                    one["text"],
                    other["text"],
                )  # boxes include the space between lines
        turned = [text["box"] for text in figure["boxes"] if text["turned"]]
        starts = sorted(x for x, *_ in turned)
        assert all(other - one > 14 for one, other in pairwise(starts))
