"""The items of a report in a browser: found, filtered, linked, read with the keyboard alone, and never obeyed."""

import json
import math
import re

import pytest
from logged_runs import make_choice, make_reply, write_run
from playwright.sync_api import expect

from gptalt_eval.results.report import render_report
from gptalt_eval.testing import make_plugin_set

SUBJECTS = ("anatomy", "botany")
#: what a page must not obey: it is shown instead (half a character becomes "?" when samples are read)
HOSTILE = {
    "</script><script>document.title='owned'</script>": "</script><script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">": "<img src=x onerror=\"document.title='owned'\">",
    "bell \x07 and null \0": "bell ⟨U+0007⟩ and null ⟨U+0000⟩",
    "escape \x1b[2J": "escape ⟨U+001B⟩[2J",
    "bidi \u202eabc\u202c": "bidi ⟨U+202E⟩abc⟨U+202C⟩",
    "line \u2028 end": "line ⟨U+2028⟩ end",
    "half \ud800 pair": "half ? pair",
    "Ünïcode 中文 🙂": "Ünïcode 中文 🙂",
}


def list_items(task, shift):
    """Ten questions; an arm answers those whose number and shift are even."""
    return [
        make_choice(
            number, f"Question {number} of {task}: where is part {'abcdefghij'[number]}?\nAnswer:",
            (number + shift) % 2, doc={"subject": task}, filter="none",
        )
        for number in range(10)
    ]  # fmt: skip


def list_replies(right):
    replies = []
    for number in range(6):
        reply = f"It is {number * 7}" if number in right else "no idea" if number == 5 else "It is 1000"
        extracted = reply.rpartition(" ")[2] if reply.startswith("It is ") else "[invalid]"
        for name in ("strict-match", "flexible-extract"):
            replies.append(
                make_reply(number, f"How much is {number} times 7?", reply, extracted, str(number * 7), name)
            )
    return replies


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    root = tmp_path_factory.mktemp("page")
    records = []
    for place, model in enumerate(("first", "second")):
        tasks = {f"body_{name}": list_items(name, place) for name in SUBJECTS}
        tasks["body_anatomy"][7]["gptalt_cut"] = 4 - 4 * place
        tasks |= {"sums": list_replies({0, 1, 2} if place else {0, 1, 2, 3})}
        tasks |= {
            "hostile": [make_choice(n, text, 0, options=(f" {text}", " b")) for n, text in enumerate(HOSTILE)]
        }
        records.append(write_run(root / model, tasks, model, "body", [f"body_{name}" for name in SUBJECTS]))
    file = root / "report.html"
    file.write_text(render_report(records, make_plugin_set()), encoding="utf-8", errors="strict")
    return file


@pytest.fixture
def open_items(open_tab, report):
    def start(address="task=body", **settings):
        tab = open_tab(report, address=address, **settings)
        tab.wait_for_selector(".items-ready")
        return tab

    return start


def list_rows(tab):
    return tab.locator(".items-row").evaluate_all("rows => rows.map(row => row.getAttribute('aria-label'))")


def check_count(tab, found, every):
    expect(tab.locator(".items-count")).to_have_text(f"{found} of {every} items")


# ------------------------------------------------------------------ what is found


def test_a_group_shows_the_items_of_all_its_members(open_items):
    tab = open_items()
    check_count(tab, 20, 20)
    expect(tab.locator(".items-row").first).to_have_text(
        "0✓✗anatomyQuestion 0 of anatomy: where is part a? Answer:"
    )
    assert list_rows(tab)[11].startswith("body_botany item 1, correct in 1 of 2: Question 1 of botany")


def test_a_part_of_a_group(open_items):
    tab = open_items()
    tab.select_option("#items-part", "body_botany")
    check_count(tab, 10, 10)
    assert all("botany" in row for row in list_rows(tab))
    tab.select_option("#items-task", "sums")
    check_count(tab, 6, 6)
    expect(tab.locator("#items-part")).to_be_hidden()


def test_search_finds_questions_options_and_replies(open_items):
    tab = open_items()
    tab.fill("#items-q", "PART C")
    check_count(tab, 2, 20)
    expect(tab.locator(".items-view mark").first).to_have_text("part c")
    tab.fill("#items-q", "no such words")
    check_count(tab, 0, 20)
    expect(tab.locator(".items-view")).to_have_text("No item fits.")
    tab.fill("#items-q", "")
    check_count(tab, 20, 20)
    tab.select_option("#items-task", "sums")
    tab.fill("#items-q", "It is 21")
    check_count(tab, 1, 6)  # only the first arm says so, of item 3
    assert list_rows(tab) == ["item 3, correct in 1 of 2: How much is 3 times 7?"]


