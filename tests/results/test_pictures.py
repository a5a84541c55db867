"""Pictures of items in the report: which are shown, where they stand, and what is not believed."""

import base64
import io
import json
import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from illustrated import SHOTS, STAMP, draw, make_question, write_illustrated
from page_items import read_index, read_items, read_pictures
from PIL import Image

from gptalt_eval.contract.pictures import LARGEST_THUMBNAIL, make_thumbnail
from gptalt_eval.contract.record import load_record
from gptalt_eval.results.items import pictures
from gptalt_eval.results.items.build import make_items
from gptalt_eval.results.items.pictures import Album, ShownPicture, list_pictures
from gptalt_eval.results.items.samples import find_right
from gptalt_eval.results.report import render_report
from gptalt_eval.results.rows import read_logged
from gptalt_eval.testing import make_plugin_set

HOSTILE = '"><script>document.title="owned"</script><img src=x onerror="document.title=\'owned\'">'


@pytest.fixture
def make_record(tmp_path):
    def make(questions, **results):
        return write_illustrated(tmp_path / "seer", questions, **results)

    return make


def render(*records):
    return render_report(records, make_plugin_set())


def list_reasons(page):
    return [each for each in read_index(page)["pictures"] if isinstance(each, str)]


def name_pictures(page, item):
    """The files of an item's pictures, in the order of its prompt; None: one that is not shown."""
    shown = read_pictures(page)
    return [shown.get(number) for number in item["pictures"]]


# ------------------------------------------------------------------ what is shown


def test_an_item_is_shown_with_all_that_belongs_to_it(make_record):
    page = render(make_record([make_question(3, is_right=False), make_question(4)]))
    wrong, right = read_items(page)["discs"]
    start = "".join(f"<image>\nQuestion: Which colour has example {n}?\nAnswer: red\n\n" for n in (1, 2))
    for number, item in ((3, wrong), (4, right)):
        assert item["shots"] == start
        assert item["prompt"] == f"<image>\nQuestion: How many discs are in picture {number}?\nAnswer:"
        assert item["right"] == 0 and item["options"] == [" one", " two", " three"]
        assert name_pictures(page, item) == [make_thumbnail(each) for each in (*SHOTS, draw(number))]
    assert (wrong["chosen"], right["chosen"]) == (1, 0)
    assert wrong["likelihoods"] == [-4.5, -0.5, -6]


def test_each_picture_is_in_the_page_once(make_record):
    page = render(make_record([make_question(number) for number in range(2, 9)]))
    assert sorted(read_pictures(page).values()) == sorted(
        make_thumbnail(each) for each in (*SHOTS, *(draw(number) for number in range(2, 9)))
    )
    assert read_index(page)["pictures"] == [[240, 150]] * 9


def test_examples_that_differ_have_their_own_pictures(make_record):
    questions = [make_question(n) for n in (3, 4)]
    for question in questions[1:]:
        for _, _, shown in question["arguments"]:
            shown["visual"] = [draw(202), *shown["visual"][1:]]
    page = render(make_record(questions))
    for item, first in zip(read_items(page)["discs"], (SHOTS[0], draw(202)), strict=True):
        assert name_pictures(page, item)[0] == make_thumbnail(first)


@pytest.mark.parametrize(
    ("header", "ending"), [("USER: ", " ASSISTANT:"), ("<user>\n", "\n<assistant>\n"), ("", "\nAnswer:")]
)
@pytest.mark.parametrize("chat", [True, False])
def test_in_a_chat_the_examples_are_folded_too_but_not_the_picture_of_the_question(
    make_record, header, ending, chat
):
    """Where all questions begin alike, with a picture of their own."""
    questions = [make_question(n) for n in (3, 4)]
    for question in questions:
        turns = [f"{header}<image>\nQ: which {number}?{ending}" for number in (1, 2, question["doc_id"])]
        joined = " red</s>\n".join(turns) if chat else " red\n\n".join(turns)
        question["arguments"] = [(joined, *more) for _, *more in question["arguments"]]
    template = {"chat_template_sha": "x" * 64} if chat else {}
    for item in read_items(render(make_record(questions, **template)))["discs"]:
        assert item["shots"].count("<image>") == 2 and item["prompt"].count("<image>") == 1
        assert item["prompt"].endswith(f"Q: which {item['number']}?{ending}")


def test_wrong_items_have_their_pictures_first(make_record):
    """And a page with too many pictures says how many it leaves out."""
    questions = [make_question(n, is_right=n % 4 > 0, shots=False) for n in range(20)]
    record = make_record(questions)
    wrong = {make_thumbnail(draw(number)) for number in range(0, 20, 4)}
    items = make_items([record], [read_logged(record)], Album(sum(map(len, wrong))))
    assert {base64.b64decode(each.content) for each in items.pictures.values()} == wrong
    assert items.notes == ["15 of 20 pictures are left out."]


