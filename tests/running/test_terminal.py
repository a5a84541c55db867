"""What a run shows on the terminal."""

import io

import pytest
from rich.console import Console

from gptalt_eval.contract.record import Record
from gptalt_eval.contract.run import Run, RunModel
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.results.table import make_table
from gptalt_eval.running.api import run
from gptalt_eval.running.terminal import Terminal


@pytest.fixture
def shown(plugins, tmp_path):
    """Runs the scripted model; returns what a terminal (or a log) shows."""

    def show(is_terminal, **settings):
        screen = io.StringIO()
        console = Console(file=screen, force_terminal=is_terminal, width=120)
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
        console.print(make_table(record))
        return screen.getvalue()

    return show


def test_a_log_gets_plain_lines(shown):
    text = shown(False)
    assert "\x1b" not in text
    lines = text.splitlines()
    assert lines[0] == "scripted on 2 tasks, 6 items"
    assert lines[1].startswith("Note: These are results on an embedded sample")
    assert lines[2].split()[:3] == ["piqa", "3", "items"] and "acc " in lines[2]
    assert "exact_match strict-match" in lines[3]


def test_a_terminal_gets_a_live_bar(shown):
    text = shown(True)
    assert "Loading the model" in text and "Preparing the prompts" in text
    assert "/6 items" in text


def test_kept_answers_are_announced(shown, tmp_path):
    text = shown(False, use_cache=str(tmp_path / "kept"))
    assert "reused only for exactly this model" in text.replace("\n", " ")


def test_brackets_in_names_are_no_markup(tmp_path):
    results = {"results": {"[red]x[/]": {"alias": "[red]x[/]", "acc,none": 0.5, "sample_len": 2}}}
    record = Record(tmp_path, Run(model=RunModel("[bold]m[/]")), (results,), (tmp_path / "results_t.json",))
    screen = io.StringIO()
    Console(file=screen, width=120).print(make_table(record))
    assert "[red]x[/]" in screen.getvalue() and "[bold]m[/]" in screen.getvalue()


def test_members_of_groups_are_left_to_the_report(shown):
    text = shown(False, tasks="mmlu")
    table = text[text.index("┏") :]
    assert "mmlu" in table and "anatomy" not in table


def test_tokens_are_shown_while_they_are_computed_and_summed_up_once():
    screen = io.StringIO()
    terminal = Terminal(Console(file=screen, force_terminal=True, width=120))
    terminal.say("Preparing the prompts")
    terminal.begin_task("piqa", 10)
    for tokens in (0, 500, 1000):
        terminal.asked(1)
        terminal.computed(tokens, 1000, 4000, tokens / 250)
        terminal.answered(1)
        terminal.progress.refresh()
    terminal.end()
    text = screen.getvalue()
    assert "500/1,000 tokens, 250 tokens/s, 75% of 4,000 saved" in text
    assert text.count("1,000 tokens computed in 4.0 s: 250 tokens/s, 75% of 4,000 saved") == 1
    assert "10/10 items" in text  # and then it counts items again


@pytest.mark.parametrize(
    ("total", "asked", "said"),
    [(1000, 413, "none saved"), (0, 0, "none saved"), (5, 5, "none saved"), (1, 4, "75% of 4 saved")],
)
def test_a_resumed_run_saves_nothing_and_says_no_negative_share(total, asked, said):
    """It computes tokens again that an earlier part had computed, so that it rounds as before."""
    screen = io.StringIO()
    terminal = Terminal(Console(file=screen, width=120))
    for tokens in (0, total):
        terminal.computed(tokens, total, asked, 1.0)
    assert said in screen.getvalue() and "-" not in screen.getvalue()
