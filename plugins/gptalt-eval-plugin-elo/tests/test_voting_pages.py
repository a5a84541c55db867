"""The voting page in a real browser: three people at once, a server that is killed, accessibility, both sizes."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from dataclasses import asdict

import pytest
from gptalt_eval_plugin_elo.answers import Answer
from gptalt_eval_plugin_elo.voting.texts import TEXTS

RICH = (
    "# Steps\n\n1. Cut the **onion**\n2. Heat `oil`\n\n```python\n"
    "print('a rather long line of code, which is wider than a telephone is, and so must scroll by itself')\n```\n\n"
    "| step | minutes |\n|---|---|\n| rice | 20 |\n\nEnergy: $E = mc^2$, and $$\\int_0^1 x^2\\,dx = \\frac{1}{3}$$"
)
HOSTILE = (
    "<script>document.title='broken'</script><img src='http://127.0.0.1:9/x.png' onerror=\"document.title='broken'\">"
    "![x](http://127.0.0.1:9/y.png) [link](javascript:document.title='broken')\n\n<style>body{display:none}</style>"
)
HUGE = "word <b>bold</b> " * 65_000  # more than a megabyte
MODELS = ("chatglm", "moss", "vicuna")


def write_answers(folder, texts=None):
    texts = texts or {}
    answers = [
        Answer(
            f"第 {number} 题：为什么天是蓝的？" if number % 2 else f"Question {number}: why is the sky blue?", model,
            texts.get((number, model), f"{model}-marker {number} " + RICH), f"q{number}", "physics",
            "zh" if number % 2 else "en", "Rayleigh scattering.",
        )
        for number in range(6)
        for model in MODELS
    ]  # fmt: skip
    folder.mkdir(exist_ok=True)
    file = folder / "answers.jsonl"
    file.write_text(
        "".join(json.dumps(asdict(each), ensure_ascii=False) + "\n" for each in answers), encoding="utf-8"
    )
    return folder


class Server:
    """``gptalt-eval votes serve`` as a process of its own."""

    def __init__(self, answers, *words, port=None):
        self.port = port or find_port()
        self.command = [
            sys.executable, "-m", "gptalt_eval", "votes", "serve", "--answers", str(answers), "--port", str(self.port), *words,
        ]  # fmt: skip
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.said = []
        while not self.said or "Ctrl-C" not in self.said[-1]:
            line = self.process.stdout.readline()
            assert line, "".join(self.said)
            self.said.append(line)
        text = "".join(self.said)
        self.links = dict(re.findall(r"^  (\S+) +(http\S+/vote/\S+)$", text, re.M))
        self.organiser = re.search(r"http\S+/organiser/\S+", text).group()
        for _ in range(100):
            with contextlib.suppress(OSError):
                return self.fetch(self.organiser)
            time.sleep(0.1)
        raise AssertionError("the server does not answer")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    def fetch(self, url, fields=None, method=None, **headers):
        data = urllib.parse.urlencode(fields).encode() if fields is not None else None
        request = urllib.request.Request(url, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            self.headers = answer.headers
            return answer.read().decode()

    def export(self):
        lines = self.fetch(self.organiser + "/votes.jsonl").splitlines()
        return [json.loads(line) for line in lines[1:]]  # after the line about the page


def find_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def serve(tmp_path):
    started = []

    def begin(*words, texts=None, names="anna,ben,cleo"):
        answers = write_answers(tmp_path / "answers", texts)
        started.append(Server(answers, "--annotators", names, *words))
        return started[-1]

    yield begin
    for server in started:
        server.kill()


# ---------------------------------------------------------------------- without a browser


def read_form(page):
    return {name: value for name, value in re.findall(r'name="(item|turn|vote)" value="(\d+)"', page)}


def test_models_are_never_named(serve):
    server = serve(texts={(number, model): f"answer {number}" for number in range(6) for model in MODELS})
    for link in server.links.values():
        page = server.fetch(link)
        assert not any(model in page for model in MODELS)
        assert page.count("<section") == 3


def test_it_works_without_scripts(serve):
    server = serve(names="anna")
    link = server.links["anna"]
    page = server.fetch(link)
    first = read_form(page)
    after = server.fetch(link + "/choose", first | {"choice": "left"})  # urllib follows the redirection
    assert read_form(after)["item"] != first["item"]
    assert len(server.export()) == 1
    again = server.fetch(link + "/undo", read_form(after))
    assert read_form(again)["item"] == first["item"]
    assert server.export() == []
    assert TEXTS["zh"]["title"] in server.fetch(link + "/language", {"language": "zh"})
    assert TEXTS["zh"]["title"] in server.fetch(link)


@pytest.mark.parametrize(
    "path",
    ["/", "/vote/nobody", "/organiser/nobody", "/organiser/nobody/votes.jsonl", "/page.py", "/vote/a/b/c"],
)
def test_whoever_has_no_link_is_told_so(serve, path):
    server = serve(names="anna")
    with pytest.raises(urllib.error.HTTPError) as refused:
        server.fetch(f"http://127.0.0.1:{server.port}{path}", **{"Accept-Language": "zh-CN"})
    assert refused.value.code == 404
    assert TEXTS["zh"]["unknown"] in refused.value.read().decode()


def test_an_annotators_link_shows_no_results(serve):
    server = serve(names="anna")
    token = server.links["anna"].rpartition("/")[2]
    for path in (f"/organiser/{token}", f"/organiser/{token}/votes.jsonl"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            server.fetch(f"http://127.0.0.1:{server.port}{path}")


def test_every_page_forbids_what_it_does_not_bring(serve):
    server = serve(names="anna")
    for url in (server.links["anna"], server.organiser, f"http://127.0.0.1:{server.port}/page.js"):
        server.fetch(url)
        policy = server.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy and "img-src" not in policy
        assert server.headers["Referrer-Policy"] == "no-referrer"
        assert server.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "fields",
    [{}, {"choice": "left"}, {"choice": "left", "item": "x", "turn": "1"}, {"choice": "best", "item": "1", "turn": "1"},
     {"choice": "left", "item": "-1", "turn": "1"}, {"choice": "left", "item": "9" * 30, "turn": "1"},
     {"choice": "left", "item": "1", "turn": "1", "rest": "x" * 5000}, {"choice": "\0\udcff".encode("utf-8", "replace"), "item": "٣"}],
)  # fmt: skip
def test_what_is_no_vote_is_refused(serve, fields):
    server = serve(names="anna")
    with pytest.raises(urllib.error.HTTPError, match="400"):
        server.fetch(server.links["anna"] + "/choose", fields)
    assert server.export() == []


# ---------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["serve", "--answers", "nowhere"], r"There is no file nowhere.\n.*gptalt-eval answers --models"),
        (["serve"], r"There are no annotators.\n.*--annotators"),
        (["serve", "--annotators", "anna", "--twice", "2"], r"--twice from 0 to 1"),
        (["serve", "--annotators", "anna", "--twice", "nan"], r"--twice from 0 to 1"),
        (["serve", "--annotators", "anna", "--twice=-inf"], r"--twice from 0 to 1"),
        (["serve", "--annotators", "anna", "--judges", "0"], r"--judges must be from 1 to 1,000"),
        (["serve", "--annotators", "anna", "--judges", "9" * 40], r"--judges must be from 1 to 1,000"),
        (["serve", "--annotators", "anna," + "b" * 2000], r"name 'b{40}\.\.\.' has 2,000 characters"),
        (["serve", "--annotators", "an\u202ena"], r"contains U\+202E, which cannot be seen"),
        (["serve", "--annotators", "anna", "--port", "-1"], r"Cannot listen on .*-1 .*\n.*--port 8766"),
        (["serve", "--annotators", "anna", "--host", "a" * 300], r"Cannot listen on a{60}, port "),
        (["serve", "--annotators", "anna", "--port", "99999"], r"Cannot listen on .*99999 .*\n.*--port 8766"),
        (["serve", "--annotators", "anna", "--host", "256.1.1.1"], r"Cannot listen on 256.1.1.1, port "),
        (["export"], r"There is no file .*votes.sqlite.\nTo create one: gptalt-eval votes serve"),
        (["publish"], r"There is no command 'votes publish'.\n.*serve, export, import, agreement"),
    ],
)  # fmt: skip
def test_mistakes_are_explained(tmp_path, words, expected):
    import gptalt_eval_plugin_elo

    from gptalt_eval import GptaltError
    from gptalt_eval.commands.cli import dispatch
    from gptalt_eval.testing import make_plugin_set

    write_answers(tmp_path / "a")
    where = [] if "--answers" in words else ["--answers", str(tmp_path / "a")]
    with pytest.raises(GptaltError, match=expected):
        dispatch(["votes", *words, *where], make_plugin_set(gptalt_eval_plugin_elo))


def test_a_port_in_use_is_said(tmp_path, serve):
    from gptalt_eval_plugin_elo.voting.addresses import listen

    from gptalt_eval import GptaltError

    with pytest.raises(GptaltError, match="Cannot listen on"):
        listen("127.0.0.1", serve(names="anna").port)


# ---------------------------------------------------------------------- links


def fetch_through(server, home):
    """The organiser's page by another address of this computer."""
    own = server.organiser.split("/organiser/")[0]
    return server.fetch(server.organiser.replace(own, home))


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_links_work_from_elsewhere(serve, host):
    from gptalt_eval_plugin_elo.voting.addresses import find_addresses, listen

    from gptalt_eval import GptaltError

    try:
        listen(host, 0).close()
    except GptaltError:
        pytest.skip(f"this computer has no {host}")
    addresses = list(find_addresses(socket.AF_INET6 if host == "::" else socket.AF_INET))
    if not addresses:
        pytest.skip("this computer is in no network")
    server = serve("--host", host, names="anna")
    said = "".join(server.said)
    assert "localhost" not in said and "127.0.0.1" not in said and "[::]" not in said
    assert "put a server with TLS" in said
    homes = [home.rstrip(".") for home in re.findall(r"http://[^/\s]+", said)]
    assert len({*homes}) == len(addresses)
    for home in {*homes}:
        assert "anna" in fetch_through(server, home)


