"""The report's tables in a browser: sorted, with columns to choose, groups to open, and saved for other programs."""

import csv
import io
import json
import shutil
import subprocess

import pytest
from folders import write_run
from rich.console import Console

from gptalt_eval.contract.models import Model
from gptalt_eval.contract.record import load_record
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.results.overview import make_overview
from gptalt_eval.results.report import render_report
from gptalt_eval.results.rows import read_logged
from gptalt_eval.results.tree import make_tree
from gptalt_eval.running.api import run
from gptalt_eval.testing import hash_likelihood, make_plugin_set, make_scripted_model

pytestmark = pytest.mark.xdist_group("tables")  # its runs are made once

HOSTILE = "=b&<b>_%"  # a formula for a spreadsheet, a tag, and what LaTeX and Markdown take for marks


def make_model(name, likelihood):
    made = make_scripted_model(likelihood, name=name)
    return Model(
        name, made.summary, made.licence, made.home, create=made.create, system_instruction="Be kind."
    )


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    root = tmp_path_factory.mktemp("tables")
    models = [
        make_model("hash", hash_likelihood),
        make_model(HOSTILE, lambda prompt, answer: float(len(answer))),
    ]
    spec = make_spec(
        {
            "model": f"hash,{HOSTILE}", "tasks": "arc_easy,mmlu,gsm8k", "num_fewshot": "0,1", "limit": 4,
            "data_dir": "sample", "output_path": str(root), "log_samples": True, "prompt_style": "standard,system",
        }
    )  # fmt: skip
    records, folder = run(spec, make_plugin_set(models=models), Console(quiet=True))
    overview = make_overview(records, [read_logged(record) for record in records])
    return folder / "report.html", overview, make_tree(records, overview)


@pytest.fixture
def tab(experiment, open_tab):
    return lambda **settings: open_tab(experiment[0], **settings)


def list_column(tab, key, table="leaderboard"):
    """What the cells of a column show, by its heading's key."""
    return tab.evaluate(
        """([table, key]) => {
          const found = document.getElementById(table);
          const place = [...found.tHead.rows[0].cells].findIndex(cell => cell.dataset.key === key);
          return [...found.tBodies[0].rows].filter(row => !row.hidden).map(row => row.cells[place].dataset.value ?? row.cells[place].innerText);
        }""",
        [table, key],
    )


def click_heading(tab, name):
    tab.locator("#leaderboard thead").get_by_role("button", name=name).first.click()


def test_the_best_mean_is_first_and_a_click_sorts_by_another_column(experiment, tab):
    _, overview, _ = experiment
    shown = tab()
    means = [overview.standings[arm].mean for arm in overview.arms]
    assert list(map(float, list_column(shown, "mean"))) == sorted(means, reverse=True)
    at = [heading.title for heading in overview.headings].index("arc_easy")
    scores = [entries[at].score.value for entries in overview.entries]
    click_heading(shown, "arc_easy")
    assert list(map(float, list_column(shown, "arc_easy"))) == sorted(scores, reverse=True)
    assert shown.locator("[aria-sort=descending]").get_attribute("data-key") == "arc_easy"
    click_heading(shown, "arc_easy")
    assert list(map(float, list_column(shown, "arc_easy"))) == sorted(scores)
    assert "leaderboard-sort=arc_easy" in shown.url
    shown.reload()
    assert list(map(float, list_column(shown, "arc_easy"))) == sorted(scores), "the address keeps the order"
    click_heading(shown, "arc_easy")
    assert list(map(float, list_column(shown, "mean"))) == sorted(means, reverse=True)
    click_heading(shown, "Model")
    assert [name[:4] for name in list_column(shown, "model")] == ["=b&<"] * 4 + ["hash"] * 4


def test_links_within_the_page_keep_what_was_chosen(tab):
    shown = tab(address="leaderboard-sort=model")
    links = shown.locator(".jump a")
    assert links.all_inner_texts() == ["Models", "Figures", "Scores by task", "Items", "How it was run"]
    for place in range(links.count()):
        links.nth(place).click()
        target = links.nth(place).get_attribute("href")
        assert shown.evaluate("'#' + document.activeElement.id") == target
        assert shown.locator(target).bounding_box()["y"] < 900
    assert shown.url.endswith("#leaderboard-sort=model")