@pytest.mark.parametrize(
    ("show", "numbers"),
    [("", range(6)), ("right", range(4)), ("wrong", (4, 5)), ("no_answer", (5,)), ("first", (3,)), ("second", ()),
     ("differ", (3,)), ("all_wrong", (4, 5))],
)  # fmt: skip
def test_filters_by_result(open_items, show, numbers):
    """The first arm knows 0 to 3, the second 0 to 2, and neither extracts an answer from item 5."""
    tab = open_items("task=sums")
    tab.select_option("#items-show", show)
    check_count(tab, len(numbers), 6)
    assert [int(re.match(r"item (\d+),", row)[1]) for row in list_rows(tab)] == list(numbers)
    assert tab.evaluate("address.get('show')") == show


def test_what_no_filter_finds_is_no_answer_without_a_metric_too(open_tab, tmp_path):
    replies = [make_reply(n, f"Question {n}?", "?", "7" if n else "[invalid]", "8") for n in range(3)]
    for line in replies:
        line["metrics"] = ["exact_match"]
    record = write_run(tmp_path / "run", {"sums": replies}, "m")
    file = tmp_path / "report.html"
    file.write_text(render_report([record], make_plugin_set()), encoding="utf-8")
    tab = open_tab(file, address="show=no_answer")
    check_count(tab, 1, 3)
    assert list_rows(tab) == ["item 0, no answer: Question 0?"]


def test_truncated_prompts_are_found_and_said(open_items):
    tab = open_items("show=cut&item=body_anatomy%2F7")
    check_count(tab, 1, 20)
    expect(tab.locator(".items-view .note")).to_have_text(
        "The prompt did not fit into the context of 1 first: it lost its beginning."
    )
    tab.select_option("#items-a", "1")
    check_count(tab, 0, 20)


def test_the_arms_that_are_compared_are_chosen(open_items):
    tab = open_items("task=sums&show=first&a=1&b=0")
    check_count(tab, 0, 6)
    tab.select_option("#items-show", "second")
    check_count(tab, 1, 6)
    assert list_rows(tab) == ["item 3, correct in 1 of 2: How much is 3 times 7?"]


def test_another_metric_is_another_result(open_items):
    tab = open_items("task=sums")
    tab.select_option("#items-metric", "no_answer (strict-match)")
    tab.select_option("#items-show", "right")
    check_count(tab, 1, 6)
    assert [row[:6] for row in list_rows(tab)] == ["item 5"], "no_answer is 1"


# ------------------------------------------------------------------ one item


def test_an_item_in_full(open_items):
    tab = open_items("task=body&item=body_anatomy%2F1")
    view = tab.locator(".items-view")
    expect(view.locator("h3")).to_have_text("body_anatomy · item 1")
    expect(view.locator("pre")).to_have_text("Question 1 of anatomy: where is part b?\nAnswer:")
    rows = view.locator(".items-options tbody tr")
    assert rows.count() == 4
    expect(rows.nth(0).locator("td").nth(0)).to_have_text("✓Aright answer")
    expect(rows.nth(1).locator("td").nth(1)).to_have_text("-1.250 59 % accacc_norm")
    widths = rows.locator(".items-share").evaluate_all("bars => bars.map(bar => parseFloat(bar.style.width))")
    assert sum(widths[::2]) == pytest.approx(100, abs=0.1) and sum(widths[1::2]) == pytest.approx(
        100, abs=0.1
    )
    weights = [math.exp(score) for score in (-2.5, -1.25, -2.75, -2.875)]
    assert widths[::2] == pytest.approx([100 * weight / sum(weights) for weight in weights], abs=0.01)
    arms = view.locator(".items-arms tbody tr")
    expect(arms).to_have_text(["✗ incorrect1 firstBacc 0", "✓ correct2 secondAacc 1"])


