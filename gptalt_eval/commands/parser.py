"""Argparse with subcommands, and with errors that suggest the nearest correct word."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any, NoReturn

from gptalt_eval.contract.errors import GptaltError, did_you_mean
from gptalt_eval.contract.types import Command

EXAMPLES = "examples:"

WIDEST = 100  # of a line of help, in columns
#: how an argument is written, by its ``nargs``
ARGUMENTS: Mapping[str | int, str] = MappingProxyType({"?": "[{}]", "*": "[{} ...]", "+": "{} ..."})


class Help(argparse.HelpFormatter):
    """Help in the width of the terminal; the examples at its end are as they are typed."""

    def __init__(self, prog: str) -> None:
        width = min(shutil.get_terminal_size().columns - 2, WIDEST)
        super().__init__(prog, max_help_position=min(28, width // 3), width=width)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        """Its names, and its value once."""
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        value = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(action.option_strings)} {value}"

    def _format_args(self, action: argparse.Action, default_metavar: str) -> str:
        if action.nargs not in ("+", "*"):
            return super()._format_args(action, default_metavar)
        return ARGUMENTS[action.nargs].format(action.metavar or default_metavar)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith(EXAMPLES):
            return text
        return super()._fill_text(text, width, indent)


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are GptaltErrors that suggest the nearest flag or word."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"formatter_class": Help, **settings})

    def error(self, message: str) -> NoReturn:
        if message.startswith("unrecognized arguments:"):
            unknown = message.split(": ", 1)[1].split()
            flags = [flag for action in self._actions for flag in action.option_strings]
            hint = did_you_mean(unknown[0].split("=")[0], flags) or f"See: {self.prog} --help"
            is_option = unknown[0].startswith("-")
            what = f"There is no option {unknown[0]}." if is_option else f"Unexpected argument: {unknown[0]}."
            raise GptaltError(what, hint)
        raise GptaltError(f"{message[:1].upper()}{message[1:]}.", f"See: {self.prog} --help")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        # argparse's own message lists the choices, but does not suggest the nearest
        if action.choices is None or value in action.choices:
            return
        choices = [str(choice) for choice in action.choices]
        hint = did_you_mean(str(value), choices) or f"Available: {', '.join(choices)}."
        if isinstance(action, argparse._SubParsersAction):
            raise GptaltError(f"There is no command '{self.prog.split(' ', 1)[-1]} {value}'.", hint)
        named = "/".join(action.option_strings) or action.metavar or action.dest
        raise GptaltError(f"{named}: there is no '{value}'.", hint)


def write_usage(command: Command) -> str:
    """Its options in one word, but for the required ones; then its arguments."""
    words = ["[options]"]
    for option in command.options:
        settings = option.settings
        shown = str(settings.get("metavar") or option.names[0].lstrip("-").upper())
        if option.names[0].startswith("-"):
            words += [f"{option.names[0]} {shown}"] if settings.get("required") else []
        else:
            words.append(ARGUMENTS.get(settings.get("nargs", ""), "{}").format(shown))
    if command.commands:
        words.append("COMMAND ..." if command.run is None else "[COMMAND ...]")
    return " ".join(words)


def show_examples(command: Command) -> str | None:
    """What stands at the end of a command's help."""
    examples = list_examples(command)
    return "\n  ".join([EXAMPLES, *examples]) if examples else None


def list_examples(command: Command) -> list[str]:
    """Its own; of one without any, the first of each of its subcommands."""
    firsts = (list_examples(inner)[:1] for inner in command.commands)
    return [*command.examples] or [example for first in firsts for example in first]


def add_commands(
    parser: Parser,
    commands: Iterable[Command],
    outer: frozenset[str] = frozenset(),
    purposes: Mapping[str, Collection[str]] | None = None,
) -> dict[str, Parser]:
    """Add commands and their subcommands to a parser.

    The parsed namespace then has ``chosen``, the innermost command that was typed, and its ``subparser``.

    Args:
        parser: the parser of the program or of a command.
        commands: its subcommands.
        outer: the arguments of the outer commands; one that was typed there applies to these too.
        purposes: headings of the help, with the names of the commands below each; None: one heading for all.

    Returns:
        the parsers by command name.
    """
    subparsers = parser.add_subparsers(
        metavar="COMMAND", parser_class=Parser, title="commands", prog=parser.prog
    )
    added: dict[str, Parser] = {}
    for command in commands:
        added[command.name] = subparser = subparsers.add_parser(
            command.name, help=command.summary, description=command.summary, epilog=show_examples(command)
        )
        subparser.usage = f"{subparser.prog} {write_usage(command)}"
        subparser.set_defaults(chosen=command, subparser=subparser)
        own = set()
        for option in command.options:
            action = subparser.add_argument(*option.names, **option.settings)
            own.add(action.dest)
            if action.dest in outer:  # do not overwrite what was typed before
                action.default = argparse.SUPPRESS
        if command.commands:
            add_commands(subparser, command.commands, outer | own)
    if purposes is not None:
        group_commands(parser, subparsers, purposes)
    return added


def group_commands(parser: Parser, subparsers: Any, purposes: Mapping[str, Collection[str]]) -> None:
    """List the commands below several headings; the last one is for those of plugins."""
    entries = {entry.dest: entry for entry in subparsers._choices_actions}
    others = entries.keys() - {name for names in purposes.values() for name in names}
    for heading, names in (*purposes.items(), ("of plugins", sorted(others))):
        group = parser.add_argument_group(heading)
        group._group_actions += [entries[name] for name in names if name in entries]
    subparsers.help = argparse.SUPPRESS
    parser._action_groups.remove(next(group for group in parser._action_groups if group.title == "commands"))
