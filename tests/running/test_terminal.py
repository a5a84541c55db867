"""What a run shows on the terminal."""

import io
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from gptalt_eval.contract.plan import OF_SAMPLE
from gptalt_eval.contract.record import Record
from gptalt_eval.contract.run import Run, RunModel
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.machine.wrapping import measure
from gptalt_eval.planning.resolve import resolve
from gptalt_eval.results.table import print_scores
from gptalt_eval.running.api import run
from gptalt_eval.running.terminal import Terminal

CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Clock:
    """Seconds that pass when the test says so."""

    now = 100.0

    def __call__(self):
        return self.now


def make_terminal(is_terminal=False, width=80):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=is_terminal, width=width, color_system=None)
    clock = Clock()
    terminal = Terminal(console, clock)
    return terminal, clock, screen


@pytest.fixture
def shown(plugins, tmp_path):
    """Runs the scripted model; returns what a terminal (or a log) shows."""

    def show(is_terminal, width=120, **settings):
        screen = io.StringIO()
        console = Console(file=screen, force_terminal=is_terminal, width=width)
        spec = make_spec(
            {
                "model": "scripted",
                "tasks": "piqa,gsm8k",
                "limit": 3,
                "data_dir": "sample",
                "output_path": str(tmp_path),
                **settings,
            }
        )
        record = run(spec, plugins, console).records[0]
        print_scores(console, [record])
        return screen.getvalue()

    return show


def test_a_log_gets_plain_lines(shown):
    text = shown(False)
    assert "\x1b" not in text
    lines = text.splitlines()
    assert lines[0] == "scripted on 2 tasks, 6 items"
    assert lines[1].split()[:3] == ["piqa", "3", "items"] and "acc " in lines[1]
    assert "exact_match strict-match" in lines[2]


def test_what_is_recorded_is_said_once_with_the_results(shown):
    assert shown(False).count("embedded sample") <= 1


def test_a_terminal_gets_a_live_bar(shown):
    text = shown(True)
    assert "Loading the model" in text and "Preparing the prompts" in text
    assert "/6 items" in text


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_of_a_run_is_longer_than_the_terminal(shown, width):
    text = shown(True, width, tasks="mmlu,gsm8k")
    lines = [CODES.sub("", line) for line in re.split(r"[\r\n]", text)]
    assert max(map(measure, lines)) <= width


def test_kept_answers_are_announced(shown, tmp_path):
    text = shown(False, use_cache=str(tmp_path / "kept"))
    assert "reused only for exactly this model" in text.replace("\n", " ")


def test_brackets_in_names_are_no_markup(tmp_path):
    results = {"results": {"[red]x[/]": {"alias": "[red]x[/]", "acc,none": 0.5, "sample_len": 2}}}
    record = Record(tmp_path, Run(model=RunModel("[bold]m[/]")), (results,), (tmp_path / "results_t.json",))
    screen = io.StringIO()
    print_scores(Console(file=screen, width=120), [record])
    assert "[red]x[/]" in screen.getvalue() and "[bold]m[/]" in screen.getvalue()


def test_members_of_groups_are_shown_as_their_group(shown):
    text = shown(False, tasks="mmlu")
    lines, table = text[: text.index("┏")].splitlines(), text[text.index("┏") :]
    assert "mmlu" in table and "anatomy" not in table
    assert [line.split()[:3] for line in lines if "items" in line] == [
        ["scripted", "on", "57"],
        ["mmlu", "57", "items"],
    ]
    score = next(line for line in lines if line.startswith("  mmlu")).split()[-1]
    assert float(score) == float(re.search(r"│ mmlu .*?(\d\.\d{3})", table)[1])


def test_a_counter_says_how_far_a_group_is():
    terminal, _, screen = make_terminal(True)
    terminal.fold("mmlu", {"mmlu_a": False, "mmlu_b": True, "mmlu_c": True})
    for name in ("mmlu_b", "mmlu_c"):
        terminal.begin_task(name, 2)
        terminal.end_task(name, {"acc,none": 1.0}, {"acc,none": 0.25} if name == "mmlu_c" else {})
    terminal.end()
    text = CODES.sub("", screen.getvalue())
    assert "mmlu 2/3" in text and "mmlu 3/3" in text
    assert [line.split() for line in text.splitlines() if "acc" in line] == [
        ["mmlu", "4", "items", "acc", "0.250"]
    ]


def test_a_group_with_a_failed_member_has_no_score():
    terminal, clock, screen = make_terminal()
    terminal.fold("mmlu", {"mmlu_a": True, "mmlu_b": True})
    terminal.begin_task("mmlu_a", 2)
    clock.now += 1.5
    terminal.end_task("mmlu_a", {"acc,none": 1.0}, {})
    terminal.begin_task("mmlu_b", 2)
    terminal.end_task("mmlu_b", {}, {})
    assert screen.getvalue().split() == ["mmlu", "2", "items", "1.5", "s"]


