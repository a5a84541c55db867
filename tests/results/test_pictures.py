"""Items with pictures in the report: which are shown, where their pictures stand, and what is not believed."""

import html
import io
import json
import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from illustrated import SHOTS, STAMP, draw, dump_question, make_question, write_illustrated
from PIL import Image

from gptalt_eval.contract.pictures import LARGEST_THUMBNAIL, make_thumbnail
from gptalt_eval.contract.record import load_record
from gptalt_eval.results import pictures, report
from gptalt_eval.results.items import choose_items, view_task
from gptalt_eval.results.pictures import Album, ShownPicture, find_start, list_pictures, split_prompt
from gptalt_eval.results.report import render_report
from gptalt_eval.results.samples import find_right, view_item
from gptalt_eval.testing import make_plugin_set

HOSTILE = '"><script>document.title="owned"</script><img src=x onerror="document.title=\'owned\'">'


@pytest.fixture
def make_record(tmp_path):
    def make(questions, **results):
        return write_illustrated(tmp_path / "seer", questions, **results)

    return make


def render(*records):
    return render_report(records, make_plugin_set())


def read_texts(page):
    return [html.unescape(text) for text in re.findall(r"<pre>(.*?)</pre>", page, re.S)]


def list_images(page):
    return re.findall(r'<img class="picture" src="(data:image/webp;base64,[\w+/=]+)" alt="([^"]*)"', page)


# ------------------------------------------------------------------ what is shown


def test_an_item_is_shown_with_all_that_belongs_to_it(make_record):
    page = render(make_record([make_question(3, is_right=False), make_question(4)]))
    assert read_texts(page) == [
        "Question: Which colour has example 1?\nAnswer: red",
        "Question: Which colour has example 2?\nAnswer: red",
        "Question: How many discs are in picture 3?\nAnswer:",
        "Question: How many discs are in picture 4?\nAnswer:",
    ]
    assert [alt for _, alt in list_images(page)] == [
        "picture 1 of the examples",
        "picture 2 of the examples",
        "picture, item 3",
        "picture, item 4",
    ]
    [wrong, right] = re.findall(r'<div class="item">\n<p>item.*?</div>', page, re.S)
    assert "✗ incorrect" in wrong and "✓ correct" in right
    for shown, chosen, gold in ((wrong, "two", "one"), (right, "one", "one")):
        assert re.search(rf'class="option chosen"> {chosen} ', shown)
        assert re.findall(r'class="option[^>]*"> (\w+) [^\n]*✓ right answer', shown) == [gold]
        assert "gold:" not in shown
    assert re.findall(r'<span class="aside">(\S+)</span>', wrong) == ["-4.50", "-0.50", "-6.00"]


def test_the_pictures_are_those_of_the_items(make_record):
    import base64

    page = render(make_record([make_question(3), make_question(4)]))
    expected = [make_thumbnail(picture) for picture in (*SHOTS, draw(3), draw(4))]
    assert [base64.b64decode(uri.partition(",")[2]) for uri, _ in list_images(page)] == expected


def test_wrong_and_right_items_are_shown_and_those_with_a_picture_first(make_record):
    questions = [make_question(n, with_picture=n % 2 > 0, is_right=n % 4 > 1) for n in range(60)]
    items = choose_items(make_record(questions), 0, "discs", "acc")
    assert [item.is_right for item in items] == [False] * 10 + [True] * 10
    assert {len(item.pictures) for item in items} == {3}
    few = [make_question(n, with_picture=n in (1, 41), is_right=n > 3) for n in range(60)]
    items = choose_items(make_record(few), 0, "discs", "acc")
    assert [item.number for item in items] == [1, 0, 2, 3, 41, *range(4, 19)]
    bare = [make_question(n, with_picture=n == 50, shots=False) for n in range(60)]
    assert [item.number for item in choose_items(make_record(bare), 0, "discs", "acc")][:3] == [50, 0, 1]


