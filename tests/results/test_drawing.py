"""Text and scales of the report's figures."""

import json
import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptalt_eval.results.figures.drawing import (
    COLOURS,
    MARKERS,
    Canvas,
    Key,
    Style,
    clean,
    draw_shape,
    measure,
    shorten,
    wrap,
)
from gptalt_eval.results.figures.scales import list_times, make_log_scale, make_scale, show_quantity
from gptalt_eval.results.page import read_file

NAMES = [
    "mistralai/Mixtral-8x22B-Instruct-v0.1 · standard · 5-shot", "BAAI/悟道·天鹰（Aquila）通用语言模型-7B",
    "MMMMWWWW@@@@%%%%", "iiiillll....", "high_school_european_history", "Größenwahn — naïve façade", "0.1234567890",
    "Модель большая", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz", "한국어 모델", "日本語のモデル", "🙂🙂 model",
]  # fmt: skip


def test_texts_are_not_wider_than_they_are_thought_to_be(open_tab, tmp_path):
    page = tmp_path / "page.html"
    page.write_text("<!doctype html><svg></svg>", encoding="utf-8")
    tab = open_tab(page)
    widths = tab.evaluate(
        """names => names.map(name => {
            const text = document.createElementNS("http://www.w3.org/2000/svg", "text");
            text.setAttribute("font-size", 13); text.setAttribute("font-family", "system-ui, 'Noto Sans CJK SC', sans-serif");
            text.textContent = name; document.querySelector("svg").append(text);
            return text.getBBox().width; })""",
        NAMES,
    )
    for name, width in zip(NAMES, widths, strict=True):
        assert width <= measure(name) * 1.02 < width * 1.45 + 4, name


@given(st.text(max_size=80), st.floats(14, 200))
def test_wrapped_lines_fit_and_lose_nothing(text, width):
    lines = wrap(text, width, most=1000)
    assert all(measure(line) <= width or len(line) == 1 for line in lines)
    assert re.sub(r"[\s·]", "", "".join(lines)) == re.sub(r"[\s·]", "", clean(text))


@given(st.text(min_size=1, max_size=300), st.integers(1, 3))
def test_of_too_many_lines_the_last_says_so(text, most):
    lines = wrap(text, 60, most=most)
    every = wrap(text, 60, most=1000)
    assert len(lines) == min(len(every), most)
    assert lines[-1].endswith("…") or lines == every


def test_lines_end_at_spaces_and_punctuation():
    lines = wrap("mistralai/Mixtral-8x22B-Instruct · standard", 135)
    assert lines == ["mistralai/Mixtral-", "8x22B-Instruct", "standard"]
    assert wrap("通用语言模型", 40) == ["通用语", "言模型"]


FINITE = st.floats(-1e9, 1e9, allow_nan=False)


@given(st.lists(FINITE, min_size=1, max_size=20), st.integers(2, 8))
def test_an_axis_contains_its_values_and_says_where_they_are(values, most):
    scale = make_scale(values, 50, 350, most)
    for value in values:
        assert 50 - 1e-6 <= scale.place(value) <= 350 + 1e-6
    assert 1 <= len(scale.ticks) <= most + 1
    for value, label in scale.ticks:
        assert float(label.replace(",", "")) == pytest.approx(value, rel=1e-6, abs=1e-9)
        assert 50 - 1e-6 <= scale.place(value) <= 350 + 1e-6
    places = [scale.place(value) for value in sorted(values)]
    assert places == sorted(places)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_an_axis_of_shares_has_no_places_for_others(values):
    scale = make_scale(values, 0, 100, within=(0, 1))
    assert scale.low >= 0 and scale.high <= 1


def test_ticks_by_hand():
    assert [label for _, label in make_scale([0.21, 0.79], 0, 1, 3).ticks] == ["0.2", "0.4", "0.6", "0.8"]
    assert [label for _, label in make_scale([0, 100], 0, 1, 5).ticks] == ["0", "20", "40", "60", "80", "100"]
    assert [label for _, label in make_scale([950, 2100], 0, 1, 3).ticks] == ["1,000", "1,500", "2,000"]


@given(st.lists(st.floats(1e-3, 1e13), min_size=1, max_size=9))
def test_a_logarithmic_axis(values):
    scale = make_log_scale(values, 0, 300)
    for value in values:
        assert 0 <= scale.place(value) <= 300
    assert scale.ticks


def test_ten_times_as_much_is_as_far_everywhere():
    scale = make_log_scale([1e6, 1e9], 0, 300)
    assert scale.place(1e7) - scale.place(1e6) == pytest.approx(scale.place(1e9) - scale.place(1e8))


