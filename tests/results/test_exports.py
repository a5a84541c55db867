"""Scores as CSV, Markdown and LaTeX."""

import csv
import io
import shutil
import subprocess
from dataclasses import replace

import pytest
from rich.console import Console

from gptalt_eval.commands.cli import dispatch
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.models import Model
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.machine.plain import show_plain
from gptalt_eval.results.analyse import list_scores
from gptalt_eval.results.exports import (
    Cell,
    Grid,
    escape_latex,
    escape_markdown,
    export_scores,
    lay_out_arms,
    protect,
    show_entry,
)
from gptalt_eval.results.overview import make_overview
from gptalt_eval.results.rows import read_logged
from gptalt_eval.running.api import run
from gptalt_eval.testing import hash_likelihood, make_plugin_set, make_scripted_model

HOSTILE = "a_b & 50% $x^2$ {#~} \\\\ <i>|*`["


def make_model(name, likelihood=hash_likelihood):
    made = make_scripted_model(likelihood, name=name)
    return Model(name, made.summary, made.licence, made.home, create=made.create)


def prefer_long(prompt, answer):
    return float(len(answer))


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    plugins = make_plugin_set(models=[make_model("hash"), make_model("long 长", prefer_long)])
    spec = make_spec({
        "model": "hash,long 长", "tasks": "arc_easy,sciq,mmlu_stem", "num_fewshot": "0,1", "data_dir": "sample",
        "output_path": str(tmp_path_factory.mktemp("grid")), "log_samples": True,
    })  # fmt: skip
    return run(spec, plugins, Console(quiet=True))[0]


def rename(record, name):
    return replace(record, run=replace(record.run, model=replace(record.run.model, name=name)))


def overview_of(records):
    return make_overview(records, [read_logged(record) for record in records])


def read_csv(records):
    return list(csv.DictReader(io.StringIO(export_scores(records, "csv"), newline="")))


def test_csv_reads_back_to_the_same_numbers(records):
    lines = read_csv(records)
    scores = [score for record in records for score in list_scores(record)]
    assert len(lines) == len(scores) > 40, "members of groups too"
    for line, score in zip(lines, scores, strict=True):
        assert (line["task"], line["metric"], line["filter"]) == (score.task, score.metric, score.filter)
        assert float(line["value"]) == score.value and int(line["items"]) == score.items
        assert line["shots"] == ("" if score.shots is None else str(score.shots))
        ends = tuple(float(line[name]) for name in ("low", "high")) if line["low"] else None
        assert ends == score.interval and line["is_group"] == str(score.is_group)
    assert {line["model"] for line in lines} == {"hash", "long 长"}
    assert {line["prompt_style"] for line in lines} == {"standard"}
    assert next(line for line in lines if line["task"] == "sciq")["version"]


@pytest.mark.parametrize("name", ["=1+1", "+x", "-x", "@x", "\tx", "\rx"])
def test_no_text_is_a_formula(records, name):
    shown = f"'{show_plain(name)}"
    assert protect(name) == shown and protect(-1.5) == -1.5 and protect(None) is None
    renamed = [rename(record, f"{name}{place}") for place, record in enumerate(records)]
    assert {line["model"].startswith(shown) for line in read_csv(renamed)} == {True}


def read_markdown(text):
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line[2:-2].split(" | ")] for line in lines]


def test_markdown_has_arms_by_tasks(records):
    text = export_scores(records, "markdown")
    heading, rules, *lines = read_markdown(text)
    overview = overview_of(records)
    assert heading[:2] == ["Model", "Shots"], "all arms have one prompt style"
    assert heading[2] == "Mean of 3"
    assert heading[3:] == [f"{each.title} (acc)".replace("_", r"\_") for each in overview.headings]
    assert rules == ["---", "---", *["---:"] * 4]
    for line, place in zip(lines, range(len(overview.arms)), strict=True):
        arm = overview.arms[place]
        assert line[:2] == [arm.model, arm.shots]
        mean = sum(entry.score.value for entry in overview.entries[place]) / 3
        assert line[2].strip("* ≈") == f"{mean:.3f}"
        for cell, entry in zip(line[3:], overview.entries[place], strict=True):
            value = f"{entry.score.value:.3f}"
            assert cell == (f"**{value}**" if entry.is_best else f"{value} ≈" if entry.is_tied else value)
    assert "≈ not significantly different" in text
    assert "Scored on a small embedded sample, not on the benchmark" in text