def test_what_is_missing_is_last_in_either_direction(experiment, open_tab, tmp_path):
    page = experiment[0].read_text(encoding="utf-8")
    value = next(f'data-value="{entries[0].score.value}"' for entries in [experiment[1].entries[0]])
    start = page.index("<tbody>")
    file = tmp_path / "gap.html"
    file.write_text(page[:start] + page[start:].replace(value, 'data-value=""', 1), encoding="utf-8")
    title = experiment[1].headings[0].title
    shown = open_tab(file)
    for _ in range(2):
        click_heading(shown, title)
        column = list_column(shown, title)
        assert column[-1] == "" and "" not in column[:-1]


def test_columns_are_chosen_and_a_link_shows_the_same_ones(tab):
    shown = tab()
    assert not shown.locator("#leaderboard th[data-key=parameters]").is_visible()
    shown.get_by_text("Columns").first.click()
    shown.get_by_label("parameters").check()
    shown.get_by_label("arc_easy", exact=True).first.uncheck()
    assert shown.locator("#leaderboard th[data-key=parameters]").is_visible()
    assert not shown.locator("#leaderboard th[data-key=arc_easy]").is_visible()
    again = tab(address=shown.url.partition("#")[2])
    assert again.locator("#leaderboard th[data-key=parameters]").is_visible()
    assert not again.locator("#leaderboard th[data-key=arc_easy]").is_visible()
    assert not again.locator("#leaderboard td", has_text="embedded").count()
    widths = again.evaluate(
        "[...document.querySelectorAll('#leaderboard tr')].map(row => [...row.cells].filter(cell => !cell.hidden).length)"
    )
    assert len(set(widths)) == 1, "every row has the same columns"


def test_groups_are_closed_and_open_by_keyboard_to_four_and_to_57(experiment, tab):
    _, _, tree = experiment
    shown = tab()
    names = list_column(shown, "task", "tree")
    assert [name for name in names if name.startswith("mmlu")] == ["mmlu"]
    button = shown.locator("#tree").get_by_role("button", name="mmlu", exact=True)
    button.focus()
    shown.keyboard.press("Enter")
    assert button.get_attribute("aria-expanded") == "true"
    names = list_column(shown, "task", "tree")
    assert [name for name in names if name.startswith("mmlu_")] == [
        "mmlu_stem", "mmlu_other", "mmlu_social_sciences", "mmlu_humanities",
    ]  # fmt: skip
    link = "&".join(f"open={name}" for name in ("mmlu", *names))
    again = tab(address=link)
    assert len([name for name in list_column(again, "task", "tree") if name.startswith("mmlu_")]) == 57 + 4
    assert len(tree) > 61
    shown.keyboard.press("Enter")
    assert list_column(shown, "task", "tree")[:1] == names[:1]
    assert "open=" not in shown.url


def test_each_score_of_the_tree_is_that_of_its_task(experiment, tab):
    _, overview, tree = experiment
    shown = tab(address="open=mmlu&open=mmlu_stem")
    for place, arm in enumerate(overview.arms):
        found = dict(
            zip(
                list_column(shown, "task", "tree"),
                list_column(shown, overview.name(arm), "tree"),
                strict=True,
            )
        )
        for line in tree:
            if line.heading.title in found and not line.is_subject:
                assert float(found[line.heading.title]) == line.entries[place].score.value


def test_other_metrics_of_a_task_are_shown_and_its_subjects_are_closed(tmp_path, open_tab):
    """The tree of one arm: a line for each metric, then the subjects."""
    docs = {"toy": [{"subject": name} for name in "aab"]}
    folder = tmp_path / "run"
    write_run(folder, "m", [{"tasks": {"toy": [1, 0, 1], "last": [1]}, "docs": docs}])
    [results] = folder.glob("results_*")
    content = json.loads(results.read_text())
    content["results"]["toy"]["f1,none"] = 0.5
    results.write_text(json.dumps(content))
    page = tmp_path / "report.html"
    page.write_text(render_report([load_record(folder)], make_plugin_set()), encoding="utf-8")
    shown = open_tab(page)
    assert list_column(shown, "metric", "tree") == ["acc ↑", "f1", "acc ↑"]
    shown.get_by_role("button", name="toy", exact=True).click()
    names = list_column(shown, "task", "tree")
    assert [name.strip() for name in names] == ["toy", "toy", "a", "b", "last"]


