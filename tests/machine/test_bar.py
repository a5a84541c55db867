"""A bar of progress: one line at every width, with the percentage and the time left."""

import io
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console

from gptalt_eval.machine.bar import Bar, Step, fit, say_times, shorten
from gptalt_eval.machine.wrapping import measure

FIGURES = (
    "1,979/6,721 tokens, 1,335 tokens/s, 76% of 27,514 saved",
    "1,979/6,721 tokens, 1,335 tokens/s",
    "1,979/6,721 tokens",
)
CHINESE = "执业药师资格考试（综合知识与技能）" * 5
LONG = "mmlu_high_school_government_and_politics (system, 5-shot)"
NAMES = st.one_of(st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z", "M"))), st.just(CHINESE))


def draw(step, width, now=0.0):
    """The bar as a terminal of that width shows it."""
    console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    bar = Bar(console, lambda: now)
    bar.step = step
    console.print(bar)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (60, "piqa ━━━━━━──────────────── 29% 0:10 left 1,979/6,721 tokens"),
        (80, "piqa ━━━━━━━━─────────────────── 29% 0:10 left 1,979/6,721 tokens, 1,335 tokens/s"),
        (120, f"piqa {'━' * 12}{'─' * 28} 29% 0:10 left {FIGURES[0]}"),
    ],
)
def test_figures_are_shortened_before_anything_else(width, shown):
    line = draw(Step("piqa", 0, 6721, 1979, 4.0, FIGURES), width)
    assert line.count("\n") == 1
    assert re.sub("[━─]+", "-", line[2:-1]) == re.sub("[━─]+", "-", shown)
    filled, rest = line.count("━"), line.count("─")
    assert filled / (filled + rest) == pytest.approx(1979 / 6721, abs=0.05)


def test_then_the_bar_goes_and_the_name_is_cut_in_its_middle():
    tail = "42% 0:12 left"
    assert fit(LONG, FIGURES, tail, 78) == (LONG, 0, tail, "")
    assert fit(LONG, FIGURES, tail, 40) == ("mmlu_high_sc…stem, 5-shot)", 0, tail, "")


@given(NAMES, st.sampled_from([60, 80, 120]), st.floats(0, 1), st.floats(0, 1e7))
@example(CHINESE, 60, 0.5, 10.0)
@example(LONG, 60, 0.999, 1e6)
def test_no_line_is_too_long_and_percentage_and_time_are_always_whole(name, width, share, spent):
    line = draw(Step(name, 0, 1000, 1000 * share, spent, FIGURES), width).rstrip("\n")
    assert "\n" not in line and measure(line) <= width
    left = re.search(
        r" (\d+)% (estimating(?:, [\d:]+ so far)?|(?:[\d,]+ d )?(?:\d+:)?\d+:\d\d left)(?: |$)", f" {line}"
    )
    assert left, line
    assert int(left[1]) == pytest.approx(100 * share, abs=1.01)
    assert "-:--" not in line


@given(NAMES, st.integers(0, 60))
def test_what_is_shortened_has_room_and_keeps_both_ends(text, width):
    short = shorten(text, width)
    assert measure(short) <= max(width, 0)
    if measure(text) <= width:
        assert short == text
    elif short:
        begin, end = short.split("…")[0], short.split("…")[-1]
        assert text.startswith(begin) and text.endswith(end)


def test_before_anything_is_done_the_time_left_is_not_known():
    assert say_times(Step("piqa", 0, total=10), now=5.0) == "0% estimating"
    assert say_times(Step("piqa", 0, 10, 1, spent=0.0), now=5.0) == "10% estimating"
    assert say_times(Step("gsm8k", 2.0, total=10), now=82.0) == "0% estimating, 1:20 so far"


def test_time_left_is_what_the_rest_takes_at_the_speed_so_far():
    assert say_times(Step("piqa", 5.0, 10, 1), now=12.0) == "10% 1:03 left"
    assert say_times(Step("piqa", 5.0, 10, 1, spent=2.0), now=100.0) == "10% 0:18 left"
    assert say_times(Step("piqa", 0, 10, 12), now=7.0) == "100% 0:00 left"


def test_a_step_without_a_known_end_says_how_long_it_has_been_going_on():
    assert draw(Step("Loading the model", 2.0), 80, now=65.4)[2:] == "Loading the model 1:03\n"


def test_a_log_gets_no_bar():
    screen = io.StringIO()
    bar = Bar(Console(file=screen, width=80))
    bar.show(Step("piqa", 0, 10, 5))
    bar.stop()
    assert screen.getvalue() == ""


def test_a_terminal_of_ascii_gets_ascii():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="replace")
    console = Console(file=stream, force_terminal=True, width=60, color_system=None)
    bar = Bar(console, lambda: 0.0)
    bar.step = Step("piqa", 0, 10, 5, 1.0)
    console.print(bar)
    stream.flush()
    assert "#####" in stream.buffer.getvalue().decode()