def test_a_free_port_is_told(serve):
    server = serve("--port", "0", names="anna")  # the last one counts
    assert not server.links["anna"].split("/vote/")[0].endswith((":0", f":{server.port}"))
    assert "TLS" not in "".join(server.said)


# ---------------------------------------------------------------------- what the organiser sees


def vote_all(server, name, choose):
    link = server.links[name]
    page = server.fetch(link)
    while "choices" in page:
        page = server.fetch(link + "/choose", read_form(page) | {"choice": choose(page)})


def read_table(page):
    rows = re.findall(r"<tr>\s*<th scope=\"row\"><bdi>(.*?)</bdi></th>(.*?)</tr>", page, re.S)
    return {name: re.findall(r"<td>([^<]*)</td>", rest) for name, rest in rows}


def test_the_organiser_sees_how_each_votes(serve):
    server = serve("--judges", "2", "--twice", "0", names="anna,ben,o'neil")
    assert read_table(server.fetch(server.organiser))["ben"] == ["0", "", "", "", "", "", ""]
    vote_all(server, "anna", lambda _: "left")
    vote_all(server, "ben", lambda page: "right" if page.count("<b") % 2 else "tie")
    votes = server.export()
    by_item = {}
    for vote in votes:
        by_item.setdefault((vote["question"], vote["model_a"], vote["model_b"]), []).append(vote["winner"])
    assert {len(each) for each in by_item.values()} == {2}
    agreement = sum(1 if a == b else 0.5 if "tie" in (a, b) else 0 for a, b in by_item.values()) / 18
    found = read_table(server.fetch(server.organiser))
    assert found["anna"][:2] == found["ben"][:2] == ["18", f"{agreement:.2f} (18)"]
    assert found["anna"][3:] == ["100%", "0%", "0%", "0%"]
    assert found["ben"][3] == "0%" and found["ben"][6] == "0%"
    assert float(found["anna"][2]) <= 2