def test_a_reply_is_shown_raw_and_as_each_filter_extracts_it(open_items):
    tab = open_items("item=sums%2F3")
    replies = tab.locator(".items-sides > div")
    expect(replies.nth(0)).to_contain_text("It is 21")
    expect(replies.nth(0)).to_contain_text("extracted by strict-match: 21")
    expect(replies.nth(1)).to_contain_text("extracted by flexible-extract: 1000")
    expect(tab.locator(".items-gold")).to_have_text("target: 21")
    expect(tab.locator(".items-arms")).to_contain_text("exact_match (flexible-extract) 1")


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_hostile_text_is_shown_as_what_it_is(open_items, number):
    tab = open_items(f"item=hostile%2F{number}")
    said = list(HOSTILE.values())[number]
    assert tab.locator(".items-question pre").inner_text() == said
    assert tab.locator(".items-words").first.inner_text().startswith(said)
    expect(tab.locator(".items-row").nth(number)).to_contain_text(said)
    assert tab.title() != "owned" and tab.locator("#items img").count() == 0


def test_a_text_of_a_million_characters_keeps_its_end(open_tab, tmp_path):
    items = [make_choice(0, "long " * 200_000 + "At last: who?", 0)]
    file = tmp_path / "report.html"
    file.write_text(
        render_report([write_run(tmp_path / "run", {"long": items}, "m")], make_plugin_set()),
        encoding="utf-8",
    )
    assert file.stat().st_size < 300_000
    tab = open_tab(file, address="item=long%2F0")
    tab.wait_for_selector(".items-ready")
    text = tab.locator(".items-question pre").inner_text()
    assert text.endswith("At last: who?") and "980,013 characters left out" in text
    expect(tab.locator("#items .note").first).to_have_text("1 long text is shown without the middle.")


# ------------------------------------------------------------------ the address


def test_a_link_to_an_item_opens_the_item(open_items):
    tab = open_items()
    tab.locator(".items-row").nth(12).click()
    link = tab.locator(".items-view a").get_attribute("href")
    other = open_items(link.removeprefix("#"))
    expect(other.locator(".items-view h3")).to_have_text("body_botany · item 2")
    expect(other.locator('.items-row[aria-selected="true"]')).to_contain_text("Question 2 of botany")
    assert other.evaluate("document.getElementById('items').getBoundingClientRect().top < innerHeight / 2")


def test_the_address_has_all_that_is_chosen(open_items):
    tab = open_items()
    tab.fill("#items-q", "part")
    tab.select_option("#items-part", "body_botany")
    tab.select_option("#items-show", "first")
    tab.select_option("#items-b", "1")
    tab.locator(".items-row").nth(1).click()
    other = open_items(tab.evaluate("location.hash.slice(1)"))
    for name in ("task", "part", "q", "show", "a", "b"):
        assert other.input_value(f"#items-{name}") == tab.input_value(f"#items-{name}")
    assert list_rows(other) == list_rows(tab) and len(list_rows(tab)) == 5
    assert other.locator("h3").inner_text() == tab.locator("h3").inner_text() == "body_botany · item 2"


def test_an_item_that_the_filters_hide_is_opened_nevertheless(open_items):
    tab = open_items("task=sums&show=wrong&item=sums%2F0")
    expect(tab.locator(".items-view h3")).to_have_text("sums · item 0")
    check_count(tab, 2, 6)


@pytest.mark.parametrize(
    "address", ["item=nothing%2F1", "task=nothing&part=x&show=y&a=99&b=-1&metric=z", "item=%00", "q=%"]
)
def test_an_address_that_names_nothing_shows_the_first_items(open_items, address):
    tab = open_items(address)
    assert tab.locator(".items-row").count() >= 0 and tab.locator("#items-task").input_value() == "body"


# ------------------------------------------------------------------ with the keyboard, for everybody


def test_the_keyboard_alone(open_items):
    tab = open_items()
    title = tab.locator(".items-view h3")
    tab.keyboard.press("/")
    tab.keyboard.type("botany")
    expect(tab.locator(".items-count")).to_have_text("10 of 20 items")
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.getAttribute('role')") == "listbox"
    for key, number in (
        ("ArrowDown", 0),
        ("j", 1),
        ("ArrowDown", 2),
        ("k", 1),
        ("End", 9),
        ("Home", 0),
        ("PageDown", 9),
    ):
        tab.keyboard.press(key)
        expect(title).to_have_text(f"body_botany · item {number}")
        current = tab.locator(".items-list").get_attribute("aria-activedescendant")
        expect(tab.locator(f"#{current}")).to_have_attribute("aria-selected", "true")
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.className") == "items-view"
    tab.keyboard.press("Escape")
    assert tab.evaluate("document.activeElement.className") == "items-list"
    tab.keyboard.press("/")
    assert tab.evaluate("document.activeElement.id") == "items-q"