def test_one_arm_is_a_list_of_scores(records):
    alone = [replace(records[0], results=records[0].results[:1], files=records[0].files[:1])]
    heading, _, *lines = read_markdown(export_scores(alone, "markdown"))
    assert heading == ["Task", "Metric", "Shots", "Score", "95 % interval", "Items"]
    assert {line[0] for line in lines} == {r"arc\_easy", "sciq", r"mmlu\_stem"}, "no members of groups"
    assert "best" not in export_scores(alone, "markdown")


def test_hostile_names_stay_one_cell():
    assert escape_markdown("a|b\nc") == r"a\|b c"
    assert escape_markdown(HOSTILE).count("|") == escape_markdown(HOSTILE).count(r"\|") == 1
    assert "<i>" not in escape_markdown(HOSTILE)
    for letter in "&%$#{}":
        assert f"\\{letter}" in escape_latex(HOSTILE)
    assert escape_latex("a\nb  c") == "a b c"


def test_latex_marks_best_and_ties(records):
    text = export_scores(records, "latex")
    overview = overview_of(records)
    entries = [entry for line in overview.entries for entry in line]
    best, tied = (sum(map(each, overview.arms)) for each in (overview.is_best, overview.is_tied))
    assert text.count(r"\textbf{") == sum(entry.is_best for entry in entries) + best > best > 0
    assert text.count(r"\underline{") == sum(entry.is_tied for entry in entries) + tied > tied
    assert text.splitlines()[2].startswith("% Scored on a small embedded sample")
    assert text.splitlines()[3] == r"\begin{tabular}{@{}llrrrr@{}}"
    assert text.count(" & ") == 5 * 5 and r"mmlu\_stem (acc)" in text


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="LaTeX is not installed")
def test_latex_compiles(records, tmp_path):
    renamed = [rename(record, f"{HOSTILE}{place}") for place, record in enumerate(records)]
    packages = r"\usepackage[T1]{fontenc}\usepackage{booktabs}"
    table = export_scores(renamed, "latex")
    page = rf"\documentclass{{article}}{packages}\begin{{document}}{table}\end{{document}}"
    (tmp_path / "page.tex").write_text(page, encoding="utf-8")
    words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    made = subprocess.run(words, cwd=tmp_path, capture_output=True, check=False)
    assert made.returncode == 0, made.stdout.decode("utf-8", "replace")[-2000:]
    assert (tmp_path / "page.pdf").stat().st_size > 5_000


def test_a_cell_that_was_not_evaluated_is_empty(records):
    assert show_entry(None) == Cell("")
    overview = overview_of(records)
    gap = replace(overview, entries=[[None, *entries[1:]] for entries in overview.entries])
    grid = lay_out_arms(gap)
    assert isinstance(grid, Grid) and {line[3] for line in grid.lines} == {Cell("")}


def test_equal_arms_have_no_best(records):
    """A column of equal values: nothing is bold in it."""
    twins = [rename(records[0], f"m{place}") for place in range(2)]
    alone = [replace(twin, results=twin.results[:1], files=twin.files[:1]) for twin in twins]
    overview = overview_of(alone)
    assert len(overview.arms) == 2
    assert not any(entry.is_best or entry.is_tied for line in overview.entries for entry in line)


@pytest.fixture
def call(records, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    folders = [str(record.folder) for record in records]

    def call_report(*words):
        assert dispatch(["report", *folders, *words], make_plugin_set()) == 0
        return capsys.readouterr().out

    return call_report


def test_a_table_is_printed_or_written(call, tmp_path, records):
    assert call("--format", "csv") == export_scores(records, "csv")
    assert call("--format", "latex", "-o", "table.tex") == "table.tex\n"
    assert (tmp_path / "table.tex").read_text(encoding="utf-8") == export_scores(records, "latex")
    assert call("--output", "page.html") == "page.html\n"
    assert (tmp_path / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_table_cannot_be_written_everywhere(call):
    with pytest.raises(GptaltError, match="cannot be written"):
        call("--format", "csv", "-o", ".")