def test_the_organiser_is_told_what_to_type(serve):
    import html

    server = serve(names="anna,o'neil,b c")

    def read_command(query):
        return html.unescape(
            re.search(r'<pre class="command">(.*?)</pre>', server.fetch(server.organiser + query))[1]
        )

    database = server.command[server.command.index("--answers") + 1] + "/votes.sqlite"
    assert read_command("") == f"gptalt-eval elo {database}"
    assert read_command("?without=o%27neil&without=b+c&without=nobody") == (
        f"gptalt-eval elo {database} --without 'b c,o'\"'\"'neil'"
    )
    assert read_command("?without=<script>") == f"gptalt-eval elo {database}"
    page = server.fetch(server.organiser + "?without=anna")
    assert re.findall(r'value="([^"]*)" aria-label="[^"]*" checked', page) == ["anna"]


def test_answers_that_name_their_model_are_listed_and_can_be_left_out(serve):
    texts = {(number, model): f"The sky, {number}." for number in range(6) for model in MODELS}
    texts[0, "moss"] = "I am MOSS. <b>\u202eThe sky.</b>"
    texts[1, "vicuna"] = "我是Vicuna。天空。"
    server = serve("--twice", "0", texts=texts, names="anna")
    assert "Answers in which a model names itself: 2 (" in "".join(server.said)
    page = server.fetch(server.organiser)
    listed = re.findall(r"<li>(.*?)</li>", page)
    assert listed == [
        "<bdi>moss</bdi>, <bdi>q0/en</bdi>: <bdi>I am MOSS.</bdi>",
        "<bdi>vicuna</bdi>, <bdi>q1/zh</bdi>: <bdi>我是Vicuna。</bdi>",
    ]
    assert "0 of 18" in page
    vote_all(server, "anna", lambda _: "tie")
    assert sum("names_itself" in vote for vote in server.export()) == 4
    server.kill()
    server.command.append("--leave_out_named")
    server.start()
    assert "in one of the answers: 4\n" in "".join(server.said)
    assert "14 of 14" in server.fetch(server.organiser)


