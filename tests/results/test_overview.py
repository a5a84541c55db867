"""The report of an experiment: its table, figures, subjects, and the rows on which arms disagree."""

import re
import shutil
from dataclasses import replace

import pytest
from rich.console import Console

import gptalt_eval
from gptalt_eval.contract.models import Model
from gptalt_eval.contract.record import load_record
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.results.analyse import Score
from gptalt_eval.results.arms import Arm, TaskRows
from gptalt_eval.results.columns import rank_column
from gptalt_eval.results.overview import make_overview
from gptalt_eval.results.report import render_report
from gptalt_eval.results.rows import Row, read_logged
from gptalt_eval.results.tree import list_subjects
from gptalt_eval.running.api import run
from gptalt_eval.testing import hash_likelihood, make_plugin_set, make_scripted_model

pytestmark = pytest.mark.xdist_group("overview")  # its runs are made once

HOSTILE = "<script>document.title='owned'</script>$x^2$ _模型"


def make_model(name, likelihood=hash_likelihood):
    made = make_scripted_model(likelihood, name=name)
    return Model(
        name, made.summary, made.licence, made.home, create=made.create, system_instruction="Be kind."
    )


def knows(prompt, answer):
    """Longer answers are likelier: another opinion than the hash's."""
    return float(len(answer))


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    root = tmp_path_factory.mktemp("grid")
    plugins = make_plugin_set(models=[make_model("hash"), make_model("long 长", knows)])
    spec = make_spec(
        {
            "model": "hash,long 长", "tasks": "arc_easy,sciq,mmlu_stem", "num_fewshot": "0,1,2", "prompt_style": "standard,system",
            "data_dir": "sample", "output_path": str(root), "log_samples": True,
        }
    )  # fmt: skip
    records, _ = run(spec, plugins, Console(quiet=True))
    return records, plugins


def show(records):
    return make_overview(records, [read_logged(record) for record in records])


def test_every_arm_and_task_has_its_place(experiment):
    records, _ = experiment
    overview = show(records)
    assert len(overview.arms) == 12
    assert sorted(heading.title for heading in overview.headings) == ["arc_easy", "mmlu_stem", "sciq"]
    for arm, entries in zip(overview.arms, overview.entries, strict=True):
        record = next(record for record in records if record.model == arm.model)
        [results] = [
            results
            for results in record.results
            if results["config"]["prompt_style"] == arm.prompt_style and results["config"]["num_fewshot"] == arm.num_fewshot
        ]  # fmt: skip
        for heading, entry in zip(overview.headings, entries, strict=True):
            assert entry.score.value == results["results"][heading.title]["acc,none"]
    for column in zip(*overview.entries, strict=True):
        best = [entry for entry in column if entry.is_best]
        highest = max(entry.score.value for entry in column)
        assert len(best) == sum(entry.score.value == highest for entry in column)
        assert all(entry.score.value == highest and not entry.is_tied for entry in best)


@pytest.mark.parametrize("tasks", ["arc_easy", "arc_easy,gsm8k"])  # gsm8k has five examples by default
def test_tasks_with_their_own_shots_are_one_arm(tmp_path, tasks):
    plugins = make_plugin_set(models=[make_model("hash")])
    spec = make_spec({"model": "hash", "tasks": tasks, "data_dir": "sample", "output_path": str(tmp_path)})
    records, _ = run(spec, plugins, Console(quiet=True))
    overview = show(records)
    shots = 0 if tasks == "arc_easy" else None
    assert overview.arms == [Arm("hash", "standard", shots)]
    assert None not in overview.entries[0] and not any(entry.is_best for entry in overview.entries[0])


def make_score(value, items=1000, higher=True):
    interval = (value - 0.03, value + 0.03)
    return Score("toy", "toy", 0, 0, "acc", "none", value, interval, items, items, higher, False, 0)


def make_rows(right, rows=1000):
    return {("toy", number): Row(f"d{number}", "p", {"acc": float(number < right)}) for number in range(rows)}


def test_ties_are_tested_on_the_same_rows():
    arms = [Arm(name, "standard", 0) for name in "abc"]
    scores = {arm: [make_score(right / 1000)] for arm, right in zip(arms, (700, 698, 650), strict=True)}
    rows = {arm: make_rows(right) for arm, right in zip(arms, (700, 698, 650), strict=True)}
    ranked = rank_column(scores, TaskRows("toy", rows, ["acc"]))
    assert [ranked[arm].is_best for arm in arms] == [True, False, False]
    # 2 rows apart is nothing; 50 rows, all in one direction, is much, though the intervals overlap
    assert [ranked[arm].is_tied for arm in arms] == [False, True, False]
    ranked = rank_column(scores, None)
    assert [ranked[arm].is_tied for arm in arms] == [False, True, True]