@pytest.mark.parametrize(
    ("width", "scheme"), [(1400, "light"), (1400, "dark"), (390, "light"), (390, "dark")]
)
@pytest.mark.parametrize("item", ["body_anatomy/1", "sums/5", "hostile/3"])
def test_axe_finds_nothing_serious_and_nothing_runs_over(open_items, width, scheme, item):
    from axe_playwright_python.sync_playwright import Axe

    tab = open_items(f"item={item}", width=width, scheme=scheme)
    found = Axe().run(tab, context="#items").response["violations"]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_on_a_phone_a_click_leads_to_the_item(open_items):
    tab = open_items(width=390, height=844)
    tab.locator(".items-row").nth(2).click()
    assert abs(tab.evaluate("document.querySelector('.items-view').getBoundingClientRect().top")) < 400


def test_without_javascript_the_page_says_where_the_items_are(open_tab, report):
    tab = open_tab(report, java_script_enabled=False)
    expect(tab.locator(".items-without")).to_contain_text("this page needs JavaScript")
    expect(tab.locator(".items-without")).to_contain_text(
        "files samples_*.jsonl of the folders first, second"
    )
    expect(tab.locator(".items-browser")).to_be_hidden()


def test_an_old_browser_says_so_too(open_tab, report, chromium, tmp_path):
    context = chromium.new_context()
    context.add_init_script("delete window.DecompressionStream")
    tab = context.new_page()
    tab.goto(report.as_uri() + "#item=sums%2F3")
    expect(tab.locator(".items-without")).to_be_visible()
    context.close()


def test_the_open_item_is_printed_and_not_the_list(open_items):
    tab = open_items()
    tab.emulate_media(media="print")
    expect(tab.locator("#items")).to_be_hidden()
    tab.evaluate("address.set('item', 'body_anatomy/3'); dispatchEvent(new Event('hashchange'))")
    expect(tab.locator(".items-view h3")).to_be_visible()
    expect(tab.locator(".items-list")).to_be_hidden()
    expect(tab.locator(".items-controls")).to_be_hidden()


# ------------------------------------------------------------------ many


def test_all_of_mmlu_opens_and_only_what_is_in_sight_is_in_the_page(open_tab, tmp_path):
    """14,042 items of 57 tasks, in two arms."""
    sizes = [247] * 20 + [246] * 37
    assert sum(sizes) == 14_042
    names = [f"mmlu_{place}" for place in range(57)]
    records = []
    for shift, model in enumerate(("one", "two")):
        tasks = {
            name: [
                make_choice(
                    number, f"Which is number {number} of {name}?", (number * 7 + shift) % 4, number % 4
                )
                for number in range(size)
            ]
            for name, size in zip(names, sizes, strict=True)
        }
        records.append(write_run(tmp_path / model, tasks, model, "mmlu", names))
    file = tmp_path / "report.html"
    file.write_text(render_report(records, make_plugin_set()), encoding="utf-8")
    assert file.stat().st_size < 3_000_000
    tab = open_tab(file, height=100)
    assert tab.locator(".items-row").count() == 0, "nothing is decompressed before it is in sight"
    tab.set_viewport_size({"width": 1400, "height": 900})
    tab.locator("#items").scroll_into_view_if_needed()
    tab.wait_for_selector(".items-ready")
    expect(tab.locator(".items-count")).to_have_text("14,042 of 14,042 items")
    assert tab.locator("#items *").count() < 2_000
    tab.locator(".items-list").focus()
    tab.keyboard.press("End")
    expect(tab.locator(".items-view h3")).to_have_text("mmlu_56 · item 245")
    assert tab.locator("#items *").count() < 2_000
    tab.fill("#items-q", "number 240 of")
    expect(tab.locator(".items-count")).to_have_text("57 of 14,042 items")


def test_the_scripts_write_no_html():
    from gptalt_eval.results.page import read_file

    for name in ("items-data", "items-list", "items-view", "items"):
        script = read_file("gptalt_eval.results", f"{name}.js")
        assert script and not re.search(
            r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|Function\(", script
        )
        assert len(script.splitlines()) <= 300
    assert json.dumps(HOSTILE)