def test_nothing_but_random_numbers_comes_with_a_page(serve):
    server = serve(names="anna")
    page = server.fetch(server.links["anna"])
    assert server.headers["Set-Cookie"] is None and server.headers["ETag"] is None
    numbers = {int(number) for number in re.findall(r'value="(\d+)"', page)}
    assert len(numbers) == 3 and sorted(numbers)[0] == 0 < 10**6 < sorted(numbers)[1]  # the bar, and two


# ---------------------------------------------------------------------- a full disk


@contextlib.contextmanager
def full_disk(server):
    """The server's files cannot grow, as if the disk were full."""
    resource = pytest.importorskip("resource", reason="Windows has no limits of this kind")
    if not hasattr(resource, "prlimit"):
        pytest.skip("only Linux limits other processes")
    limit = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (1, -1))
    try:
        yield
    finally:
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, limit)


def test_a_full_disk_is_told_to_both_and_loses_nothing(serve):
    server = serve(names="anna")
    link = server.links["anna"]
    form = read_form(server.fetch(link)) | {"choice": "left"}
    with full_disk(server):
        for _ in range(3):
            with pytest.raises(urllib.error.HTTPError) as refused:
                server.fetch(link + "/choose", form, **{"Accept-Language": "zh-CN"})
            assert refused.value.code == 503
            assert TEXTS["zh"]["full"] in refused.value.read().decode()
    server.fetch(link + "/choose", form)
    assert len(server.export()) == 1
    server.process.terminate()
    said = server.process.stdout.read()
    assert said.count("cannot be used") == 1 and "Free some space" in said
    assert "Traceback" not in said


# ---------------------------------------------------------------------- in a browser

PHONE, DESKTOP = {"width": 360, "height": 740}, {"width": 1280, "height": 860}


def browse(work):
    """Run a coroutine on a browser."""
    playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no Chromium on this machine")

    async def run():
        async with playwright.async_playwright() as started:
            browser = await started.chromium.launch(
                executable_path=program, args=["--no-sandbox", "--disable-gpu"]
            )
            try:
                return await work(browser)
            finally:
                await browser.close()

    return asyncio.run(run())


async def open_page(browser, url, size=DESKTOP, **settings):
    page = await (await browser.new_context(viewport=size, **settings)).new_page()
    await page.goto(url)
    return page


async def get_item(page):
    field = page.locator(".choices input[name=item]")
    return await field.input_value() if await field.count() else None


async def wait_for_change(page, item):
    await page.wait_for_function(
        "item => document.readyState === 'complete' && document.querySelector('footer') && "
        "(document.querySelector('.choices input[name=item]')?.value ?? null) !== item", arg=item,
    )  # fmt: skip