def test_of_a_task_without_pictures_the_first_items_are_shown_as_before(make_record):
    record = make_record([make_question(n, False, n % 2 > 0, shots=False) for n in range(60)])
    (record.folder / "pictures").mkdir()  # another task's
    task = view_task(record, 0, "discs", "acc", Album())
    assert [item.number for item, _ in task.items] == list(range(20))
    assert not task.has_pictures and not task.start
    page = render(record)
    assert "<img" not in page and "tasks with pictures" not in page and "not in the folder" not in page


def test_examples_that_differ_are_shown_with_their_item(make_record):
    questions = [make_question(n) for n in (3, 4)]
    for question in questions[1:]:
        for _, _, shown in question["arguments"]:
            shown["visual"] = [draw(202), *shown["visual"][1:]]
    task = view_task(make_record(questions), 0, "discs", "acc", Album())
    assert task.start == ()
    for _, parts in task.items:
        assert [bool(part.picture) for part in parts] == [True, False] * 3
        assert [part.picture.alt.split(",")[0] for part in parts if part.picture] == [
            f"picture {number} of 3" for number in (1, 2, 3)
        ]


@pytest.mark.parametrize(
    ("header", "ending"), [("USER: ", " ASSISTANT:"), ("<user>\n", "\n<assistant>\n"), ("", "\nAnswer:")]
)
@pytest.mark.parametrize("chat", [True, False])
def test_in_a_chat_the_examples_are_shown_once_too(make_record, header, ending, chat):
    """Where all questions begin alike, with a picture of their own."""
    questions = [make_question(n) for n in (3, 4)]
    for question in questions:
        turns = [f"{header}<image>\nQ: which {number}?{ending}" for number in (1, 2, question["doc_id"])]
        question["arguments"] = [(" red</s>".join(turns), *more) for _, *more in question["arguments"]]
    template = {"chat_template_sha": "x" * 64} if chat else {}
    task = view_task(make_record(questions, **template), 0, "discs", "acc", Album())
    assert [bool(part.picture) for part in task.start].count(True) == 2
    for item, parts in task.items:
        assert [part.picture.alt for part in parts if part.picture] == [f"picture, item {item.number}"]
        assert parts[-1].text == f"Q: which {item.number}?{ending}".strip("\n")


def test_a_prompt_that_does_not_say_where_its_pictures_belong_has_them_in_front(make_record):
    questions = [make_question(n) for n in (3, 4)]
    for question in questions:
        question["arguments"] = [
            (prompt.replace("<image>", "<|vision|>"), *more) for prompt, *more in question["arguments"]
        ]
    task = view_task(make_record(questions), 0, "discs", "acc", Album())
    for item, parts in task.items:
        assert [bool(part.picture) for part in parts] == [True, True, True, False]
        assert parts[-1].text == item.prompt


def test_generated_answers_have_pictures_too(make_record):
    question = make_question(3)
    prompt, _, shown = question["arguments"][0]
    question |= {
        "arguments": [(prompt, {"until": ["\n"]}, shown)],
        "resps": [["one disc"]],
        "filtered_resps": ["one disc"],
    }
    page = render(make_record([question]))
    assert len(list_images(page)) == 3 and '<pre class="option chosen">one disc</pre>' in page
    assert view_item(json.loads(dump_question(question))).options == ()


def test_where_arms_disagree_the_question_is_shown_with_its_picture(tmp_path):
    """Each model is right where the other one is wrong; its examples are not repeated."""
    one = write_illustrated(
        tmp_path / "one", [make_question(n, is_right=n % 2 > 0) for n in range(6)], model="one"
    )
    bare = [make_question(n, False, is_right=n % 2 == 0, shots=False) for n in range(6)]
    other = write_illustrated(tmp_path / "other", bare, model="other")
    page = render(one, other)
    [block] = re.findall(r'<details class="contrasts">.*?</details>', page, re.S)
    assert [alt for _, alt in list_images(block)] == [f"picture, item {n}" for n in range(6)]
    assert read_texts(block) == [f"Question: How many discs are in picture {n}?\nAnswer:" for n in range(6)]
    assert "The examples in front of each prompt are left out here." in block
    [block] = re.findall(r'<details class="contrasts">.*?</details>', render(other, one), re.S)
    assert list_images(block) == [], "the prompt is that of the first arm, which saw none"