def save(tab, table, kind):
    with tab.expect_download() as download:
        tab.locator(f".tools[data-for={table}]").get_by_role("button", name=kind).click()
    return download.value.path().read_text(encoding="utf-8")


def test_a_saved_table_reads_back_to_the_same_numbers(experiment, tab):
    _, overview, _ = experiment
    rows = list(csv.DictReader(io.StringIO(save(tab(), "leaderboard", "CSV"))))
    assert [row["Model"] for row in rows].count(f"'{HOSTILE}") == 4, "a name is not a formula"
    for row, place in zip(rows, range(len(overview.arms)), strict=True):
        arm = overview.arms[place]
        assert float(row["Mean"]) == overview.standings[arm].mean
        assert (row["Prompt"], row["Shots"]) == (arm.prompt_style, str(arm.num_fewshot))
        for heading, entry in zip(overview.headings, overview.entries[place], strict=True):
            assert float(row[heading.title]) == entry.score.value


def test_what_is_saved_is_what_is_shown(tab):
    shown = tab(address="leaderboard-columns=arc_easy&leaderboard-sort=model")
    heading, *lines = csv.reader(io.StringIO(save(shown, "leaderboard", "CSV")))
    assert "arc_easy" not in heading and [line[0][:2] for line in lines] == ["'="] * 4 + ["ha"] * 4
    heading, *lines = csv.reader(io.StringIO(save(shown, "tree", "CSV")))
    assert [line[0] for line in lines].count("mmlu") == 1 and "mmlu_stem" not in [line[0] for line in lines]
    assert len(set(heading)) == len(heading) == 3 + 8, "every arm has a name of its own"


def test_markdown_has_the_marks(experiment, tab):
    _, overview, _ = experiment
    lines = save(tab(), "leaderboard", "Markdown").splitlines()
    assert len(lines) == 2 + len(overview.arms)
    assert all(line.count(" | ") == lines[0].count(" | ") for line in lines)
    best = sum(entry.is_best for entries in overview.entries for entry in entries)
    best += sum(map(overview.is_best, overview.arms))
    assert sum(line.count("**") for line in lines) == 2 * best
    assert "=b&&lt;b>\\_%" in "".join(lines)


def test_latex_compiles(tab, tmp_path):
    if not shutil.which("pdflatex"):
        pytest.skip("pdflatex is not installed")
    tables = "\n\n".join(save(tab(), table, "LaTeX") for table in ("leaderboard", "tree"))
    assert "\\textbf{" in tables
    (tmp_path / "t.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\usepackage[T1]{fontenc}\\begin{document}\\tiny\n"
        + tables + "\\end{document}", encoding="utf-8",
    )  # fmt: skip
    words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout[-2000:]


def test_without_scripts_the_tables_stand(experiment, tab):
    shown = tab(java_script_enabled=False)
    rows = shown.locator("#tree tbody tr")
    assert rows.count() == len(experiment[2])
    assert rows.nth(rows.count() - 1).is_visible()
    assert shown.locator("#leaderboard tbody tr").count() == 8
    assert not shown.locator("#leaderboard th[data-key=parameters]").is_visible()


def test_the_name_of_a_task_has_room_on_a_phone(tab):
    """``medqa_zh_hans_4`` with its arrow is not broken."""
    name = tab(width=390, height=844).locator("#tree tbody th[scope=row]").first
    assert name.bounding_box()["width"] == pytest.approx(9.5 * 16)


@pytest.mark.parametrize(("size", "scheme"), [((1400, 900), "light"), ((390, 844), "dark")])
def test_nothing_is_in_the_way_of_any_reader(tab, size, scheme):
    """By axe: nothing serious; and nothing wider than the window."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    shown = tab(width=size[0], height=size[1], scheme=scheme, address="open=mmlu")
    shown.get_by_text("Columns").first.click()
    found = axe.Axe().run(shown).response["violations"]
    assert [
        (each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in ("serious", "critical")
    ] == []
    assert shown.evaluate(
        "document.querySelector('#leaderboard').closest('.scroll').clientWidth <= innerWidth"
    )