class Person:
    """Somebody who votes by mouse and keyboard, sometimes twice, and remembers what they meant."""

    def __init__(self, name, link, seed):
        self.name, self.link, self.seed = name, link, seed
        self.meant = {}  # by item: choice, models on the left and on the right

    async def judge(self, browser):
        from random import Random

        from playwright.async_api import Error

        chance = Random(self.seed)
        page = await open_page(browser, self.link)
        while True:
            try:
                item = await get_item(page)
                if item is None and await page.locator("footer").count():
                    return
                texts = await page.locator(".answers section .text").all_inner_texts()
                left, right = (re.search(r"(\w+)-marker", text).group(1) for text in texts)
                choice, key = chance.choice(
                    [("left", "ArrowLeft"), ("right", "ArrowRight"), ("tie", "ArrowDown")]
                )
                if item in self.meant:  # the server went before it had it, and the page was loaded anew
                    choice = self.meant[item][0]
                    key = {"left": "ArrowLeft", "right": "ArrowRight", "tie": "ArrowDown"}[choice]
                self.meant[item] = (choice, left, right)
                if chance.random() < 0.5:
                    await page.keyboard.press(key)
                else:
                    button = page.locator(f"button[value={choice}]")
                    await (button.dblclick() if chance.random() < 0.5 else button.click())
                await wait_for_change(page, item)
            except (Error, AttributeError, ValueError):  # the page of a server that is gone
                await asyncio.sleep(0.3)
                with contextlib.suppress(Error):
                    await page.goto(self.link)


def test_three_people_at_once_and_a_server_that_is_killed(serve):
    server = serve("--judges", "2", "--twice", "0.5")
    people = [Person(name, link, seed) for seed, (name, link) in enumerate(server.links.items())]

    async def kill_in_the_middle():
        while sum(len(person.meant) for person in people) < 15:
            await asyncio.sleep(0.05)
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(1.5)
        await asyncio.to_thread(server.start)

    async def work(browser):
        await asyncio.gather(kill_in_the_middle(), *(person.judge(browser) for person in people))

    browse(work)
    votes = server.export()
    assert len(votes) == 18 * 2 + 9
    once = Counter((vote["annotator"], vote["question"], vote["model_a"], vote["model_b"]) for vote in votes)
    assert set(once.values()) == {1}
    by_pair = Counter((vote["model_a"], vote["model_b"]) for vote in votes)
    assert max(by_pair.values()) - min(by_pair.values()) <= 9
    for person in people:
        meant = Counter(
            (frozenset((left, right)), {"left": left, "right": right}.get(choice, "tie"))
            for choice, left, right in person.meant.values()
        )
        found = Counter(
            (
                frozenset((vote["model_a"], vote["model_b"])),
                {"a": vote["model_a"], "b": vote["model_b"]}.get(vote["winner"], "tie"),
            )
            for vote in votes
            if vote["annotator"] == person.name
        )
        assert found == meant, person.name


def test_keys_two_tabs_reload_and_back(serve):
    server = serve(names="anna")
    link = server.links["anna"]

    async def work(browser):
        page = await open_page(browser, link)
        first = await get_item(page)
        other = await page.context.new_page()
        await other.goto(link)
        assert await get_item(other) == first
        await page.keyboard.press("ArrowRight")
        await wait_for_change(page, first)
        await other.keyboard.press("ArrowLeft")  # on what was judged in the first tab
        await wait_for_change(other, first)
        assert await get_item(other) == await get_item(page)
        assert len(server.export()) == 1
        second = await get_item(page)
        await page.reload()
        assert await get_item(page) == second
        await page.keyboard.press("s")
        await wait_for_change(page, second)
        third = await get_item(page)
        await page.keyboard.press("u")
        await wait_for_change(page, third)
        assert await get_item(page) == second
        await page.keyboard.press("ArrowDown")
        await wait_for_change(page, second)
        await page.keyboard.press("Control+u")
        await page.goto("about:blank")
        await page.go_back()
        assert await get_item(page) not in (first, second)
        assert await page.evaluate("scrollY") == 0

    browse(work)
    assert [vote["winner"] for vote in server.export()][1:] == ["tie"]


def test_the_page_waits_for_room_on_the_disk(serve):
    server = serve(names="anna")

    async def work(browser):
        page = await open_page(browser, server.links["anna"])
        item = await get_item(page)
        with full_disk(server):
            await page.keyboard.press("ArrowLeft")
            await page.wait_for_function(
                "text => document.querySelector('.status')?.textContent === text", arg=TEXTS["en"]["retrying"]
            )
            await asyncio.sleep(1.5)
        await wait_for_change(page, item)

    browse(work)
    assert len(server.export()) == 1


