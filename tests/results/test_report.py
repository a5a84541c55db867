import json
import re
import shutil
from dataclasses import replace

import pytest
from rich.console import Console

from gptalt_eval.contract.hookspecs import hookimpl
from gptalt_eval.contract.record import Record, load_record
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.contract.types import ReportSection
from gptalt_eval.results.items.samples import read_item
from gptalt_eval.results.report import render_report
from gptalt_eval.running.api import run
from gptalt_eval.testing import make_plugin_set, make_scripted_model

HOSTILE = '<script>document.title="owned"</script><img src=x onerror="document.title=\'owned\'">&"\''


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """A run that is only read."""
    plugins = make_plugin_set(models=[make_scripted_model()])
    spec = make_spec(
        {
            "model": "scripted",
            "tasks": "piqa,winogrande,gsm8k,mmlu",
            "data_dir": "sample",
            "limit": 3,
            "output_path": str(tmp_path_factory.mktemp("out")),
            "log_samples": True,
        }
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        return run(spec, plugins, Console(quiet=True)).records[0]


@pytest.fixture
def copied(record, tmp_path):
    """The folder of a run that may be changed."""
    return shutil.copytree(record.folder, tmp_path / "copied")


def test_the_page_loads_nothing(record):
    page = (record.folder / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", page)
    assert "@import" not in page and "url(" not in page


def test_the_page_says_what_matters(record):
    page = (record.folder / "report.html").read_text(encoding="utf-8")
    for expected in (
        "scripted",
        "embedded sample",
        "piqa",
        "95 % interval",
        "Apache-2.0",
        "gptalt-eval --model scripted",
        "fingerprint",
    ):
        assert expected in page


def test_text_of_models_and_data_is_escaped(copied, plugins):
    [samples] = copied.glob("samples_piqa_*.jsonl")
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    for line in lines:
        line["arguments"]["gen_args_0"]["arg_0"] = HOSTILE
        line["arguments"]["gen_args_1"]["arg_1"] = HOSTILE
        line["target"] = HOSTILE
    samples.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run_file = json.loads((copied / "run.json").read_text())
    run_file["notes"].append(HOSTILE)
    run_file["model"]["name"] = HOSTILE
    (copied / "run.json").write_text(json.dumps(run_file))
    page = render_report([load_record(copied)], plugins)
    assert page.count("<script>") == 1 and "<img" not in page  # the page's own
    assert set(re.findall(r'<script type="([^"]*)"', page)) == {"application/gzip"}  # which no browser runs
    assert "&lt;script&gt;" in page


def test_samples_of_each_kind(record):
    def first(task):
        return read_item(next(record.read_samples(0, task)))

    piqa = first("piqa")
    assert len(piqa.options) == 2 and piqa.chosen in (0, 1) and piqa.right in (0, 1)
    winogrande = first("winogrande")
    assert winogrande.options[0] != winogrande.options[1], "the options that differ stand in the prompt"
    gsm8k = first("gsm8k")
    assert gsm8k.options == () and gsm8k.extracted == ("[invalid]",) != gsm8k.replies


def test_a_run_of_plain_lm_eval_is_reported(copied, plugins):
    (copied / "run.json").unlink()
    page = render_report([load_record(copied)], plugins)
    assert "piqa" in page and "how is not recorded" in page


def test_an_unfinished_run_says_so(record, plugins):
    unfinished = Record(
        record.folder,
        replace(record.run, status="interrupted", missing=("race",)),
        record.results,
        record.files,
    )
    assert "scripted: this run is interrupted: race not evaluated yet." in render_report(
        [unfinished], plugins
    )


class Sections:
    @hookimpl
    def report_sections(self, record):
        return [ReportSection("A section", f"<p>of {record.model}</p>")]


def test_plugins_add_sections(record):
    page = render_report([record], make_plugin_set(Sections(), models=[make_scripted_model()]))
    assert "<h2>A section</h2>" in page and "<p>of scripted</p>" in page


@pytest.mark.parametrize(("size", "scheme"), [("1200,900", "light"), ("390,844", "dark")])
def test_in_a_browser_nothing_fails_and_nothing_runs_over(record, browser, probe, tmp_path, size, scheme):
    page = record.folder / "report.html"
    # the page tells its own width in its title, which --dump-dom shows
    probed = tmp_path / "probe.html"
    text = page.read_text(encoding="utf-8")
    script = "document.title = document.documentElement.scrollWidth + ' of ' + window.innerWidth + ', ' + document.querySelectorAll('svg').length"
    probed.write_text(probe(text, script), encoding="utf-8")
    dom = browser.open(probed, size, scheme, "--dump-dom")
    wide, window, figures = re.search(r"<title>(\d+) of (\d+), (\d+)</title>", dom).groups()
    assert int(wide) <= int(window), "the page scrolls sideways"
    assert int(figures) >= 5
    picture = tmp_path / "report.png"
    browser.open(page, size, scheme, f"--screenshot={picture}")
    assert picture.stat().st_size > 10_000


def mark(name):
    return f"document.documentElement.dataset.{name} = 'owned'"


INJECTED = {
    "script": f"<script>{mark('script')}</script>",
    "handler": f"<img src='data:image/png;base64,x' onerror=\"{mark('handler')}\">",
    "frame": f'<iframe srcdoc="<script>parent.{mark("frame")}</script>"></iframe>',
    "link": f'<svg onload="{mark("link")}"></svg>',
    "base": f"<base href='http://evil.example'><script src=\"data:text/javascript,{mark('base')}\"></script>",
}


def test_in_a_browser_what_is_injected_does_not_run(record, browser, probe, tmp_path):
    """Should some text ever get into the page unescaped, its policy still stops it: none of these leaves its mark."""
    page = (record.folder / "report.html").read_text(encoding="utf-8")
    html = "".join(INJECTED.values())
    style = "<p id='p' style='position: fixed'>x</p><style>h1 { position: fixed }</style>"
    read = "document.body.dataset.read = [document.title, getComputedStyle(document.querySelector('#p')).position, getComputedStyle(document.querySelector('h1')).position].join()"
    file = tmp_path / "injected.html"
    file.write_text(probe(page.replace("</body>", html + style + "</body>"), read), encoding="utf-8")
    dom = browser.open(file, "800,600", "light", "--dump-dom")
    assert 'data-read="scripted - gptalt-eval,static,static"' in dom
    assert list_marks(dom) == set()
    file.write_text(
        re.sub("<meta http-equiv[^>]*>", "", page).replace("</body>", html + "</body>"), encoding="utf-8"
    )
    assert list_marks(browser.open(file, "800,600", "light", "--dump-dom")) == set(INJECTED), "all are real"


def list_marks(dom):
    [opened] = re.findall(r"<html[^>]*>", dom)
    return set(re.findall(r'data-(\w+)="owned"', opened))


def test_the_page_allows_no_other_script_and_nothing_inline(record):
    page = (record.folder / "report.html").read_text(encoding="utf-8")
    assert "unsafe-inline" not in page and "style=" not in page
    assert re.search(r"default-src 'none'; style-src 'sha256-[\w+/=]+'; img-src data:; ", page)
    assert not re.search(r"(?i)<[^>]* on\w+=", page)