@given(sizes=st.lists(st.integers(1, 60), max_size=8), largest=st.integers(0, 120))
def test_an_album_is_never_larger_than_its_limit(sizes, largest):
    class Folder:
        def read_picture(self, name):
            return b"x" * int(name.partition(" ")[2])

    album = Album(largest)
    folder = Folder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "measure_thumbnail", lambda content, name: (1, 1))
        for place, size in enumerate(sizes):
            assert album.add(folder, f"{place} {size}", (False, place)) == place
        shown = album.choose()
    kept = [size for size, each in zip(sizes, shown, strict=True) if each.content]
    assert sum(kept) <= largest
    lost = [size for size, each in zip(sizes, shown, strict=True) if not each.content]
    assert all(sum(kept) + size > largest for size in lost)
    assert all(each == ShownPicture(reason=pictures.LEFT_OUT) for each in shown if not each.content)


def test_a_picture_that_one_run_lacks_is_that_of_another(tmp_path):
    one = write_illustrated(tmp_path / "one", [make_question(3)], model="one")
    other = write_illustrated(tmp_path / "other", [make_question(3)], model="other")
    find_picture(one).unlink()
    page = render(one, other)
    assert list_reasons(page) == [] and len(read_pictures(page)) == 3


# ------------------------------------------------------------------ folders of others


def find_picture(record, number=3):
    return record.folder / "pictures" / f"{draw(number).removeprefix('sha256:')}.webp"


def encode(image, kind="WEBP", **settings):
    stream = io.BytesIO()
    image.save(stream, kind, **settings)
    return stream.getvalue()