def test_the_organiser_chooses_in_a_browser(serve):
    server = serve(names="anna,ben")

    async def work(browser):
        page = await open_page(browser, server.organiser, PHONE)
        assert "--without" not in await page.inner_text(".command")
        await page.get_by_label(f"{TEXTS['en']['without']}: ben").check()
        await page.get_by_role("button", name=TEXTS["en"]["choose"]).click()
        await page.wait_for_url("**without=ben")
        assert (await page.inner_text(".command")).endswith("--without ben")
        assert await page.get_by_label(f"{TEXTS['en']['without']}: ben").is_checked()
        assert TEXTS["en"]["before_after"] in await page.inner_text("main")
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    browse(work)


def test_hostile_answers_do_no_harm(serve):
    texts = {(number, model): HOSTILE for number in range(6) for model in MODELS[:1]}
    texts |= {(number, "moss"): HUGE for number in range(6)}
    server = serve(names="anna", texts=texts)
    asked, dialogs = [], []

    async def work(browser):
        page = await open_page(browser, "about:blank")
        page.on("request", lambda request: asked.append(request.url))
        page.on("dialog", lambda dialog: dialogs.append(dialog.message))
        await page.goto(server.links["anna"])
        cut = 0
        for _ in range(18):
            item = await get_item(page)
            assert (await page.title()).startswith(TEXTS["en"]["title"])
            assert (
                await page.locator(".answers img, .answers script, .answers a, .answers style").count() == 0
            )
            assert await page.locator(".answers").is_visible()
            cut += await page.locator(".answers section > .soft").count()
            await page.keyboard.press("ArrowDown")
            await wait_for_change(page, item)
        return cut

    assert browse(work) == 12
    assert {url.split("/")[2] for url in asked} == {f"127.0.0.1:{server.port}"}
    assert dialogs == []
    assert len(server.export()) == 18


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("size", ["phone", "desktop"])
def test_pages_are_accessible_and_fit(serve, size, language, scheme):
    """By axe; screenshots go to the folder that GPTALT_SCREENSHOTS names."""
    axe = pytest.importorskip("axe_playwright_python.async_playwright", reason="axe is not installed")
    server = serve(names="anna")
    folder = os.environ.get("GPTALT_SCREENSHOTS")
    settings = {"locale": "zh-CN" if language == "zh" else "en-GB", "color_scheme": scheme}

    async def check(page, what):
        found = (await axe.Axe().run(page)).response["violations"]
        assert [
            (each["id"], each["impact"], [node["html"] for node in each["nodes"]]) for each in found
        ] == [], what
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), what
        if folder:
            await page.screenshot(path=f"{folder}/{what}-{size}-{language}-{scheme}.png")

    async def work(browser):
        page = await open_page(
            browser, server.links["anna"], PHONE if size == "phone" else DESKTOP, **settings
        )
        title = f"{TEXTS[language]['title']} ({TEXTS[language]['progress'].format(voted=0, left=18)})"
        await page.wait_for_function("title => document.title === title", arg=title)  # once items are there
        await check(page, "vote")
        shown = await page.inner_text("footer")
        assert all(TEXTS[language][key] in shown for key in ("left", "tie", "right", "skip"))
        assert (TEXTS[language]["shortcuts"] in shown) == (size == "desktop")
        # the bar at the bottom hides nothing of the end
        await page.evaluate("scrollTo(0, document.body.scrollHeight)")
        last = await page.locator(".answers").bounding_box()
        bar = await page.locator("footer").bounding_box()
        assert last["y"] + last["height"] <= bar["y"]
        for button in await page.locator("footer button").all():
            box = await button.bounding_box()
            assert box["height"] >= 44 and box["width"] >= 44
        for _ in range(18):
            item = await get_item(page)
            await page.keyboard.press("ArrowLeft")
            await wait_for_change(page, item)
        assert TEXTS[language]["done"] in await page.inner_text("main")
        await check(page, "done")
        await page.goto(server.organiser)
        await check(page, "organiser")
        await page.goto(server.links["anna"] + "x")
        await check(page, "unknown")

    browse(work)