def test_lower_may_be_better():
    arms = [Arm(name, "standard", 0) for name in "ab"]
    scores = {arm: [make_score(value, higher=False)] for arm, value in zip(arms, (0.9, 0.2), strict=True)}
    assert rank_column(scores, None)[arms[1]].is_best


def test_subjects_by_hand():
    arms = [Arm("a", "standard", 0), Arm("b", "standard", 0)]
    subjects = ["内科"] * 3 + ["surgery"] * 2
    rows = {
        arm: {("toy", number): Row("", "", {"acc": float(number % step == 0)}, subject) for number, subject in enumerate(subjects)}
        for arm, step in zip(arms, (1, 2), strict=True)
    }  # fmt: skip
    found = list(list_subjects(TaskRows("toy", rows, ["acc"]), arms, 1))
    assert [(line.heading.title, line.heading.items, [entry.score.value for entry in line.entries]) for line in found] == [
        ("surgery", "2", [1, 1 / 2]),
        ("内科", "3", [1, 2 / 3]),
    ]  # fmt: skip


def test_a_figure_in_the_pages_style_has_its_colours_and_leaves_matplotlib_alone():
    import matplotlib
    from matplotlib.figure import Figure

    @gptalt_eval.page_style()
    def draw():
        axes = (figure := Figure()).add_subplot()
        axes.set_title("$x$")
        return figure

    svg = gptalt_eval.make_svg(draw(), "own")
    title = next(line for line in svg.splitlines() if "$x$" in line)
    assert 'fill="var(--ink)"' in title
    assert svg.count('stroke="var(--line)"') > 4
    assert matplotlib.rcParams["text.color"] == "black"


def test_the_page(experiment):
    records, plugins = experiment
    page = render_report(records, plugins)
    assert page.count("by number of shots<") == 3 and "Scores by prompt style" in page
    assert not re.search(
        r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", page.replace('xmlns:xlink="http://', "")
    )
    assert "long 长" in page


def test_the_page_escapes_what_comes_from_models_and_data(experiment, tmp_path):
    records, plugins = experiment
    folder = tmp_path / "x"
    shutil.copytree(records[0].folder, folder)
    run = (folder / "run.json").read_text(encoding="utf-8")
    (folder / "run.json").write_text(run.replace('"name": "hash"', '"name": "<img src=x>"'), encoding="utf-8")
    for file in folder.glob("samples_arc_easy_*"):
        file.write_text(
            file.read_text(encoding="utf-8").replace("Question:", "<b>Question:"), encoding="utf-8"
        )
    page = render_report([load_record(folder)], plugins)
    assert "<img" not in page and "<b>" not in page
    assert "&lt;img src=x&gt;" in page


@pytest.mark.parametrize(("size", "scheme"), [("1280,1600", "light"), ("390,1200", "dark")])
def test_in_a_browser(experiment, browser, probe, tmp_path, size, scheme):
    records, plugins = experiment
    page = render_report(records, plugins)
    file = tmp_path / "probe.html"
    script = "document.title = [document.documentElement.scrollWidth, innerWidth].join(' ')"
    file.write_text(probe(page, script), encoding="utf-8")
    wide, window = re.search(
        r"<title>(\d+) (\d+)</title>", browser.open(file, size, scheme, "--dump-dom")
    ).groups()
    assert int(wide) <= int(window), "the page scrolls sideways"
    picture = tmp_path / "report.png"
    file.write_text(page, encoding="utf-8")
    browser.open(file, size, scheme, f"--screenshot={picture}")
    assert picture.stat().st_size > 20_000


def rewrite_versions(record, version):
    return replace(
        record,
        results=tuple(
            {**each, "versions": version and dict.fromkeys(each["versions"], version)}
            for each in record.results
        ),
    )


@pytest.mark.parametrize(
    ("versions", "columns"), [((1.0, 2.0), 2), ((1.0, {}), 1), (({}, 1.0), 1), ((1.0, 1.0), 1)]
)
def test_another_version_of_a_task_is_another_column(experiment, versions, columns):
    """No score is the best of both; where no version is stated, it may be the same."""
    overview = show(
        [rewrite_versions(record, version) for record, version in zip(experiment[0], versions, strict=True)]
    )
    every = [heading.title for heading in overview.headings]
    titles = [title for title in every if title.startswith("sciq")]
    assert titles == (["sciq"] if columns == 1 else ["sciq (version 1.0)", "sciq (version 2.0)"])
    for title in titles:
        column = [entries[every.index(title)] for entries in overview.entries]
        known = [entry for entry in column if entry]
        assert len(known) == 12 / columns
        highest = max(entry.score.value for entry in known)
        is_plain = all(entry.score.value == highest for entry in known)  # then none is the best
        assert [entry.is_best for entry in known] == [
            entry.score.value == highest and not is_plain for entry in known
        ]
    assert len([title for title in every if title.startswith("mmlu_stem")]) == columns
