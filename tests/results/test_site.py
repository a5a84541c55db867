"""A site of many runs: every link leads somewhere, nothing is mixed that cannot be compared, hostile names are text."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from illustrated import make_question, write_illustrated
from rich.console import Console

from gptalt_eval.commands.cli import dispatch
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.models import Model
from gptalt_eval.contract.record import find_runs, load_record
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.results.site.pages import find_url, group_reports, make_site, write_site
from gptalt_eval.running.api import run
from gptalt_eval.testing import hash_likelihood, make_plugin_set, make_scripted_model

NAMES = ["../x", "<script>alert(1)</script>", "a" * 300, "CON", "con", "A\u202eB\x07"]
VOID = {"meta", "link", "img", "input", "br", "hr", "path", "use"}


class Page(HTMLParser):
    """The links, titles and headings of a page, and whether its tags are balanced."""

    def __init__(self, text):
        super().__init__()
        self.links, self.ids, self.open, self.heads = [], set(), [], {"title": [], "h1": []}
        self.crumbs = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        assert "style" not in given and not any(name.startswith("on") for name in given)
        for name in ("src", "data", "action", "srcset", "poster"):
            assert not given.get(name) or given[name].startswith("data:"), given
        if "href" in given:
            assert tag == "a"
            self.links.append(given["href"])
        if "id" in given:
            assert given["id"] not in self.ids
            self.ids.add(given["id"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[1:] == ["head", "title"] or (self.open and self.open[-1] == "h1"):
            self.heads[self.open[-1]].append(data)


def read_page(file):
    return Page(file.read_text(encoding="utf-8"))


def crawl(site):
    """All pages that can be reached from the first one, by path; each link leads to a page of the site."""
    found, waiting = {}, ["index.html"]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found[path] = page = read_page(site / path)
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme:
                assert parts.scheme == "https" and parts.netloc
                continue
            if not parts.path:
                assert f'id="{parts.fragment}"' in (site / path).read_text(encoding="utf-8"), (
                    f"{path}: {link}"
                )
                continue
            assert not parts.netloc and not link.startswith("/") and "%" not in parts.path
            target = (site / path).parent / unquote(parts.path)
            inside = target.resolve().relative_to(site.resolve())
            assert target.is_file() and target.suffix == ".html", f"{path} links to {link}"
            waiting.append(str(inside))
    return found


def make_model(name, likelihood=hash_likelihood):
    made = make_scripted_model(likelihood, name=name)
    return Model(name, made.summary, "MIT", "example.org/model", create=made.create)


def evaluate(models, folder, **settings):
    given = {"data_dir": "sample", "output_path": str(folder), "log_samples": True, **settings}
    spec = make_spec({**given, "model": ",".join(model.name for model in models)})
    return run(spec, make_plugin_set(models=models), Console(quiet=True)).records


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """An experiment, two more runs of one of its models, and runs with hostile names."""
    root = tmp_path_factory.mktemp("runs")
    one, two = make_model("one"), make_model("two", lambda prompt, answer: float(len(answer)))
    evaluate([one, two], root / "grid", tasks="arc_easy,mmlu_stem,gsm8k", num_fewshot="0,1", limit=3)
    evaluate([one], root / "part", tasks="arc_easy", limit=5)
    evaluate([one], root / "whole", tasks="arc_easy,sciq")
    for number, name in enumerate(NAMES):
        questions = [make_question(each, False, is_right=each == number) for each in range(3)]
        write_illustrated(root / "odd" / str(number), questions, task="discs", model=name)
    return root


@pytest.fixture(scope="module")
def site(runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("published") / "site"
    write_site([load_record(found) for found in find_runs(runs)], folder, make_plugin_set())
    return folder


@pytest.fixture(scope="module")
def pages(site):
    return crawl(site)


def read_text(file):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", file.read_text(encoding="utf-8")))


def test_every_page_can_be_reached_and_leads_on(site, pages):
    written = {str(file.relative_to(site)) for file in site.rglob("*.html")}
    assert pages.keys() == written
    assert set(json.loads((site / "site.json").read_text())["files"]) == written
    roots = {"index.html", "models/index.html", "tasks/index.html", "runs/index.html"}
    for path, page in pages.items():
        assert not page.open, path
        up = "../" * path.count("/")
        assert {up + root for root in roots} <= set(page.links), path
        assert len(page.heads["title"]) == 1 and page.heads["title"][0].endswith(" - gptalt-eval")
        assert len(page.heads["h1"]) == 1
    titles = [page.heads["title"][0] for page in pages.values()]
    assert len(set(titles)) == len(titles)


def test_no_page_loads_anything(site, pages):
    for path in pages:
        text = (site / path).read_text(encoding="utf-8")
        policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "@import" not in text and not re.search(r"url\((?!data:)", text)


def test_file_names_are_safe_everywhere(pages):
    names = [path.lower() for path in pages]
    assert len(set(names)) == len(names)
    for path in pages:
        assert re.fullmatch(r"([a-z]+/)?[a-z0-9][a-z0-9._-]*\.html", path) and len(path) < 100


def test_each_hostile_name_has_a_page_with_the_name_as_text(site, runs):
    records = [load_record(found) for found in find_runs(runs)]
    paths = {model.name: model.path for model in make_site(records, make_plugin_set()).models}
    assert set(NAMES) < paths.keys()
    for name in NAMES:
        page = read_page(site / paths[name])
        shown = name.replace("\u202e", "\\u202e").replace("\x07", "\\u0007")
        assert page.heads["h1"] == [shown]
    for file in site.rglob("*.html"):
        assert "<script>alert" not in file.read_text(encoding="utf-8")


def test_runs_of_one_model_are_told_by_their_folders(site):
    text = read_text(site / "models" / "one.html")
    for folder in ("grid/one", "part/one", "whole/one"):
        assert folder in text
    index = read_text(site / "runs" / "index.html")
    assert all(folder in index for folder in ("grid/one", "part/one", "whole/one"))


def test_a_report_leads_to_its_models(pages):
    [path] = [path for path in pages if path.startswith("runs/grid-")]
    assert {"../models/one.html", "../models/two.html"} <= set(pages[path].links)


def test_other_weights_under_the_same_name_are_said(runs, tmp_path):
    for name, fingerprint in (("a", "f" * 64), ("b", "e" * 64)):
        file = shutil.copytree(runs / "part" / "one", tmp_path / "runs" / name) / "run.json"
        content = json.loads(file.read_text())
        content["model"] |= {"fingerprint": fingerprint, "parameters": 5}
        file.write_text(json.dumps(content))
    records = [load_record(found) for found in find_runs(tmp_path / "runs")]
    write_site(records, tmp_path / "site", make_plugin_set())
    text = read_text(tmp_path / "site" / "models" / "one.html")
    assert "had 2 different sets of weights" in text and "f" * 16 in text and "e" * 16 in text
    write_site(records[:1], tmp_path / "site", make_plugin_set())
    assert "different sets of weights" not in read_text(tmp_path / "site" / "models" / "one.html")


def test_the_runs_of_an_experiment_share_a_report(runs):
    records = [load_record(found) for found in find_runs(runs)]
    reports = group_reports(records)
    sizes = {report.title.partition(",")[0]: len(report.places) for report in reports}
    assert sizes["grid"] == 2
    assert len(reports) == 1 + 2 + len(NAMES)
    assert sorted(place for report in reports for place in report.places) == list(range(len(records)))


def test_partial_scores_are_marked_in_their_cells(site):
    """Three runs scored arc_easy: on 3, on 5 and on all 20 of its items."""
    text = (site / "index.html").read_text(encoding="utf-8")
    board = text[text.index('<table id="leaderboard"') : text.index("</table>")]
    assert "3 of 20 or 5 of 20 or 20 items" in board
    for row in board.split("<tr>")[2:]:
        name = re.search(r"<a [^>]*>([^<]*)</a>", row)[1]
        for folder, count in (("part/one", 5), ("grid/one", 3)):
            if name == folder:
                assert f'<span class="small partial">{count} items</span>' in row
        if name == "whole/one":
            assert '<span class="small">20 items</span>' in row


def test_samples_are_not_ranked_with_the_benchmark(runs, tmp_path):
    """The same task from a folder with release files, made by changing where the data is from."""
    copied = shutil.copytree(runs / "whole", tmp_path / "whole")
    file = copied / "one" / "run.json"
    content = json.loads(file.read_text())
    for data in content["data"].values():
        data["origin"] = "folder"
    file.write_text(json.dumps(content))
    records = [load_record(found) for found in (*find_runs(runs / "whole"), *find_runs(copied))]
    made = make_site(records, make_plugin_set())
    titles = sorted(heading.title for heading in made.overview.headings)
    assert titles == ["arc_easy", "arc_easy (sample)", "sciq", "sciq (sample)"]
    task = next(task for task in made.tasks if task.name == "arc_easy")
    assert [len(ranking.arms) for ranking in task.rankings] == [1, 1]
    assert task.sampled == "in some runs"


def test_a_task_says_what_it_is(site):
    text = read_text(site / "tasks" / "arc_easy.html")
    for wanted in (
        "Licence",
        "allenai/ai2_arc",
        "SHA-256",
        "the small embedded sample",
        "Question:",
        "right answer",
    ):
        assert wanted in text, wanted
    group = read_page(site / "tasks" / "mmlu_stem.html")
    assert "../tasks/mmlu_anatomy.html" in group.links
    assert "../tasks/mmlu_stem.html" in read_page(site / "tasks" / "mmlu_anatomy.html").links


def test_the_hash_is_that_of_the_run(site, runs):
    [file] = (runs / "whole").glob("*/run.json")
    for task, data in json.loads(file.read_text())["data"].items():
        for split in data["splits"].values():
            assert split["sha256"] in read_text(site / "tasks" / f"{task}.html")


def test_the_ranking_of_a_task_is_by_score(site, runs):
    records = [load_record(found) for found in find_runs(runs)]
    task = next(task for task in make_site(records, make_plugin_set()).tasks if task.name == "arc_easy")
    [ranking] = task.rankings
    values = [each.entry.score.value for each in ranking.arms]
    assert values == sorted(values, reverse=True) and len(values) == 6
    assert [each.rank for each in ranking.arms] == [
        1 + sum(other > value for other in values) for value in values
    ]


def test_a_group_without_a_score_leads_to_its_members(runs, tmp_path):
    copied = shutil.copytree(runs / "whole", tmp_path / "whole")
    [file] = copied.glob("*/results_*.json")
    content = json.loads(file.read_text())
    content["group_subtasks"] = {"both": ["arc_easy", "sciq"]}
    content["results"]["both"] = {"alias": "both"}
    file.write_text(json.dumps(content))
    write_site([load_record(found) for found in find_runs(copied)], tmp_path / "site", make_plugin_set())
    group = crawl(tmp_path / "site")["tasks/both.html"]
    assert {"../tasks/arc_easy.html", "../tasks/sciq.html"} <= set(group.links)
    assert "This group has no score of its own." in read_text(tmp_path / "site" / "tasks" / "both.html")
    assert "../tasks/both.html" in read_page(tmp_path / "site" / "tasks" / "sciq.html").links


def test_no_arm_is_the_best_where_all_are_alike(runs, tmp_path):
    for name in "ab":
        shutil.copytree(runs / "part" / "one", tmp_path / "runs" / name)
    records = [load_record(found) for found in find_runs(tmp_path / "runs")]
    write_site(records, tmp_path / "site", make_plugin_set())
    assert "all 2 alike" in read_text(tmp_path / "site" / "tasks" / "index.html")


def test_links_to_items_name_the_task(site, pages):
    found = {urlsplit(link).fragment for link in pages["tasks/mmlu_anatomy.html"].links}
    assert "task=mmlu_stem&part=mmlu_anatomy" in found
    assert "task=sciq" in {urlsplit(link).fragment for link in pages["tasks/sciq.html"].links}


def test_the_same_runs_are_the_same_bytes(site, runs, tmp_path):
    write_site([load_record(found) for found in find_runs(runs)], tmp_path / "again", make_plugin_set())
    for file in (file for file in site.rglob("*") if file.is_file()):
        assert (tmp_path / "again" / file.relative_to(site)).read_bytes() == file.read_bytes(), file


def test_the_command_writes_and_refuses(runs, tmp_path, capsys):
    words = ["site", str(runs / "whole"), str(runs / "part"), "--into", str(tmp_path / "site")]
    assert dispatch(words, make_plugin_set()) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'site' / 'index.html'}\n"
    before = crawl(tmp_path / "site").keys()
    assert dispatch(["site", str(runs / "part"), "--into", str(tmp_path / "site")], make_plugin_set()) == 0
    after = crawl(tmp_path / "site").keys()
    assert "tasks/sciq.html" in before - after
    assert {str(file.relative_to(tmp_path / "site")) for file in (tmp_path / "site").rglob("*.html")} == after
    with pytest.raises(GptaltError, match="contains other files"):
        dispatch(["site", str(runs / "part"), "--into", str(runs)], make_plugin_set())


def test_a_site_of_one_run_stands_too(runs, tmp_path):
    write_site([load_record(runs / "part" / "one")], tmp_path / "site", make_plugin_set())
    pages = crawl(tmp_path / "site")
    assert "tasks/arc_easy.html" in pages
    for path in pages:  # each page with scores says of which data they are
        if path.startswith(("tasks/arc", "models/m", "index", "runs/r")) and not path.endswith("/index.html"):
            text = (tmp_path / "site" / path).read_text(encoding="utf-8")
            assert "small embedded sample, not on the benchmark" in text, path


def test_an_old_folder_without_run_json_stands_too(runs, tmp_path):
    copied = shutil.copytree(runs / "part" / "one", tmp_path / "old")
    (copied / "run.json").unlink()
    write_site([load_record(copied)], tmp_path / "site", make_plugin_set())
    assert "tasks/arc_easy.html" in crawl(tmp_path / "site")


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://example.org/x", "https://example.org/x"),
        ("example.org/x", "https://example.org/x"),
        ("javascript:alert(1)", ""),
        ("data:text/html,x", ""),
        ("a file", ""),
        ("//example.org", ""),
        ("", ""),
    ],
)
def test_only_addresses_of_the_web_become_links(text, url):
    assert find_url(text) == url


def test_nothing_names_the_site_folder(site):
    for file in site.rglob("*.html"):
        assert str(Path(site)) not in file.read_text(encoding="utf-8")