def test_times_are_in_order_and_close():
    times = list_times()
    assert [label for _, label in times[:3]] == ["1 s", "2 s", "3 s"]
    assert dict(times)[86400.0] == "1 d" and dict(times)[300.0] == "5 min"
    assert all(one < other <= 2 * one for (one, _), (other, _) in pairwise(times))


def test_quantities():
    shown = [show_quantity(value) for value in (0.05, 7, 1500, 135e6, 1.5e9, 70e9, 1.2e12)]
    assert shown == ["0.05", "7", "1.5k", "135M", "1.5B", "70B", "1.2T"]


@pytest.mark.parametrize("evil", ["\x1b[2J\0", "\ud800", "\uffff", '"><script>1</script>', "a\nb", "&lt;"])
def test_hostile_texts_are_texts(evil):
    canvas = Canvas(100)
    canvas.text(0, 0, evil, hint=evil)
    canvas.legend([Key(evil, Style())], 0, 0)
    root = ET.fromstring(canvas.finish(10))
    assert not [node for node in root.iter() if node.tag.endswith("script")]
    assert clean(evil) in list(root.itertext())


def test_each_marker_has_a_shape_of_its_own():
    shapes = {draw_shape(number) for number in range(MARKERS)}
    assert len(shapes) == MARKERS
    for shape in shapes:
        assert re.fullmatch(r"M.+Z", shape) and all(
            abs(float(each)) <= 9.2 for each in re.findall(r"-?[\d.]+", shape)
        )


@given(st.text(max_size=60), st.floats(40, 200))
def test_a_shortened_text_keeps_its_ends(text, width):
    shown = shorten(text, width, 13)
    plain = clean(text)
    assert measure(shown) <= width or len(shown) <= 3
    begin, cut, end = shown.partition("…") if measure(plain) > width and "…" not in plain else (plain, "", "")
    assert (
        plain.startswith(begin)
        and plain.endswith(end)
        and abs(len(begin) - len(end)) <= (1 if cut else len(plain))
    )


# ---------------------------------------------------------------------- colours


def find_colours():
    """The page's colours, light and dark."""
    sheets = [read_file("gptalt_eval.results", f"{name}.css") for name in ("report", "figures")]
    rules = [re.findall(r"(@media[^{]*\{\s*)?:root\s*\{([^}]*)\}", sheet) for sheet in sheets]
    light, dark = {}, {}
    for media, body in (rule for sheet in rules for rule in sheet):
        named = dict(re.findall(r"(--[\w-]+):\s*(#[0-9a-f]+)", body))
        (dark if media else light).update(named)
    return light, light | dark


def find_linear(colour):
    digits = colour[1:] if len(colour) == 7 else "".join(2 * each for each in colour[1:])
    parts = [int(digits[start : start + 2], 16) / 255 for start in (0, 2, 4)]
    return [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]


def find_contrast(one, other):
    lights = sorted(
        sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), find_linear(each), strict=True))
        for each in (one, other)
    )
    return (lights[1] + 0.05) / (lights[0] + 0.05)


#: Machado, Oliveira and Fernandes (2009), severity 1
BLINDNESS = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    "none": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
}  # fmt: skip
XYZ = [
    [0.4124564, 0.3575761, 0.1804375],
    [0.2126729, 0.7151522, 0.0721750],
    [0.0193339, 0.1191920, 0.9503041],
]


def multiply(matrix, vector):
    return [sum(one * other for one, other in zip(row, vector, strict=True)) for row in matrix]


def find_lab(colour, blindness):
    seen = [min(max(part, 0), 1) for part in multiply(BLINDNESS[blindness], find_linear(colour))]
    x, y, z = (
        part ** (1 / 3) if part > 0.008856 else 7.787 * part + 16 / 116
        for part in (
            value / white for value, white in zip(multiply(XYZ, seen), (0.95047, 1, 1.08883), strict=True)
        )
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_colours_can_be_seen_and_distinguished(mode):
    colours = find_colours()[mode]
    series = [colours[f"--s{number + 1}"] for number in range(COLOURS)]
    assert min(find_contrast(each, colours["--page"]) for each in series) >= 3
    assert min(find_contrast(colours[name], colours["--page"]) for name in ("--ink", "--soft")) >= 4.5
    for blindness in BLINDNESS:
        labs = [find_lab(each, blindness) for each in series]
        nearest = min(
            sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5
            for place, one in enumerate(labs)
            for other in labs[:place]
        )
        assert nearest > 18, (blindness, json.dumps(series))