# ------------------------------------------------------------------ the limits of a page


def test_too_many_pictures_are_left_out_and_counted(make_record, monkeypatch):
    record = make_record([make_question(n, is_right=n > 4) for n in range(10)])
    monkeypatch.setattr(report, "Album", lambda: Album(most=5))
    page = render(record)
    assert len(list_images(page)) == 5
    assert "7 pictures are left out, because the page has too many." in page
    assert page.count("left out, because the page has too many") == 8


@given(sizes=st.lists(st.integers(1, 60), max_size=8), most=st.integers(0, 6), largest=st.integers(0, 120))
def test_an_album_is_never_larger_than_its_limits(sizes, most, largest):
    class Folder:
        def read_picture(self, name):
            return b"x" * int(name)

    album = Album(most, largest)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "measure_thumbnail", lambda content, name: (1, 1))
        shown = [album.add(Folder(), str(size), "") for size in sizes]
    kept = [size for size, each in zip(sizes, shown, strict=True) if each.uri]
    assert len(kept) <= most and sum(kept) <= largest
    assert album.left_out == len(sizes) - len(kept)
    assert album.left_out == 0 or len(kept) == most or sum(kept) + max(sizes) > largest


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
    [said] = re.findall(r'<p class="missing">(.*?)</p>', page)
    assert said.startswith("picture, item 3: ") and reason in said
    assert len(list_images(page)) == 3, "the others are shown"


@pytest.mark.parametrize("kind", ["link", "hard link", "pipe", "folder", "a folder of links"])
def test_nothing_outside_the_folder_gets_into_the_page(make_record, tmp_path, kind):
    import base64

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
    assert base64.b64encode(victim.read_bytes()).decode() not in page
    assert re.search(
        r'<p class="missing">picture, item 3: .*(not followed|not an ordinary file|hard link)', page
    )


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
    assert len(list_images(page)) == 3 and page.count("<img") == 3 and page.count("<script") == 1
    assert "picture, item 3: not in the folder of this run" in page


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
    assert "item 3 ·" in page and "item 4 ·" in page and page.count("<script") == 1
    assert page.count("✓ right answer") == 2


def test_text_around_pictures_is_escaped(make_record):
    questions = [make_question(n) for n in (3, 4)]
    for question in questions:
        question["arguments"] = [
            (HOSTILE + prompt + HOSTILE, option + HOSTILE, shown)
            for prompt, option, shown in question["arguments"]
        ]
    page = render(make_record(questions))
    assert page.count("<script") == 1 and page.count("<img") == len(list_images(page)) == 4


# ------------------------------------------------------------------ parts


@given(texts=st.lists(st.text("ab\n", max_size=4), min_size=1, max_size=5), more=st.integers(-2, 2))
def test_no_picture_and_no_text_of_a_prompt_is_lost(texts, more):
    shown = [ShownPicture(f"uri {n}", "") for n in range(max(0, len(texts) - 1 + more))]
    parts = split_prompt("<image>".join(texts), shown)
    assert [part.picture for part in parts if part.picture] == shown
    said = "".join(part.text for part in parts).replace("\n", "").replace("<image>", "")
    assert said == "".join(texts).replace("\n", "")
    assert all(bool(part.picture) != bool(part.text) for part in parts) or len(shown) != len(texts) - 1


@given(
    shots=st.lists(st.text("ab \n", min_size=1, max_size=6), max_size=3),
    questions=st.lists(st.text("xyz", min_size=1, max_size=4), min_size=1, max_size=5),
)
def test_the_beginning_is_that_of_all_prompts(shots, questions):
    head = "".join(f"{shot.strip()}\n\n" for shot in shots)
    prompts = [f"{head}Q: {question}" for question in questions]
    start = find_start(prompts)
    assert len({prompt[:start] for prompt in prompts}) == 1 and start == len(head)


