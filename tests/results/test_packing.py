"""Items in columns: nothing is lost, numbers are exact to four digits, and a page never has more than it should."""

import gzip
import json
from math import isclose, isfinite

import pytest
from hypothesis import given
from hypothesis import strategies as st
from page_items import read_chunk, unpack

from gptalt_eval.results.items.packing import (
    LONGEST,
    Texts,
    add_up,
    compress,
    cut_middle,
    order,
    pack,
    reduce,
    share,
    shorten,
    subtract,
    unshare,
)

ODD = st.text(st.characters(), max_size=12)  # with halves of characters, which UTF-8 cannot write


@given(st.lists(st.integers(-1, 10_000)))
def test_places_are_read_back(places):
    assert add_up(subtract(places)) == places


@given(st.floats(allow_nan=True, allow_infinity=True) | st.none())
def test_a_number_is_exact_to_four_digits_and_json(value):
    short = json.loads(json.dumps(shorten(value), allow_nan=False))
    if value is None or value != value:
        assert short is None
    elif not isfinite(value) or abs(value) > 1e100:
        assert isinstance(short, str) and float(short) == value
    else:
        assert isclose(short, value, rel_tol=5.0001e-4, abs_tol=1e-320)
        assert len(json.dumps(shorten(value))) <= len("-1000000000000000.0")


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "1"), (-12.3456, "-12.35"), (0.25, "0.25"), (-1234.5678, "-1234.57"), (1234567.8, "1235000")],
)
def test_a_number_has_no_more_characters_than_digits(value, text):
    assert json.dumps(shorten(value)) == text


@given(
    st.recursive(
        ODD | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(ODD, inner), max_leaves=9
    )
)
def test_what_is_packed_is_read_back_and_harmless_in_html(content):
    packed = pack(content)
    assert unpack(packed) == content
    assert packed.isascii() and not set(packed) & set("<>&\"'")
    assert packed == pack(content), "the same items make the same page"


ITEM = st.fixed_dictionaries(
    {
        "shots": st.lists(ODD, max_size=3), "prompt": ODD, "gold": ODD,
        "options": st.lists(ODD, max_size=3), "replies": st.lists(ODD, max_size=2),
        "extracted": st.lists(ODD, max_size=2),
    }
)  # fmt: skip
GRID = st.integers(1, 4).flatmap(
    lambda rows: st.lists(st.lists(ITEM | st.none(), min_size=rows, max_size=rows), min_size=1, max_size=3)
)


def make_chunk(grid):
    texts = Texts()
    arms = []
    for place, items in enumerate(grid):

        def column(name, there=items):
            return [texts.add_list(item[name]) if item else -1 for item in there]

        arms.append(
            {
                "arm": place, "judged": "", "shots": column("shots"), "options": column("options"),
                "replies": column("replies"), "pictures": [-1] * len(items),
                "prompt": [texts.add(item["prompt"]) if item else -1 for item in items],
                "gold": [texts.add(item["gold"]) if item else -1 for item in items],
                "filters": {"none": {"extracted": column("extracted"), "metrics": {}}},
                "counts": [0] * len(items), "likelihoods": [],
                **{name: [-1] * len(items) for name in ("right", "chosen", "normed")},
            }
        )  # fmt: skip
    rows = len(grid[0])
    common = {"number": subtract(list(range(rows))), "subjects": [""], "subject": [0] * rows, "pictures": []}
    return json.loads(gzip.decompress(compress(order(texts, arms) | common)))


@given(GRID)
def test_columns_that_arms_have_in_common_are_there_once(grid):
    chunk = make_chunk(grid)
    shared = json.loads(json.dumps(share(chunk)))
    assert list(read_chunk(shared)) == list(read_chunk(chunk))
    assert unshare(shared) == chunk | {"columns": []}
    assert len({json.dumps(column) for column in shared["columns"]}) == len(shared["columns"])


@given(GRID)
def test_items_are_read_back(grid):
    chunk = make_chunk(grid)
    read = {(item["arm"], item["number"]): item for item in read_chunk(chunk)}
    assert read.keys() == {(a, r) for a, items in enumerate(grid) for r, item in enumerate(items) if item}
    for (arm, row), item in read.items():
        expected = grid[arm][row]
        assert item["shots"] == "".join(expected["shots"])
        assert item["filters"]["none"][0] == expected["extracted"]
        for name in ("prompt", "gold", "options", "replies"):
            assert item[name] == expected[name]
    assert len(set(chunk["texts"])) == len(chunk["texts"]), "each text once"
    assert len({tuple(each) for each in chunk["lists"]}) == len(chunk["lists"])


@given(GRID, st.integers(8, 20))
def test_what_has_no_room_is_left_out_and_nothing_else(grid, longest):
    reduced = list(read_chunk(reduce(make_chunk(grid), longest)))
    for before, after in zip(read_chunk(make_chunk(grid)), reduced, strict=True):
        assert after["shots"] is None if before["shots"] or after["shots"] is None else after["shots"] == ""
        assert after["prompt"] == cut_middle(before["prompt"], longest)
        assert after["options"] == [cut_middle(option, longest) for option in before["options"]]
        assert after["replies"] == [cut_middle(reply, longest) for reply in before["replies"]]


@given(st.text(max_size=99), st.integers(4, 50))
def test_a_long_text_keeps_its_beginning_and_its_end(text, longest):
    cut = cut_middle(text, longest)
    if len(text) <= longest:
        assert cut == text
    else:
        end = longest // 4
        assert cut.startswith(text[: longest - end]) and cut.endswith(text[len(text) - end :])
        assert f" [... {len(text) - longest:,} characters left out ...] " in cut


def test_texts_of_a_million_characters_are_cut_and_counted():
    texts = Texts()
    assert texts.add("x" * 1_000_000) == texts.add("x" * 1_000_000) == 0
    texts.add("y" * LONGEST)
    assert len(texts.cut) == 1 and max(map(len, texts.texts)) < LONGEST + 60