SMALL = Image.new("RGB", (9, 9))
OTHERS = {
    "missing": (None, "not in the folder of this run"),
    "a text": (b"<script>owned</script>", "is not a picture"),
    "an SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'><script>owned</script></svg>", "is not a picture"),
    "a PNG": (encode(SMALL, "PNG"), "is not a picture"),
    "a header": (b"RIFF\x1a\0\0\0WEBPVP8 ", "its file "),
    "cut off": (encode(Image.effect_noise((99, 99), 90).convert("RGB"))[:400], "cut off or damaged"),
    "large": (encode(Image.new("RGB", (385, 9))), "larger than 384 x 384 pixels"),
    "a bomb": (encode(Image.new("RGB", (12_000, 12_000))), "has too many pixels"),
    "an animation": (
        encode(SMALL, save_all=True, append_images=[Image.new("RGB", (9, 9), "red")], duration=9),
        "or an animation",
    ),
    "many bytes": (encode(SMALL) + b"x" * LARGEST_THUMBNAIL, "has more than 524,288 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("content, reason", OTHERS.values(), ids=OTHERS)
def test_a_file_that_is_no_small_picture_is_not_shown_and_the_page_says_so(make_record, content, reason):
    record = make_record([make_question(3), make_question(4)])
    file = find_picture(record)
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    page = render(record)
    assert "owned" not in page
    [said] = list_reasons(page)
    assert reason in said
    assert len(read_pictures(page)) == 3, "the others are shown"


@pytest.mark.parametrize("kind", ["link", "hard link", "pipe", "folder", "a folder of links"])
def test_nothing_outside_the_folder_gets_into_the_page(make_record, tmp_path, kind):
    record = make_record([make_question(3), make_question(4)])
    file, victim = find_picture(record), tmp_path / "victim.webp"
    victim.write_bytes(encode(Image.new("RGB", (99, 99), "pink")))
    if kind == "a folder of links":
        elsewhere = tmp_path / "elsewhere"
        file.parent.rename(elsewhere)
        find_picture(record).parent.symlink_to(elsewhere)
        (elsewhere / file.name).write_bytes(victim.read_bytes())
    else:
        file.unlink()
        {"link": lambda: file.symlink_to(victim), "hard link": lambda: file.hardlink_to(victim),
         "pipe": lambda: os.mkfifo(file), "folder": file.mkdir}[kind]()  # fmt: skip
    page = render(record)
    assert victim.read_bytes() not in read_pictures(page).values()
    assert re.search(r"(not followed|not an ordinary file|hard link)", list_reasons(page)[0])


@pytest.mark.parametrize(
    "name",
    ["../victim", "sha256:../victim", "sha256:" + "A" * 64, "sha256:" + "0" * 63, "sha256:" + "0" * 64 + "\n",
     "https://evil.example/x.webp", "data:image/svg+xml,<svg/>", HOSTILE, ""],
)  # fmt: skip
def test_names_that_are_none_are_escaped_and_not_looked_up(make_record, name):
    record = make_record([make_question(3), make_question(4)])
    file = record.folder / f"samples_discs_{STAMP}.jsonl"
    file.write_text(file.read_text().replace(str(draw(3)), json.dumps(name)[1:-1]))
    (record.folder.parent / "victim.webp").write_bytes(encode(SMALL))
    (record.folder / "pictures" / "victim.webp").write_bytes(encode(SMALL))
    page = render(load_record(record.folder))
    assert len(read_pictures(page)) == 3 and HOSTILE not in page and "<img" not in page
    assert list_reasons(page) == ["not in the folder of this run"]


@pytest.mark.parametrize(
    "visual", [None, 3, "sha256:x", {"a": 1}, [], [None], [{}], [["x"]], [1.5], [HOSTILE] * 9]
)
def test_what_is_no_list_of_pictures_takes_nothing_else_with_it(make_record, visual):
    record = make_record([make_question(3), make_question(4)])
    file = record.folder / f"samples_discs_{STAMP}.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for request in lines[0]["arguments"].values():
        request["arg_2"]["visual"] = visual
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = render(load_record(record.folder))
    one, other = read_items(page)["discs"]
    assert one["right"] == other["right"] == 0 and len(name_pictures(page, other)) == 3
    assert HOSTILE not in page and None not in name_pictures(page, other)


# ------------------------------------------------------------------ parts


@pytest.mark.parametrize(
    ("options", "target", "right"),
    [
        ((" a", " b"), "1", 1), ((" a", " b"), 1, 1), ((" a", " b"), "b", 1), ((" a", " b"), " b", 1),
        ((" a", " b"), "2", -1), ((" a", " b"), "-1", -1), ((" a", " b"), "[0, 1]", -1), ((" a", " b"), "c", -1),
        ((" a", " a"), "a", -1), ((" 1", " 0"), "1", 1), ((" a", " b"), None, -1), ((" a", " b"), "9" * 9999, -1),
        ((" a", " b"), "²", -1), ((" 7", " 8"), "8", 1), ((" 7", " 8"), "1000", -1),
    ],
)  # fmt: skip
def test_the_right_option(options, target, right):
    assert find_right(options, target) == right


@pytest.mark.parametrize(
    ("target", "chosen", "acc", "right"),
    [("2", 1, 1.0, 1), ("2", 2, 0.0, 1), ("2", 2, 1.0, 2), ("2", 1, 0.0, 2), ("2", 0, 0.0, 2), ("2", 0, 1.0, 2), ("2", -1, 1.0, 2), ("2", 1, None, 2), ("3", 2, 1.0, 2)],
)  # fmt: skip
def test_the_number_of_an_option_or_its_text(target, chosen, acc, right):
    """Options 1, 2 and 3: the target may be either, and acc says which."""
    assert find_right((" 1", " 2", " 3"), target, chosen, acc) == right


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"gen_args_0": {"arg_0": "p", "arg_1": "o", "arg_2": {"visual": ["a", "b"]}}}, ("a", "b")),
        ([["p", "o", {"visual": ["a"]}], ["p", "o", {"visual": ["b"]}]], ("a",)),
        ([["p", {"until": []}]], ()), ([], ()), ({}, ()), ({"gen_args_0": {}}, ()),
        ([None, ["p", "o"]], ()), ([3], ()), (["p"], ()),
    ],
)  # fmt: skip
def test_the_pictures_of_an_item(arguments, expected):
    assert list_pictures(arguments) == expected


# ------------------------------------------------------------------ in a browser


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (390, "dark")])
def test_in_a_browser_all_pictures_of_an_item_are_drawn(make_record, open_tab, tmp_path, width, scheme):
    questions = [make_question(n, is_right=n % 2 > 0) for n in range(8)]
    for _, _, shown in questions[0]["arguments"]:
        shown["visual"][2] = draw(0, (900, 100))  # wider than a telephone
    record = make_record(questions)
    find_picture(record, 5).unlink()
    file = tmp_path / "report.html"
    file.write_text(render(record), encoding="utf-8")
    tab = open_tab(file, width=width, scheme=scheme, address="item=discs/0")
    tab.click(".items-shots summary")
    images = tab.locator(".items-view img")
    assert images.count() == 3
    tab.wait_for_function("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert tab.evaluate(
        """() => [...document.images].every(image => image.alt
           && Math.abs(image.width / image.height - image.naturalWidth / image.naturalHeight) < 0.1)"""
    )
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    order = tab.locator(".items-shots img, .items-shots pre, .items-question > div > *").evaluate_all(
        "all => all.map(each => each.tagName)"
    )
    assert order == ["IMG", "PRE", "IMG", "PRE", "IMG", "PRE"]
    tab.evaluate("address.set('item', 'discs/5'); dispatchEvent(new Event('hashchange'))")
    tab.get_by_text("Picture: not in the folder of this run").wait_for()