def compute_together(terminal, clock):
    """Two tasks of choices whose tokens are computed in one pass, and one that is answered in words between."""
    terminal.share(2)
    terminal.begin_task("piqa", 10)
    terminal.asked(20, 20)
    for tokens, seconds in ((0, 0.0), (500, 2.0)):
        clock.now += seconds
        terminal.computed(tokens, 1000, 4000, seconds)
    terminal.answered(20)
    terminal.end_task("piqa", {"acc,none": 0.5, "acc_stderr,none": 0.1}, {})
    terminal.begin_task("gsm8k", 4)
    terminal.asked(4, 0)
    clock.now += 3
    terminal.answered(1)
    terminal.bar.live.refresh()
    clock.now += 5
    terminal.answered(3)
    terminal.end_task("gsm8k", {"exact_match,strict-match": 0.25}, {})
    terminal.begin_task("boolq", 5)
    terminal.asked(10, 10)
    clock.now += 2
    terminal.computed(1000, 1000, 4000, 4.0)
    terminal.answered(10)
    terminal.end_task("boolq", {"acc,none": 1.0}, {})
    terminal.end()


def test_seconds_are_those_of_a_task_only_if_they_are_its_own():
    terminal, clock, screen = make_terminal()
    compute_together(terminal, clock)
    assert [" ".join(line.split()) for line in screen.getvalue().splitlines()] == [
        "piqa 10 items acc 0.500",
        "gsm8k 4 items 8.0 s exact_match strict-match 0.250",
        "2 tasks together: 1,000 tokens computed in 4.0 s, 250 tokens/s, 75% of 4,000 saved",
        "boolq 5 items acc 1.000",
    ]


def test_the_bar_says_what_is_computed_and_of_what_the_time_left_is():
    terminal, clock, screen = make_terminal(True, 120)
    compute_together(terminal, clock)
    text = screen.getvalue()
    assert re.search(r"2 tasks together ─+ 0% estimating 0/1,000 tokens, 75% of 4,000 saved", text)
    assert re.search(r"gsm8k ━+─+ 25% 0:09 left 1/4 items", text)


def test_the_time_of_a_pass_over_one_task_is_the_tasks():
    terminal, clock, screen = make_terminal()
    terminal.share(1)
    terminal.begin_task("piqa", 10)
    terminal.asked(20, 20)
    clock.now += 4
    terminal.computed(1000, 1000, 4000, 4.0)
    terminal.answered(20)
    terminal.end_task("piqa", {"acc,none": 0.5}, {})
    lines = [" ".join(line.split()) for line in screen.getvalue().splitlines()]
    assert lines == [
        "1,000 tokens computed in 4.0 s, 250 tokens/s, 75% of 4,000 saved",
        "piqa 10 items 4.0 s acc 0.500",
    ]


@pytest.mark.parametrize(
    ("total", "asked", "said"),
    [(1000, 413, "none saved"), (0, 0, "none saved"), (5, 5, "none saved"), (1, 4, "75% of 4 saved")],
)
def test_a_resumed_run_saves_nothing_and_says_no_negative_share(total, asked, said):
    """It computes tokens again that an earlier part had computed, so that it rounds as before."""
    terminal, _, screen = make_terminal()
    for tokens in (0, total):
        terminal.computed(tokens, total, asked, 1.0)
    assert said in screen.getvalue() and "-" not in screen.getvalue()


def test_one_reason_of_many_tasks_is_said_once():
    terminal, _, screen = make_terminal(width=200)
    reasons = {f"mmlu_{name}": "its rows are not here" for name in "abcde"} | {"piqa": "no room"}
    terminal.refuse(reasons)
    terminal.refuse(reasons)
    assert screen.getvalue().splitlines() == [
        "Note: mmlu_a, mmlu_b, mmlu_c and 2 more are not evaluated: its rows are not here",
        "Note: piqa is not evaluated: no room",
    ]


def test_before_a_run_only_that_is_said_for_which_one_may_stop_it(plugins):
    plan = resolve(make_spec({"model": "scripted", "tasks": "piqa", "data_dir": "sample"}), plugins)
    assert OF_SAMPLE in plan.notes
    terminal, _, screen = make_terminal(width=200)
    terminal.begin(replace(plan, notes=(*plan.notes, "Some prompts contain their own answer.")))
    assert screen.getvalue().splitlines()[1:] == ["Note: Some prompts contain their own answer."]


def test_a_step_whose_figures_change_goes_on():
    terminal, clock, _ = make_terminal(True)
    for text, since in (
        ("Loading", 100),
        ("Downloading a, 1 of 2 GB", 105),
        ("Downloading a, 2 of 2 GB", 105),
    ):
        terminal.say(text)
        assert terminal.bar.step.since == since
        clock.now += 5
    terminal.end()


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z", "M")), min_size=1, max_size=30)


@given(
    NAMES,
    st.dictionaries(NAMES, st.floats(0, 1), max_size=5),
    st.lists(NAMES, max_size=30),
    st.sampled_from([60, 80, 120]),
)
def test_no_line_is_too_long_whatever_the_names(name, scores, note, width):
    terminal, _, screen = make_terminal(True, width)
    terminal.labels = (name,)
    terminal.begin_task(name, 3)
    terminal.note(" ".join(note))
    terminal.end_task(
        name, {f"{metric.replace(',', '')},none": value for metric, value in scores.items()}, {}
    )
    terminal.end()
    lines = [CODES.sub("", line) for line in re.split(r"[\r\n]", screen.getvalue())]
    assert all(measure(line) <= width for line in lines)
    words = {word for line in lines for word in line.split()}
    assert {word for word in note if word.isascii()} <= words, "a word is broken"
