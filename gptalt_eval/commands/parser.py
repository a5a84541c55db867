"""Argparse with subcommands, and with errors that suggest the nearest correct word."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any, NoReturn

from gptalt_eval.contract.errors import GptaltError, did_you_mean
from gptalt_eval.contract.types import Command


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are GptaltErrors that suggest the nearest flag or word."""

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


def add_commands(
    parser: Parser, commands: Iterable[Command], outer: frozenset[str] = frozenset()
) -> dict[str, Parser]:
    """Add commands and their subcommands to a parser.

    The parsed namespace then has ``chosen``, the innermost command that was typed, and its ``subparser``.

    Args:
        parser: the parser of the program or of a command.
        commands: its subcommands.
        outer: the arguments of the outer commands; one that was typed there applies to these too.

    Returns:
        the parsers by command name.
    """
    subparsers = parser.add_subparsers(metavar="COMMAND", parser_class=Parser)
    added: dict[str, Parser] = {}
    for command in commands:
        added[command.name] = subparser = subparsers.add_parser(
            command.name, help=command.summary, description=command.summary
        )
        subparser.set_defaults(chosen=command, subparser=subparser)
        own = set()
        for option in command.options:
            action = subparser.add_argument(*option.names, **option.settings)
            own.add(action.dest)
            if action.dest in outer:  # do not overwrite what was typed before
                action.default = argparse.SUPPRESS
        if command.commands:
            add_commands(subparser, command.commands, outer | own)
    return added
