"""Every command says what its arguments are and how it is called; a shell's ``>`` ends an example."""

import argparse
import re

import pytest

from gptalt_eval.commands import cli
from gptalt_eval.commands.described import find_help_faults
from gptalt_eval.commands.parser import Help, list_examples
from gptalt_eval.contract.hookspecs import hookimpl
from gptalt_eval.contract.types import Command, Option
from gptalt_eval.testing import make_plugin_set

CORE = cli.gather_commands(make_plugin_set())
LONG = "a description that is long enough to need several lines on every terminal, " * 3


def walk(commands, path=()):
    for command in commands:
        yield (*path, command.name)
        yield from walk(command.commands, (*path, command.name))


def read_help(words, capsys, plugins=None):
    with pytest.raises(SystemExit):
        cli.dispatch([*words, "--help"], plugins or make_plugin_set())
    return capsys.readouterr().out


@pytest.mark.parametrize("name", CORE)
def test_every_command_of_the_core_is_described_and_its_examples_can_be_typed(name):
    plugins = make_plugin_set()
    faults = find_help_faults(CORE[name], lambda words: cli.parse(words, CORE, plugins))
    assert [fault.what for fault in faults] == []


def test_every_flag_of_a_run_is_described():
    run = cli.make_parser(CORE, make_plugin_set())._subparsers._group_actions[0].choices["run"]
    assert len(run._actions) > 30
    assert [action.option_strings for action in run._actions if not action.help] == []


def test_every_command_of_the_core_has_its_place():
    listed = [name for names in cli.PURPOSES.values() for name in names]
    assert set(CORE) <= set(listed) and len(listed) == len(set(listed))


@pytest.mark.parametrize("words", [(), *walk(CORE.values())], ids=" ".join)
@pytest.mark.parametrize("width", [60, 80, 120])
def test_help_fits_the_terminal(words, width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    text = read_help(words, capsys)
    body, examples = text.split("\nexamples:\n")
    assert examples.strip().startswith("gptalt-eval ")
    long = [line for line in body.splitlines() if len(line) > width]
    assert all(len(line.split()) == 1 or line.startswith("usage:") for line in long), long


def test_the_first_help_lists_commands_by_what_one_wants(capsys):
    text = read_help((), capsys)
    headings = re.findall(r"^(\S.*):$", text, re.MULTILINE)
    assert headings == ["options", *cli.PURPOSES, "examples"]
    for name, command in CORE.items():
        assert len(re.findall(rf"^  {name} +\S", text, re.MULTILINE)) == 1 and command.summary in " ".join(
            text.split()
        )


def test_required_options_are_in_the_first_line(capsys):
    text = read_help(("data", "prepare"), capsys)
    assert text.startswith("usage: gptalt-eval data prepare [options] NAME ... --from PATH\n")


def run(arguments, plugins):
    return 0


TIMES = Option(("--times",), {"type": int, "help": LONG})
GOOD = Command("greet", "say hello", run, (TIMES,), examples=("gptalt-eval greet --times 3",))


class Plugin:
    def __init__(self, *commands):
        self.commands = commands

    @hookimpl
    def register_commands(self):
        return list(self.commands)


def test_a_good_command_of_a_plugin(capsys):
    assert list(find_help_faults(GOOD)) == []
    plugins = make_plugin_set(Plugin(GOOD))
    assert "of plugins:\n  greet       say hello\n" in read_help((), capsys, plugins)
    assert read_help(("greet",), capsys, plugins).endswith("examples:\n  gptalt-eval greet --times 3\n")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"options": (TIMES, Option(("name",), {"nargs": "?"}))},
            "'gptalt-eval greet' does not describe name.",
        ),
        ({"options": (TIMES, Option(("-q", "--quiet"), {"help": " "}))}, "does not describe -q/--quiet."),
        ({"examples": ()}, "'gptalt-eval greet' has no example."),
        ({"examples": ("gptalt-eval greet --time 3 --loud",)}, "cannot be typed: There is no option --loud."),
        ({"examples": ("gptalt-eval greet --times three",)}, "cannot be typed: Argument --times: invalid"),
        ({"examples": ("greet --times 3",)}, "'greet --times 3' is not an example of 'gptalt-eval greet'."),
        ({"examples": ("gptalt-eval greet 'x",)}, "cannot be typed: No closing quotation"),
        ({"commands": (Command("again", "x", run),)}, "'gptalt-eval greet again' has no example."),
    ],
)
def test_what_is_missing_is_found(changes, told):
    settings = {**vars(GOOD), **changes}
    found = [fault.what for fault in find_help_faults(Command(**settings))]
    assert len(found) == 1 and told in found[0], found


def test_a_command_without_examples_shows_those_of_its_subcommands():
    outer = Command("hello", "x", commands=(GOOD, Command("b", "x", run, examples=("b 1", "b 2"))))
    assert list_examples(outer) == ["gptalt-eval greet --times 3", "b 1"]


def test_help_is_not_wider_than_one_can_read(monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    parser = argparse.ArgumentParser(formatter_class=Help)
    parser.add_argument("--times", help=LONG)
    assert 80 < max(map(len, parser.format_help().splitlines())) <= 100
