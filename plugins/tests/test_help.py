"""Every command of our plugins says what its arguments are and how it is called."""

import pytest

from gptalt_eval.commands import cli, subcommands
from gptalt_eval.commands.described import find_help_faults
from gptalt_eval.contract.discovery import load_plugins
from gptalt_eval.planning import builtin

PLUGINS = load_plugins(builtin, subcommands)
COMMANDS = cli.gather_commands(PLUGINS)


def test_the_plugins_are_loaded():
    assert {"elo", "votes", "models", "scienceqa", "ls"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_described_and_its_examples_can_be_typed(name):
    faults = find_help_faults(COMMANDS[name], lambda words: cli.parse(words, COMMANDS, PLUGINS))
    assert [fault.what for fault in faults] == []


def test_the_flags_of_plugins_are_described():
    run = cli.make_parser(COMMANDS, PLUGINS)._subparsers._group_actions[0].choices["run"]
    assert [action.option_strings for action in run._actions if not action.help] == []
