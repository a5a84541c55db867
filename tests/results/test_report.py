import json
import re
from dataclasses import replace

import pytest
from rich.console import Console

from gptalt_eval.contract.hookspecs import hookimpl
from gptalt_eval.contract.record import Record, load_record
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.contract.types import ReportSection
from gptalt_eval.results.report import render_report
from gptalt_eval.results.samples import view_item
from gptalt_eval.running.api import run
from gptalt_eval.testing import make_plugin_set, make_scripted_model

HOSTILE = '<script>document.title="owned"</script><img src=x onerror="document.title=\'owned\'">&"\''


@pytest.fixture
def record(plugins, tmp_path):
    spec = make_spec(
        {
            "model": "scripted",
            "tasks": "piqa,winogrande,gsm8k,mmlu",
            "data_dir": "sample",
            "limit": 3,
            "output_path": str(tmp_path / "out"),
            "log_samples": True,
        }
    )
    return run(spec, plugins, Console(quiet=True)).records[0]


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


def test_text_of_models_and_data_is_escaped(record, plugins, tmp_path):
    [samples] = record.folder.glob("samples_piqa_*.jsonl")
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    for line in lines:
        line["arguments"]["gen_args_0"]["arg_0"] = HOSTILE
        line["arguments"]["gen_args_1"]["arg_1"] = HOSTILE
        line["target"] = HOSTILE
    samples.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run_file = json.loads((record.folder / "run.json").read_text())
    run_file["notes"].append(HOSTILE)
    run_file["model"]["name"] = HOSTILE
    (record.folder / "run.json").write_text(json.dumps(run_file))
    page = render_report([load_record(record.folder)], plugins)
    assert "<script" not in page and "<img" not in page
    assert "&lt;script&gt;" in page


def test_samples_of_each_kind(record):
    def first(task):
        return view_item(next(record.read_samples(0, task)), "acc")

    piqa = first("piqa")
    assert len(piqa.options) == 2 and piqa.chosen in (0, 1) and piqa.is_right is not None
    winogrande = first("winogrande")
    assert winogrande.options[0] != winogrande.options[1], "the options that differ stand in the prompt"
    gsm8k = first("gsm8k")
    assert gsm8k.options == () and gsm8k.answer == "[invalid]"


def test_a_run_of_plain_lm_eval_is_reported(record, plugins):
    (record.folder / "run.json").unlink()
    page = render_report([load_record(record.folder)], plugins)
    assert "piqa" in page and "How these results were produced" not in page


def test_an_unfinished_run_says_so(record, plugins):
    unfinished = Record(
        record.folder,
        replace(record.run, status="interrupted", missing=("race",)),
        record.results,
        record.files,
    )
    assert "This run is interrupted: 1 task is missing (race" in render_report([unfinished], plugins)


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


INJECTED = {
    "script": "<script>document.title = 'owned'</script>",
    "handler": "<img src='data:image/png;base64,x' onerror=\"document.title = 'owned'\">",
    "frame": "<iframe srcdoc=\"<script>parent.document.title = 'owned'</script>\"></iframe>",
    "link": "<svg onload=\"document.title = 'owned'\"></svg>",
    "base": "<base href='http://evil.example'><script src='data:text/javascript,document.title=1'></script>",
}


@pytest.mark.parametrize("html", INJECTED.values(), ids=INJECTED)
def test_in_a_browser_what_is_injected_does_not_run(html, record, browser, probe, tmp_path):
    """Should some text ever get into the page unescaped, its policy still stops it."""
    page = (record.folder / "report.html").read_text(encoding="utf-8")
    style = "<p id='p' style='position: fixed'>x</p><style>h1 { position: fixed }</style>"
    read = "document.body.dataset.read = [document.title, getComputedStyle(document.querySelector('#p')).position, getComputedStyle(document.querySelector('h1')).position].join()"
    file = tmp_path / "injected.html"
    file.write_text(probe(page.replace("</body>", html + style + "</body>"), read), encoding="utf-8")
    dom = browser.open(file, "800,600", "light", "--dump-dom")
    assert 'data-read="scripted - gptalt-eval,static,static"' in dom
    file.write_text(
        re.sub("<meta http-equiv[^>]*>", "", page).replace("</body>", html + "</body>"), encoding="utf-8"
    )
    if html != INJECTED["base"]:
        assert "<title>owned</title>" in browser.open(file, "800,600", "light", "--dump-dom"), (
            "the attack is real"
        )


def test_the_page_allows_no_other_script_and_nothing_inline(record):
    page = (record.folder / "report.html").read_text(encoding="utf-8")
    assert "unsafe-inline" not in page and "style=" not in page
    assert re.search(r"default-src 'none'; style-src 'sha256-[\w+/=]+'; img-src data:; ", page)
    assert not re.search(r"(?i)<[^>]* on\w+=", page)
