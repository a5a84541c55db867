"""A site in a browser: from files and from a web server, on a phone, in the dark, printed, and without JavaScript."""

import functools
import http.server
import threading
from pathlib import Path

import pytest
from rich.console import Console

from gptalt_eval.contract.models import Model
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.results.site.pages import write_site
from gptalt_eval.running.api import run
from gptalt_eval.testing import hash_likelihood, make_plugin_set, make_scripted_model

LONG = "a-model-with-a-name-that-is-much-longer-than-a-phone-is-wide-" * 2 + "<b>"
PAGES = (
    "index.html", "models/index.html", "models/hash.html", "tasks/index.html", "tasks/arc_easy.html",
    "tasks/mmlu_stem.html", "runs/index.html",
)  # fmt: skip


def make_model(name, likelihood=hash_likelihood):
    made = make_scripted_model(likelihood, name=name)
    return Model(name, made.summary, "MIT", "example.org", create=made.create)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    root = tmp_path_factory.mktemp("site")
    models = [make_model("hash"), make_model(LONG, lambda prompt, answer: float(len(answer)))]
    spec = make_spec(
        {
            "model": f"hash,{LONG}", "tasks": "arc_easy,mmlu_stem,gsm8k", "num_fewshot": "0,1", "limit": 4,
            "data_dir": "sample", "output_path": str(root / "grid"), "log_samples": True,
        }
    )  # fmt: skip
    plugins = make_plugin_set(models=models)
    records = run(spec, plugins, Console(quiet=True)).records
    write_site(records, root / "site", plugins)
    return root / "site"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words):
        self.server.requests.append(words)


@pytest.fixture
def server(site):
    """What ``python -m http.server`` serves, in a folder of the server as a code host has it."""
    handler = functools.partial(Quiet, directory=str(site.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        running.requests = []
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def find_all_links(tab):
    return tab.evaluate("[...document.querySelectorAll('a[href]')].map(link => link.href.split('#')[0])")


def test_a_server_answers_every_link(site, server, chromium):
    home = f"http://127.0.0.1:{server.server_address[1]}/site/"
    context = chromium.new_context()
    tab, failed, asked = context.new_page(), [], set()
    tab.on("pageerror", lambda error: failed.append(str(error)))
    tab.on("console", lambda message: failed.append(message.text) if message.type == "error" else None)
    tab.on("request", lambda request: asked.add(request.url.split("#")[0]))
    seen, waiting = set(), [home + "index.html"]
    while waiting:
        url = waiting.pop()
        if url in seen:
            continue
        seen.add(url)
        assert tab.goto(url).status == 200, url
        waiting += [link for link in find_all_links(tab) if link.startswith(home)]
    context.close()
    # a browser asks for the icon of its own accord
    assert [text for text in failed if "favicon" not in text and "404" not in text] == []
    assert {url for url in asked if not url.endswith("/favicon.ico")} == seen
    assert len(seen) == len(list(site.rglob("*.html")))


def test_a_reader_gets_from_the_leaderboard_to_an_item(site, open_tab):
    tab = open_tab(site / "index.html")
    tab.locator("#leaderboard").get_by_role("link", name="hash").first.click()
    assert tab.locator("h1").inner_text() == "hash"
    tab.get_by_role("link", name="arc_easy").click()
    assert tab.locator("h1").inner_text() == "arc_easy"
    tab.get_by_role("link", name="items of hash").first.click()
    tab.wait_for_selector(".items-browser >> text=arc_easy", state="attached")
    chosen = tab.locator(".items-browser select").first
    assert "arc_easy" in chosen.evaluate("each => each.selectedOptions[0].textContent")
    tab.get_by_role("navigation", name="Breadcrumbs").get_by_role("link", name="Leaderboard").click()
    assert tab.locator("h1").inner_text() == "Leaderboard"


def test_a_subject_is_opened_in_its_group(site, open_tab):
    tab = open_tab(site / "tasks" / "mmlu_anatomy.html")
    tab.get_by_role("link", name="items of hash").first.click()
    tab.wait_for_selector(".items-browser select", state="attached")
    tab.wait_for_function(
        "[...document.querySelectorAll('.items-browser select')].some(each => each.selectedOptions[0]?.textContent.includes('mmlu_anatomy'))"
    )


@pytest.mark.parametrize(
    "path", ["models/index.html", "tasks/index.html", "tasks/arc_easy.html", "runs/index.html"]
)
def test_tables_are_sorted_and_saved(site, open_tab, path):
    tab = open_tab(site / path)
    tables = tab.locator("table.arms")
    assert tables.count() >= 1
    assert tab.locator("button.sort").count() == tab.locator("table.arms thead th").count()
    tab.locator("button.sort").first.click()
    names = tab.locator("table.arms").first.locator("tbody th").all_inner_texts()
    tab.locator("button.sort").first.click()
    backwards = tab.locator("table.arms").first.locator("tbody th").all_inner_texts()
    assert sorted(names) == sorted(backwards)
    assert (names[0], names[-1]) == (backwards[-1], backwards[0])
    with tab.expect_download() as download:
        tab.get_by_role("button", name="CSV").first.click()
    assert "hash" in Path(download.value.path()).read_text(encoding="utf-8")


@pytest.mark.parametrize(("size", "scheme"), [((1400, 900), "light"), ((390, 844), "dark")])
@pytest.mark.parametrize("path", PAGES)
def test_nothing_is_in_the_way_of_any_reader(site, open_tab, path, size, scheme):
    """By axe: nothing serious; and nothing wider than the window."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    tab = open_tab(site / path, width=size[0], height=size[1], scheme=scheme)
    found = axe.Axe().run(tab).response["violations"]
    serious = [each for each in found if each["impact"] in ("serious", "critical")]
    assert [(each["id"], each["nodes"][0]["html"]) for each in serious] == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= size[0]


@pytest.mark.parametrize("path", PAGES)
def test_without_javascript_all_is_there(site, open_tab, path):
    tab = open_tab(site / path, java_script_enabled=False)
    assert tab.get_by_role("navigation", name="Site").get_by_role("link").count() == 4
    assert tab.locator("h1").is_visible()
    assert tab.locator("table.arms tbody tr").first.is_visible()
    assert tab.locator("button").filter(visible=True).count() == 0


def test_a_long_name_is_shown_as_text(site, open_tab):
    tab = open_tab(site / "models" / "index.html")
    tab.get_by_role("link", name=LONG).click()
    assert tab.locator("h1").inner_text() == LONG
    assert tab.locator("main b").count() == 0


@pytest.mark.parametrize("path", PAGES)
def test_paper_has_the_tables_and_not_the_menu(site, open_tab, path):
    tab = open_tab(site / path)
    tab.emulate_media(media="print")
    assert not tab.get_by_role("navigation", name="Site").is_visible()
    assert tab.locator("table.arms tbody tr").first.is_visible()
    assert tab.locator(".tools").filter(visible=True).count() == 0
