"""Names and messages of others on the terminal: shown, never obeyed."""

import ast
import io
import json
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.progress import Progress, TextColumn
from rich.table import Table

import gptalt_eval
from gptalt_eval.commands import cli
from gptalt_eval.commands.printing import print_json, print_rows
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.machine.consoles import make_console
from gptalt_eval.machine.plain import print_plain, show_plain, show_plain_record
from gptalt_eval.running.terminal import Terminal

PACKAGE = Path(gptalt_eval.__file__).parent
SOURCES = [*PACKAGE.rglob("*.py"), *(PACKAGE.parent / "plugins").glob("*/gptalt_eval_plugin_*/**/*.py")]
ATTACKS = {
    "clear": "a\x1b[2J", "title": "a\x1b]0;owned\x07", "link": "\x1b]8;;http://evil\x1b\\a", "c1": "a\x9b31m",
    "return": "honest\rforged", "back": "no\b\bok", "bidi": "a\u202egnp.exe", "isolate": "a\u2066b", "delete": "a\x7f",
    "lone": "a\ud800", "line": "a\u2028b", "nul": "a\x00",
}  # fmt: skip
MARKUP = [
    "[/]",
    "[/red]",
    "a [bold",
    "[red]x[/]",
    "[link=http://evil]x[/link]",
    ":skull:",
    "x\\",
    "\\[x]",
    "[[/]]",
]


@pytest.mark.parametrize("text", ATTACKS.values(), ids=ATTACKS)
def test_what_steers_a_terminal_is_shown(text, capsys):
    print_plain(text, 1)
    print_rows([{"name": text, "summary": "x"}])
    out = capsys.readouterr().out
    assert "\\u" in out
    assert not any(sign in out for sign in ATTACKS.values())
    assert set(out) <= set(map(chr, range(32, 127))) | {"\n"}


@given(st.text(st.characters(codec="utf-8")))
def test_other_text_stays(text):
    shown = show_plain(text)
    assert shown == "".join(sign if show_plain(sign) == sign else f"\\u{ord(sign):04x}" for sign in text)
    assert show_plain(shown) == shown


def test_chinese_arabic_and_accents_stay():
    assert (
        show_plain("模型\t一\n é ə العربية עברית 👩🏽\u200d🔬") == "模型\t一\n é ə العربية עברית 👩🏽\u200d🔬"
    )


@given(st.text())
def test_json_stays_valid_and_means_the_same(text):
    value = {"name": text, text: [text]}
    assert json.loads(show_plain(json.dumps(value, ensure_ascii=False))) == value


def test_json_on_the_terminal(capsys):
    print_json({"name": ATTACKS["c1"]})
    out = capsys.readouterr().out
    assert "\x9b" not in out and json.loads(out) == {"name": ATTACKS["c1"]}


def draw(*renderables, colours=True):
    stream = io.StringIO()
    console = make_console()
    console.file, console._force_terminal = stream, colours
    for each in renderables:
        console.print(each)
    return stream.getvalue()


@pytest.mark.parametrize("text", [*ATTACKS.values(), *MARKUP])
def test_a_console_takes_text_as_it_is(text):
    table = Table(text, title=text, caption=text)
    table.add_row(text)
    out = draw(text, table)
    assert all(sign not in out for sign in ("\x1b[2J", "\x1b]", "\x9b", "\r", "\b", "\u202e", "\x1b[31m"))
    if text in MARKUP:
        assert out.count(text) == 5


@pytest.mark.parametrize("text", [*ATTACKS.values(), *MARKUP])
def test_a_runs_display_takes_text_as_it_is(text):
    stream = io.StringIO()
    console = make_console()
    console.file, console._force_terminal = stream, True
    terminal = Terminal(console)
    for call in (terminal.say, terminal.note, lambda text: terminal.begin_task(text, 3)):
        call(text)
    terminal.end_task(text, {f"{text},none": 0.5}, {})
    terminal.end()
    assert show_plain(text).split("\\u")[0] in stream.getvalue()
    assert all(sign not in stream.getvalue() for sign in ("\x1b[2J", "\x1b]", "\x9b", "\u202e", "\x1b[31m"))


def test_a_bar_takes_text_as_it_is():
    stream = io.StringIO()
    console = make_console()
    console.file = stream
    with Progress(TextColumn("{task.description}", markup=False), console=console) as progress:
        progress.add_task("[/] \x1b[2J", total=1)
    assert "[/] \\u0" in stream.getvalue()


def test_an_errors_message_and_a_log(capsys, monkeypatch):
    def fail(*_):
        raise GptaltError("no task '\x1b[2Jx'", "Did you mean '\u202e'?")

    monkeypatch.setattr(cli, "dispatch", fail)
    assert cli.main(["ls"]) == 2
    assert capsys.readouterr().err == "gptalt-eval: no task '\\u001b[2Jx'\nDid you mean '\\u202e'?\n"
    record = logging.LogRecord("lm_eval", 30, "", 0, "task %s", ("\x1b[2J",), None)
    assert show_plain_record(record) and record.getMessage() == "task \\u001b[2J"


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(PACKAGE.parent)))
def test_all_that_we_print_goes_this_way(file):
    """A ``print`` is ours, a console is made by make_console, and no text is read as markup."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names = {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    imported = {
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }  # fmt: skip
    if "print" in names:
        assert imported.get("print") == "print_plain"
    assert "Console" not in names, "make_console makes them"
    assert "'from_markup'" not in ast.dump(tree) and "'rich.markup'" not in ast.dump(tree)