def test_in_a_chat_the_beginning_ends_with_a_line():
    prompts = [f"<user>\nOne\n\nTwo\n<bot>\nA\n<user>\nQ {n}" for n in (1, 2)]
    assert [prompt[find_start(prompts, "") :] for prompt in prompts] == ["Q 1", "Q 2"]
    assert find_start(["a\n", "a\n"]) == 0, "nothing would be left of the question"


@pytest.mark.parametrize(
    ("options", "target", "right"),
    [
        ((" a", " b"), "1", 1), ((" a", " b"), 1, 1), ((" a", " b"), "b", 1), ((" a", " b"), " b", 1),
        ((" a", " b"), "2", -1), ((" a", " b"), "-1", -1), ((" a", " b"), "[0, 1]", -1), ((" a", " b"), "c", -1),
        ((" a", " a"), "a", -1), ((" 1", " 0"), "1", 1), ((" a", " b"), None, -1), ((" a", " b"), "9" * 9999, -1),
        ((" a", " b"), "²", -1),
    ],
)  # fmt: skip
def test_the_right_option(options, target, right):
    assert find_right(options, target) == right


def test_the_answer_to_a_gap_is_not_taken_for_a_number_of_an_option():
    """As in WinoGrande, where the options are in the prompt and the target is the rest of the sentence."""
    asked = {
        f"gen_args_{i}": {"arg_0": f"the {word}", "arg_1": " 1"} for i, word in enumerate(("cat", "dog"))
    }
    item = view_item({"doc_id": 0, "arguments": asked, "target": "1"})
    assert item.options == ("the cat", "the dog") and (item.right, item.gold) == (-1, "1")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"gen_args_0": {"arg_0": "p", "arg_1": "o", "arg_2": {"visual": ["a", "b"]}}}, ("a", "b")),
        ([["p", "o", {"visual": ["a"]}], ["p", "o", {"visual": ["b"]}]], ("a",)),
        ([["p", {"until": []}]], ()), ([], ()), ({}, ()), ({"gen_args_0": {}}, ()),
    ],
)  # fmt: skip
def test_the_pictures_of_an_item(arguments, expected):
    assert list_pictures(arguments) == expected


# ------------------------------------------------------------------ in a browser


@pytest.mark.parametrize(("size", "scheme"), [("1200,900", "light"), ("390,844", "dark")])
def test_in_a_browser_all_pictures_are_drawn(make_record, browser, probe, tmp_path, size, scheme):
    questions = [make_question(n, is_right=n % 2 > 0) for n in range(8)]
    for _, _, shown in questions[0]["arguments"]:
        shown["visual"][2] = draw(0, (900, 100))  # wider than a telephone
    record = make_record(questions)
    find_picture(record, 5).unlink()
    page = render(record).replace("<details>", "<details open>")
    script = (
        "const all = [...document.images]; document.body.dataset.read = [all.length, "
        "all.filter(image => image.complete && image.naturalWidth > 0).length, "
        "all.filter(image => image.alt).length, document.documentElement.scrollWidth <= window.innerWidth, "
        "all.every(image => Math.abs(image.width / image.height - image.naturalWidth / image.naturalHeight) < 0.1), "
        "getComputedStyle(all[0]).backgroundColor].join()"
    )
    file = tmp_path / "probe.html"
    file.write_text(probe(page, script), encoding="utf-8")
    dom = browser.open(file, size, scheme, "--dump-dom")
    assert re.findall(r'data-read="([^"]*)"', dom) == ["9,9,9,true,true,rgb(255, 255, 255)"]
    drawn = tmp_path / "report.png"
    browser.open(file, size, scheme, f"--screenshot={drawn}")
    with Image.open(drawn) as image:
        seen = image.convert("RGB").getcolors(1 << 24)
    colours = {colour for count, colour in seen if count > 200}
    _, page_colour = max(seen)
    assert any(r > 250 and g + b < 9 for r, g, b in colours), "the disc of the first example"
    assert (sum(page_colour) < 150) is (scheme == "dark") and (255, 255, 255) in colours
