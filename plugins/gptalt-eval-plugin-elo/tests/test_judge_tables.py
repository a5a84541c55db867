"""Judges beside people, as the terminal, the page and JSON show them."""

import json
import math

import numpy as np
import pytest
from gptalt_eval_plugin_elo.agreement import Estimate
from gptalt_eval_plugin_elo.judges import JudgeReport, Swayed, measure_judges
from gptalt_eval_plugin_elo.judging.presentation import (
    describe,
    list_rows,
    print_judges,
    show_help,
    show_judge,
)
from gptalt_eval_plugin_elo.sharpening import Sharpened, fit_with_judges

REPORT = JudgeReport(
    judge="m0", verdicts=40, without=2, comparisons=19, flipped=4, ties=6, shared=10,
    agreement=Estimate(0.65, 0.5, 0.8), kappa=Estimate(0.3, math.nan, math.nan), people_agreement=None,
    people_kappa=None, first_shown=Estimate(0.25, 0.1, 0.4), longer=Swayed(0.8, 0.5, Estimate(0.3, 0.2, 0.4)),
    length=None, own=Swayed(120.4, 20.0, Estimate(100.4, -3.2, 204.0)),
)  # fmt: skip


@pytest.fixture
def measured(make_world):
    world = make_world(0, questions=40)
    log_odds = 3.0 * world.random.choice([-1, 1], len(world.low))
    world.judge(3, world.draw(log_odds), world.draw(log_odds))
    world.poll(0, world.draw(log_odds[:150]), np.arange(150))
    table = world.finish()
    return measure_judges(table), fit_with_judges(table)


def test_rows_say_what_was_measured():
    rows = {row.name: (row.value, row.interval) for row in list_rows(REPORT)}
    assert rows["inconsistent: the place won"] == ("4 (21 %)", "")
    assert rows["agreement with people"] == ("0.650", "0.500 to 0.800")
    assert rows["agreement of two people"] == ("-", "")
    assert rows["Cohen's κ with people"] == ("0.300", ""), "its interval is unknown"
    assert rows["first shown minus second"] == ("+0.25", "+0.10 to +0.40")
    assert rows["wins of the longer answer"] == ("0.80, people 0.50: +0.30", "+0.20 to +0.40")
    assert rows["points of its own answers"] == ("120, people 20: +100", "-3 to +204")


def test_every_judge_has_the_same_rows(measured):
    reports, _ = measured
    assert [row.name for row in list_rows(reports[0])] == [row.name for row in list_rows(REPORT)]


def test_json_has_every_measure_and_no_nan(measured):
    whole = json.loads(json.dumps(describe(REPORT), allow_nan=False))
    assert whole.keys() == vars(REPORT).keys()
    assert whole["kappa"] == {"value": 0.3, "low": None, "high": None}
    assert whole["own"]["difference"]["value"] == 100.4
    for each in (*measured[0], *measured[1]):
        json.dumps(describe(each), allow_nan=False)


def test_the_terminal_shows_judges_and_sharpened_ratings(measured, capsys):
    reports, sharpened = measured
    print_judges(reports, sharpened)
    printed = capsys.readouterr().out
    assert "first shown minus second" in printed and "with m0" in printed
    assert f"{sharpened[0].people[0].value:.0f}" in printed
    assert f"at the weight of {sharpened[0].weight:.2f}" in printed


def test_a_judge_that_does_not_help_shows_no_ratings(capsys):
    estimate = [Estimate(1000.0, 900.0, 1100.0)] * 2
    useless = Sharpened("m0", 0.0, 20, 40, 20, ["x", "y"], estimate, estimate)
    print_judges([], [useless])
    printed = capsys.readouterr().out
    assert "m0 does not make people's ratings more precise" in printed and "1000" not in printed


def test_the_page_has_a_section_of_judges(measured):
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("gptalt_eval_plugin_elo", "pages"), autoescape=True, undefined=StrictUndefined
    )
    template = environment.get_template("judges.html.j2")
    reports, sharpened = measured
    hostile = show_judge(REPORT)._replace(name="<script>alert(1)</script>")
    page = template.render(
        judges=[hostile, show_judge(reports[0])], sharpened=[show_help(each) for each in sharpened],
        by_judges=False, start=1000.0,
    )  # fmt: skip
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert page.count("<tr>") == 1 + len(hostile.rows) + 1 + 4
    assert template.render(judges=[], sharpened=[], by_judges=False, start=1000.0).strip() == ""
